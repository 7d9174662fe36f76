"""Documents that the newest release kept stay, and its pairs hold where their documents are there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import RowIds
from mnemic.dataset import Snapshot, Store
from mnemic.release import readable_release
from mnemic.schema import PAIRS
from pipelines.identity import Record

COLUMN = "duplicate_of"


@dataclass(frozen=True)
class Base:
    """The newest release, as far as it binds this step: what it decided, and what has gone since."""

    store: Store
    documents_version: int
    pairs_version: int
    gone: pa.Array  # ids
    again: pa.Array  # ids of documents that fell to one that has gone
    rows_again: RowIds

    @property
    def documents(self) -> Snapshot:
        return self.store["documents"].require(self.documents_version)

    @property
    def pairs(self) -> Snapshot:
        return self.store["pairs"].require(self.pairs_version)


def base_of(store: Store, snapshot: Snapshot, record: Record) -> Base | None:
    """The newest release that can be read, where its decisions were made by the same rules."""
    newest = readable_release(store, ("documents", "pairs"))
    if newest is None:
        return None
    documents = store["documents"].require(newest.versions["documents"])
    if (documents.column_record(COLUMN) or {}).get("fingerprint") != record.fingerprint:
        return None
    pairs = store["pairs"].require(newest.versions["pairs"])
    gone = _gone(documents, snapshot)
    return Base(store, documents.version, pairs.version, gone, *_again(documents, pairs, gone))


def _gone(before: Snapshot, now: Snapshot) -> pa.Array:
    """Ids of the documents whose rows are there no more; only fragments that lost rows, or were merged, are read."""
    sizes = [{fragment.id: fragment.rows for fragment in one.fragments} for one in (before, now)]
    shared = dict(sizes[0].items() & sizes[1].items())
    others = [[number for number in size if number not in shared] for size in sizes]
    gone = [pa.array([], pa.string())]
    if others[0]:
        there = [batch["_rowid"] for batch in now.scan([], fragments=others[1], row_ids=True)] if others[1] else []
        standing = pa.chunked_array(there, pa.uint64()).combine_chunks()
        for batch in before.scan(["id"], fragments=others[0], row_ids=True):
            gone.append(batch["id"].filter(pc.invert(pc.is_in(batch["_rowid"], value_set=standing))))
    return pa.concat_arrays(gone)


def _again(documents: Snapshot, pairs: Snapshot, gone: pa.Array) -> tuple[pa.Array, RowIds]:
    """Documents that fell to one that has gone, or to a copy of it: their ids and rows."""
    if len(gone) == 0:
        return gone, np.empty(0, np.uint64)
    ids, rows = [gone.slice(0, 0)], [np.empty(0, np.uint64)]
    for batch in pairs.scan(["document", "other"], "verdict = 'duplicate'"):
        ids.append(batch["document"].filter(pc.is_in(batch["other"], value_set=gone)))
    fallen = pa.concat_arrays(ids)
    for batch in documents.scan(["id", COLUMN], f"{COLUMN} <> ''", row_ids=True):
        again = pc.or_(pc.is_in(batch["id"], value_set=fallen), pc.is_in(batch[COLUMN], value_set=gone))
        again = pc.and_(again, pc.invert(pc.is_in(batch["id"], value_set=gone)))
        ids.append(batch["id"].filter(again))
        rows.append(batch["_rowid"].filter(again).to_numpy())
    return pa.concat_arrays(ids).unique(), np.concatenate(rows)


def holding(base: Base, fragment: int) -> pa.Table:
    """The pairs of a fragment of the release whose two documents are there, and whose verdict was not taken back."""
    rows = pa.Table.from_batches(list(base.pairs.scan(PAIRS.names, fragments=[fragment])), PAIRS)
    lost = pc.or_(
        pc.is_in(rows["other"], value_set=base.gone),
        pc.is_in(rows["document"], value_set=pa.concat_arrays([base.gone, base.again])),
    )
    return rows.filter(pc.invert(lost))
