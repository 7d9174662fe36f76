"""Sentences that stand in their sources, and sentences that do not; times as models write them."""

from datetime import UTC, datetime

import pytest

from operators.written.grounding import Sources
from operators.written.when import read_when

SAID = datetime(2023, 5, 8, 13, 56, tzinfo=UTC)
TEXT = 'I adopted two puppies yesterday, and I\'m painting the fence of our house. Ann said "never again".'
UNITS = [{"speaker": "Caroline Lee", "time": SAID, "text": TEXT}]


@pytest.mark.parametrize(
    "text",
    [
        "Caroline adopted two puppies.",
        "Caroline adopted 2 puppies on 7 May 2023.",
        "On 2023-05-07 Caroline Lee adopted puppies.",
        "Caroline paints the fence of her house.",
        "Caroline's puppies were adopted in May.",
        'Ann said "never again" to Caroline.',
        "Caroline was painting on Monday.",
    ],
)
def test_what_stands_there_is_grounded(text):
    share, missing = Sources(UNITS).grounded(text, 0.7)
    assert missing == "" and share >= 0.7


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("Caroline adopted three puppies with Melanie.", "Melanie"),
        ("Caroline adopted 3 puppies.", "number 3"),
        ("Caroline adopted puppies on 8 June 2023.", "June"),
        ("Caroline adopted puppies in 2024.", "2024"),
        ('Ann said "always again" to Caroline.', "quotation"),
        ("Caroline volunteers weekly, teaching gardening classes.", "long words"),
    ],
)
def test_what_was_invented_is_told(text, missing):
    assert missing in Sources(UNITS).grounded(text, 0.5)[1]


def test_the_share_of_long_words_is_what_somebody_asks_for():
    text = "There Caroline adopted puppies gratefully everywhere."
    share, missing = Sources(UNITS).grounded(text, 0.5)
    assert (share, missing) == (0.5, "")
    assert "2 of its 4 long words" in Sources(UNITS).grounded(text, 0.6)[1]


def test_other_speakers_of_a_pack_may_be_named():
    text = "Caroline told Melanie of the puppies."
    assert "Melanie" in Sources(UNITS).grounded(text, 0.5)[1]
    assert Sources(UNITS, ["Melanie"]).grounded(text, 0.5)[1] == ""


def test_subjects_and_values_are_words_of_the_sources():
    sources = Sources(UNITS)
    assert sources.names("Caroline") and sources.names("the fence") and sources.names("two puppies")
    assert not sources.names("Melanie") and not sources.names("the") and not sources.names("")


@pytest.mark.parametrize(
    ("text", "start", "stop", "precision"),
    [
        ("2023", (2023, 1, 1), (2024, 1, 1), "year"),
        ("2024-02", (2024, 2, 1), (2024, 3, 1), "month"),
        ("2023-12", (2023, 12, 1), (2024, 1, 1), "month"),
        ("2024-02-29", (2024, 2, 29), (2024, 3, 1), "day"),
        ("2023-05-08T13:56Z", (2023, 5, 8, 13, 56), (2023, 5, 8, 13, 57), "instant"),
        ("2022-01/2023-05", (2022, 1, 1), (2023, 6, 1), "month"),
    ],
)
def test_times_are_intervals_with_a_precision(text, start, stop, precision):
    when = read_when(text)
    assert (when.start, when.stop) == (datetime(*start, tzinfo=UTC), datetime(*stop, tzinfo=UTC))
    assert when.precision == precision and when.ends == ("/" in text)


@pytest.mark.parametrize("text", ["soon", "2023-13", "2023-02-30", "2023-05/2022", "23", "2023-5", "2023/", "9" * 50])
def test_what_is_no_time_is_none(text):
    assert read_when(text) is None


def test_a_time_must_be_one_that_a_source_names_or_was_said_on():
    sources = Sources(UNITS)
    for text, near in (("2023-05-07", True), ("2023-05", True), ("2023", True), ("2023-05-08", True)):
        assert sources.speaks_of(read_when(text)) is near
    for text in ("2023-05-09", "2022", "2023-04"):
        assert not sources.speaks_of(read_when(text))
    assert not Sources([{**UNITS[0], "time": None}]).speaks_of(read_when("2023-05-07")), "no time, no date"
