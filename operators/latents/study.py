"""What a cartridge is trained on: sequences that the model reads or writes with the text in its cache.

Some are sampled continuations (Cartridges, arXiv 2506.06266, calls it self-study): of phrases, or of a few words of the
text. The others are pieces of the text, read again. Targets are the model's own distributions with the text: the most
likely tokens of each, scaled to sum to 1. Everything is drawn from the text and the seed, so it is equal whoever makes
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnemic.ids import hash_parts
from operators.latents.cartridges import TrainCartridges
from operators.latents.continuation import Targeted, continued, likeliest
from operators.latents.reader import BehindRows, RotatedRows
from operators.latents.settings import LatentText

if TYPE_CHECKING:
    import torch

_TOGETHER = 8
"""Sequences whose targets are computed at a time."""

_QUOTED = (2, 8)
"""Tokens of the text that a continuation begins with, at least and at most."""


@dataclass(frozen=True, eq=False)
class Study:
    """``tokens``, ``top`` and ``probs`` train, as `Targeted` has them.

    The sequences ``sampled`` and ``reread``, int64 [held_out, t] each, only measure.
    """

    tokens: torch.Tensor
    top: torch.Tensor
    probs: torch.Tensor
    sampled: torch.Tensor
    reread: torch.Tensor


def studied(
    reader: BehindRows, text: LatentText, teacher: RotatedRows, seeds: list[list[int]], settings: TrainCartridges
) -> Study:
    """The study of ``text``, which ``teacher`` has in its cache; ``seeds`` are the tokens of the phrases."""
    import torch

    draw = torch.Generator().manual_seed(int(hash_parts("study", settings.seed, text.hash)[:15], 16))
    phrases = [seeds[number % len(seeds)] for number in range(settings.sampled + settings.held_out)]
    begins = [*phrases, *quotes(text, settings.quoted, draw)]
    written = continued(reader, teacher, begins, settings.sequence, settings.top, draw)
    pieces = reread(text, settings.sequence, settings.reread + settings.held_out, draw)
    again = targeted(reader, teacher, pieces[: settings.reread], settings.top)
    train = Targeted.joined([written[: settings.sampled], written[len(phrases) :], again])
    measuring = (written.tokens[settings.sampled : len(phrases)], pieces[settings.reread :])
    return Study(train.tokens, train.top, train.probs, *measuring)


def quotes(text: LatentText, count: int, draw: torch.Generator) -> list[list[int]]:
    """A few tokens of the text, from places that are drawn, ``count`` times."""
    import torch

    least, most = _QUOTED
    begins = torch.randint(0, len(text.ids) - most + 1, (count,), generator=draw).tolist()
    sizes = torch.randint(least, most + 1, (count,), generator=draw).tolist()
    return [list(text.ids[begin : begin + size]) for begin, size in zip(begins, sizes, strict=True)]


def reread(text: LatentText, length: int, count: int, draw: torch.Generator) -> torch.Tensor:
    """Pieces of the text, from places that are drawn: int64 [count, length]."""
    import torch

    ids = torch.tensor(text.ids)
    begins = torch.randint(0, len(ids) - length + 1, (count, 1), generator=draw)
    return ids[begins + torch.arange(length)]


def targeted(reader: BehindRows, teacher: RotatedRows, tokens: torch.Tensor, top: int) -> Targeted:
    """``tokens`` int64 [n, t] with the ``top`` most likely next tokens of each place, by the teacher."""
    import torch

    with torch.inference_mode():
        parts = [likeliest(reader.log_probs(some, teacher), top) for some in torch.split(tokens, _TOGETHER)]
    with torch.inference_mode(False):
        return Targeted(tokens, *(torch.cat(column).clone() for column in zip(*parts, strict=True)))
