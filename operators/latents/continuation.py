"""Continuations that a model samples with a text in its cache, and what it expected at each of their places.

All sequences of a pass share the rows of the text. They stand abreast: one pass reads the next token of each, and a
mask lets it see the text and its own sequence. So the text's rows are read once a pass instead of once a sequence, and
the distribution that a token is drawn from is the target that it gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from operators.latents.reader import BehindRows, RotatedRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

_ABREAST = 32
"""Sequences of a pass. Each sees the rows of all others masked, so more cost more attention."""


@dataclass(frozen=True, eq=False)
class Targeted:
    """``tokens`` int64 [n, t]; of each next token the teacher's ``top`` ids, int64, and float32 ``probs``.

    Both are [n, t - 1, top], and the probabilities of a token sum to 1.
    """

    tokens: torch.Tensor
    top: torch.Tensor
    probs: torch.Tensor

    def __getitem__(self, part: slice) -> Targeted:
        return Targeted(self.tokens[part], self.top[part], self.probs[part])

    @classmethod
    def joined(cls, parts: Sequence[Targeted]) -> Targeted:
        import torch

        return cls(*(torch.cat([getattr(one, name) for one in parts]) for name in ("tokens", "top", "probs")))


def continued(
    reader: BehindRows,
    teacher: RotatedRows,
    begins: Sequence[Sequence[int]],
    length: int,
    top: int,
    draw: torch.Generator,
) -> Targeted:
    """How the model goes on from each of ``begins``, token ids, with the text of ``teacher``.

    A begin of more than ``length`` tokens is cut.
    """
    import torch

    parts = [begins[at : at + _ABREAST] for at in range(0, len(begins), _ABREAST)]
    with torch.inference_mode():
        sampled = [_abreast(reader, teacher, part, length, top, draw) for part in parts]
    with torch.inference_mode(False):
        joined = Targeted.joined(sampled)
        return Targeted(joined.tokens.clone(), joined.top.clone(), joined.probs.clone())


def likeliest(log_probs: torch.Tensor, top: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The ``top`` ids of ``log_probs`` [..., vocabulary], and their probabilities, scaled to sum to 1."""
    values, ids = log_probs.topk(min(top, log_probs.shape[-1]), dim=-1)
    likely = values.exp()
    return ids.cpu(), (likely / likely.sum(-1, keepdim=True)).cpu()


def _abreast(
    reader: BehindRows,
    teacher: RotatedRows,
    begins: Sequence[Sequence[int]],
    length: int,
    top: int,
    draw: torch.Generator,
) -> Targeted:
    import torch
    from transformers import DynamicCache

    count = len(begins)
    tokens = torch.full((count, length), -1)
    for row, begin in enumerate(begins):
        tokens[row, : len(begin)] = torch.tensor(begin[:length])
    own = DynamicCache(config=reader.model.config)
    ids, probs = list[torch.Tensor](), list[torch.Tensor]()
    for place in range(length - 1):
        hidden = reader.abreast(tokens[:, place], teacher, own, place)
        log_probs = torch.log_softmax((hidden @ reader.head.T).float(), -1)
        for column, part in zip((ids, probs), likeliest(log_probs, top), strict=True):
            column.append(part)
        following = tokens[:, place + 1]
        drawn = torch.multinomial(log_probs.exp().cpu(), 1, generator=draw)[:, 0]
        tokens[:, place + 1] = torch.where(following < 0, drawn, following)
    return Targeted(tokens, torch.stack(ids, 1), torch.stack(probs, 1))
