"""The columns `meant_start` and `meant_end` of events."""

import random
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.schema import TIME
from mnemic.times import moments
from operators.times import Times

SCHEMA = pa.schema(
    [
        ("document", pa.string()),
        ("leaf", pa.bool_()),
        ("first_unit", pa.int32()),
        ("end_unit", pa.int32()),
        ("start_time", TIME),
        ("text", pa.large_string()),
    ]
)
SAID = ["I went yesterday.", "Nothing of it.", "In 2016, and last week.", "next month", "on 3 June 2020"]


def rows(documents: list[list[tuple[str, int | None]]]) -> pa.RecordBatch:
    """Of each document its leaves (text, day of 2023), events of two leaves, and the session."""
    every = []
    for number, leaves in enumerate(documents):
        name = f"d{number}"
        times = [None if day is None else datetime(2023, 1, 1, tzinfo=UTC) + timedelta(day) for _, day in leaves]
        for place, (text, _) in enumerate(leaves):
            every.append((name, True, place, place + 1, times[place], text))
        for start in range(0, len(leaves), 2):
            every.append((name, False, start, min(start + 2, len(leaves)), times[start], "yesterday and in 1900"))
        every.append((name, False, 0, len(leaves), times[0] if leaves else None, "tomorrow"))
    return pa.RecordBatch.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in every], schema=SCHEMA)


def meant(batch: pa.RecordBatch) -> list[tuple[datetime | None, datetime | None]]:
    columns, rejects = Times().open("cpu")(batch)
    assert rejects.num_rows == 0
    return list(zip(columns["meant_start"].to_pylist(), columns["meant_end"].to_pylist(), strict=True))


def by_hand(batch: pa.RecordBatch) -> list[tuple[datetime | None, datetime | None]]:
    """Of each row the hull of the times of the leaves in its range."""
    every = batch.to_pylist()
    result = []
    for row in every:
        days = [
            moment
            for leaf in every
            if leaf["leaf"] and leaf["document"] == row["document"]
            if row["first_unit"] <= leaf["first_unit"] < row["end_unit"]
            for moment in moments(leaf["text"], leaf["start_time"].date() if leaf["start_time"] else None)
        ]
        first, stop = min((one.first for one in days), default=None), max((one.stop for one in days), default=None)
        result.append(tuple(day and datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (first, stop)))
    return result  # type: ignore[return-value]


def test_a_row_spans_the_days_that_its_leaves_mean():
    batch = rows([[("I went yesterday.", 127), ("Nothing.", 127), ("In 2016.", None)]])
    day = datetime(2023, 5, 7, tzinfo=UTC)
    year = datetime(2016, 1, 1, tzinfo=UTC), datetime(2017, 1, 1, tzinfo=UTC)
    assert meant(batch) == [
        (day, day + timedelta(1)), (None, None), year,
        (day, day + timedelta(1)), year,
        (year[0], day + timedelta(1)),
    ]  # fmt: skip
    assert meant(rows([])) == []
    assert meant(rows([[("the year 1 to 2023: in 1000", None)]]))[0][0] == datetime(1000, 1, 1, tzinfo=UTC)
    assert date(1000, 1, 1) < date(1970, 1, 1)


LEAVES = st.lists(st.tuples(st.sampled_from(SAID), st.none() | st.integers(0, 400)), min_size=1, max_size=6)


@given(st.lists(LEAVES, min_size=1, max_size=4), st.integers(0, 99), st.integers(0, 4))
@settings(max_examples=100)
def test_any_order_and_any_split_by_documents_gives_the_hull(documents, seed, cut):
    batch = rows(documents)
    order = list(range(batch.num_rows))
    random.Random(seed).shuffle(order)
    shuffled = batch.take(pa.array(order))
    first = [int(name[1:]) < cut for name in shuffled["document"].to_pylist()]
    for chosen in ([True] * len(first), first, [not one for one in first]):
        part = shuffled.filter(pa.array(chosen))
        assert meant(part) == by_hand(part)
