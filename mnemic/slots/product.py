"""The best of all pairs of sub-keys, without looking at all pairs (Lample et al., arXiv 1907.05242, section 3.1).

The score of a pair is the sum of its two halves' scores. A pair among the best k has halves among the best k of their
own side, and more: the i-th and j-th best halves are below i * j pairs, themselves included, so only pairs with
i * j <= k can be among the best k. Of 32 x 32 candidates 119 are left.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@functools.cache
def candidates(best: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Places (first half, second half), from 0 on, of the pairs that can be among the ``best``."""
    pairs = [(i, j) for i in range(best) for j in range(best // (i + 1))]
    return tuple(i for i, _ in pairs), tuple(j for _, j in pairs)


def best_pairs(first: torch.Tensor, second: torch.Tensor, best: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The ``best`` largest sums of a score of ``first`` and one of ``second``, both float [..., side], and their slots.

    Sums float [..., best], descending, and int64 of that shape; the slot of halves i and j is i * side + j. They are
    those of all side * side pairs; of equal sums at the end any may be left out.
    """
    import torch

    side = first.shape[-1]
    (tops, rows), (others, columns) = (half.topk(min(best, side), dim=-1) for half in (first, second))
    left, right = (torch.tensor(places, device=first.device) for places in _within(best, min(best, side)))
    sums, at = (tops[..., left] + others[..., right]).topk(best, dim=-1)
    return sums, rows.gather(-1, left[at]) * side + columns.gather(-1, right[at])


@functools.cache
def _within(best: int, side: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    pairs = [(i, j) for i, j in zip(*candidates(best), strict=True) if i < side and j < side]
    return tuple(i for i, _ in pairs), tuple(j for _, j in pairs)
