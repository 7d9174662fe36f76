"""Texts continued by a bank's language model, alone and with its memories: what a memory does, to be seen.

Texts of the store are texts that the memories hold: of those that are prose, the ones that surprise the model alone
most. Held-out texts are ones that no memory has learnt from. Either shows a few tokens of a few texts and is no measure
of quality; `eval` has those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mnemic.bank import Bank
from mnemic.errors import BankError, QueryError
from mnemic.kept import KEPT
from mnemic.memories.datastore import NAME as RETRIEVER
from mnemic.memories.kinds import is_known, kind, of_models
from mnemic.memories.suffix import NAME as SUFFIX
from mnemic.quoting import one_of
from mnemic.splits import STORE, STORED, TEST
from mnemic.suffixes.stored import has_suffixes
from mnemic.terminal import one_line

if TYPE_CHECKING:
    import torch

PROMPT, CONTINUED = 24, 24
"""Tokens that the model is given of a text, and that it is to say."""

TEXTS = 2
"""Texts of the store, and held-out texts, that `continuations` chooses."""

LOOKED_AT = 64
"""Documents that are looked at for one that is prose, the most surprising first."""

LONGEST_PROMPT = 512
"""Tokens of a prompt that somebody gives."""

MOST_MEMORIES = 8

LEAST_LETTERS = 0.75


@dataclass(frozen=True)
class Generated:
    """What the model says with ``memory``, "" for the model alone; ``hits`` of its tokens are those of the text."""

    memory: str
    text: str
    hits: int = 0


@dataclass(frozen=True)
class Continuation:
    """A text after ``prompt``, as it stands at ``locator`` and as the model goes on: alone first, then with memories.

    ``part`` is "store" or a held-out part of `mnemic.splits`; "" for a prompt that somebody gave, of which nobody knows
    how it goes on, so ``text`` is "" and ``tokens`` is 0.
    """

    part: str
    locator: str
    prompt: str
    text: str
    tokens: int
    generated: tuple[Generated, ...]


@dataclass(frozen=True)
class _Passage:
    part: str
    locator: str
    ids: torch.Tensor  # [1, n] of a prompt, then CONTINUED of its text where that is known


def continued(bank: Bank, model: Any = None, tokenizer: Any = None) -> Continuation | None:
    """One text of the store, alone and with the suffix index, or else with kNN-LM; None where no text is long enough.

    Loads the model of the recipe where none is handed over. Raises ``BankError`` for a bank without a datastore.
    """
    model, tokenizer = _loaded(bank, model, tokenizer)
    memories = [SUFFIX if has_suffixes(bank.view) else RETRIEVER]
    texts = _continued(bank, _stored(bank, tokenizer, 1), memories, model, tokenizer)
    return texts[0] if texts else None


def continuations(
    bank: Bank,
    prompts: Sequence[str] = (),
    model: Any = None,
    tokenizer: Any = None,
    *,
    memories: Sequence[str] | None = None,
    doing: Callable[[str], None] = lambda words: None,
) -> list[Continuation]:
    """``prompts``, or else `TEXTS` of the store and `TEXTS` held-out ones, continued alone and with each memory.

    ``memories`` are those of the bank by default, at most `MOST_MEMORIES`, each with the weight that `attach` takes.
    Greedy, so equal banks give equal texts on one machine. Memories that can be narrowed to texts, such as the suffix
    index and pages, hold the held-out texts as well, and do not continue those. Raises ``BankError`` for a bank without
    a datastore, and ``QueryError`` for a prompt that is empty or has more than `LONGEST_PROMPT` tokens.
    """
    doing("loading the language model")
    model, tokenizer = _loaded(bank, model, tokenizer)
    if prompts:
        passages = [_given(prompt, tokenizer) for prompt in prompts]
    else:
        doing("choosing texts to continue")
        passages = [*_stored(bank, tokenizer, TEXTS), *_held_out(bank, tokenizer, TEXTS)]
    if memories is None:
        memories = [info.name for info in of_models(bank.memories()) if is_known(info.kind)][:MOST_MEMORIES]
    return _continued(bank, passages, memories, model, tokenizer, doing)


def _loaded(bank: Bank, model: Any, tokenizer: Any) -> tuple[Any, Any]:
    from mnemic import languagemodel

    address = bank.release.recipe.get("language_model")
    if not isinstance(address, str):
        raise BankError(
            f"The recipe of {bank.path} names no `language_model`, so nothing continues a text; name one and build."
        )
    if "datastore" not in bank.view:
        raise BankError(
            f"Release {bank.release.name} of {bank.path} has no datastore, so no memory continues a text with "
            "its model; take `datastore: false` out of its recipe and build."
        )
    return (model, tokenizer) if model is not None else languagemodel.load(address)


def _continued(
    bank: Bank,
    passages: Sequence[_Passage],
    memories: Sequence[str],
    model: Any,
    tokenizer: Any,
    doing: Callable[[str], None] = lambda words: None,
) -> list[Continuation]:
    """Each memory enters the model once, for all passages."""
    import torch

    if not passages:
        return []
    settings: dict[str, Any] = {"max_new_tokens": CONTINUED, "do_sample": False, "pad_token_id": 0}
    kinds = {info.name: info.kind for info in bank.memories()}

    def generated(memory: str) -> dict[int, Generated]:
        outputs = {}
        for at, passage in enumerate(passages):
            if memory and passage.part not in ("", STORED) and getattr(kind(kinds[memory]), "narrows", False):
                continue
            prompt, rest = _divided(passage)
            with torch.inference_mode():
                output = model.generate(prompt, attention_mask=torch.ones_like(prompt), **settings)
            tokens = output[0, prompt.shape[1] :]
            hits = int((tokens[: len(rest)] == rest[: len(tokens)]).sum())
            outputs[at] = Generated(memory, tokenizer.decode(tokens, skip_special_tokens=True), hits)
        return outputs

    doing("continuing texts without memories")
    outputs = [generated("")]
    for memory in memories:
        doing(f"continuing texts with {memory}")
        with bank.attached(model, memory, tokenizer=tokenizer):
            outputs.append(generated(memory))
    texts = []
    for at, passage in enumerate(passages):
        prompt, rest = _divided(passage)
        begins, text = (tokenizer.decode(one, skip_special_tokens=True) for one in (prompt[0], rest))
        every = tuple(one[at] for one in outputs if at in one)
        texts.append(Continuation(passage.part, passage.locator, begins, text, len(rest), every))
    return texts


def _divided(passage: _Passage) -> tuple[torch.Tensor, torch.Tensor]:
    """The prompt [1, p], and the tokens [CONTINUED] that follow it in its text, [0] where nobody knows them."""
    length = passage.ids.shape[1] - (CONTINUED if passage.part else 0)
    return passage.ids[:, :length], passage.ids[0, length:]


def _given(prompt: str, tokenizer: Any) -> _Passage:
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"] if prompt.strip() else None
    if ids is None or not 0 < ids.shape[1] <= LONGEST_PROMPT:
        raise QueryError(f"A prompt has from 1 to {LONGEST_PROMPT} tokens; give a text of this length.")
    return _Passage("", "", ids)


def _stored(bank: Bank, tokenizer: Any, most: int) -> list[_Passage]:
    """Texts of the store, those first that the model alone expects least."""
    losses = _losses(bank)
    ordered = [document for document, _ in sorted(losses.items(), key=lambda one: (-one[1], one[0]))]
    return _passages(bank, tokenizer, ordered, most)


def _held_out(bank: Bank, tokenizer: Any, most: int) -> list[_Passage]:
    """Held-out texts in the order of their ids, which are hashes."""
    return _passages(bank, tokenizer, sorted(bank.view.table("documents", ["id"], TEST)["id"].to_pylist()), most)


def _passages(bank: Bank, tokenizer: Any, ids: Sequence[str], most: int) -> list[_Passage]:
    """The first of the documents ``ids`` that are prose and long enough."""

    def passages() -> Iterator[_Passage]:
        looked_at = list(ids[:LOOKED_AT])
        if not looked_at:
            return
        where = f"({KEPT}) AND {one_of('id', looked_at)}"
        columns = ["id", "locator", "text", "split"]
        rows = {row["id"]: row for row in bank.view.table("documents", columns, where).to_pylist()}
        for row in (rows[one] for one in looked_at if one in rows and _is_prose(rows[one]["text"])):
            tokens = tokenizer(row["text"][:2000], return_tensors="pt")["input_ids"][:, : PROMPT + CONTINUED]
            if tokens.shape[1] == PROMPT + CONTINUED:
                yield _Passage(row["split"], row["locator"], tokens)

    return [passage for passage, _ in zip(passages(), range(most), strict=False)]


def _losses(bank: Bank) -> dict[str, float]:
    """Document of the store -> mean loss of the model alone on its first tokens, in nats."""
    sums: dict[str, list[float]] = {}
    columns, where = ["document", "base_logprob"], f"{STORE} AND position < {PROMPT + CONTINUED}"
    for batch in bank.view.dataset("datastore").scan(columns, where, batch_size=65536):
        grouped = pa.table(batch).group_by("document").aggregate([("base_logprob", "sum"), ("base_logprob", "count")])
        for row in grouped.to_pylist():
            summed = sums.setdefault(row["document"], [0.0, 0.0])
            summed[0] -= row["base_logprob_sum"]
            summed[1] += row["base_logprob_count"]
    return {document: total / count for document, (total, count) in sums.items() if count >= PROMPT}


def _is_prose(text: str) -> bool:
    head = text[:400]
    letters = sum(letter.isalpha() or letter == " " for letter in head)
    return letters >= LEAST_LETTERS * len(head)


def shown(one: Continuation) -> str:
    """A continuation as lines for a person."""
    of = {STORED: "a text that the memories hold", "": "a prompt"}.get(one.part, "a held-out text")
    lines = [f"{of}{one.locator and ', ' + one_line(one.locator, 100)}, continued by the language model:", ""]
    lines.append(f"  {'begins':<30} {one_line(one.prompt, 300)}")
    if one.part:
        lines.append(f"  {'goes on there':<30} {one_line(one.text, 300)}")
    for output in one.generated:
        name = f"with {title(output.memory)}" if output.memory else "alone"
        hits = f", {output.hits} of {one.tokens}{'' if output.memory else ' tokens'}" if one.tokens else ""
        lines.append(f"  {name + hits:<30} {one_line(output.text, 300)}")
    return "\n".join(lines)


def title(memory: str) -> str:
    """A memory named after its kind as a sentence says it; another by its own name."""
    return kind(memory).title if is_known(memory) else one_line(memory, 40)
