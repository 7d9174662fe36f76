"""Columns grow on existing rows, fragment by fragment.

Adding the fields is a change of metadata alone; a fragment is pending while none of its files holds the new field, so
what is left to do is read off the dataset itself. Rows are matched by row id. Never compact a dataset while a column of
it is partial: compaction writes nulls into pending fragments, which then look finished.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import lance
import pyarrow as pa
from lance.fragment import FragmentMetadata

from mnemic.dataset.commit import StorageOptions
from mnemic.dataset.failures import readable_errors
from mnemic.dataset.snapshot import STEP_KEY, Snapshot
from mnemic.dataset.store import Dataset
from mnemic.errors import BankError
from mnemic.metadata import metadata_fields

GrownFragment = str
"""A fragment with new column files, uncommitted, as JSON: what a worker hands to the driver."""


def add_fields(dataset: Dataset, fields: pa.Schema, record: Mapping[str, Any]) -> Snapshot:
    """Declare columns that the step of ``record`` will fill. Those of an earlier step version are dropped first."""
    current = dataset.require()
    own = {field.name for field in metadata_fields(current.schema)} & set(fields.names)
    if own:
        raise BankError(
            f"The recipe names a column {min(own)} under `columns`, and a step makes one of the same name. "
            "Name the column otherwise in the recipe, and build another bank."
        )
    drop_fields(dataset, [name for name in fields.names if name in current.schema.names])
    metadata = {STEP_KEY: json.dumps(record, sort_keys=True).encode()}
    schema = pa.schema(
        [field.with_nullable(True).with_metadata({**(field.metadata or {}), **metadata}) for field in fields]
    )
    dataset.change(lambda native: native.add_columns(schema))
    return dataset.require()


def drop_fields(dataset: Dataset, names: Sequence[str]) -> None:
    """Drop columns; their field ids are never used again."""
    if names:
        dataset.change(lambda native: native.drop_columns(list(names)))


def pending(snapshot: Snapshot, columns: Sequence[str]) -> list[int]:
    """Ids of the fragments that lack one of ``columns`` (all fragments where a column is not declared at all)."""
    if any(column not in snapshot.schema.names for column in columns):
        return [fragment.id for fragment in snapshot.fragments if fragment.rows]
    needed = frozenset[int]().union(*(snapshot.field_ids(column) for column in columns))
    return [fragment.id for fragment in snapshot.fragments if fragment.rows and not needed <= fragment.fields]


def grow(
    uri: str, version: int, fragment: int, rows: pa.Table, storage_options: StorageOptions | None = None
) -> GrownFragment:
    """Write new column files for one fragment, without committing. ``rows`` holds `_rowid` and the new columns."""
    with readable_errors(uri):
        options = dict(storage_options) if storage_options else None
        dataset = lance.dataset(uri, version=version, storage_options=options)
        metadata, modified = dataset.get_fragment(fragment).update_columns(rows)
    return json.dumps({"fragment": metadata.to_json(), "fields": list(modified)})


def commit_growth(
    dataset: Dataset, version: int, grown: Sequence[GrownFragment], properties: Mapping[str, str]
) -> Snapshot:
    """Commit grown fragments that were read at ``version``."""
    parts = [json.loads(item) for item in grown]
    operation = lance.LanceOperation.Update(
        updated_fragments=[FragmentMetadata.from_json(json.dumps(part["fragment"])) for part in parts],
        fields_modified=sorted({field for part in parts for field in part["fields"]}),
    )
    return dataset.commit(operation, version, properties)
