"""Columns grow on existing rows, fragment by fragment.

Adding the fields is a change of metadata alone; a fragment is pending while none of its files holds the new field, so
what is left to do is read off the dataset itself. Rows are matched by row id. Never compact a dataset while a column of
it is partial: compaction writes nulls into pending fragments, which then look finished.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import lance
import pyarrow as pa
from lance.file import LanceFileWriter
from lance.fragment import DataFile, FragmentMetadata, LanceFragment

from mnemic.dataset.commit import StorageOptions
from mnemic.dataset.failures import readable_errors
from mnemic.dataset.snapshot import FILE_VERSION, STEP_KEY, Snapshot, field_ids
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
    """Write new column files for one fragment, without committing. ``rows`` holds `_rowid` and the new columns.

    Where the rows are all those of the fragment, in their order, the file is written as it is. Lance would read the
    fragment once more and look each row up, eight times the work; it does so for fragments that lost rows or hold
    values of a column, and where Arrow cannot cast.
    """
    with readable_errors(uri):
        options = dict(storage_options) if storage_options else None
        dataset = lance.dataset(uri, version=version, storage_options=options)
        values = rows.drop_columns(["_rowid"])
        ids = sorted({place for name in values.column_names for place in field_ids(dataset, name)})
        part = dataset.get_fragment(fragment)
        stored = _as_stored(dataset, values)
        if stored is not None and _whole(dataset, part, rows["_rowid"], ids):
            metadata = part.metadata
            metadata.files.append(_written_file(dataset, stored, options))
            modified = ids
        else:
            metadata, modified = part.update_columns(rows)
    return json.dumps({"fragment": metadata.to_json(), "fields": list(modified)})


def _as_stored(dataset: lance.LanceDataset, values: pa.Table) -> pa.Table | None:
    """``values`` in the schema of ``dataset``; None where Arrow knows no way, as for nulls of parts that have none."""
    try:
        return values.cast(pa.schema([dataset.schema.field(name) for name in values.column_names]))
    except pa.ArrowInvalid:
        return None


def _whole(
    dataset: lance.LanceDataset, fragment: LanceFragment, row_ids: pa.ChunkedArray, fields: Sequence[int]
) -> bool:
    """Whether ``row_ids`` are all rows ever written to ``fragment``, in their order, and none has the ``fields``."""
    metadata = fragment.metadata
    if metadata.deletion_file is not None or len(row_ids) != metadata.physical_rows:
        return False
    if set(fields) & {field for file in metadata.files for field in file.fields}:
        return False
    scanner = dataset.scanner(columns=[], fragments=[fragment], with_row_id=True, scan_in_order=True)
    return bool(scanner.to_table()["_rowid"].combine_chunks().equals(row_ids.combine_chunks()))


def _written_file(dataset: lance.LanceDataset, values: pa.Table, storage_options: dict[str, str] | None) -> DataFile:
    """A data file of ``dataset`` that holds ``values``, columns of its schema."""
    name = f"{uuid.uuid4().hex}.lance"
    writer = LanceFileWriter(
        f"{dataset.uri.rstrip('/')}/data/{name}", values.schema, version=FILE_VERSION, storage_options=storage_options
    )
    with writer:
        for batch in values.to_batches():
            writer.write_batch(batch)
    fields = [place for column in values.column_names for place in sorted(field_ids(dataset, column))]
    major, minor = (int(part) for part in FILE_VERSION.split("."))
    return DataFile(name, fields, list(range(len(fields))), major, minor, writer.size_bytes)


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
