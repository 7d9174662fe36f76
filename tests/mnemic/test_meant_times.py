"""Times that a text speaks of: the days that they mean, against the day on which they were said."""

import time
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.times import PRECISIONS, dated, moments

MONDAY = date(2023, 5, 8)

GOLDEN = [
    ("I went yesterday.", "2023-05-08", "7 May 2023"),
    ("Last night it rained.", "2023-05-08", "7 May 2023"),
    ("The day before yesterday we met.", "2023-05-08", "6 May 2023"),
    ("I do it today.", "2023-05-08", "8 May 2023"),
    ("This morning I ran.", "2023-05-08", "8 May 2023"),
    ("See you tomorrow!", "2023-12-31", "1 January 2024"),
    ("The day after tomorrow then.", "2024-02-28", "1 March 2024"),
    ("Tomorrow's opening is free.", "2024-02-28", "29 February 2024"),
    ("Two days ago.", "2024-03-01", "28 February 2024"),
    ("A week ago we moved.", "2023-05-08", "week of 1 May 2023"),
    ("3 weeks ago.", "2023-05-10", "week of 17 April 2023"),
    ("Two weekends ago.", "2023-05-10", "weekend of 29 April 2023"),
    ("one month back", "2024-03-31", "February 2024"),
    ("eleven months ago", "2024-01-15", "February 2023"),
    ("A year ago.", "2024-02-29", "2023"),
    ("A few years ago.", "2023-05-08", "about 2020"),
    ("A couple of days ago.", "2023-05-08", "about 6 May 2023"),
    ("several months ago", "2023-05-08", "about January 2023"),
    ("in two weeks time", "2023-05-08", "week of 22 May 2023"),
    ("three days from now", "2023-05-30", "2 June 2023"),
    ("last week", "2023-01-02", "week of 26 December 2022"),
    ("this week", "2023-05-14", "week of 8 May 2023"),
    ("next week", "2023-12-31", "week of 1 January 2024"),
    ("Last weekend was fun", "2023-05-08", "weekend of 6 May 2023"),
    ("this past weekend", "2023-05-14", "weekend of 6 May 2023"),
    ("next month", "2023-12-31", "January 2024"),
    ("last month", "2023-01-31", "December 2022"),
    ("this month", "2023-05-31", "May 2023"),
    ("last year", "2023-05-08", "2022"),
    ("next year", "2023-05-08", "2024"),
    ("last Friday", "2023-05-08", "5 May 2023"),
    ("last Monday", "2023-05-08", "1 May 2023"),
    ("On Monday we", "2023-05-08", "1 May 2023"),
    ("next Monday", "2023-05-08", "15 May 2023"),
    ("this Sunday", "2023-05-08", "14 May 2023"),
    ("last Tues.", "2023-05-10", "9 May 2023"),
    ("last summer", "2023-05-08", "summer 2022"),
    ("last summer", "2023-09-01", "summer 2023"),
    ("last winter", "2023-05-08", "winter 2022-2023"),
    ("this winter", "2024-01-10", "winter 2023-2024"),
    ("next fall", "2023-05-08", "autumn 2023"),
    ("in July", "2023-05-08", "July 2023"),
    ("last May", "2023-05-08", "May 2022"),
    ("last March", "2023-05-08", "March 2023"),
    ("next May", "2023-05-08", "May 2024"),
    ("since February", "2023-05-08", "February 2023"),
    ("on 3 June", "2023-05-08", "3 June 2023"),
    ("the 3rd of June", "2023-05-08", "3 June 2023"),
    ("May 5th, then", "2023-05-08", "5 May 2023"),
    ("Sept. 5", "2023-05-08", "5 September 2023"),
    ("29 February", "2024-05-08", "29 February 2024"),
]
"""Text, the day it was said, the words of the time in it."""

ABSOLUTE = [
    ("on 2 March 2021", "2 March 2021"),
    ("on March 2, 2021", "2 March 2021"),
    ("2021-03-02", "2 March 2021"),
    ("June 2022", "June 2022"),
    ("in 2016", "2016"),
    ("in August 2021", "August 2021"),
    ("since May, 2020", "May 2020"),
    ("last June of 2019", "June 2019"),
]

NONE = [
    "May I ask?",
    "They march on.",
    "It may 3 times.",
    "30 February",
    "29 February, 2023",
    "2023-13-45",
    "an hour ago",
    "We waited in two weeks of rain.",
    "the year 12345",
    "todays",
    "Mondays are long.",
    "yesterdays",
]


@pytest.mark.parametrize(("text", "day", "words"), GOLDEN)
def test_relative_times_are_resolved_against_the_day_they_were_said(text, day, words):
    anchor = date.fromisoformat(day)
    [moment] = moments(text, anchor)
    assert (moment.words, moment.anchor) == (words, anchor)
    assert not list(moments(text, None)), "without a day there is no time"
    assert dated(text, None) == text
    assert dated(text, anchor) == f"{text[: moment.end]} ({words}){text[moment.end :]}"


@pytest.mark.parametrize(("text", "words"), ABSOLUTE)
def test_times_that_say_their_year_need_no_day_and_stay_as_they_are(text, words):
    for anchor in (None, MONDAY):
        [moment] = moments(text, anchor)
        assert (moment.words, moment.anchor) == (words, None)
        assert dated(text, anchor) == text


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_time(text):
    assert list(moments(text, MONDAY)) == []


def test_times_beyond_the_calendar_are_none():
    assert list(moments("999 years ago", date(500, 1, 1))) == []
    assert list(moments("next year", date(9998, 12, 31))) == []


DAYS = st.dates(date(1900, 1, 1), date(2100, 12, 31))


@given(DAYS, st.integers(1, 300), st.sampled_from(["day", "week", "month", "year"]))
def test_so_many_units_ago_is_what_the_calendar_says(anchor, count, unit):
    [moment] = moments(f"It was {count} {unit}s ago.", anchor)
    if unit == "day":
        assert moment.first == anchor - timedelta(count)
    elif unit == "week":
        assert moment.first <= anchor - timedelta(7 * count) < moment.stop and moment.first.weekday() == 0
    else:
        months = anchor.year * 12 + anchor.month - 1 - count * (1 if unit == "month" else 12)
        assert (moment.first.year, moment.first.day) == (months // 12, 1)
        assert unit == "year" or moment.first.month == months % 12 + 1
    lengths = {"day": 1, "weekend": 2, "week": 7}
    length = (moment.stop - moment.first).days
    assert length == lengths.get(moment.precision, length) and moment.precision in PRECISIONS
    assert {"month": range(28, 32), "year": range(365, 367)}.get(moment.precision, range(1, 8)).count(length) == 1


@given(DAYS, st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), st.sampled_from(["last", "next"]))
def test_a_named_day_is_the_nearest_of_its_name_and_never_the_day_itself(anchor, name, which):
    [moment] = moments(f"{which} {name}", anchor)
    away = (moment.first - anchor).days
    assert moment.first.strftime("%a").lower() == name
    assert (-7 <= away <= -1) if which == "last" else (1 <= away <= 7)


@given(st.text("ay 1on lst2week3agoyr.-,\n", max_size=200), DAYS)
@settings(max_examples=300)
def test_times_are_in_order_do_not_overlap_and_stand_in_the_text(text, anchor):
    place = 0
    for moment in moments(text, anchor):
        assert place <= moment.start < moment.end <= len(text) and moment.first < moment.stop
        place = moment.end
    relative = [moment for moment in moments(text, anchor) if moment.anchor]
    assert len(dated(text, anchor)) == len(text) + sum(len(f" ({moment.words})") for moment in relative)


HOSTILE = ("today ", "last ", "1 ", "May ", "a few ", "the day before ", "in a ", "on sun", "2023-", " \t\n", "in 2")


@pytest.mark.parametrize("pattern", HOSTILE)
def test_ten_times_the_text_takes_ten_times_the_time(pattern):
    """In one of three turns, each of both lengths: a processor that other work slows down spoils a turn."""

    def seconds(characters: int) -> float:
        text = pattern * (characters // len(pattern))
        started = time.process_time()
        for _ in moments(text, MONDAY):
            pass
        return time.process_time() - started

    assert min(seconds(200_000) - 14 * seconds(20_000) for _ in range(3)) <= 0.01
