"""What the index says about held-out tokens: how long a match each has, how often, and how sure its continuation is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mnemic.arrays import Flags, Floats, Integers
from mnemic.quoting import one_of
from mnemic.suffixes.contexts import LONGEST, Contexts
from mnemic.suffixes.index import Continuations, Matches, SuffixIndex

if TYPE_CHECKING:
    from mnemic.memories.held_out import HeldOutRows


@dataclass(frozen=True)
class Evidence:
    """Of n contexts by ``orders`` matching lengths, the longest first; arrays are [n, orders].

    ``lengths`` in tokens and ``counts`` in places, int64; ``largest`` the share of the most frequent continuation,
    float64; ``single`` whether there is but one, bool. An order that no token follows has zeros.
    """

    lengths: Integers
    counts: Integers
    largest: Floats
    single: Flags
    log_probs: Floats
    """log p of the true token by each order; -inf where it never followed, and the model's where the order is none."""

    @property
    def there(self) -> Flags:
        """Which orders there are, bool [n, orders]."""
        return self.largest > 0.0


def shape_of(matches: Matches, continuations: Continuations) -> tuple[Integers, Integers, Floats, Flags]:
    """Lengths, counts, largest shares and whether there is one continuation alone, as `Evidence` has them."""
    shape = matches.counts.shape
    entries = np.diff(continuations.begins)
    largest = np.zeros(len(entries), np.float64)
    some = entries > 0
    if some.any():
        largest[some] = np.maximum.reduceat(continuations.shares, continuations.begins[:-1][some])
    there = some.reshape(shape)
    lengths, counts = np.where(there, matches.lengths, 0), np.where(there, matches.counts, 0)
    return lengths, counts, largest.reshape(shape), (entries == 1).reshape(shape)


def share_of(continuations: Continuations, tokens: Integers) -> Floats:
    """The share of ``tokens`` [rows], one a row, among its continuations: float64 [rows], 0 where it is none."""
    shares = np.zeros(len(tokens), np.float64)
    row = continuations.row
    same = continuations.tokens == tokens[row]
    shares[row[same]] = continuations.shares[same]
    return shares


def evidence(index: SuffixIndex, rows: HeldOutRows, orders: int) -> Evidence:
    """What ``index`` says about ``rows``. A context is the row's document up to its token, as the model read it."""
    matches = index.matches(contexts_of(rows), orders)
    continuations = index.continuations(matches)
    lengths, counts, largest, single = shape_of(matches, continuations)
    shares = share_of(continuations, np.repeat(rows.token, orders)).reshape(lengths.shape)
    with np.errstate(divide="ignore"):
        logs = np.where(largest > 0.0, np.log(shares), rows.base[:, None])
    return Evidence(lengths, counts, largest, single, logs)


def contexts_of(rows: HeldOutRows) -> Contexts:
    """The context of each row: the tokens of its document before it, as far as they are rows, or the document's first.

    A document's first token is no row: the dataset `tokens` has it.
    """
    names = rows.table["document"].combine_chunks().dictionary_encode()
    owner = names.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    position = rows.table["position"].to_numpy().astype(np.int64)
    sizes = np.ones(len(names.dictionary), np.int64)
    np.maximum.at(sizes, owner, position + 1)
    starts = np.cumsum(sizes) - sizes
    tokens = np.full(int(sizes.sum()), -1, np.int32)
    tokens[starts] = _first_tokens(rows, names.dictionary)
    ends = starts[owner] + position
    tokens[ends] = rows.token
    return Contexts(tokens, np.maximum(ends - LONGEST, starts[owner]), ends)


def _first_tokens(rows: HeldOutRows, documents: pa.Array) -> NDArray[np.int32]:
    """The first token of each document, int32 [documents]; -1 where the bank has none."""
    first = np.full(len(documents), -1, np.int32)
    if "tokens" in rows.view and len(documents):
        table = rows.view.table("tokens", ["document", "tokens"], one_of("document", documents.to_pylist()))
        place = pc.index_in(table["document"], value_set=documents).to_numpy()
        first[place] = pc.list_element(table["tokens"], 0).to_numpy().astype(np.int32)
    return first
