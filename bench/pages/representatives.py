"""Representative keys of an event, by which a model finds it itself: those of its tokens that are attended most.

As in InfLLM (arXiv 2402.04617): each query head names the tokens of the event that receive the most attention, and the
mean of their keys stands for the event there. A question is the mean of its queries, and the inner product over all
heads of some layers ranks the events.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mnemic.arrays import Floats32
from mnemic.languagemodel import blocks
from mnemic.pages.reading import ReadPage
from operators.pages.scores import products

TOKENS = 4
"""Tokens of an event that each head names."""


def layers_between(count: int) -> tuple[int, int]:
    """The layers of a model of ``count`` that are compared: at a third and at two thirds."""
    return count // 3, 2 * count // 3


def representative(model: Any, reading: ReadPage, layers: Sequence[int]) -> Floats32:
    """Mean key, before rotation, of the tokens that each query head attends most: float32 [layers, heads * width].

    The text was read with its queries; attention has neither mask nor positions. Of equal tokens the earlier counts.
    """
    import torch

    parts = []
    for layer in layers:
        queries, keys = reading.queries[layer], reading.page.keys[layer]
        received = products(blocks(model)[layer], queries, keys).softmax(-1).sum(1)
        best = received.sort(dim=1, descending=True, stable=True).indices[:, :TOKENS]
        shared = keys.float().repeat_interleave(len(queries) // len(keys), 0)
        chosen = shared.gather(1, best[..., None].expand(-1, -1, shared.shape[2]))
        parts.append(chosen.mean(1).flatten())
    return torch.stack(parts).cpu().numpy().astype(np.float32)


def asking(reading: ReadPage, layers: Sequence[int]) -> Floats32:
    """The mean query of a text, before rotation, as `representative` has keys: float32 [layers, heads * width]."""
    import torch

    rows = [reading.queries[layer].float().mean(1).flatten() for layer in layers]
    return torch.stack(rows).cpu().numpy().astype(np.float32)
