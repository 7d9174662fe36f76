"""What a cartridge is trained on: sequences that the model reads or writes with the text in its cache.

Half of them are sampled continuations of some phrases (Cartridges, arXiv 2506.06266, calls it self-study), half are
pieces of the text, read again. Targets are the model's own distributions with the text: the most likely tokens of each,
scaled to sum to 1. Everything is drawn from the text and the seed, so it is equal whoever makes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnemic.ids import hash_parts
from operators.latents.cartridges import TrainCartridges
from operators.latents.reader import BehindRows, RotatedRows
from operators.latents.settings import LatentText

if TYPE_CHECKING:
    import torch

_TOGETHER = 8
"""Sequences whose targets are computed at a time."""


@dataclass(frozen=True, eq=False)
class Study:
    """``tokens`` int64 [n, t] train, with the teacher's ``top`` of each next token: ids int64, and float32 ``probs``.

    Both are [n, t - 1, top]. The sequences ``sampled`` and ``reread``, int64 [held_out, t] each, only measure.
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
    sampled = continued(reader, teacher, seeds, settings.sequence, settings.sampled + settings.held_out, draw)
    pieces = reread(text, settings.sequence, settings.reread + settings.held_out, draw)
    tokens = torch.cat([sampled[: settings.sampled], pieces[: settings.reread]])
    top, probs = targets(reader, teacher, tokens, settings.top)
    return Study(tokens, top, probs, sampled[settings.sampled :], pieces[settings.reread :])


def continued(
    reader: BehindRows,
    teacher: RotatedRows,
    seeds: list[list[int]],
    length: int,
    count: int,
    draw: torch.Generator,
) -> torch.Tensor:
    """How the model goes on from ``seeds`` with the text, sampled: int64 [count, length].

    Each sequence begins with a phrase, by turns.
    """
    import torch

    rows = torch.zeros(count, length, dtype=torch.int64)
    for size in sorted({len(one) for one in seeds}):
        mine = [number for number in range(count) if len(seeds[number % len(seeds)]) == size]
        if mine:
            phrases = torch.tensor([seeds[number % len(seeds)] for number in mine])
            rows[mine] = _sampled(reader, teacher, phrases, length, draw)
    return rows


def reread(text: LatentText, length: int, count: int, draw: torch.Generator) -> torch.Tensor:
    """Pieces of the text, from places that are drawn: int64 [count, length]."""
    import torch

    ids = torch.tensor(text.ids)
    begins = torch.randint(0, len(ids) - length + 1, (count, 1), generator=draw)
    return ids[begins + torch.arange(length)]


def targets(
    reader: BehindRows, teacher: RotatedRows, tokens: torch.Tensor, top: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The teacher's ``top`` most likely next tokens of ``tokens`` int64 [n, t], and their probabilities."""
    import torch

    ids, probs = [], []
    with torch.inference_mode():
        for some in torch.split(tokens, _TOGETHER):
            values, places = reader.log_probs(some, teacher).topk(min(top, reader.head.shape[0]), dim=-1)
            likely = values.exp()
            ids.append(places.cpu())
            probs.append((likely / likely.sum(-1, keepdim=True)).cpu())
    with torch.inference_mode(False):
        return torch.cat(ids).clone(), torch.cat(probs).clone()


def _sampled(
    reader: BehindRows, teacher: RotatedRows, phrases: torch.Tensor, length: int, draw: torch.Generator
) -> torch.Tensor:
    import torch
    from transformers import DynamicCache

    own, rows = DynamicCache(config=reader.model.config), [phrases[:, :length]]
    with torch.inference_mode():
        for _ in range(length - phrases.shape[1]):
            last = reader.hidden(rows[-1], teacher, own)[:, -1]
            likely = torch.softmax((last @ reader.head.T).float(), -1).cpu()
            rows.append(torch.multinomial(likely, 1, generator=draw))
    with torch.inference_mode(False):
        return torch.cat(rows, 1).clone()
