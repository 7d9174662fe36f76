"""The cost of memories while a model generates: tokens a second with each of them, and the memory that each takes.

The model continues held-out documents greedily, one at a time and with its key-value cache, as people use it. Settings
run in turn and the median is reported, since machines are shared.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnemic import languagemodel
from mnemic.bank import Bank
from mnemic.errors import BankError
from mnemic.memories.entering import enter, leave
from mnemic.memories.gates import stored as stored_gates
from mnemic.memories.kinds import Memory
from mnemic.memories.stored import StoredMemories
from mnemic.memories.tuning import gated
from mnemic.mixture import WEIGHT_WITHOUT_VALIDATION
from mnemic.splits import TEST

if TYPE_CHECKING:
    import torch

    from mnemic.attach.output.schedules import Schedule

PROMPT, GENERATED, DOCUMENTS, ROUNDS = 64, 32, 4, 3


@dataclass(frozen=True)
class Speed:
    """Of the model alone ("base"), or with a memory: tokens generated a second, and bytes of what answers."""

    name: str
    tokens_per_second: float
    times_base: float  # the base's rate over this one
    bytes: int


def speeds(bank: Bank, memories: Sequence[str]) -> list[Speed]:
    """Measured here and now, with the model of the bank's recipe. Raises `BankError` where it names none."""
    address = bank.release.recipe.get("language_model")
    if address is None:
        raise BankError(
            f"The recipe of {bank.path} names no `language_model`, so nothing generates; name one and build."
        )
    model, tokenizer = languagemodel.load(address, bank.release.recipe["datastore"]["dtype"])
    prompts = _prompts(bank, tokenizer)
    stored = StoredMemories(bank.view)
    loaded = {name: stored.load(name) for name in memories}
    weights = {name: weight_of(bank, memory) for name, memory in loaded.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ("base", *loaded)}
    for _ in range(ROUNDS):
        for name, measured in seconds.items():
            if name != "base":
                enter(model, [loaded[name]], [weights[name]], stored.lock([loaded[name].info]), tokenizer=tokenizer)
            measured.append(_seconds(model, prompts))
            leave(model)
    sizes = {"base": _bytes(model)} | {name: _bytes(memory.module) for name, memory in loaded.items()}
    median = {name: statistics.median(measured) for name, measured in seconds.items()}
    generated = len(prompts) * GENERATED
    return [Speed(name, generated / median[name], median[name] / median["base"], sizes[name]) for name in sizes]


def weight_of(bank: Bank, memory: Memory) -> float | Schedule:
    """What the memory is attached with: its gate where the bank has one of it, else its weight."""
    name = memory.info.name
    if name in stored_gates(bank.view):
        return gated(bank.view, [memory])[name]
    return float(memory.info.metrics.get("weight", WEIGHT_WITHOUT_VALIDATION))


def _prompts(bank: Bank, tokenizer: Any) -> list[torch.Tensor]:
    documents = bank.table("documents", ["id", "text"], TEST).sort_by("id")
    texts = documents["text"].to_pylist()[:DOCUMENTS]
    if not texts:
        raise BankError(
            f"{bank.path} has no held-out documents, and speed is measured on them; give the recipe more text."
        )
    return [tokenizer(text, return_tensors="pt")["input_ids"][:, :PROMPT] for text in texts]


def _seconds(model: Any, prompts: Sequence[torch.Tensor]) -> float:
    import torch

    def generate(prompt: torch.Tensor, tokens: int) -> None:
        length = {"min_new_tokens": tokens, "max_new_tokens": tokens}
        model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, pad_token_id=0, **length)

    with torch.inference_mode():
        generate(prompts[0], 2)
        started = time.perf_counter()
        for prompt in prompts:
            generate(prompt, GENERATED)
    return time.perf_counter() - started


def _bytes(memory: Any) -> int:
    """Of all tensors that a model or a memory holds, or as it says itself."""
    if isinstance(getattr(memory, "nbytes", None), int):
        return int(memory.nbytes)
    tensors = {id(one): one for one in _tensors(memory)}
    return sum(one.numel() * one.element_size() for one in tensors.values())


def _tensors(holder: Any) -> Iterator[torch.Tensor]:
    import torch

    if isinstance(holder, torch.Tensor):
        yield holder
    elif isinstance(holder, torch.nn.Module):
        yield from (*holder.parameters(), *holder.buffers())
    else:
        for value in vars(holder).values() if hasattr(holder, "__dict__") else ():
            yield from _tensors(value)
