"""Columnar files, read by pyarrow: what the sources of Parquet, Arrow and saved datasets share.

Columns are named as the fields of JSON Lines are. Only those are read, a batch at a time, so memory grows neither with
the file nor with a row group. A large Parquet file is read in parts, of whole row groups. What a damaged file holds
before the damage is kept, row by row where it must be.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from mnemic.ids import hash_parts
from pipelines.seen import SeenIds
from pipelines.sources.contracts import Document, FilePart, Reject
from pipelines.sources.fields import Records
from pipelines.sources.json_values import Unusable
from pipelines.sources.proposal import fields_of
from pipelines.sources.text import open_failed

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 1024
"""Rows that are turned into Python's values at a time."""

_SAMPLE = 100
RAISED = (ValueError, OSError, KeyError, TypeError, NotImplementedError, MemoryError, OverflowError)
"""ArrowInvalid is a ValueError, and so are most others; ArrowMemoryError is a MemoryError."""


class Table(Records):
    """What sources of columnar files share; each gives batches of the rows of a file, and their numbers."""

    def documents(self, file: BinaryIO, locator: str, max_document_bytes: int) -> Iterator[Document | Reject]:
        yield from self.documents_of_part(file, locator, FilePart(0, 1), max_document_bytes)

    def documents_of_part(
        self, file: BinaryIO, locator: str, part: FilePart, max_document_bytes: int
    ) -> Iterator[Document | Reject]:
        with file:
            try:
                yield from self.of_batches(self.batches(file, part), locator, max_document_bytes)
            except Unusable as error:
                yield Reject(locator, str(error), error.severity)
            except OSError as error:
                reason = open_failed(error) if error.errno else damaged(error)
                yield Reject(locator, reason)

    def batches(self, file: BinaryIO, part: FilePart) -> Iterator[tuple[int, pa.RecordBatch] | tuple[int, str]]:
        """(number of the first row from 1 on, batch of `wanted_fields`), or (number, why the next rows cannot be read).

        Raises `Unusable` where nothing can be read.
        """
        raise NotImplementedError

    def columns_in(self, schema: pa.Schema) -> list[str]:
        """The wanted columns that are there. Raises `Unusable` where that of the text is not."""
        if self.text_field not in schema.names:
            shown = ", ".join(name[:40] for name in schema.names[:12])
            raise Unusable(f"No column is called '{self.text_field}', only {shown}; name one with `text_field`.")
        return [name for name in dict.fromkeys(schema.names) if name in self.wanted_fields]

    def of_batches(
        self, batches: Iterator[tuple[int | list[int], Any]], locator: str, limit: int
    ) -> Iterator[Document | Reject]:
        """The documents of `batches`; a list says the number of each row."""
        seen = SeenIds()
        for rows, batch in batches:
            if isinstance(batch, str):
                yield Reject(f"{locator}#{rows}", batch)
                continue
            numbers = rows if isinstance(rows, list) else range(rows, rows + batch.num_rows)
            for number, record in zip(numbers, _records(batch), strict=True):
                place = f"{locator}#{number}"
                try:
                    if isinstance(record, str):
                        raise Unusable(record)
                    document = self.document(record, locator, number, f"row {number}")
                    if len(document.text) > limit or len(document.text.encode()) > limit:
                        raise Unusable(
                            f"The text of row {number} is longer than a document may be ({limit:,} bytes); raise"
                            " `max_document_bytes` or split it."
                        )
                except Unusable as error:
                    yield Reject(place, str(error), error.severity)
                    continue
                if self.id_field is not None and not seen.add(hash_parts(document.locator)):
                    yield Reject(place, f"Row {number} repeats the id of an earlier row; make ids unique.")
                    continue
                yield document


def proposed(path: str, name: str, head: bytes) -> dict[str, object]:
    """The columns that are the text, the id and the time, by what the first rows hold."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if head.startswith(b"PAR1"):
            with pq.ParquetFile(path) as table:
                batch = next(table.iter_batches(_SAMPLE), None)
        elif head.startswith(b"ARROW1"):
            with pa.OSFile(path) as file:
                reader = pa.ipc.open_file(file)
                batch = reader.get_batch(0) if reader.num_record_batches else None
        else:
            with pa.OSFile(path) as file:
                batch = next(iter(pa.ipc.open_stream(file)), None)
        return proposed_of(batch)
    except RAISED:
        return {}


def proposed_of(batch: pa.RecordBatch | None) -> dict[str, object]:
    """Settings for a table that begins with ``batch``."""
    if batch is None:
        return {}
    batch.validate(full=True)
    return fields_of(plain_times(batch.slice(0, _SAMPLE)).to_pylist())


def plain_times(batch: pa.RecordBatch) -> pa.RecordBatch:
    """``batch`` with its times in microseconds, as Python has them."""
    import pyarrow as pa

    for place, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            times = batch.column(place).cast(pa.timestamp("us", field.type.tz), safe=False)
            batch = batch.set_column(place, field.name, times)
    return batch


def _records(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | str]:
    """The rows of a batch as records, or a sentence for a row that has no values."""
    try:
        yield from plain_times(batch).to_pylist()
        return
    except RAISED:
        pass
    for row in range(batch.num_rows):
        try:
            yield plain_times(batch.slice(row, 1)).to_pylist()[0]
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            yield f"The row holds a text that is not UTF-8 (byte 0x{byte:02x}); write the file again from UTF-8."
        except RAISED as error:
            yield damaged(error, "The row")


def damaged(error: Exception, what: str = "The file") -> str:
    reason = " ".join(str(error).split())[:160].rstrip(".") or type(error).__name__
    return f"{what} cannot be read ({reason}); copy or write it again."
