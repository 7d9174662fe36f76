"""Several shards that answer as one: counts are sums over them, whatever their number.

A context's **orders** are the suffixes of it that matter: the longest that stands anywhere, then the longest shorter
one that stands in more places, and so on. The suffixes between them stand in the same places and say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemic.arrays import Integers
from mnemic.compiled import can_compile
from mnemic.errors import BankError
from mnemic.suffixes import kernel, plain
from mnemic.suffixes.contexts import Contexts
from mnemic.suffixes.shard import GUIDED, Shard

LOOKED_AT = 256
"""Places whose next tokens are looked at, unless all are."""

MOST_SORTED = 1 << 20
"""Places that are put into the order of their documents."""


@dataclass(frozen=True)
class Matches:
    """Where contexts stand: ``lengths`` in tokens and ``counts`` in places, int64 [contexts, orders].

    Orders behind the last have length and count 0. ``firsts`` and ``lasts`` int64 [shards, contexts, orders] are the
    ranges of each shard's places.
    """

    lengths: Integers
    counts: Integers
    firsts: Integers
    lasts: Integers

    def __len__(self) -> int:
        return len(self.lengths)

    @classmethod
    def none(cls, shards: int, contexts: int, orders: int) -> Matches:
        shape = (contexts, orders)
        counts, *ranges = (np.zeros(size, np.int64) for size in (shape, (shards, *shape), (shards, *shape)))
        return cls(np.zeros(shape, np.int64), counts, *ranges)

    def set(self, order: int, length: Integers, first: Integers, last: Integers, entered: NDArray[np.bool_]) -> None:
        """Fill in an order: its length, and the ranges of the shards that have ``entered``."""
        there = entered & (length > 0)
        self.lengths[:, order] = length
        self.firsts[:, :, order] = np.where(there, first, 0)
        self.lasts[:, :, order] = np.where(there, last, 0)
        self.counts[:, order] = (self.lasts[:, :, order] - self.firsts[:, :, order]).sum(axis=0)


@dataclass(frozen=True)
class Continuations:
    """Next tokens of rows, a row an order of a context: row i has ``tokens[begins[i]:begins[i + 1]]``, ascending.

    ``begins`` int64 [rows + 1], ``tokens`` int32 [m], ``counts`` int64 [m]: places that each follows, of those looked
    at. Rows without a match, or whose every place ends its document, have none.
    """

    begins: Integers
    tokens: NDArray[np.int32]
    counts: Integers

    @property
    def row(self) -> Integers:
        """The row of each entry, int64 [m]."""
        return np.repeat(np.arange(len(self.begins) - 1), np.diff(self.begins))

    @property
    def totals(self) -> Integers:
        """Places of each row that a token follows, of those looked at: int64 [rows]."""
        sums = np.concatenate([[0], np.cumsum(self.counts)])
        return sums[self.begins[1:]] - sums[self.begins[:-1]]  # type: ignore[no-any-return]

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share of each entry in its row, float64 [m]; they sum to 1 in each row that has some."""
        return self.counts / self.totals[self.row]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Places:
    """Where ``length`` tokens stand: ``documents`` by id, and the ``offsets`` in tokens at which they begin there.

    ``shards`` are numbers in `SuffixIndex.shards`; ``places`` the numbers in their ``tokens`` of the token behind. All
    int64 [n].
    """

    documents: list[str]
    offsets: Integers
    shards: Integers
    places: Integers
    length: int

    def __len__(self) -> int:
        return len(self.documents)


class SuffixIndex:
    """The index of ``shards``, of one tokenizer. ``with_numba=False`` takes numpy even where numba is installed."""

    def __init__(self, shards: Sequence[Shard], with_numba: bool | None = None) -> None:
        self.shards = tuple(shards)
        if len({shard.tokens.dtype for shard in self.shards}) > 1:
            raise BankError("Shards of one index have tokens of one type; build the suffixes again.")
        self.with_numba = can_compile() if with_numba is None else with_numba

    def __deepcopy__(self, memo: dict[int, Any]) -> SuffixIndex:
        return self  # nothing changes it

    @property
    def code(self) -> Any:
        """The module that searches."""
        return kernel if self.with_numba else plain

    @property
    def places(self) -> int:
        """Tokens that the index knows the contexts of."""
        return sum(len(shard) for shard in self.shards)

    def of_documents(self, keeps: Callable[[Shard], NDArray[np.bool_]]) -> SuffixIndex:
        """The index of some documents: ``keeps`` gives those of a shard, bool [documents]. Empty shards go."""
        chosen = (shard.of_documents(keeps(shard)) for shard in self.shards)
        return SuffixIndex([shard for shard in chosen if len(shard)], self.with_numba)

    def of_tenant(self, tenant: str) -> SuffixIndex:
        """The index of one tenant's shards."""
        return SuffixIndex([shard for shard in self.shards if shard.tenant == tenant], self.with_numba)

    def matches(self, contexts: Contexts, orders: int = 1) -> Matches:
        """The longest suffix of each context that stands in the index, and ``orders`` - 1 shorter ones."""
        shape = (len(self.shards), len(contexts))
        own, first, last = (np.zeros(shape, np.int64) for _ in range(3))  # of each shard alone
        for number, shard in enumerate(self.shards):
            self.code.longest_matches(
                shard.tokens,
                shard.places,
                shard.ranks,
                shard.heads,
                shard.guide,
                shard.guide_width,
                GUIDED,
                contexts.tokens,
                contexts.begins,
                contexts.ends,
                own[number],
                first[number],
                last[number],
            )
        length = own.max(axis=0, initial=0)
        entered = (own == length) & (length > 0)
        matches = Matches.none(len(self.shards), len(contexts), orders)
        matches.set(0, length, first, last, entered)
        for order in range(1, orders):
            shorter = np.where(entered, 0, own)
            for number, shard in enumerate(self.shards):
                limits = np.where(entered[number], length, 0)
                below = np.zeros_like(length)
                arguments = (shard.tokens, shard.places, contexts.tokens, contexts.ends, limits)
                self.code.next_lengths(*arguments, first[number], last[number], below)
                shorter[number] = np.maximum(shorter[number], below)
            length = shorter.max(axis=0, initial=0)
            now = (shorter == length) & (length > 0)
            for number, shard in enumerate(self.shards):
                limits = np.where(now[number] & entered[number], length, 0)
                arrays = (shard.tokens, shard.places, shard.ranks, shard.heads)
                self.code.widen(*arrays, contexts.tokens, contexts.ends, limits, first[number], last[number])
            entered |= now
            matches.set(order, length, first, last, entered)
        return matches

    def counts(self, contexts: Contexts) -> Integers:
        """How often each context stands in the index as a whole: int64 [contexts]; of an empty one 0."""
        matches = self.matches(contexts)
        whole = matches.lengths[:, 0] == contexts.ends - contexts.begins
        return np.where(whole, matches.counts[:, 0], 0)

    def continuations(self, matches: Matches, looked_at: int | None = LOOKED_AT) -> Continuations:
        """The next tokens at up to ``looked_at`` places of each order, evenly spaced among more; None: at all places.

        Rows are contexts by orders, in the order of ``matches.counts.ravel()``.
        """
        totals = matches.counts.ravel()
        room = totals if looked_at is None else np.minimum(totals, looked_at)
        offsets = np.concatenate([[0], np.cumsum(room)])
        following = np.empty(int(offsets[-1]), np.int32)
        starts = np.zeros_like(totals)
        for number, shard in enumerate(self.shards):
            first = matches.firsts[number].ravel()
            widths = matches.lasts[number].ravel() - first
            self.code.gather(shard.tokens, shard.places, first, starts, widths, totals, offsets, following)
            starts = starts + widths
        counts, sizes = np.empty(len(following), np.int64), np.zeros(len(totals), np.int64)
        separator = self.shards[0].separator if self.shards else -1
        seen = np.zeros(max((len(shard.ranks) for shard in self.shards), default=0), np.int32)
        self.code.tally(following, offsets, as_int32(separator), seen, counts, sizes)
        begins = np.concatenate([[0], np.cumsum(sizes)])
        entries = np.repeat(offsets[:-1] - begins[:-1], sizes) + np.arange(begins[-1])
        return Continuations(begins, following[entries], counts[entries])

    def places_of(self, matches: Matches, context: int = 0, order: int = 0, limit: int = 10) -> Places:
        """Where an order of a context stands: the first ``limit`` places by (document, offset).

        Of more than `MOST_SORTED` places some are drawn, evenly spaced, and the first of these are given.
        """
        length = int(matches.lengths[context, order])
        total = int(matches.counts[context, order])
        stride = max(1, -(-total // MOST_SORTED))
        parts = []
        for number, shard in enumerate(self.shards):
            first, last = (int(ends[number, context, order]) for ends in (matches.firsts, matches.lasts))
            places = shard.places[first:last:stride].astype(np.int64)
            owner = shard.document_of(places)
            part = {"document": shard.documents.take(pa.array(owner)), "offset": places - length - shard.offsets[owner]}
            parts.append(pa.table({**part, "shard": np.full(len(places), number), "place": places}))
        rows = pa.concat_tables(parts) if parts else _NO_PLACES.empty_table()
        rows = rows.sort_by([("document", "ascending"), ("offset", "ascending")]).slice(0, limit)
        offset, shard, place = (rows[name].to_numpy().astype(np.int64) for name in ("offset", "shard", "place"))
        return Places(rows["document"].to_pylist(), offset, shard, place, length)


def as_int32(token: int) -> int:
    """A token as the type of `Continuations.tokens` has it: the largest of uint32 becomes -1."""
    return int(np.array([token], np.int64).astype(np.int32)[0])


_NO_PLACES = pa.schema(
    [("document", pa.string()), ("offset", pa.int64()), ("shard", pa.int64()), ("place", pa.int64())]
)
