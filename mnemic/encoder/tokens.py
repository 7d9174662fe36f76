"""Texts to token ids, as flat arrays: no list per token, no padding.

The tokenizer (Rust, all cores unless ``TOKENIZERS_PARALLELISM`` says otherwise) takes about 1 % of the time that a
small model takes on a CPU: 100,000 tokens in 0.09 s of one core.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mnemic.arrays import Integers


@dataclasses.dataclass(frozen=True)
class Tokens:
    """Sequences of tokens, one after another: ``ids`` int64 [tokens], ``counts`` int64 [sequences].

    ``text`` int64 [sequences] is the text that a sequence is of, ascending. ``weights`` float64 [sequences] are its
    tokens without the special ones: its weight in the mean of the text's windows.
    """

    ids: Integers
    counts: Integers
    text: Integers
    weights: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def starts(self) -> Integers:
        return np.cumsum(self.counts) - self.counts


class EncoderTokenizer:
    """A tokenizer of `tokenizers`, with one limit and one way with texts that exceed it."""

    def __init__(self, backend: Any, max_tokens: int, windows: bool) -> None:
        self._backend = backend
        self._special = int(backend.num_special_tokens_to_add(False))
        self._windows = windows
        self._counter: Any = None
        self._backend.no_padding()
        self._backend.enable_truncation(max_tokens, stride=0)

    def __call__(self, texts: Sequence[str]) -> Tokens:
        if len(texts) == 1:  # in this thread: a batch wakes others, which takes longer than a question
            encodings = [self._backend.encode(texts[0], add_special_tokens=True)]
        else:
            encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=True)
        owners = range(len(encodings))
        if self._windows:
            lots = [[encoding, *encoding.overflowing] for encoding in encodings]
            owners = np.repeat(np.arange(len(lots)), [len(lot) for lot in lots])  # type: ignore[assignment]
            encodings = [encoding for lot in lots for encoding in lot]
        lists = [encoding.ids or [0] for encoding in encodings]  # a tokenizer without special tokens makes none of ""
        counts = np.fromiter(map(len, lists), np.int64, len(lists))
        ids = np.fromiter(itertools.chain.from_iterable(lists), np.int64, int(counts.sum()))
        weights = np.maximum(counts - self._special, 1).astype(np.float64)
        return Tokens(ids, counts, np.asarray(owners, np.int64), weights)

    def count(self, text: str) -> int:
        """Tokens of all of ``text``, without special ones."""
        if self._counter is None:  # its own copy: the limit is a state of the other
            self._counter = type(self._backend).from_str(self._backend.to_str())
            self._counter.no_truncation()
        return len(self._counter.encode(text, add_special_tokens=False).ids)


def mean_of_windows(vectors: npt.NDArray[np.float32], tokens: Tokens, texts: int) -> npt.NDArray[np.float32]:
    """The mean of each text's window ``vectors`` float32 [sequences, d], weighted by tokens: float32 [texts, d]."""
    firsts = np.searchsorted(tokens.text, np.arange(texts))
    sums = np.add.reduceat(vectors * tokens.weights[:, None], firsts, axis=0)
    means: npt.NDArray[np.float32] = (sums / np.add.reduceat(tokens.weights, firsts)[:, None]).astype(np.float32)
    return means
