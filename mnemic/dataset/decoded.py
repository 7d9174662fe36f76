"""The rows of single files of a dataset, decoded: of data and of indexes, deleted rows and files of no version too.

Columns are compressed, so what a file holds does not show in its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from lance.file import LanceFileReader, LanceFileSession

from mnemic.dataset.commit import StorageOptions
from mnemic.dataset.failures import readable_errors
from mnemic.dataset.files import fetched

_ROWS = 256

_PLAIN = ("_versions/", "_transactions/")
"""Folders of files that are no tables: messages, with texts in them as they are."""


def is_table(path: str) -> bool:
    return path.endswith(".lance")


def is_message(path: str) -> bool:
    return path.startswith(_PLAIN)


def decoded(uri: str, path: str, storage_options: StorageOptions | None = None) -> Iterator[pa.RecordBatch]:
    """All rows that the file ``path`` of the dataset at ``uri`` holds, some at a time."""
    with readable_errors(uri):
        if "://" in uri:
            reader = LanceFileSession(uri, dict(storage_options) if storage_options else None).open_reader(path)
        else:
            reader = LanceFileReader(f"{uri}/{path}")
        yield from reader.read_all(batch_size=_ROWS).to_batches()


def message(uri: str, path: str, storage_options: StorageOptions | None = None) -> bytes:
    """The bytes of a file that is no table."""
    with fetched(uri, path, storage_options) as file:
        return file.read()
