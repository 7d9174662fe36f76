"""The indexes of a dataset, the layout of its vector index at its size, and the rows that they do not cover.

Everything here is read off the manifest: no row and no index file is looked at, so a build that has nothing to do
learns so at once.
"""

from __future__ import annotations

import json
import math
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import lance
import pyarrow as pa

from mnemic.catalogue import EVENT_INDEXES, IndexPlan
from mnemic.dataset.failures import reading
from mnemic.dataset.snapshot import Snapshot
from mnemic.errors import BankError
from mnemic.facts import ADVICE, check_types, mapping

VECTOR_INDEX_ROWS = 50_000
"""Rows from which a vector query uses an index. Below, reading every vector is exact."""

ROWS_PER_PARTITION = 1_000
FEWEST_PARTITIONS, MOST_PARTITIONS = 16, 16_384
CODE_BITS = 8
"""Bits a component of IVF_RQ's codes. The search reads the first bit first, and it rules most rows out."""

MOST_SEGMENTS = 8
"""Segments of an index that are searched one by one; one more, and all are merged into one."""

RETRAIN_FACTOR = 4
"""Partitions are trained anew when a dataset of this many times more, or fewer, rows is planned than they were for."""

WORDS = "INVERTED"
"""Lance's name of an index of words, for BM25."""

TITLES = "titles"
"""Field of the record of `documents`: true where they were read with their titles, which a search then hears."""

RECORD = "mnemic.index.{}"
"""Key of the record of a vector index in the configuration of its dataset, which is versioned with the rows."""


@dataclass(frozen=True)
class VectorSettings:
    """How a vector index is laid out, and how many of its partitions a query looks at."""

    kind: str
    partitions: int
    nprobes: int


@dataclass(frozen=True)
class Built:
    """An index as it is: its segments' ids, the fragments that they cover, their rows and bytes.

    ``tokenizer`` cuts the texts of an index of words, and the queries to it; "" for the others.
    """

    name: str
    column: str
    kind: str
    segments: tuple[str, ...]
    fragments: frozenset[int]
    rows: int
    bytes: int
    tokenizer: str = ""


def planned_settings(rows: int) -> VectorSettings:
    """The layout for ``rows`` rows: about 1,000 a partition, as a power of two; an eighth of them are looked at."""
    partitions_at_size = 1 << round(math.log2(max(1.0, rows / ROWS_PER_PARTITION)))
    partitions = min(MOST_PARTITIONS, max(FEWEST_PARTITIONS, partitions_at_size))
    return VectorSettings("IVF_RQ", partitions, max(8, partitions // 8))


def planned(snapshot: Snapshot, plan: IndexPlan = EVENT_INDEXES) -> dict[str, str]:
    """Column -> kind of the indexes that this dataset should have; a vector index from `VECTOR_INDEX_ROWS` rows on."""
    names = set(snapshot.schema.names)
    kinds = {column: kind for column, kind in plan.scalars.items() if column in names}
    if plan.text in names:
        kinds[plan.text] = WORDS
    if plan.unsaid in names and (snapshot.record or {}).get("fields", {}).get(TITLES):
        kinds[plan.unsaid] = WORDS
    if plan.vector in names and _is_vector(snapshot, plan.vector) and snapshot.count() >= VECTOR_INDEX_ROWS:
        kinds[plan.vector] = planned_settings(snapshot.count()).kind
    return kinds


def built(snapshot: Snapshot) -> Mapping[str, Built]:
    """The indexes on single columns, by column; a version has the same for ever, so they are described once."""
    indexes = _built.get(snapshot)
    if indexes is None:
        indexes = _built[snapshot] = MappingProxyType(_described(snapshot))
    return indexes


_built: weakref.WeakKeyDictionary[Snapshot, Mapping[str, Built]] = weakref.WeakKeyDictionary()


def _described(snapshot: Snapshot) -> dict[str, Built]:
    with reading(snapshot.uri):
        return {
            index.field_names[0]: Built(
                name=index.name,
                column=index.field_names[0],
                kind=index.index_type.upper(),
                segments=tuple(sorted(str(segment.uuid) for segment in index.segments)),
                fragments=frozenset(part for segment in index.segments for part in segment.fragment_ids),
                rows=index.num_rows_indexed,
                bytes=index.total_size_bytes or 0,
                tokenizer=index.details.get("base_tokenizer", "") if index.index_type.upper() == WORDS else "",
            )
            for index in snapshot.native.describe_indices()
            if len(index.field_names) == 1
        }


def uncovered(snapshot: Snapshot, index: Built | None) -> list[int]:
    """Ids of the fragments that an index does not cover; all of them when there is none."""
    covered = index.fragments if index is not None else frozenset()
    return [fragment.id for fragment in snapshot.fragments if fragment.rows and fragment.id not in covered]


def unindexed_rows(snapshot: Snapshot, column: str) -> int:
    """Rows that the index on ``column`` does not cover; all rows when there is no index."""
    left_out = set(uncovered(snapshot, built(snapshot).get(column)))
    return sum(fragment.rows for fragment in snapshot.fragments if fragment.id in left_out)


def needs_indexing(snapshot: Snapshot, plan: IndexPlan = EVENT_INDEXES) -> bool:
    """Whether an index is missing or misses rows, or the recall of the vector index was never measured."""
    have = built(snapshot)
    for column in planned(snapshot, plan):
        if uncovered(snapshot, have.get(column)):
            return True
    return plan.vector in have and record_of_index(snapshot, plan.vector) is None


def record_of_index(snapshot: Snapshot, column: str) -> dict[str, Any] | None:
    """The measurements of the vector index of ``column``: kind, partitions, nprobes, recall_at_10, sample and more.

    None where there is no index, or where its segments are others than those that were measured.
    """
    index = built(snapshot).get(column)
    with reading(snapshot.uri):
        stored = snapshot.native.config().get(RECORD.format(column))
    if index is None or stored is None:
        return None
    place = f"The record of the index on {column} in {snapshot.uri}"
    record = mapping(stored, place)
    check_types(record, {"segments": list, "kind": str, "partitions": int, "nprobes": int}, place)
    if record["partitions"] < 1 or record["nprobes"] < 1:
        raise BankError(f"{place} has no partitions to look at. {ADVICE}")
    return record if record.pop("segments") == list(index.segments) else None


def write_record(snapshot: Snapshot, column: str, record: Mapping[str, Any]) -> None:
    """Write the record of the vector index of ``column``; it holds as long as the index has these segments."""
    value = json.dumps({**record, "segments": list(built(snapshot)[column].segments)}, sort_keys=True)
    stored = lance.LanceOperation.UpdateMap({RECORD.format(column): value})
    snapshot.home.commit(lance.LanceOperation.UpdateConfig(config_updates=stored), snapshot.version, {})


def search_settings(snapshot: Snapshot, column: str) -> VectorSettings | None:
    """How the vector index of ``column`` is to be searched: as it was measured, or as planned. None without index."""
    index = built(snapshot).get(column)
    if index is None:
        return None
    record = record_of_index(snapshot, column)
    if record is None:
        return planned_settings(max(1, index.rows))
    return VectorSettings(record["kind"], record["partitions"], record["nprobes"])


def _is_vector(snapshot: Snapshot, column: str) -> bool:
    kind = snapshot.schema.field(column).type
    return bool(pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type))
