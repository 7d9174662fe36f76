"""The suffix index as a module that a model mixes in: contexts in, next tokens and their probabilities out.

A context of generation is the last tokens of a row. They are kept with the model's cache, so beams, drafts and copies
carry their own; each step searches anew, which takes microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnemic.arrays import Flags, Floats, Floats32, Integers
from mnemic.suffixes.contexts import LONGEST, Contexts
from mnemic.suffixes.evidence import shape_of
from mnemic.suffixes.features import features, names_of
from mnemic.suffixes.index import SuffixIndex

_ROWS = 4096
"""Contexts that are looked up at once."""


@dataclass(frozen=True)
class Answers:
    """What the index says of contexts, by order: the longest match first, then longer and longer ranges of places.

    ``log_probs`` float32 and ``tokens`` int64 are [rows, orders, k]; rows with fewer tokens repeat their first, and an
    order that is none has -inf throughout. ``lengths`` and ``counts`` (int64), ``largest`` (float64) and ``single``
    (bool) are [rows, orders], as `mnemic.suffixes.evidence.Evidence` has them.
    """

    log_probs: Floats32
    tokens: Integers
    lengths: Integers
    counts: Integers
    largest: Floats
    single: Flags


class SuffixMemory:
    """Continuations of the longest suffix of a context that ``index`` has; implements `ContextMemory`."""

    reads: Literal["context"] = "context"
    longest: int = LONGEST

    def __init__(self, index: SuffixIndex) -> None:
        self.index = index
        largest = max((len(shard.ranks) for shard in index.shards if len(shard)), default=1) - 1
        self.tokens = torch.tensor([0, largest])

    @property
    def nbytes(self) -> int:
        """Bytes of what answers."""
        arrays = [(one.tokens, one.places, one.offsets, one.ranks, one.heads, one.guide) for one in self.index.shards]
        return sum(array.nbytes for shard in arrays for array in shard)

    def placed(self, device: torch.device, dtype: torch.dtype) -> SuffixMemory:
        """Itself: the index stays in the memory of the host."""
        return self

    def log_probs(self, contexts: Tensor) -> tuple[Tensor, Tensor]:
        """(log-probabilities float32 [rows, k], token ids int64 [rows, k]) of contexts int64 [rows, longest].

        A context ends with its last column; -1 is no token. Rows with fewer than k tokens repeat their first. A row
        without a match has -inf throughout, for it says nothing.
        """
        answers = self.answers(contexts.cpu().numpy(), 1)
        logs, tokens = torch.from_numpy(answers.log_probs[:, 0]), torch.from_numpy(answers.tokens[:, 0])
        return logs.to(contexts.device), tokens.to(contexts.device)

    def by_order(
        self, name: str, contexts: Tensor, orders: int
    ) -> tuple[list[tuple[Tensor, Tensor]], dict[str, Tensor]]:
        """`log_probs` of each order, and the `features` of the match, float64 [rows], by name."""
        answers, device = self.answers(contexts.cpu().numpy(), orders), contexts.device
        logs, tokens = torch.from_numpy(answers.log_probs).to(device), torch.from_numpy(answers.tokens).to(device)
        columns = torch.from_numpy(features(answers)).to(device).unbind(1)
        named = dict(zip(names_of(name, orders), columns, strict=True))
        return [(logs[:, order], tokens[:, order]) for order in range(orders)], named

    def answers(self, contexts: Integers, orders: int) -> Answers:
        """Of contexts int64 [rows, longest], as `log_probs` has them."""
        parts = [self._of(part, orders) for part in np.array_split(contexts, -(-len(contexts) // _ROWS) or 1)]
        width = max(part.tokens.shape[2] for part in parts)
        columns = {name: [getattr(part, name) for part in parts] for name in Answers.__dataclass_fields__}
        for name in ("log_probs", "tokens"):
            columns[name] = [_widened(values, width) for values in columns[name]]
        return Answers(**{name: np.concatenate(values) for name, values in columns.items()})

    def _of(self, contexts: Integers, orders: int) -> Answers:
        rows, width = contexts.shape
        ends = np.arange(1, rows + 1) * width
        suffixes = Contexts(np.ascontiguousarray(contexts, np.int32).reshape(-1), ends - width, ends)
        matches = self.index.matches(suffixes, orders)
        following = self.index.continuations(matches)
        sizes = np.diff(following.begins)
        most = max(1, int(sizes.max(initial=0)))
        column = np.arange(most)
        entry = following.begins[:-1, None] + np.where(column < sizes[:, None], column, 0)
        there = np.repeat(sizes[:, None] > 0, most, axis=1)
        logs, tokens = np.full(there.shape, -np.inf, np.float32), np.zeros(there.shape, np.int64)
        logs[there] = np.log(following.shares)[entry[there]]
        tokens[there] = following.tokens[entry[there]]
        shape = (rows, orders, most)
        return Answers(logs.reshape(shape), tokens.reshape(shape), *shape_of(matches, following))


def _widened(values: NDArray[np.generic], width: int) -> NDArray[np.generic]:
    """More columns, each the first one again."""
    more = np.repeat(values[..., :1], width - values.shape[-1], axis=-1)
    return np.concatenate([values, more], axis=-1)
