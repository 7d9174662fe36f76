"""The dataset of relations. Each names the document that it is of, so a removal of the document takes it along."""

from __future__ import annotations

import pyarrow as pa

from mnemic.catalogue import DatasetSpec, IndexPlan, Parent
from mnemic.notes.datasets import SOURCE
from mnemic.schema import TIME

RELATIONS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # hash of tenant, triple, sources and writer
        pa.field("call", pa.string(), nullable=False),  # the row of `calls` that it stands in
        pa.field("note", pa.string(), nullable=False),  # id of the attribute that it is the same as; "" for none
        pa.field("document", pa.string(), nullable=False),
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("session", pa.string(), nullable=False),
        pa.field("subject", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),  # in small letters
        pa.field("object", pa.string(), nullable=False),
        pa.field("subject_entity", pa.string(), nullable=False),  # hash of tenant and name, "" where it is no name
        pa.field("object_entity", pa.string(), nullable=False),
        pa.field("functional", pa.bool_(), nullable=False),  # a subject has one object of this label at a time
        pa.field("sources", pa.list_(SOURCE), nullable=False),  # at least one
        pa.field("writer", pa.string(), nullable=False),  # identity of the model
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("said_at", TIME),  # latest time of its sources; null where none has one
        pa.field("valid_from", TIME),  # null where it names no time
        pa.field("valid_to", TIME),  # only where it says itself when it ended
        pa.field("precision", pa.string(), nullable=False),  # of valid_from, as of a note
        pa.field("grounded", pa.float32(), nullable=False),  # share of its long words that stand in its sources
    ]
)

RELATIONS_SPEC = DatasetSpec(
    "relations",
    RELATIONS,
    key=("id",),
    parents=(Parent("documents", "document", "delete"), Parent("calls", "call", "delete")),
    index=IndexPlan(text="", vector="", scalars={"tenant": "BITMAP", "subject": "BTREE"}),
)
