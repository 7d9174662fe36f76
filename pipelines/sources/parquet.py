"""Parquet files. A large one is read in parts, of whole row groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, ClassVar, Literal

from pydantic import Field

from pipelines.sources.columnar import RAISED, ROWS, Table, damaged, proposed
from pipelines.sources.contracts import FilePart
from pipelines.sources.json_values import Unusable

propose = proposed


def recognise(name: str, head: bytes) -> bool:
    """Parquet's magic."""
    return head.startswith(b"PAR1")


class Parquet(Table):
    """Parquet files below ``path``."""

    version: ClassVar[int] = 1
    parts: ClassVar[tuple[str, ...]] = ("",)

    kind: Literal["parquet"] = "parquet"
    name: str = "parquet"
    suffixes: list[str] = Field(default=[".parquet", ".pq"], min_length=1)

    def batches(self, file: BinaryIO, part: FilePart) -> Iterator[tuple[int, Any]]:
        import pyarrow.parquet as pq

        try:
            # Pages are read as they are needed, not a column of a row group at once.
            table = pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
            groups = [table.metadata.row_group(number).num_rows for number in range(table.metadata.num_row_groups)]
            columns = self.columns_in(table.schema_arrow)
        except RAISED as error:
            raise Unusable(damaged(error)) from error
        first = 1
        for group, rows in enumerate(groups):
            if group * part.of // max(len(groups), 1) == part.number:
                start = first
                try:
                    for batch in table.iter_batches(ROWS, row_groups=[group], columns=columns, use_threads=False):
                        yield start, batch
                        start += batch.num_rows
                except RAISED as error:
                    yield start, damaged(error, f"The rest of row group {group}")
            first += max(rows, 0)
