"""Steps of timelines, against texts that are put together of sentences whose times and names are known."""

import time
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.schema import TIME
from operators.timelines import BESIDE, Timelines

LEAVES = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "document", "tenant", "session")),
        *((name, pa.int64()) for name in ("start", "end")),
        ("text", pa.large_string()),
        ("speakers", pa.list_(pa.string())),
        ("start_time", TIME),
        ("end_time", TIME),
    ]
)
DAY = datetime(2023, 5, 8, 9, tzinfo=UTC)
SENTENCES = {
    "I met Ben Hill yesterday.": (["ben hill"], [(date(2023, 5, 7), date(2023, 5, 8), "day")]),
    "Rex likes Oslo!": (["rex", "oslo"], []),
    "It rained last month.": ([], [(date(2023, 4, 1), date(2023, 5, 1), "month")]),
    "They said so.": ([], []),
    "Cleo Marsh sang on 3 June 2020, and today.": (
        ["cleo marsh"],
        [(date(2020, 6, 3), date(2020, 6, 4), "day"), (date(2023, 5, 8), date(2023, 5, 9), "day")],
    ),
}
"""Text -> names and, where it is said on `DAY`, the times in it."""


def leaf(number, text, speakers=(), at=DAY):
    start = 1000 * number
    row = (f"e{number}", f"d{number // 3}", "t", "s", start, start + len(text), text, list(speakers), at, at)
    return dict(zip(LEAVES.names, row, strict=True))


def steps(leaves):
    rows, rejects = Timelines().open("cpu")(pa.RecordBatch.from_pylist(leaves, schema=LEAVES))
    assert rejects.num_rows == 0
    return rows.to_pylist()


def by_hand(sentences, speakers, at):
    """(kind, first, stop, precision, names) of each step of a leaf."""
    everywhere = [name for sentence in sentences for name in SENTENCES[sentence][0]]
    lower = [speaker.lower() for speaker in speakers]
    expected = [
        ("meant", datetime(*first.timetuple()[:3], tzinfo=UTC), datetime(*stop.timetuple()[:3], tzinfo=UTC), precision,
         sorted({*lower, *(SENTENCES[sentence][0] or everywhere)}))
        for sentence in sentences
        for first, stop, precision in SENTENCES[sentence][1]
        if at is not None or first == date(2020, 6, 3)
    ]  # fmt: skip
    if expected or at is None:
        return expected
    return [("said", at, at + timedelta(microseconds=1), "instant", sorted({*lower, *everywhere}))]


DRAWN = st.lists(
    st.tuples(
        st.lists(st.sampled_from(sorted(SENTENCES)), min_size=1, max_size=6),
        st.sampled_from([(), ("Ada",), ("Ada", "Ben Hill")]),
        st.sampled_from([None, DAY]),
    ),
    max_size=8,
)


@settings(max_examples=60)
@given(DRAWN, st.integers(1, 8))
def test_a_step_for_each_time_with_the_names_of_its_sentence(drawn, size):
    leaves = [leaf(number, " ".join(one), speakers, at) for number, (one, speakers, at) in enumerate(drawn)]
    rows = steps(leaves)
    expected = [step for one in drawn for step in by_hand(*one)]
    names = ("kind", "first", "stop", "precision", "names")
    assert [tuple(row[name] for name in names) for row in rows] == expected
    texts = {row["id"]: row for row in leaves}
    for row in rows:
        owner = texts[row["event"]]
        words = owner["text"][row["start"] - owner["start"] : row["end"] - owner["start"]]
        assert words in ("yesterday", "last month", "3 June 2020", "today") or words == owner["text"]
    split = [row for start in range(0, len(leaves), size) for row in steps(leaves[start : start + size])]
    assert split == rows
    assert sorted(map(str, steps(leaves[::-1]))) == sorted(map(str, rows))


def test_a_long_text_takes_time_in_proportion_and_its_steps_few_names():
    def seconds(count):
        text = "Ada Stone, Ben Hill and Cleo Marsh met on 3 June 2020, " * count
        started = time.process_time()
        rows = steps([leaf(0, text)])
        duration = time.process_time() - started
        assert len(rows) == count and max(len(row["names"]) for row in rows) <= 2 * BESIDE
        return duration

    seconds(10)
    few, many = min(seconds(200) for _ in range(3)), min(seconds(2000) for _ in range(2))
    assert many < 25 * few


def test_the_end_of_all_time_is_no_fault():
    last = datetime.max.replace(tzinfo=UTC)
    [row] = steps([leaf(0, "They said so.", at=last)])
    assert row["first"] == row["stop"] == last
    assert steps([leaf(0, "They said so.", at=None)]) == []
