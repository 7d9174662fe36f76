"""The rows of a workbook as records: the first row of a sheet that holds anything names the columns.

Values are those that the program stored: of a formula its result, of a date its day in ISO 8601. An error value is
null.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from pipelines.sources.parsers.process import Part, Unparsed
from pipelines.sources.parsers.xml import events
from pipelines.sources.parsers.zipped import Members

WORKBOOK = "xl/workbook.xml"
AT_ONCE = 500
"""Rows in a part."""

MOST_COLUMNS = 16_384

_DAYS = frozenset((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)))
"""Numbers of the built-in formats that are days or hours."""

_LITERAL = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]')
_CELL = re.compile(r"([A-Z]{1,3})\d+")


def parts(data: bytes, settings: Mapping[str, Any]) -> Iterator[Part]:
    """Parts of up to `AT_ONCE` rows of a sheet: `sheet`, `columns` and `rows` (number, values).

    A sheet that cannot be read on is told in ``fault``.
    """
    members = Members(data)
    if WORKBOOK not in members:
        raise Unparsed("The file is no workbook, since it has no `xl/workbook.xml`; save it anew as .xlsx.")
    sheets, begin = _sheets(members)
    strings = _strings(members)
    days = _day_styles(members)
    for sheet, member in sheets:
        part: dict[str, Any] = {"sheet": sheet}
        columns: list[str] = []
        rows: list[tuple[int, list[Any]]] = []
        try:
            for number, cells in _rows(members.read(member), strings, days, begin):
                if not columns:
                    columns = _named(cells)
                    continue
                rows.append((number, cells[: len(columns)]))
                if len(rows) == AT_ONCE:
                    yield {**part, "columns": columns, "rows": rows}, ""
                    rows = []
        except Unparsed as error:
            part["fault"] = str(error)
        if rows or "fault" in part:
            yield {**part, "columns": columns, "rows": rows}, ""


def _sheets(members: Members) -> tuple[list[tuple[str, str]], datetime]:
    """(name, member) of the sheets in their order, and the day 0 of the workbook."""
    related = members.related(WORKBOOK)
    sheets = []
    begin = datetime(1899, 12, 30)
    for event, tag, attributes in events(members.read(WORKBOOK)):
        if event == "start" and tag == "sheet":
            member = related.get(attributes.get("id", ""))
            if member:
                sheets.append((attributes.get("name", ""), member))
        elif event == "start" and tag == "workbookPr" and attributes.get("date1904") in ("1", "true"):
            begin = datetime(1904, 1, 1)
    return sheets, begin


def _strings(members: Members) -> list[str]:
    if "xl/sharedStrings.xml" not in members:
        return []
    strings: list[str] = []
    pieces: list[str] = []
    reading = spoken = False
    for event, tag, value in events(members.read("xl/sharedStrings.xml")):
        if event == "text":
            if reading and not spoken:
                pieces.append(value)
        elif tag == "t":
            reading = event == "start"
        elif tag == "rPh":  # how an East Asian word is spoken
            spoken = event == "start"
        elif tag == "si" and event == "end":
            strings.append("".join(pieces))
            pieces = []
    return strings


def _day_styles(members: Members) -> set[int]:
    """The styles of cells whose numbers are days."""
    if "xl/styles.xml" not in members:
        return set()
    formats: dict[str, str] = {}
    styles: set[int] = set()
    number, inside = 0, False
    for event, tag, attributes in events(members.read("xl/styles.xml")):
        if tag == "cellXfs":
            inside = event == "start"
        elif event == "start" and tag == "numFmt":
            formats[attributes.get("numFmtId", "")] = attributes.get("formatCode", "")
        elif event == "start" and tag == "xf" and inside:
            name = attributes.get("numFmtId", "")
            code = _LITERAL.sub("", formats.get(name, "")).lower()
            if (name.isdecimal() and int(name) in _DAYS) or any(sign in code for sign in ("y", "d", "h", "ss", "mm")):
                styles.add(number)
            number += 1
    return styles


def _rows(content: bytes, strings: list[str], days: set[int], begin: datetime) -> Iterator[tuple[int, list[Any]]]:
    """(number, values) of the rows that hold anything."""
    number, column = 0, 0
    cells: list[Any] = []
    kind, style, pieces, reading = "", "", list[str](), False
    for event, tag, value in events(content):
        if event == "text":
            if reading:
                pieces.append(value)
        elif event == "start":
            if tag == "row":
                stated = value.get("r", "")
                number = int(stated) if stated.isascii() and stated.isdecimal() and len(stated) < 10 else number + 1
                cells, column = [], 0
            elif tag == "c":
                match = _CELL.fullmatch(value.get("r", ""))
                column = _column(match[1]) if match else column + 1
                kind, style, pieces = value.get("t", "n"), value.get("s", ""), []
            elif tag in ("v", "t"):
                reading = True
        elif tag in ("v", "t"):
            reading = False
        elif tag == "c" and 0 < column <= MOST_COLUMNS:
            day = style.isdecimal() and int(style) in days
            cell = _value("".join(pieces), kind, day, strings, begin)
            if cell is not None:
                cells.extend([None] * (column - len(cells)))
                cells[column - 1] = cell
        elif tag == "row" and any(cell is not None for cell in cells):
            yield number, cells


def _value(text: str, kind: str, day: bool, strings: list[str], begin: datetime) -> Any:
    if kind == "s":
        return strings[int(text)] if text.isascii() and text.isdecimal() and int(text) < len(strings) else None
    if kind in ("inlineStr", "str", "d"):
        return text if text.strip() else None
    if kind == "b":
        return text.strip() == "1"
    try:
        number = float(text)
    except ValueError:
        return None
    if kind == "e" or not math.isfinite(number):
        return None
    if day and 0 <= number < 2_958_466:  # the year 10,000
        time = begin + timedelta(seconds=round(number * 86_400))
        return time.date().isoformat() if number == int(number) else time.isoformat()
    return int(number) if number == int(number) and abs(number) < 2**53 else number


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - 64
    return number


def _named(cells: list[Any]) -> list[str]:
    """Names of columns that differ: one without a name is called by its number, a repeated one by a number behind."""
    repeats: Counter[str] = Counter()
    names: dict[str, None] = {}
    for number, cell in enumerate(cells, start=1):
        name = heading = " ".join(str(cell).split())[:200] if cell is not None else f"column {number}"
        while name in names:
            repeats[heading] += 1
            name = f"{heading} ({repeats[heading] + 1})"
        names[name] = None
    return list(names)
