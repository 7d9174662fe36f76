"""Contexts that an index is asked about: ranges of one array of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST = 64
"""Tokens of a context that are compared unless more are asked for."""


@dataclass(frozen=True)
class Contexts:
    """``tokens`` int32 [n]; context i is ``tokens[begins[i]:ends[i]]``, int64 [q] each. It may be empty.

    A token that no index can have, such as padding, is -1: nothing matches across it.
    """

    tokens: NDArray[np.int32]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends)

    @classmethod
    def before_each(cls, tokens: NDArray[Any], longest: int | None = LONGEST) -> Contexts:
        """The context before each token of a text [n], of the ``longest`` last tokens (None: all): n contexts."""
        return cls._ending(tokens, np.arange(len(tokens), dtype=np.int64), longest)

    @classmethod
    def up_to_each(cls, tokens: NDArray[Any], longest: int | None = LONGEST) -> Contexts:
        """The context that ends with each token of a text [n]: n contexts."""
        return cls._ending(tokens, np.arange(1, len(tokens) + 1, dtype=np.int64), longest)

    @classmethod
    def of(cls, texts: Sequence[NDArray[Any] | Sequence[int]], longest: int | None = LONGEST) -> Contexts:
        """One context a text: its ``longest`` last tokens."""
        sizes = np.array([len(text) for text in texts], np.int64)
        ends = np.cumsum(sizes)
        tokens = np.concatenate([np.asarray(text, np.int64) for text in texts] or [np.empty(0, np.int64)])
        begins = ends - sizes if longest is None else np.maximum(ends - sizes, ends - longest)
        return cls(_as_queried(tokens), begins, ends)

    @classmethod
    def _ending(cls, tokens: NDArray[Any], ends: NDArray[np.int64], longest: int | None) -> Contexts:
        begins = np.zeros(len(ends), np.int64) if longest is None else np.maximum(ends - longest, 0)
        return cls(_as_queried(np.asarray(tokens)), begins, ends)


def _as_queried(tokens: NDArray[Any]) -> NDArray[np.int32]:
    wide = tokens.astype(np.int64)
    return np.where((wide < 0) | (wide > np.iinfo(np.int32).max), -1, wide).astype(np.int32)
