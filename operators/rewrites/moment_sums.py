"""Sums of k k^T over the tokens of documents, one document after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.ids import hash_bytes
from mnemic.rewrites.moments import packed
from mnemic.rewrites.reading import hidden_of, reading_keys, shape_of

WINDOW = 512
"""Tokens of one pass."""


class MomentSums:
    """Sums over what was added, in float64, of the last projections of ``layers`` of ``model``.

    A document is read alone, so neither its peers nor the division into parts change its products.
    """

    def __init__(self, model: Any, layers: Sequence[int]) -> None:
        self.model, self.layers = model, layers
        self.tokens = 0
        self.sums: dict[int, NDArray[np.float64]] = {}

    def add(self, ids: Sequence[int]) -> None:
        """The token ids of a document."""
        import torch

        with torch.inference_mode(), reading_keys(self.model, self.layers) as read:
            for start in range(0, len(ids), WINDOW):
                window = torch.tensor([ids[start : start + WINDOW]])
                hidden_of(self.model, window, torch.ones_like(window))
                for layer in self.layers:
                    keys = read[layer][0].float()
                    product = (keys.T @ keys).double().cpu().numpy()
                    self.sums[layer] = self.sums[layer] + product if layer in self.sums else product
                self.tokens += window.shape[1]

    def add_all(self, documents: Iterable[Sequence[int]]) -> None:
        for ids in documents:
            self.add(ids)

    def rows(self) -> list[dict[str, Any]]:
        """Columns of `key_moments`, a row a layer; zeros where no token was added."""
        rows = []
        for layer in sorted(self.layers):
            whole = self.sums.get(layer)
            if whole is None:
                whole = np.zeros((shape_of(self.model, layer)[0],) * 2)
            cell = packed(whole)
            rows.append(
                {
                    "layer": layer,
                    "width": len(whole),
                    "tokens": self.tokens,
                    "moments": cell,
                    "check": hash_bytes(cell),
                }
            )
        return rows
