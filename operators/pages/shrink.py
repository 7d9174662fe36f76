"""The rows of a page that stay, and the bytes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mnemic.arrays import Floats32, Integers
from mnemic.pages.blob import PageForm
from mnemic.pages.page import Page, check_of

FIRST, LAST = 4, 16
"""Rows at the beginning and the end of a page that `with_ends` lets stay, as far as they are at most half of it."""


@dataclass(frozen=True)
class Shrink:
    """``bits`` of a number, the type ``numbers`` where it is whole, ``keep``: share of the tokens that have rows.

    ``largest``: bytes of a page at most, 0 for any number; fewer tokens have rows then.
    """

    bits: int
    numbers: str
    keep: float
    largest: int = 0

    def rows(self, tokens: int, sizes: tuple[int, int, int]) -> int:
        """Rows of each head of a page of so many ``tokens``; ``sizes`` are layers, heads and width."""
        rows = min(tokens, max(1, int(np.ceil(self.keep * tokens))))
        while rows > 1 and self.largest and self.bytes_of(tokens, rows, sizes) > self.largest:
            size = self.bytes_of(tokens, rows, sizes)
            rows = min(rows - 1, max(1, rows * self.largest // size))
        return rows

    def bytes_of(self, tokens: int, rows: int, sizes: tuple[int, int, int]) -> int:
        """Bytes of a page of ``tokens`` with so many ``rows``, with the places of a sparse one."""
        layers, heads, width = sizes
        form = PageForm(layers, heads, width, rows, self.bits, self.numbers)
        return form.size + (0 if rows == tokens else 2 * layers * heads * rows)


def with_ends(scores: Floats32, rows: int) -> Floats32:
    """``scores``, float32 [layers, heads, n], by which the first and the last tokens are among ``rows`` that stay.

    A text that goes on behind a page needs them. Answers do not, so KVzip's scores are taken as they are.
    """
    ranked = np.array(scores, np.float32)
    ranked[..., : min(FIRST, rows // 4)] = np.inf
    ranked[..., scores.shape[2] - min(LAST, rows // 4) :] = np.inf
    return ranked


def chosen(scores: Floats32, rows: int) -> Integers:
    """Places of the ``rows`` that stay, ascending, int64 [layers, heads, rows]; of equal ``scores`` the earlier.

    ``scores`` are float32 [layers, heads, n].
    """
    order = np.argsort(-scores, axis=2, kind="stable")[..., :rows]
    return np.sort(order, axis=2).astype(np.int64)


def shrunk(page: Page, rows: int, scores: Floats32 | None, shrink: Shrink) -> dict[str, Any]:
    """The columns of `pages` that hold a whole ``page`` with ``rows`` rows of each head, chosen by ``scores``.

    Without scores all rows stay. Raises `ModelError` for keys and values that cannot be rounded.
    """
    import torch

    layers, heads, tokens, width = page.keys.shape
    keys, values, stood = page.keys.cpu(), page.values.cpu(), None
    if scores is not None and rows < tokens:
        places = chosen(scores, rows)
        stood = places.astype("<u2").tobytes()
        at = torch.from_numpy(places)[..., None].expand(-1, -1, -1, width)
        keys, values = keys.gather(2, at), values.gather(2, at)
    form = PageForm(layers, heads, width, keys.shape[2], shrink.bits, shrink.numbers)
    blob = form.packed(keys, values)
    sizes = {"layers": layers, "heads": heads, "width": width, "bits": shrink.bits, "numbers": shrink.numbers}
    return {
        **sizes,
        "tokens": tokens,
        "rows": keys.shape[2],
        "places": stood,
        "kv": blob,
        "check": check_of(stood, blob),
    }
