"""Pages one behind the other in the cache, for the rows of a batch, each with its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mnemic.attach.cache import Prefix
from mnemic.pages.page import Page

if TYPE_CHECKING:
    import torch


def standing(rows: Sequence[Sequence[Page]], dtype: torch.dtype) -> Prefix | None:
    """The pages of each row of a batch at consecutive places, in ``dtype``; None where no row has one.

    A row with fewer keys than the longest is padded on the left, and masked there. A sparse page takes up the positions
    of its whole text.
    """
    import torch

    sizes = [sum(page.rows for page in pages) for pages in rows]
    longest = max(sizes, default=0)
    if not longest:
        return None
    layers, heads, _, width = next(page for pages in rows for page in pages).keys.shape
    keys, values = (torch.zeros(layers, len(rows), heads, longest, width, dtype=dtype) for _ in range(2))
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    sparse = any(page.places is not None for pages in rows for page in pages)
    shape = (layers, len(rows), heads, longest) if sparse else (len(rows), longest)
    places, length = torch.zeros(shape, dtype=torch.int64), torch.zeros(len(rows), dtype=torch.int64)
    for row, pages in enumerate(rows):
        begin, position = longest - sizes[row], 0
        mask[row, begin:] = True
        for page in pages:
            at = slice(begin, begin + page.rows)
            keys[:, row, :, at], values[:, row, :, at] = page.keys, page.values
            own = torch.arange(page.rows) if page.places is None else page.places
            if sparse:
                places[:, row, :, at] = own + position
            else:
                places[row, at] = own + position
            begin, position = at.stop, position + page.tokens
        length[row] = position
    return Prefix(keys.unbind(0), values.unbind(0), mask, places, length)
