"""Token ids of prompts, and where in them a subject ends and a target begins.

Texts are tokenised whole, since pieces merge at seams; places are found by the characters at which tokens stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnemic.errors import ModelError
from mnemic.rewrites.statement import PLACE

if TYPE_CHECKING:
    import torch

LONGEST = 1024
"""Tokens of a prompt."""

BATCH = 16
"""Prompts of one pass."""


@dataclass(frozen=True)
class AskedPrompt:
    """``ids`` of a text; ``place`` is that of the subject's last token, ``begin`` of the first one of the target.

    Without a target ``begin`` is the length; without a subject ``place`` is the last token before it.
    """

    ids: tuple[int, ...]
    place: int
    begin: int

    @property
    def targets(self) -> tuple[int, ...]:
        return self.ids[self.begin :]


def prompt_of(
    tokenizer: Any, relation: str, subject: str = "", target: str = "", *, before: str = "", context: str = PLACE
) -> AskedPrompt:
    """The text ``before``, then the sentence ``relation`` about ``subject`` within ``context``, then ``target``.

    Raises `ModelError` for a text that is too long, and a target without tokens of its own.
    """
    lead, rest = context.split(PLACE, 1)
    opening, closing = relation.split(PLACE, 1) if PLACE in relation else (relation, "")
    start = before + lead + opening
    prompt = f"{start}{subject}{closing}{rest}" if PLACE in relation else f"{start}{rest}"
    text = f"{prompt} {target}" if target else prompt
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids, spans = encoded["input_ids"], encoded["offset_mapping"]
    begin = next((at for at, (_, end) in enumerate(spans) if end > len(prompt)), len(ids))
    end = len(start) + len(subject) if subject else len(prompt)
    place = max((at for at, (first, last) in enumerate(spans[:begin]) if first < end and last > first), default=-1)
    if len(ids) > LONGEST or place < 0 or (target and begin == len(ids)):
        raise ModelError(
            f"The prompt {text[:60]!r} has {len(ids):,} tokens, {len(ids) - begin} of them of its target; give a "
            f"sentence of 2 to {LONGEST:,} tokens with a target behind it."
        )
    return AskedPrompt(tuple(ids), place, begin)


def batches(prompts: Sequence[AskedPrompt]) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
    """(places in ``prompts``, ids int64 [b, t], mask int64 [b, t]), `BATCH` at a time, with zeros on the right."""
    import torch

    for start in range(0, len(prompts), BATCH):
        some = list(range(start, min(start + BATCH, len(prompts))))
        longest = max(len(prompts[one].ids) for one in some)
        ids, mask = (torch.zeros(len(some), longest, dtype=torch.int64) for _ in range(2))
        for row, one in enumerate(some):
            own = prompts[one].ids
            ids[row, : len(own)], mask[row, : len(own)] = torch.tensor(own), 1
        yield some, ids, mask
