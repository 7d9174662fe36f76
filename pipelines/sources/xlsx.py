"""Workbooks (.xlsx): each row is a document, and the first row of a sheet names the columns.

The settings ``*_field`` name columns, as for JSON Lines and CSV; the whole record is metadata. Without ``text_field``
the text of a row is all of it, a line for each column.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from mnemic.ids import hash_parts
from pipelines.seen import SeenIds
from pipelines.sources.contracts import Document, Reject
from pipelines.sources.fields import Records
from pipelines.sources.json_values import Unusable
from pipelines.sources.office import is_office
from pipelines.sources.parsers.process import Content, parse_apart
from pipelines.sources.text import too_large
from pipelines.sources.whole import ApartFiles


class Spreadsheets(ApartFiles, Records):
    """Workbooks below ``path``. ``text_field``: the column that is the text; "" takes all columns of a row."""

    version: ClassVar[int] = 1

    kind: Literal["xlsx"] = "xlsx"
    name: str = "xlsx"
    suffixes: list[str] = Field(default=[".xlsx", ".xlsm"], min_length=1)
    text_field: str = ""

    def parse(self, content: Content, locator: str, limit: int) -> Iterator[Document | Reject]:
        seen = SeenIds()
        refused: set[str] = set()  # sheets without the column
        rows = False
        for stated, _ in parse_apart("pipelines.sources.parsers.xlsx", content, {}):
            sheet, columns = stated["sheet"], stated["columns"]
            place = f"{locator}#{sheet}"
            rows = rows or bool(stated["rows"])
            if sheet not in refused and self.text_field and columns and self.text_field not in columns:
                refused.add(sheet)
                names = ", ".join(columns[:12])
                yield Reject(place, f"It has no column '{self.text_field}', only {names}; name one with `text_field`.")
            if sheet not in refused:
                for number, cells in stated["rows"]:
                    record = dict(zip(columns, cells, strict=False))
                    yield self._row(record, place, number, limit, seen)
            if "fault" in stated:
                yield Reject(place, stated["fault"])
        if not rows:
            yield Reject(locator, "It holds no rows below the names of columns.", "empty")

    def _row(self, record: dict[str, Any], place: str, number: int, limit: int, seen: SeenIds) -> Document | Reject:
        if not self.text_field:
            lines = (f"{name}: {value}" for name, value in record.items() if value not in (None, ""))
            record = {**record, "": "\n".join(lines)}
        try:
            row = self.document(record, place, number, f"row {number}")
        except Unusable as error:
            return Reject(f"{place}#{number}", str(error), error.severity)
        if self.id_field is not None and not seen.add(hash_parts(row.locator)):
            return Reject(f"{place}#{number}", f"Row {number} repeats the id of an earlier row; make ids unique.")
        size = len(row.text.encode())
        return Reject(row.locator, too_large(size, limit)) if size > limit else row


def recognise(name: str, head: bytes) -> bool:
    """Whether a file is a workbook of today."""
    return is_office(name, head, b"xl/", (".xlsx", ".xlsm"))
