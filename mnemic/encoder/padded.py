"""The forward pass of any transformers encoder over padded batches of constant shapes: the way of a GPU.

Sequences are sorted into buckets of padded length, and a batch of a bucket has always the same shape, the last one
filled with dummy rows. The kernels of a matrix library depend on the shape; with the shape fixed, the vector of a text
is bit-equal in any batch. Padding is on the right, so a causal model never sees it. Positions are those of the text
alone, also in RoBERTa, whose module counts them past its padding token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mnemic import inside
from mnemic.arrays import Integers
from mnemic.encoder.tokens import Tokens

if TYPE_CHECKING:
    import torch

_LENGTHS = (*range(8, 64, 8), *range(64, 256, 16), *range(256, 512, 32), *range(512, 8193, 128))


class PaddedModel:
    """A transformers module on ``device``."""

    def __init__(self, model: Any, padding: int, device: str, max_tokens: int, batch_tokens: int, width: int) -> None:
        self._model = model
        self._padding = padding
        self._device = device
        self._batch_tokens = batch_tokens
        self._lengths = np.array([length for length in _LENGTHS if length < max_tokens] + [max_tokens])
        self.dimension = width

    def pooled(self, tokens: Tokens, pooling: str, small: bool = False) -> npt.NDArray[np.float32]:
        """Pooled last hidden states of every sequence: float32 [sequences, dimension].

        With ``small`` a batch has as many rows as there are sequences for it, without dummies.
        """
        vectors, sequences = np.empty((len(tokens), self.dimension), np.float32), 0
        bucket_of = np.searchsorted(self._lengths, tokens.counts)
        for bucket in np.unique(bucket_of).tolist():
            length = int(self._lengths[bucket])
            full = max(1, self._batch_tokens // length)
            members = np.flatnonzero(bucket_of == bucket)
            rows = min(full, len(members)) if small else full
            for start in range(0, len(members), rows):
                chosen = members[start : start + rows]
                vectors[chosen] = self._batch(tokens, chosen, rows, length, pooling)
                sequences += len(chosen)
                inside.tell(sequences)
        return vectors

    def _batch(self, tokens: Tokens, chosen: Integers, rows: int, length: int, pooling: str) -> npt.NDArray[np.float32]:
        import torch

        counts = np.ones(rows, np.int64)  # a dummy row attends to one token, so that nothing divides by zero
        counts[: len(chosen)] = tokens.counts[chosen]
        mask = np.arange(length) < counts[:, None]
        ids = np.full((rows, length), self._padding, np.int64)
        own = mask[: len(chosen)]
        ids[: len(chosen)][own] = tokens.ids[(tokens.starts[chosen][:, None] + np.arange(length))[own]]
        with torch.inference_mode():
            attended = torch.from_numpy(mask).to(self._device)
            states = self._model(
                input_ids=torch.from_numpy(ids).to(self._device), attention_mask=attended.to(torch.int64)
            ).last_hidden_state
            vectors: npt.NDArray[np.float32] = _pool(states, attended, pooling)[: len(chosen)].cpu().numpy()
        return vectors


def _pool(states: torch.Tensor, attended: torch.Tensor, pooling: str) -> torch.Tensor:
    """float32 [rows, dimension] of states [rows, length, dimension]; ``attended`` bool [rows, length] is the text."""
    import torch

    if pooling == "mean":
        weights = attended.to(torch.float32)
        sums = torch.bmm(weights[:, None, :], states.to(torch.float32))[:, 0]
        return sums / weights.sum(1, keepdim=True)
    if pooling == "max":
        return states.masked_fill(~attended[:, :, None], float("-inf")).amax(dim=1).to(torch.float32)
    if pooling == "cls":
        return states[:, 0].to(torch.float32)
    last = attended.sum(1) - 1
    return states[torch.arange(len(states), device=states.device), last].to(torch.float32)
