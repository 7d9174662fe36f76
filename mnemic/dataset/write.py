"""Appends: a worker writes fragments, the driver commits them in waves.

A fragment on disk that no commit names does not exist for readers; a killed worker leaves an orphan, nothing more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import lance
import pyarrow as pa
from lance.fragment import FragmentMetadata, write_fragments

from mnemic.dataset.commit import StorageOptions
from mnemic.dataset.failures import readable_errors
from mnemic.dataset.snapshot import FILE_VERSION, Snapshot
from mnemic.dataset.store import Dataset

AT_ONCE = 8192
"""Rows that Lance is handed at a time: of all at once it makes a copy."""

WrittenFragment = str
"""Metadata of a written, uncommitted fragment as JSON (about 1 KB): what a worker hands to the driver."""


def write_rows(
    uri: str, rows: pa.Table, schema: pa.Schema, storage_options: StorageOptions | None = None
) -> list[WrittenFragment]:
    """Write ``rows`` as one new fragment of the existing dataset at ``uri``, without committing it.

    The rows of one input (a document's units) stay in one fragment: readers of whole documents rely on it.
    """
    return _written(uri, rows, schema, "append", storage_options)


def write_records(
    dataset: Dataset, records: Sequence[Mapping[str, Any]], schema: pa.Schema
) -> tuple[WrittenFragment, ...]:
    """As `write_rows`, of a few rows that are dictionaries."""
    table = pa.Table.from_pylist(list(records), schema=schema)
    return tuple(write_rows(dataset.uri, table, schema, dataset.storage_options))


def write_ahead(dataset: Dataset, rows: pa.Table, schema: pa.Schema) -> list[WrittenFragment]:
    """As `write_rows`, for a dataset that may not be there yet: the commit makes it, with this ``schema``."""
    mode = "create" if dataset.snapshot() is None else "append"
    return _written(dataset.uri, rows, schema, mode, dataset.storage_options)


def _written(
    uri: str, rows: pa.Table, schema: pa.Schema, mode: str, storage_options: StorageOptions | None
) -> list[WrittenFragment]:
    if len(rows) == 0:
        return []
    with readable_errors(uri):
        table = rows.select(schema.names).cast(schema.remove_metadata())
        fragments = write_fragments(
            pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=AT_ONCE)),
            uri,
            schema=schema.remove_metadata(),
            mode=mode,
            max_rows_per_file=2**31 - 1,
            data_storage_version=FILE_VERSION,
            enable_stable_row_ids=True,
            storage_options=dict(storage_options) if storage_options else None,
        )
    return [json.dumps(fragment.to_json()) for fragment in fragments]


def write_whole(dataset: Dataset, rows: pa.Table) -> list[WrittenFragment]:
    """Write ``rows`` as what `Dataset.replace` is to put in the place of all rows, without committing it."""
    if len(rows) == 0:
        return []
    with readable_errors(dataset.uri):
        fragments = write_fragments(
            rows.replace_schema_metadata(None),
            dataset.uri,
            schema=rows.schema.remove_metadata(),
            mode="create" if dataset.snapshot() is None else "overwrite",
            data_storage_version=FILE_VERSION,
            enable_stable_row_ids=True,
            storage_options=dataset.storage_options,
        )
    return [json.dumps(fragment.to_json()) for fragment in fragments]


def append(dataset: Dataset, fragments: Sequence[WrittenFragment], properties: Mapping[str, str]) -> Snapshot:
    """Commit written fragments in one transaction."""
    current = dataset.require()
    operation = lance.LanceOperation.Append([FragmentMetadata.from_json(fragment) for fragment in fragments])
    return dataset.commit(operation, current.version, properties)


def append_rows(dataset: Dataset, rows: pa.Table, schema: pa.Schema, properties: Mapping[str, str]) -> None:
    """Write and commit ``rows`` at once, making the dataset when it is new; for small bookkeeping datasets."""
    if dataset.snapshot() is None:
        dataset.create(schema, {}, properties)
    fragments = write_rows(dataset.uri, rows, schema, dataset.storage_options)
    if fragments:
        append(dataset, fragments, properties)
