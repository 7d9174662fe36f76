"""Arrow IPC, files and streams; Feather is one of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, BinaryIO, ClassVar, Literal

from pydantic import Field

from pipelines.sources.columnar import RAISED, ROWS, Table, damaged, proposed
from pipelines.sources.contracts import FilePart
from pipelines.sources.json_values import Unusable

FILE, STREAM = b"ARROW1", b"\xff\xff\xff\xff"

propose = proposed

_ENDINGS = (".arrow", ".arrows", ".feather", ".ipc")


def recognise(name: str, head: bytes) -> bool:
    """The magic of a file; a stream has none, so its name must say so too."""
    return head.startswith(FILE) or (head.startswith(STREAM) and os.path.splitext(name)[1].lower() in _ENDINGS)


class ArrowFiles(Table):
    """Arrow IPC files and streams below ``path``, Feather among them."""

    version: ClassVar[int] = 1

    kind: Literal["arrow"] = "arrow"
    name: str = "arrow"
    suffixes: list[str] = Field(default=[".arrow", ".feather", ".ipc", ".arrows"], min_length=1)

    def batches(self, file: BinaryIO, part: FilePart) -> Iterator[tuple[int, Any]]:
        import pyarrow as pa

        head = file.read(8)
        file.seek(0)
        try:
            if head.startswith(FILE):
                reader = pa.ipc.open_file(file)
                number = reader.num_record_batches
                columns = self.columns_in(reader.schema)
                source: Iterator[Any] = (reader.get_batch(index) for index in range(number))
            else:
                stream = pa.ipc.open_stream(file)
                columns = self.columns_in(stream.schema)
                source = iter(stream)
        except RAISED as error:
            raise Unusable(damaged(error)) from error
        first = 1
        while True:
            try:
                batch = next(source)
                batch.validate(full=True)  # offsets of a damaged file lead anywhere
            except StopIteration:
                return
            except RAISED as error:
                yield first, damaged(error, "The rest of the file")
                return
            chosen = batch.select(columns)
            for start in range(0, batch.num_rows, ROWS):
                yield first + start, chosen.slice(start, ROWS)
            first += batch.num_rows
