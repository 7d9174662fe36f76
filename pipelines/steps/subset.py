"""The step `subset`: which documents stand for all, from the leaves of the cluster tree, as a column of documents.

It reads ids, sources and clusters of all kept documents, each vector once, of 65,536 documents at a time, and no text.
When documents or their events changed, it chooses anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Floats
from mnemic.canaries import NOT_PLANTED
from mnemic.dataset import Snapshot, Store
from mnemic.ids import hash_parts
from mnemic.kept import KEPT
from mnemic.vectors import vectors
from operators.subset.operator import Subset
from pipelines.corpus_reader import corpus_digest
from pipelines.identity import Record
from pipelines.steps.cluster import LEAVES
from pipelines.steps.fit import FitStep


@dataclass(frozen=True)
class SubsetStep(FitStep):
    """Grows `subset`. It looks at the kept documents, and at their events that tile them."""

    operator: Subset  # type: ignore[assignment]

    def _digest(self, store: Store, snapshot: Snapshot) -> tuple[str, int]:
        documents, rows = corpus_digest(snapshot, ("id", "source"), self.where)
        events = store["events"].snapshot()
        if rows == 0 or events is None or "cluster" not in events.schema.names:
            return documents, 0
        return hash_parts("corpus", documents, corpus_digest(events, ("id", "cluster"), LEAVES)[0]), rows

    def _corpus(self, store: Store, version: int) -> Any:
        return Leaves(store["documents"].require(version), store["events"].require(), self.where)


class Leaves:
    """Implements `operators.subset.operator.LeafCorpus` over a bank; ids, leaves and rows of events are in memory."""

    def __init__(self, documents: Snapshot, events: Snapshot, where: str | None) -> None:
        self._events = events
        pieces = pa.Table.from_batches(
            [
                pa.RecordBatch.from_arrays(
                    [batch["document"], batch["cluster"], pc.subtract(batch["end"], batch["start"]), batch["_rowid"]],
                    names=["id", "leaf", "characters", "row"],
                )
                for batch in events.scan(["document", "cluster", "start", "end"], LEAVES, row_ids=True)
            ],
            pa.schema([("id", pa.string()), ("leaf", pa.string()), ("characters", pa.int64()), ("row", pa.uint64())]),
        )
        shares = pieces.group_by(["id", "leaf"]).aggregate([("characters", "sum")])
        shares = shares.sort_by([("id", "ascending"), ("characters_sum", "descending"), ("leaf", "ascending")])
        ids = shares["id"].to_numpy()
        largest = shares.filter(pa.array(np.concatenate([[True], ids[1:] != ids[:-1]])[: len(ids)]))
        rows = documents.table(["id", "source"], where).sort_by("id")
        place = pc.index_in(rows["id"], value_set=largest["id"].combine_chunks())
        there = rows.append_column("leaf", largest["leaf"].combine_chunks().take(place.combine_chunks()))
        self._documents = there.filter(pc.is_valid(there["leaf"])).combine_chunks()
        owner = pc.index_in(pieces["id"], value_set=self._documents["id"].combine_chunks())
        owners = pc.fill_null(owner, -1).to_numpy()
        order = np.argsort(owners, kind="stable")
        self._rows = pieces["row"].to_numpy()[order]
        self._bounds = np.searchsorted(owners[order], np.arange(len(self._documents) + 1))

    def documents(self) -> pa.Table:
        return self._documents

    def vectors(self, places: Sequence[int]) -> Floats:
        """Sums in the order of the events' ids, float64 [n, d]: any storage order gives the same bits."""
        size = self._events.schema.field("vector").type.list_size
        sums = np.zeros((len(places), size))
        chosen = np.asarray(places, np.int64)
        counts = self._bounds[chosen + 1] - self._bounds[chosen]
        owners = np.repeat(np.arange(len(chosen)), counts)
        firsts = np.repeat(self._bounds[chosen] - (np.cumsum(counts) - counts), counts)
        rows = self._rows[firsts + np.arange(len(owners))]
        if not len(rows):
            return sums
        by_row = np.argsort(rows, kind="stable")  # events are read as they lie
        events = self._events.take_rows(rows[by_row], ["id", "vector"])
        order = np.argsort(np.array(events["id"].to_pylist(), dtype=np.bytes_), kind="stable")
        np.add.at(sums, owners[by_row][order], vectors(events["vector"], np.float64)[order])
        return sums


def subset_step(record: Record, operator: Subset, after: tuple[str, ...]) -> SubsetStep:
    """The step of the section `subset`."""
    columns, where = (("id", "source"), f"{KEPT} AND {NOT_PLANTED}") if operator.planted else (("id",), KEPT)
    return SubsetStep(record, operator, "documents", ("id",), columns, after, where=where, needs=("duplicate_of",))
