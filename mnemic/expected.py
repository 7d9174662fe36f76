"""The columns that a dataset of a bank must have to be read: those of the catalogue, of the same kind of type.

A bank of before may lack the columns of `LATER`. Widths of vectors and of numbers are the bank's own affair.
"""

from __future__ import annotations

import inspect

import pyarrow as pa

from mnemic.catalogue import CATALOGUE, DatasetSpec
from mnemic.errors import BankError

LATER: dict[str, frozenset[str]] = {
    "documents": frozenset({"turns"}),
    "units": frozenset({"turn", "source", "collection", "tenant", "session"}),
    "events": frozenset(
        {"source", "collection", "tenant", "session", "leaf", "cause", "turns", "representatives"},
    ),
    "clusters": frozenset({"examples", "fitted", "added", "added_radius"}),
    "memories": frozenset({"record"}),
}
"""Dataset -> columns that came after the first banks of format 1."""


def check_schema(name: str, schema: pa.Schema, uri: str) -> None:
    """Raise ``BankError`` where ``schema`` cannot be that of the dataset ``name``; others than mnemic's own pass."""
    spec = CATALOGUE.get(name)
    if spec is None or spec.schema is None:
        return
    for field in _declared(spec):
        place = schema.get_field_index(field.name)
        if place < 0:
            if len(schema.get_all_field_indices(field.name)) == 0 and field.name in LATER.get(name, ()):
                continue
            fault = f"has no column {field.name}" if field.name not in schema.names else f"has {field.name} twice"
        elif not _same_kind(field.type, schema.field(place).type):
            fault = f"has {schema.field(place).type} in {field.name}, where {field.type} belongs"
        else:
            continue
        raise BankError(
            f"{uri} {fault}: it is no {name} of a bank that mnemic wrote, or it is damaged. `mnemic verify` says what "
            "changed since the release; bring the dataset back from a copy, or build the bank anew."
        )


def _declared(spec: DatasetSpec) -> pa.Schema:
    """The schema of the catalogue; where it depends on sizes of a model, for some sizes."""
    if isinstance(spec.schema, pa.Schema):
        return spec.schema
    assert spec.schema is not None
    return spec.schema(*(1 for _ in inspect.signature(spec.schema).parameters))


def _same_kind(expected: pa.DataType, there: pa.DataType) -> bool:
    kinds = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_timestamp,
        lambda one: pa.types.is_string(one) or pa.types.is_large_string(one),
        lambda one: pa.types.is_binary(one) or pa.types.is_large_binary(one),
    )
    if any(kind(expected) and kind(there) for kind in kinds):
        return True
    if pa.types.is_struct(expected) and pa.types.is_struct(there):
        inner = {field.name: field.type for field in there}
        return all(field.name in inner and _same_kind(field.type, inner[field.name]) for field in expected)
    lists = (
        lambda one: pa.types.is_list(one) or pa.types.is_large_list(one),
        pa.types.is_fixed_size_list,
    )
    return any(kind(expected) and kind(there) for kind in lists) and _same_kind(expected.value_type, there.value_type)
