"""Decide about documents that share keys: copies first, then near-duplicates, with the pairs that are the reasons.

A pack of whole components (documents linked by shared keys) is decided together, so no pack depends on another, and
any division into packs gives the same answer.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Integers, Signatures
from mnemic.schema import PAIRS
from operators.contracts import Progress
from operators.deduplicate.bands import BAND_SHIFT
from operators.deduplicate.buckets import Buckets
from operators.deduplicate.estimate import least_agreeing
from operators.deduplicate.judge import Judgement, judge
from operators.deduplicate.rank import exact_representatives, rank
from operators.deduplicate.shingle_sets import ShingleSets
from operators.deduplicate.shingles import Shingler, normalise

Texts = Callable[[Sequence[int]], pa.Array]
"""The texts of documents by their place in a pack."""

_CHARACTERS = 8_000_000
"""Characters of copies that are read at once, and as many of what they may be copies of."""

_WORD = re.compile(r"\S+")

SETTLED, PROTECTED, NEW, DROPPED = range(4)
"""First rank of a document: kept by an earlier release, never to be dropped, not yet decided about, or not kept anyway,
since a rule drops it."""


@dataclass(frozen=True)
class JudgedPairs:
    """Pairs that were judged, mnemic.schema.PAIRS; ``unlisted`` is the number of those, all distinct, that are not."""

    pairs: pa.Table
    unlisted: int


def resolve(
    documents: pa.Table,
    places: Integers,
    keys: npt.NDArray[np.uint64],
    standing: Integers,
    texts: Texts,
    tokenizer: Shingler,
    signatures: Signatures | None,
    threshold: float,
    least: int,
    tell: Progress,
) -> JudgedPairs:
    """Decide about ``documents`` (id, tenant, content, time, length, normalised); number ``places[i]`` has ``keys[i]``.

    ``places`` int64 [n] and ``keys`` uint64 [n]. ``standing`` int64 [documents] is `NEW` or `DROPPED`, or else
    `SETTLED` or `PROTECTED` for a document that stays whatever it resembles. Without ``signatures`` only copies fall;
    with them, documents are compared that share at least ``least`` bands and agree in enough components.
    """
    ids = documents.column("id").combine_chunks()
    order = rank(documents, standing)
    whole = pc.binary_join_element_wise(documents.column("tenant"), documents.column("normalised"), "\0")
    representative = exact_representatives(whole.combine_chunks(), order)
    copies = np.flatnonzero((representative != np.arange(len(order))) & (standing >= NEW))
    copies = copies[_confirmed(documents, copies, representative[copies], texts)]
    original = np.ones(len(order), np.bool_)
    original[copies] = False
    ones = np.ones(len(copies))
    pairs, unlisted = [], 0
    pairs.append(_pairs(ids, copies, representative[copies], ones, ones.astype(np.int64) * 0, ones > 0, "exact"))
    if signatures is not None:
        originals = order[original[order]]
        judgement = _judge(
            documents, originals, places, keys, standing, texts, tokenizer, signatures, threshold, least, tell
        )
        judged = (originals[judgement.document], originals[judgement.other], judgement.similarity, judgement.bands)
        pairs.append(_pairs(ids, *judged, judgement.similarity >= threshold, "jaccard"))
        unlisted = int(judgement.unlisted.sum())
    return JudgedPairs(pa.concat_tables(pairs), unlisted)


def _confirmed(documents: pa.Table, copies: Integers, others: Integers, texts: Texts) -> npt.NDArray[np.bool_]:
    """Whether each copy is one, bool [n]: a hash proposes, the text decides unless the contents are the same."""
    content = documents.column("content").combine_chunks()
    equal = np.asarray(pc.equal(content.take(pa.array(copies)), content.take(pa.array(others))), dtype=np.bool_)
    unsure = np.flatnonzero(~equal)
    lengths = np.asarray(documents.column("length"), dtype=np.int64)[copies[unsure]]
    parts = np.split(unsure, np.flatnonzero(np.diff(np.cumsum(lengths) // _CHARACTERS)) + 1)
    for part in parts if len(unsure) else ():
        pairs = zip(texts(copies[part].tolist()), texts(others[part].tolist()), strict=True)
        equal[part] = [one == other or _same_words(one.as_py(), other.as_py()) for one, other in pairs]
    return equal


def _same_words(one: str, other: str) -> bool:
    """Whether two texts are equal in NFC and lower case, but for the white space between words."""
    words = itertools.zip_longest(_WORD.finditer(normalise(one)), _WORD.finditer(normalise(other)))
    return all(mine is not None and its is not None and mine[0] == its[0] for mine, its in words)


def _judge(
    documents: pa.Table,
    originals: Integers,
    places: Integers,
    keys: npt.NDArray[np.uint64],
    standing: Integers,
    texts: Texts,
    tokenizer: Shingler,
    signatures: Signatures,
    threshold: float,
    least: int,
    tell: Progress,
) -> Judgement:
    """Judge the documents at the positions ``originals`` int64, best first, by the bands that they share."""
    number = np.full(len(documents), -1, np.int64)
    number[originals] = np.arange(len(originals))
    banded = (keys >> np.uint64(BAND_SHIFT) != 0) & (number[places] >= 0)
    _, groups = np.unique(keys[banded], return_inverse=True)
    agreeing = least_agreeing(threshold, signatures.shape[1])
    mine = signatures[originals]
    buckets = Buckets(number[places[banded]], groups.astype(np.int64), mine, least, agreeing)
    lengths = np.asarray(documents.column("length"), dtype=np.int64)[originals]
    sets = ShingleSets(lambda numbers: texts(originals[np.asarray(numbers, np.int64)].tolist()), tokenizer)
    settled = int((standing[originals] < NEW).sum())  # they rank first
    return judge(buckets, settled, lengths, sets, threshold, tell)


def _pairs(
    ids: pa.Array,
    documents: Integers,
    others: Integers,
    similarity: npt.NDArray[np.float64],
    bands: Integers,
    duplicate: npt.NDArray[np.bool_],
    rule: str,
) -> pa.Table:
    verdicts = pa.array(["distinct", "duplicate"]).take(pa.array(duplicate.astype(np.int8)))
    columns = [
        ids.take(pa.array(documents)),
        ids.take(pa.array(others)),
        pa.array(similarity, pa.float64()),
        pa.array(bands.astype(np.int32)),
        verdicts,
        pa.repeat(pa.scalar(rule), len(documents)),
    ]
    return pa.Table.from_arrays(columns, schema=PAIRS)
