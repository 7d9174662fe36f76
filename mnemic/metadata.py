"""Columns of people's own metadata: what a source states beside the text, as the recipe names it.

`documents` has them, and so have the rows made of documents whose dataset `carries` them: units and events, where a
condition may ask for them. Their fields are marked, so that a reader knows them from the columns of steps.
"""

from __future__ import annotations

import pyarrow as pa

from mnemic.schema import DOCUMENTS, TIME, UNITS, events

MARK = b"mnemic.metadata"
"""Key of a field's metadata; the value is the type as the recipe has it."""

TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "number": pa.float64(),
    "time": TIME,
    "list": pa.list_(pa.string()),
}


_OF_STEPS = frozenset(
    {"normalised", "signature", "duplicate_of", "split", "statistics", "decision", "language", "perplexity", "quality"}
    | {"pii", "embedding", "surprisal", "entropy", "cluster", "same_as", "denoised"}
)
RESERVED = frozenset({*DOCUMENTS.names, *UNITS.names, *events(1).names}) | _OF_STEPS
"""Names that columns of documents, units and events have, or get by a step."""


def metadata_field(name: str, kind: str) -> pa.Field:
    """The field of a column of this type; null says that the source states nothing."""
    return pa.field(name, TYPES[kind], metadata={MARK: kind.encode()})


def metadata_fields(schema: pa.Schema) -> list[pa.Field]:
    """The fields of a dataset that are people's own."""
    return [field for field in schema if MARK in (field.metadata or {})]
