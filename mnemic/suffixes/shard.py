"""A shard: the tokens of a run of documents, and their places in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemic.suffixes.construct import sorted_places
from mnemic.suffixes.ranks import Ranks, token_ranks

GUIDED = 64
"""Places of which one is in the guide of a shard."""

_BLOCK = 1 << 20  # tokens that are counted at once


def separator_of(dtype: np.dtype[Any] | type[np.generic]) -> int:
    """The token between documents: the largest number of the type, which no vocabulary of it has."""
    return int(np.iinfo(dtype).max)


@dataclass(frozen=True)
class Shard:
    """Documents of one tenant.

    ``tokens``: uint16 or uint32 [n], each document followed by `separator_of` the type. ``places``: int32, numbers of
    the token that follows, ordered by the `ranks` of the tokens before it, nearest first. ``offsets``: int64
    [documents], where each document begins. ``documents``: their ids, string [documents].
    """

    tokens: NDArray[Any]
    places: NDArray[np.int32]
    offsets: NDArray[np.int64]
    documents: pa.Array
    tenant: str = ""

    @classmethod
    def of(cls, texts: Sequence[NDArray[Any]], documents: Sequence[str], vocabulary: int, tenant: str = "") -> Shard:
        """The shard of ``texts``, the tokens of each document, of a tokenizer with ``vocabulary`` tokens."""
        dtype = token_type(vocabulary)
        separator = separator_of(dtype)
        sizes = np.array([len(text) + 1 for text in texts], np.int64)
        ends = np.cumsum(sizes)
        tokens = np.full(int(ends[-1]) if len(ends) else 0, separator, dtype)
        for text, end, size in zip(texts, ends, sizes, strict=True):
            tokens[end - size : end - 1] = text
        return cls(tokens, sorted_places(tokens, separator), ends - sizes, pa.array(documents, pa.string()), tenant)

    @property
    def separator(self) -> int:
        return separator_of(self.tokens.dtype)

    def __len__(self) -> int:
        """Places."""
        return len(self.places)

    @cached_property
    def ranks(self) -> Ranks:
        """`token_ranks` of the tokens, by which places are in order."""
        return token_ranks(self.tokens, self.separator)

    @cached_property
    def heads(self) -> NDArray[np.int64]:
        """int64 [ranks + 1]: where the places behind the token of each rank begin."""
        counts = np.zeros(int(self.ranks.max()) + 1, np.int64)
        for start in range(0, len(self.places), _BLOCK):
            ranks = self.ranks[self.tokens[self.places[start : start + _BLOCK] - 1]]
            counts += np.bincount(ranks, minlength=len(counts))
        return np.concatenate([[0], np.cumsum(counts)])

    @property
    def guide_width(self) -> int:
        """Tokens of an entry of `guide`."""
        return 8 // self.tokens.dtype.itemsize

    @cached_property
    def guide(self) -> NDArray[np.uint64]:
        """uint64 [places / GUIDED]: the tokens before every `GUIDED`th place, nearest first, as one number each.

        A token counts one more than its rank: 0 is the text's beginning. The largest number may be a token too.
        """
        bits = 8 * self.tokens.dtype.itemsize
        separator = self.separator
        some = self.places[::GUIDED].astype(np.int64)
        entries = np.zeros(len(some), np.uint64)
        for step in range(self.guide_width):
            there = some > step
            code = np.zeros(len(some), np.uint64)
            tokens = self.tokens[some[there] - 1 - step]
            inside = tokens != separator
            code[there] = np.where(inside, self.ranks[np.where(inside, tokens, 0)] + 1, (1 << bits) - 1)
            entries = entries << np.uint64(bits) | code
        return entries

    def document_of(self, places: NDArray[Any]) -> NDArray[np.int64]:
        """The number of the document that each place is in, int64: of the token before the place."""
        return np.searchsorted(self.offsets, places - 1, side="right") - 1  # type: ignore[no-any-return]

    def of_documents(self, chosen: NDArray[np.bool_]) -> Shard:
        """The shard of the ``chosen`` documents, bool [documents]: same tokens, fewer places, in the same order."""
        if chosen.all():
            return self
        sizes = np.diff(np.append(self.offsets, len(self.tokens)))
        member = np.repeat(chosen, sizes)
        return Shard(self.tokens, self.places[member[self.places - 1]], self.offsets, self.documents, self.tenant)


def token_type(vocabulary: int) -> type[np.uint16] | type[np.uint32]:
    """uint16 where a tokenizer of ``vocabulary`` tokens leaves a number free for the separator, else uint32."""
    return np.uint16 if vocabulary <= separator_of(np.uint16) else np.uint32
