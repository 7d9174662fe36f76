"""Names that documents mention, as edges from units to entities: the dataset `edges`.

The rules are those of `mnemic.links.mentions`; they need no model and take time in proportion to the text. An entity is
a name in a tenant, whatever document mentions it, so equal names are one entity, and tenants share none. A search for
whole documents walks over the names that the best ones share (`mnemic.links.graph`). The title of a document is an
entity as well; it stands in `documents`, and so has no edge of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from mnemic.catalogue import CATALOGUE
from mnemic.ids import entity_id
from mnemic.links.datasets import EDGES
from mnemic.links.mentions import mentions
from operators.contracts import NO_REJECTS, BatchFunction, Resources
from operators.sections import Derive, Section

_READ = ("document", "tenant", "ordinal", "start", "text")


@dataclass(frozen=True)
class NameEdges:
    """Makes rows of `edges` from units with `document`, `tenant`, `ordinal`, `start` and `text`."""

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()

    def output(self, schema: pa.Schema) -> pa.Schema:
        return EDGES

    def open(self, device: str) -> BatchFunction:
        entities: dict[tuple[str, str], str] = {}

        def find(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
            entities.clear()
            columns: list[list[object]] = [[] for _ in EDGES]
            for document, tenant, ordinal, start, text in zip(*(batch[one].to_pylist() for one in _READ), strict=True):
                for one in mentions(text):
                    key = (tenant, one.name)
                    if key not in entities:
                        entities[key] = entity_id(*key)
                    place = (start + one.start, start + one.end)
                    row = (document, tenant, ordinal, *place, one.kind, one.name, entities[key])
                    for column, value in zip(columns, row, strict=True):
                        column.append(value)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, EDGES, strict=True)]
            return pa.RecordBatch.from_arrays(arrays, schema=EDGES), NO_REJECTS

        return find


SECTION = Section(
    "names",
    NameEdges,
    Derive(
        origin="units",
        target=CATALOGUE["edges"],
        columns=_READ,
        key=("document",),
        target_key=("document",),
        after=("units",),
    ),
)
