"""Lance tables: those of another bank, or any other.

An item is a fragment, and its stamp are the files that it stands in, so rows that come later cost themselves alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, BinaryIO, ClassVar, Literal

from pydantic import Field

from mnemic.conditions import Conditions
from mnemic.errors import BankError, QueryError, SourceError
from pipelines.sources.columnar import RAISED, ROWS, Table, damaged, proposed_of
from pipelines.sources.contracts import Document, FilePart, Item, Reject
from pipelines.sources.json_values import Unusable


def recognise(name: str, head: bytes) -> bool:
    """No file is one."""
    return False


def recognise_folder(path: str, names: frozenset[str]) -> bool:
    """A folder with versions and data, by the name that Lance gives it."""
    return path.rstrip("/").endswith(".lance") and "_versions/" in names


def propose_folder(path: str, names: frozenset[str]) -> dict[str, object]:
    """The columns that are the text, the id and the time, by what the first rows hold."""
    try:
        from mnemic.dataset import Dataset

        snapshot = Dataset(path).require()
        plain = [field.name for field in snapshot.schema if not str(field.type).startswith(("fixed_size", "large_bin"))]
        return proposed_of(next(iter(snapshot.scan(plain, batch_size=100)), None))
    except (BankError, *RAISED):
        return {}


class LanceTable(Table):
    """The Lance table at ``path``, a folder whose name ends in `.lance`. ``where``: SQL that its rows meet."""

    version: ClassVar[int] = 1

    kind: Literal["lance"] = "lance"
    name: str = "lance"
    suffixes: list[str] = Field(default=[".lance"], exclude=True)
    where: str | None = None

    def manifest(self) -> list[Item]:
        try:
            snapshot = self._table()
            return [
                Item(f"{self._stem}/{fragment.id}", fragment.rows, " ".join(fragment.files))
                for fragment in snapshot.fragments
                if fragment.rows
            ]
        except BankError as error:
            raise SourceError(
                f"The table of the source '{self.name}' cannot be opened ({error}); correct `path`."
            ) from error

    def read(self, item: Item, max_document_bytes: int) -> Iterator[Document | Reject]:
        try:
            batches = self._batches(int(item.locator.rpartition("/")[2]))
            yield from self.of_batches(batches, self._stem, max_document_bytes)
        except (Unusable, BankError, QueryError) as error:
            yield Reject(item.locator, str(error))

    def batches(self, file: BinaryIO, part: FilePart) -> Iterator[tuple[int, Any]]:
        raise NotImplementedError("A table is a folder.")

    def _batches(self, fragment: int) -> Iterator[tuple[int | list[int], Any]]:
        snapshot = self._table()
        columns = self.columns_in(snapshot.schema)
        where = Conditions.of(self.where).sql(snapshot.schema, self._stem)
        try:
            for batch in snapshot.scan(columns, where, fragments=[fragment], batch_size=ROWS, row_ids=True):
                if batch.num_rows:
                    yield batch["_rowid"].to_pylist(), batch.select(columns)
        except RAISED as error:
            yield 0, damaged(error, f"The rest of fragment {fragment}")

    @property
    def _stem(self) -> str:
        return os.path.basename(os.path.normpath(self.path))

    def _table(self) -> Any:
        from mnemic.dataset import Dataset

        path = os.path.normpath(os.path.join(os.path.expanduser(self.root), os.path.expanduser(self.path)))
        return Dataset(path).require()
