"""Where a memory enters the prompt: text before it, which only `generate` sees.

Facts, notes and summaries are such contexts. Each row of the batch has its own; what `generate` returns is the
caller's ids and what was generated, as if nothing had been put before them. A forward pass outside of `generate` reads
what it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mnemic.attach.entry import Entry, Place
from mnemic.attach.generation import Prompt, setting
from mnemic.errors import ModelError

if TYPE_CHECKING:
    import torch

    Render = Callable[[Any], str | Sequence[int] | torch.Tensor]
else:
    Render = Any


class Rendered(Entry):
    """Text before the prompt: ``render`` gives it for a row's text (with a ``tokenizer``) or ids (without)."""

    def __init__(self, place: Place, render: Render, tokenizer: Any | None) -> None:
        super().__init__(place)
        self.render, self.tokenizer = render, tokenizer

    def ids(self, row: torch.Tensor) -> list[int]:
        """The ids of the context of one row, for the row's ids int64 [n]."""
        import torch

        shown = row if self.tokenizer is None else self.tokenizer.decode(row, skip_special_tokens=True)
        context = self.render(shown)
        if isinstance(context, str):
            if self.tokenizer is None:
                raise ModelError("A context of text needs a tokenizer; give `tokenizer`, or let it give token ids.")
            return list(self.tokenizer(context, add_special_tokens=False)["input_ids"]) if context else []
        return context.flatten().tolist() if isinstance(context, torch.Tensor) else [int(token) for token in context]


class PromptContexts:
    """The contexts of one model, in the order in which they entered."""

    def __init__(self, settle: Callable[[], None]) -> None:
        self.settle = settle
        self.entries: list[Rendered] = []

    def add(self, render: Render, tokenizer: Any | None) -> Entry:
        entry = Rendered(self, render, tokenizer)
        self.entries.append(entry)
        self.settle()
        return entry

    def remove(self, entry: Rendered) -> None:
        self.entries.remove(entry)
        self.settle()

    def generate(self, generate: Callable[..., Any], model: Any, prompt: Prompt, call: Mapping[str, Any]) -> Any:
        """``generate(**call)`` with every row's context before it, and without it in what is returned."""
        import torch

        if prompt.mask is None and prompt.ids is not None:
            prompt.mask = _mask(model, call, prompt.ids)
        rows = self._rows(prompt, call)
        contexts = [[token for entry in self.entries for token in entry.ids(row)] for row in rows]
        if not any(contexts):
            return generate(**call)
        texts = [
            _joined(torch.tensor(before, dtype=torch.int64), row, self._begins(row))
            for before, row in zip(contexts, rows, strict=True)
        ]
        ids, grown = prompt.ids, max(map(len, texts))
        if ids is None:
            return generate(**call)
        whole = ids.new_full((len(texts), grown), setting(model, call, "pad_token_id") or 0)
        mask = torch.zeros_like(whole)
        for line, text in enumerate(texts):
            whole[line, grown - len(text) :] = text
            mask[line, grown - len(text) :] = 1
        longer = {**call, "input_ids": whole, "attention_mask": mask} | _lengths(model, call, grown - prompt.width)
        longer.pop("inputs", None)
        if longer.get("streamer") is not None:
            longer["streamer"] = PromptStreamer(longer["streamer"], ids)
        prompt.width = grown
        return _cut(generate(**longer), ids, grown)

    def _rows(self, prompt: Prompt, call: Mapping[str, Any]) -> list[torch.Tensor]:
        """The ids of each row. Raises `ModelError` where nothing can be put before them."""
        cache = call.get("past_key_values")
        if prompt.ids is None or call.get("inputs_embeds") is not None:
            raise ModelError(
                "A context is put before token ids; call `generate` with `input_ids`, not with embeddings."
            )
        if cache is not None and int(cache.get_seq_length()):
            raise ModelError(
                "A context is put before the whole prompt, and this cache holds its beginning already; call "
                "`generate` without it, or without a context."
            )
        if call.get("position_ids") is not None:
            raise ModelError(
                "With a context, `generate` finds the positions by itself; call it without `position_ids`."
            )
        return prompt.rows()

    def _begins(self, row: torch.Tensor) -> bool:
        """Whether the row begins with the token that texts begin with, which then stays first."""
        tokenizers = [entry.tokenizer for entry in self.entries if entry.tokenizer is not None]
        first = next((getattr(one, "bos_token_id", None) for one in tokenizers), None)
        return first is not None and bool(len(row)) and int(row[0]) == first


class PromptStreamer:
    """A streamer that is given the caller's prompt instead of the longer one."""

    def __init__(self, streamer: Any, ids: torch.Tensor) -> None:
        self.streamer, self.prompt = streamer, ids

    def put(self, value: torch.Tensor) -> None:
        prompt, self.prompt = self.prompt, None  # type: ignore[assignment]
        self.streamer.put(value if prompt is None else prompt.cpu())

    def end(self) -> None:
        self.streamer.end()


def _joined(before: torch.Tensor, row: torch.Tensor, begins: bool) -> torch.Tensor:
    import torch

    first = int(begins)
    return torch.cat([row[:first], before.to(row), row[first:]])


def _mask(model: Any, call: Mapping[str, Any], ids: torch.Tensor) -> torch.Tensor | None:
    """The mask that `generate` itself would find: padding is told by its id, unless that also ends texts."""
    padding, end = setting(model, call, "pad_token_id"), setting(model, call, "eos_token_id")
    ends = end if isinstance(end, list | tuple) else [end]
    return None if padding is None or padding in ends else ids.ne(padding).long()


def _lengths(model: Any, call: Mapping[str, Any], longer: int) -> dict[str, int]:
    """Limits that count the prompt, longer by as much as it is."""
    from transformers import GenerationConfig

    lengths = {}
    for name in ("max_length", "min_length"):
        limit = setting(model, call, name)
        if limit and (call.get(name) is not None or limit != getattr(GenerationConfig(), name)):
            lengths[name] = limit + longer
    return lengths


def _cut(output: Any, ids: torch.Tensor, width: int) -> Any:
    """The output with the caller's ids in the place of the longer prompt."""
    import torch

    whole = output if isinstance(output, torch.Tensor) else output.sequences
    prompts = ids.repeat_interleave(len(whole) // len(ids), dim=0).to(whole.device)
    sequences = torch.cat([prompts, whole[:, width:]], dim=1)
    if isinstance(output, torch.Tensor):
        return sequences
    output.sequences = sequences
    return output
