"""Keys of a document: one for its text as a whole, and one for every band of its signature.

Locality-sensitive hashing (Indyk and Motwani 1998; Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets",
section 3.4): documents that agree in all rows of a band are candidates. A key has the band in its upper 6 bits and
below them a mixing hash of tenant and components. So all bands live in one space that is cut into shards by range, and
documents of two tenants share no key. LSHBloom and datasketch add the components up instead; as the minima of long
documents are small, sums collide: of 100,000 unrelated documents of 5,000 shingles 9 % were flagged, here none.

The whole text is one more band, the first: copies are candidates like all others, and confirmed like all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from mnemic.arrays import Hashes, Signatures
from mnemic.compiled import compiled
from mnemic.ids import hash_parts
from operators.deduplicate.minhash import NO_SHINGLES
from operators.deduplicate.words import mix

BAND_SHIFT = 58
MOST_BANDS = 63

Bounds = tuple[int, int]
"""First and last key of a range."""

_BAND = np.uint64(BAND_SHIFT)
_REST = np.uint64((1 << BAND_SHIFT) - 1)


def keys_of(forms: Hashes, signatures: Signatures | None, salts: Hashes, bands: int, rows: int) -> Hashes:
    """Keys, uint64 [documents, 1 + bands], of documents.

    ``forms`` uint64 [documents, 2] are hashes of their texts, ``salts`` uint64 [documents] of their tenants,
    ``signatures`` uint32 [documents, k] their signatures. A document without shingles has only the first key; its
    others are 0, which is no key.
    """
    keys = np.zeros((len(forms), 1 + (bands if signatures is not None else 0)), np.uint64)
    _whole(forms, salts, keys)
    if signatures is not None:
        _bands(signatures, salts, rows, keys)
    return keys


def tenant_salts(tenants: pa.Array) -> Hashes:
    """A number for each document's tenant, uint64 [documents]; 0 where there is none."""
    names = tenants.dictionary_encode()
    salts = [int(hash_parts("tenant", name)[:16], 16) if name else 0 for name in names.dictionary.to_pylist()]
    picked: Hashes = np.array(salts or [0], dtype=np.uint64)[np.asarray(names.indices, dtype=np.int64)]
    return picked


def run_of(keys: Hashes, rows: Hashes, ascending: bool = True) -> tuple[Hashes, Hashes]:
    """The keys of documents, uint64 [n], without 0, band after band, and the row of each, uint64 [n].

    ``ascending`` within a band too, and so altogether, since the band is the upper part of a key.
    """
    columns, owners = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    for band in range(keys.shape[1]):
        present = np.flatnonzero(keys[:, band])
        column = keys[present, band]
        if ascending:
            order = np.argsort(column)
            column, present = column[order], present[order]
        columns.append(column)
        owners.append(rows[present])
    return np.concatenate(columns), np.concatenate(owners)


def shard_bounds(bands: int, shards: int) -> list[Bounds]:
    """The range of keys of every shard, for keys of the whole text and of ``bands`` bands."""
    edges = [((1 + bands) * place << BAND_SHIFT) // shards for place in range(shards + 1)]
    return [(low, high - 1) for low, high in pairwise(edges)]


def keys_in(bounds: Bounds) -> int:
    """The number of different keys in a range."""
    return bounds[1] - bounds[0] + 1


def within(keys: Hashes, bounds: Bounds) -> slice:
    """The place of the keys of a range among ascending ``keys`` uint64 [n]."""
    first = np.searchsorted(keys, np.uint64(bounds[0]), "left")
    return slice(int(first), int(np.searchsorted(keys, np.uint64(bounds[1]), "right")))


def by_band(keys: Hashes) -> Iterator[tuple[int, slice]]:
    """The bands of ``keys`` uint64 [n], which stand band after band, and the place of each."""
    if len(keys):
        present = range(int(keys[0] >> _BAND), int(keys[-1] >> _BAND) + 1)
        edges = np.searchsorted(keys, [np.uint64(min(band << BAND_SHIFT, 2**64 - 1)) for band in present[1:]])
        for band, start, end in zip(present, [0, *edges], [*edges, len(keys)], strict=True):
            if end > start:
                yield band, slice(int(start), int(end))


@compiled
def _whole(forms: Any, salts: Any, keys: Any) -> None:
    for i in range(len(forms)):
        keys[i, 0] = max(mix(mix(forms[i, 0] ^ salts[i]) ^ forms[i, 1]) & _REST, np.uint64(1))


@compiled
def _bands(signatures: Any, salts: Any, rows: int, keys: Any) -> None:
    for i in range(len(signatures)):
        empty = True
        for k in range(signatures.shape[1]):
            empty &= signatures[i, k] == NO_SHINGLES
        if empty:
            continue
        for band in range(1, keys.shape[1]):
            key = salts[i]
            for row in range(rows):
                key = mix(key ^ np.uint64(signatures[i, (band - 1) * rows + row]))
            keys[i, band] = np.uint64(band) << _BAND | key & _REST
