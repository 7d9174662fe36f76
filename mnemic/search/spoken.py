"""When the parts of a row were said, and how much of a budget it takes with the days that it speaks of.

A turn is said at one time, which the row has. A session or an event may hold turns of several days: "yesterday" is then
resolved against the turn that it is in, whose time the document has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from mnemic.dataset.index import read_rows, rows_of_ids
from mnemic.search.results import Spoken, dated_text, day_line
from mnemic.view import View

_FACTS = ("document", "start", "end", "start_time", "end_time")


def spoken(view: View, rows: Sequence[Mapping[str, Any]]) -> list[Spoken]:
    """For each row with document, start, end, start_time and end_time: (its first character, the time) of each part."""
    parts: list[Spoken] = [((0, row["start_time"]),) if row["start_time"] else () for row in rows]
    long = [
        number
        for number, row in enumerate(rows)
        if row["start_time"] and row.get("end_time") and row["start_time"].date() != row["end_time"].date()
    ]
    if not long:
        return parts
    documents = view.dataset("documents")
    owners, _ = rows_of_ids(documents, "id", sorted({rows[number]["document"] for number in long}))
    turns = {row["id"]: row["turns"] or () for row in documents.take_rows(owners, ["id", "turns"]).to_pylist()}
    for number in long:
        row = rows[number]
        times = {
            max(turn["start"] - row["start"], 0): turn["time"]
            for turn in turns[row["document"]]
            if turn["time"] and turn["start"] < row["end"] and turn["end"] > row["start"]
        }
        parts[number] = tuple(sorted({0: row["start_time"], **times}.items()))
    return parts


def dated_sizes(view: View, facts: pa.Table, count: Callable[[str], int]) -> list[int]:
    """What each row of ``facts``, from best to worst, takes with its days written into it, by ``count``.

    The best row of a session also has the line that says its day.
    """
    events = view.dataset("events")
    numbers = facts["_rowid"].to_numpy()
    texts = events.take_rows(numbers, ["text"])["text"].to_pylist()
    names = [name for name in _FACTS if name in events.schema.names]
    rows = read_rows(events, numbers, names).to_pylist()
    sizes, days = list[int](), set[tuple[str, object]]()
    for text, row, parts in zip(texts, rows, spoken(view, rows), strict=True):
        size = count(dated_text(text, parts))
        day = (row["document"], row["start_time"].date()) if row["start_time"] else None
        if day is not None and day not in days:
            days.add(day)
            size += count(day_line(row["start_time"]))
        sizes.append(size)
    return sizes
