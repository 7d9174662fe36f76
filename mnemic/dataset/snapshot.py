"""A version of a dataset, for reading: rows, fragments, the records of the steps that made them, and its commits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import lance
import numpy as np
import pyarrow as pa

from mnemic.catalogue import DECLARATION
from mnemic.dataset.commit import StorageOptions, transaction_of
from mnemic.dataset.failures import missing, reading
from mnemic.dataset.files import versions_of
from mnemic.dataset.forks import using_lance
from mnemic.dataset.guard import NUMBER
from mnemic.errors import BankError
from mnemic.facts import mapping
from mnemic.kept import expand
from mnemic.schema import FORMAT_VERSION


class Home(Protocol):
    """The dataset that a snapshot is of, where changes are committed."""

    @property
    def storage_options(self) -> StorageOptions | None: ...

    def commit(
        self, operation: lance.LanceOperation.BaseOperation, read_version: int, properties: Mapping[str, str]
    ) -> Snapshot: ...


FORMAT_KEY = b"mnemic.format"
STEP_KEY = b"mnemic.step"
FILE_VERSION = "2.2"
"""Lance file version; large binary values need 2.2 or later."""


def with_record(schema: pa.Schema, record: Mapping[str, Any]) -> pa.Schema:
    """``schema`` with the bank's format version and the record of the step that makes its rows.

    Of its own metadata only what the dataset says of itself stays (`mnemic.catalogue.declared`).
    """
    own = {name: value for name, value in (schema.metadata or {}).items() if name == DECLARATION}
    return schema.with_metadata(
        {**own, FORMAT_KEY: str(FORMAT_VERSION).encode(), STEP_KEY: json.dumps(record, sort_keys=True).encode()}
    )


def record_of(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any] | None:
    """The step record in the metadata of a schema or of a field, or None."""
    if not metadata or STEP_KEY not in metadata:
        return None
    return mapping(metadata[STEP_KEY], "The record of a step in the bank")


def format_of(metadata: Mapping[bytes, bytes] | None, uri: str) -> int:
    stored = (metadata or {}).get(FORMAT_KEY, b"0")
    if not re.fullmatch(rb"\d{1,9}", stored):
        raise BankError(
            f"{uri} does not say which format it has, so mnemic did not write it, or it is damaged. Bring the dataset "
            "back from a copy, or build the bank anew."
        )
    return int(stored)


def _leaves(field: Any) -> Iterator[int]:
    parts = field.children()
    for part in parts:
        yield from _leaves(part)
    if not parts:
        yield int(field.id())


@dataclass(frozen=True)
class FragmentInfo:
    """A fragment: its id, its rows (deleted ones left out), the ids of the fields that its files hold, and the files.

    ``files`` are the names of its data files, of which no two are ever the same, and what is deleted from them.
    ``bytes`` are those of its data files, ``deleted`` is the number of rows that they still hold and that are gone.
    """

    id: int
    rows: int
    fields: frozenset[int]
    files: tuple[str, ...] = ()
    bytes: int = 0
    deleted: int = 0


def _fragment_info(fragment: Any) -> FragmentInfo:
    metadata = fragment.metadata
    gone = metadata.deletion_file
    rows = fragment.count_rows()
    return FragmentInfo(
        fragment.fragment_id,
        rows,
        frozenset(field for file in metadata.files for field in file.fields),
        (*sorted(file.path for file in metadata.files), *([str(gone)] if gone else [])),
        sum(file.file_size_bytes or 0 for file in metadata.files),
        metadata.physical_rows - rows,
    )


class Snapshot:
    """One version of a dataset, for reading. Conditions may say `mnemic.kept.KEPT`."""

    def __init__(self, dataset: lance.LanceDataset, home: Home) -> None:
        self._opened = dataset
        self.home = home
        self.uri = str(dataset.uri)

    @property
    def _dataset(self) -> lance.LanceDataset:
        using_lance(self.uri)
        return self._opened

    @property
    def version(self) -> int:
        return int(self._dataset.version)

    @contextmanager
    def _reading(self, where: str | None = None) -> Iterator[None]:
        """As `mnemic.dataset.failures.reading`; files that are gone because this version was dropped are no damage."""
        try:
            with reading(self.uri, where):
                yield
        except BankError as error:
            version = int(self._opened.version)
            if version in versions_of(self.uri, self.home.storage_options):
                raise
            raise BankError(
                f"Version {version} of {self.uri} is there no more: the release that pinned it has ended since it was "
                "opened (`mnemic prune`). Open the bank again; `mnemic show` lists its releases."
            ) from error

    @cached_property
    def schema(self) -> pa.Schema:
        return self._dataset.schema

    @property
    def record(self) -> dict[str, Any] | None:
        """The record of the step that made the rows."""
        return record_of(self.schema.metadata)

    def column_record(self, column: str) -> dict[str, Any] | None:
        """The record of the step that grew ``column``; None when it does not exist or is a base column."""
        index = self.schema.get_field_index(column)
        return record_of(self.schema.field(index).metadata) if index >= 0 else None

    @cached_property
    def fragments(self) -> tuple[FragmentInfo, ...]:
        """All fragments, by ascending id."""
        with self._reading():
            return tuple(_fragment_info(fragment) for fragment in self._dataset.get_fragments())

    @property
    def data_bytes(self) -> int:
        """Bytes of the data files of this version, by its manifest: no file is looked at."""
        with self._reading():
            fragments = self._dataset.get_fragments()
            return sum(file.file_size_bytes or 0 for fragment in fragments for file in fragment.metadata.files)

    @property
    def rows_of_manifest(self) -> int:
        """Rows by the manifest, deleted ones left out: no file is looked at."""
        with self._reading():
            rows = 0
            for fragment in self._dataset.get_fragments():
                gone = fragment.metadata.deletion_file
                rows += fragment.metadata.physical_rows - (gone.num_deleted_rows or 0 if gone is not None else 0)
            return rows

    def field_ids(self, column: str) -> frozenset[int]:
        """Ids of the fields that files hold for ``column``: its own, or those of its parts that have no parts."""
        for field in self._dataset.lance_schema.fields():
            if field.name() == column:
                return frozenset(_leaves(field))
        raise KeyError(column)

    def count(self, where: str | None = None) -> int:
        with self._reading(where):
            return int(self._dataset.count_rows(filter=expand(where, self.schema.names)))

    def scan(
        self,
        columns: Sequence[str],
        where: str | None = None,
        fragments: Sequence[int] | None = None,
        row_ids: bool = False,
        batch_size: int = 8192,
    ) -> Iterator[pa.RecordBatch]:
        """Batches of ``columns`` in storage order, of the given fragments only where they are named."""
        with self._reading(where):
            chosen = None if fragments is None else [self._dataset.get_fragment(index) for index in fragments]
            scanner = self._dataset.scanner(
                columns=list(columns),
                filter=expand(where, self.schema.names),
                fragments=chosen,
                with_row_id=row_ids,
                batch_size=batch_size,
                scan_in_order=True,
            )
            yield from scanner.to_batches()

    def table(self, columns: Sequence[str], where: str | None = None) -> pa.Table:
        """All rows of ``columns``, in storage order."""
        with self._reading(where):
            return self._dataset.to_table(columns=list(columns), filter=expand(where, self.schema.names))

    def in_commit_order(self, columns: Sequence[str], where: str | None = None) -> pa.Table:
        """All rows of ``columns`` in the order of their commits, whatever the clocks of the writers said."""
        with self._reading(where):
            filtered = expand(where, self.schema.names)
            rows = self._dataset.to_table(columns=list(columns), filter=filtered, with_row_id=True)
            return rows.sort_by("_rowid").drop_columns(["_rowid"])

    def take(self, positions: Sequence[int] | np.ndarray[Any, Any], columns: Sequence[str]) -> pa.Table:
        """The rows at ``positions`` [n] of the storage order, in the order of ``positions``."""
        with self._reading():
            return self._dataset.take(np.asarray(positions, dtype=np.int64).tolist(), columns=list(columns))

    def take_rows(self, numbers: Sequence[int] | np.ndarray[Any, Any], columns: Sequence[str]) -> pa.Table:
        """The rows with the row ids ``numbers`` [n], in their order, with `_rowid`; ids of no row are left out."""
        with self._reading():
            row_ids = np.asarray(numbers, dtype=np.uint64).tolist()
            return self._dataset._take_rows(row_ids, columns=[*columns, "_rowid"])

    def first_row(self, fragment: int) -> int:
        """The row id of the first row of a fragment that is not deleted."""
        with self._reading():
            scanner = self._dataset.get_fragment(fragment).scanner(columns=[], with_row_id=True, limit=1)
            return int(scanner.to_table()["_rowid"][0].as_py())

    def part(self, fragment: int, columns: Sequence[str], start: int, count: int) -> pa.Table:
        """``count`` rows of a fragment from its row ``start`` on."""
        with self._reading():
            scanner = self._dataset.get_fragment(fragment).scanner(columns=list(columns), offset=start, limit=count)
            return scanner.to_table()

    def change(self, version: int) -> tuple[int, lance.LanceOperation.BaseOperation | None]:
        """The number of the claim under which an earlier version was made (0 for none), and the operation, if known."""
        try:
            with self._reading():
                transaction = transaction_of(self._dataset, version)
        except (OSError, ValueError) as error:
            if not missing(error):
                raise
            transaction = None  # of a version that was dropped
        if transaction is None:
            return 0, None
        return int((transaction.transaction_properties or {}).get(NUMBER, "0")), transaction.operation

    @property
    def restores(self) -> int | None:
        """The earlier version that this one put on top again; None where it was made otherwise."""
        _, operation = self.change(self.version)
        return int(operation.version) if isinstance(operation, lance.LanceOperation.Restore) else None

    def properties_backwards(self) -> Iterator[Mapping[str, str]]:
        """Transaction properties of the commits that led here, the newest first; those that were undone are none.

        It ends where an earlier version was dropped.
        """
        number = self.version
        while number > 0:
            try:
                with self._reading():
                    transaction = transaction_of(self._dataset, number)
            except (OSError, ValueError) as error:
                if not missing(error):
                    raise
                return
            if transaction is not None and isinstance(transaction.operation, lance.LanceOperation.Restore):
                number = min(number - 1, int(transaction.operation.version))
                continue
            yield (transaction.transaction_properties or {}) if transaction is not None else {}
            number -= 1

    def tags(self) -> dict[str, int]:
        """Version of each tag of the dataset."""
        with self._reading():
            return {name: int(tag["version"]) for name, tag in self._dataset.tags.list().items()}

    @property
    def native(self) -> lance.LanceDataset:
        """The Lance dataset itself, for the other modules of this package."""
        return self._dataset
