"""Times are read by a short list of forms, in UTC, wherever the machine stands; what could mean two times is none."""

from __future__ import annotations

import time as clock
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sources.times import read_time

MOMENT = datetime(2023, 5, 8, 13, 56, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "2023-05-08T13:56:00Z",
        "2023-05-08T15:56:00+02:00",
        "2023-05-08 13:56",
        "2023-05-08 1:56 PM",
        " 20230508T1356 ",
        "1:56 pm on 8 May, 2023",
        "1:56 p.m. on 8 May 2023",
        "01:56PM, May 8, 2023",
        "May 8th, 2023 at 1:56 PM",
        "Monday, 8 May 2023 13:56:00",
        "Mon, 08 May 2023 13:56:00 GMT",
        "Mon, 08 May 2023 09:26:00 -0430",
        "2023/05/08 (Mon) 13:56",
        1683554160,
        1683554160.0,
        1683554160000,
        "1683554160",
        "1683554160.000",
        "1683554160000",
    ],
)
def test_a_moment_may_be_written_so(value: object) -> None:
    assert read_time(value) == MOMENT
    assert getattr(read_time(value), "tzinfo", None) is UTC


@pytest.mark.parametrize("value", ["8 May, 2023", "May 8, 2023", "2023-05-08", "2023/5/8", "8th of may 2023"])
def test_a_day_without_an_hour_begins_at_midnight(value: str) -> None:
    assert read_time(value) == datetime(2023, 5, 8, tzinfo=UTC)


@pytest.mark.parametrize(("written", "hour"), [("12:30 am", 0), ("12:30 pm", 12), ("1:30 am", 1), ("11:30 pm", 23)])
def test_noon_and_midnight(written: str, hour: int) -> None:
    assert read_time(f"{written} on 8 May, 2023") == datetime(2023, 5, 8, hour, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "",
        "05/08/2023",
        "08.05.2023",
        "8 May 23",
        "31 February, 2023",
        "13:00 pm on 8 May, 2023",
        "0:10 am on 8 May, 2023",
        "24:00 on 8 May, 2023",
        "8 Mai 2023",
        "8 Mayor 2023",
        "8 May, 2023 or so",
        "8 May 2023 13:56 -9900",
        "10:00",
        "2023",
        "170000000",
        "202305081356",
        "1" * 5000,
        "0001-01-01T00:00+14:00",
        "2023-05-08\ud80013:56",
        "\u0662\u0660\u0662\u0663-05-08",
        1e14,
        1e300,
        10**400,
        -(10**14),
        float("nan"),
        float("-inf"),
        True,
        None,
        [1683554160],
        {"$date": 1683554160},
    ],
)
def test_what_could_mean_two_times_or_none_is_none(value: object) -> None:
    assert read_time(value) is None


def test_the_machines_time_zone_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    clock.tzset()
    try:
        times = [read_time(value) for value in ("2023-05-08T13:56", "1:56 pm on 8 May, 2023", 1683554160)]
    finally:
        monkeypatch.undo()
        clock.tzset()
    assert times == [MOMENT] * 3


moments = st.datetimes(datetime(1974, 1, 1), datetime(5000, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
)


@given(moment=moments, zone=st.integers(-14 * 60, 14 * 60))
def test_every_form_says_the_same(moment: datetime, zone: int) -> None:
    """Against the standard library's own writers of ISO 8601 and RFC 2822, in any zone."""
    there = moment.astimezone(timezone(timedelta(minutes=zone)))
    seconds = int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    spoken = f"{moment:%I:%M:%S %p} on {moment.day} {moment:%B}, {moment.year}"
    for value in (there.isoformat(), format_datetime(there), seconds, seconds * 1000, spoken):
        assert read_time(value) == moment
