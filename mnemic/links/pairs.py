"""Entities that stand in relations with each other: edges of the graph beside those of documents and their names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Flags, Floats, Integers
from mnemic.links.adjacency import entries_of

RELATED = 0.5
"""Weight of a relation that is stated once."""

MENTIONED = pa.schema([(name, pa.string()) for name in ("document", "name", "entity")])
"""Columns of `edges` that make the graph."""

ENDS = ["document", "subject", "label", "object", "subject_entity", "object_entity"]
"""Columns of `relations` that make it."""


@dataclass(frozen=True)
class Pairs:
    """Entity k is related to ``ends[first[k] : first[k + 1]]``, ascending, with ``weights``; each pair stands twice."""

    first: Integers
    ends: Integers
    weights: Floats

    @classmethod
    def of(cls, one: Integers, other: Integers, entities: int) -> Pairs:
        """A relation leads from entity ``one[i]`` to ``other[i]``, both from 0 to ``entities``; to itself none does."""
        apart = one != other
        keys = np.concatenate([one[apart] * entities + other[apart], other[apart] * entities + one[apart]])
        pairs, counts = np.unique(keys, return_counts=True)
        begins, ends = np.divmod(pairs, max(entities, 1))
        weights = RELATED * (1 + np.log(counts))
        return cls(np.searchsorted(begins, np.arange(entities + 1)), ends, weights)

    def among(self, entities: Integers) -> tuple[Integers, Integers, Floats]:
        """(place, place, weight) of the pairs of which both are in ``entities`` [n], ascending; places from 0 to n."""
        begins, edges = entries_of(self.first, entities)
        places = np.searchsorted(entities, self.ends[edges])
        here = entities[np.minimum(places, len(entities) - 1)] == self.ends[edges] if len(entities) else edges[:0] > 0
        return begins[here], places[here], self.weights[edges[here]]


def mentioned(relations: pa.Table) -> pa.Table:
    """Both ends of ``relations`` (`ENDS`) as names that their documents mention, as far as they are names.

    They are in the order of entities and names, since the first name of an entity stands for it.
    """
    tables = [
        pa.table([relations["document"], relations[end], relations[f"{end}_entity"]], schema=MENTIONED)
        for end in ("subject", "object")
    ]
    table = pa.concat_tables(tables)
    return table.filter(pc.not_equal(table["entity"], "")).sort_by([("entity", "ascending"), ("name", "ascending")])


def entities_of(relations: pa.Table, ids: npt.NDArray[np.bytes_], joining: Flags) -> Integers:
    """Both ends of ``relations`` (`ENDS`) as places in ``ids`` [m], ascending, int64 [n, 2].

    -1 stands for one that is not there, or not ``joining`` [m].
    """
    entities = np.full((len(relations), 2), -1)
    for side, end in enumerate(("subject", "object") if len(ids) else ()):
        column = relations[f"{end}_entity"].combine_chunks().to_numpy(zero_copy_only=False).astype("S")
        places = np.minimum(np.searchsorted(ids, column), len(ids) - 1)
        entities[:, side] = np.where(joining[places] & (ids[places] == column), places, -1)
    return entities
