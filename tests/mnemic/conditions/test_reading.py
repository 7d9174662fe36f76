"""Conditions by name: what they mean in SQL, and which values are none."""

import itertools
import math
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum

import numpy as np
import pyarrow as pa
import pytest

from mnemic.conditions import Conditions
from mnemic.conditions.reading import MANY, MOST
from mnemic.errors import QueryError
from mnemic.schema import events

SCHEMA = events(8)


class Team(str, Enum):  # noqa: UP042 - str() of a StrEnum is its text, of this one it is not
    """A text that says something else of itself."""

    NORTH = "north"


def sql(where, schema=SCHEMA):
    return Conditions.of(where).sql(schema, "events")


def test_conditions_by_name_are_sql_and_quoted():
    assert sql({"tenant": "o'neil", "source": ["a", "b"]}) == "(tenant IN ('o''neil')) AND (source IN ('a', 'b'))"
    assert sql({"speaker": "Ann"}) == "(array_has(speakers, 'Ann'))"
    assert sql({"speaker": ["Ann", "Bob"]}) == "(array_has_any(speakers, make_array('Ann', 'Bob')))"
    time = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    assert sql({"after": time, "before": date(2026, 3, 1)}) == (
        "(end_time >= timestamp '2026-01-31 09:30:00.000000') AND (start_time < timestamp '2026-03-01 00:00:00.000000')"
    )
    assert sql({"after": "2026-01-31T10:30:00+01:00"}) == "(end_time >= timestamp '2026-01-31 09:30:00.000000')"
    assert sql([{"tenant": "a"}, "words > 5", None]) == "(tenant IN ('a')) AND (`words` > 5)"
    assert sql([]) is sql({}) is sql(None) is sql("") is None


def test_nobody_is_not_everybody():
    assert sql({"tenant": []}) == "(false)" and sql({"speaker": ()}) == "(false)"
    for name in ("tenant", "source", "session", "speaker", "after", "before"):
        for nothing in (None, math.nan, np.float32("nan"), np.datetime64("NaT")):
            with pytest.raises(QueryError, match=r"has no value|is no time|neither text nor a number"):
                sql({name: nothing})
    with pytest.raises(QueryError, match="neither text nor a number"):
        sql({"tenant": ["alice", None]})


@pytest.mark.parametrize(
    "several",
    [
        ["a", "b"],
        ("a", "b"),
        {"a": 1, "b": 2}.keys(),
        {1: "a", 2: "b"}.values(),
        np.array(["a", "b"]),
        np.array(["a", "b"], object),
        pa.array(["a", "b"]),
        pa.chunked_array([["a"], ["b"]]),
        ["a", "b", "a"],
    ],
)
def test_one_of_several_must_hold(several):
    assert sql({"tenant": several}) == "(tenant IN ('a', 'b'))"


def test_sets_are_lists_in_any_order():
    for several in ({"a", "b"}, frozenset("ab")):
        assert sql({"tenant": several}) in ("(tenant IN ('a', 'b'))", "(tenant IN ('b', 'a'))")


def test_scalars_are_their_text():
    key = uuid.UUID(int=7)
    for value in ("5", 5, np.int64(5), np.array(5), np.str_("5"), pa.scalar("5"), pa.scalar(5)):
        assert sql({"session": value}) == "(session IN ('5'))"
    assert sql({"session": key}) == f"(session IN ('{key}'))"
    assert sql({"session": Team.NORTH}) == "(session IN ('north'))"


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ({"tenants": "a"}, "did you mean 'tenant'"),
        ({"colour": "red"}, "known are tenant"),
        ({5: "red"}, "no condition 5"),
        ({"after": "yesterday"}, "is no time"),
        ({"before": 5}, "is no time"),
        ({"after": ["2026-01-01"]}, "is no time"),
        ({"tenant": b"alice"}, "neither text nor a number"),
        ({"tenant": [b"alice"]}, "neither text nor a number"),
        ({"tenant": (name for name in "ab")}, r"give list\(...\)"),
        ({"tenant": itertools.repeat("a")}, r"give list\(...\)"),
        ({"tenant": {"alice": 1}}, r"list\(...\) of its keys"),
        ({"tenant": True}, "neither text nor a number"),
        ({"tenant": [["a"]]}, "neither text nor a number"),
        ({"tenant": math.inf}, "neither text nor a number"),
        ({"tenant": np.array([["a"]])}, "neither text nor a number"),
        ({"tenant": object()}, "neither text nor a number"),
        ({"tenant": "\ud800"}, "half a character"),
        ({"tenant": range(MANY + 1)}, "at most 100,000"),
        ([{"tenant": str(number)} for number in range(MOST + 1)], "at most 1,000"),
        (b"true", "is no condition"),
        ({"words > 5"}, "is no condition"),
        (5, "is no condition"),
        ([5], "is no condition"),
        (iter(["true"]), "is no condition"),
        (["true", ["true OR " * 3_000 + "true"] * 2, "leaf OR " * 5_000 + "true"], "characters, of which 50,000"),
    ],
)
def test_conditions_that_mean_nothing_are_told(where, sentence):
    with pytest.raises(QueryError, match=sentence):
        sql(where)


def test_lists_in_lists_end_in_a_sentence():
    circle: list = []
    circle.append(circle)
    deep: list = ["true"]
    for _ in range(100_000):
        deep = [deep]
    for where in (circle, deep):
        with pytest.raises(QueryError, match="lists in each other"):
            sql(where)


def test_a_column_that_an_older_bank_does_not_have_is_told():
    with pytest.raises(QueryError, match="build it again"):
        sql({"session": "s"}, pa.schema([pa.field("tenant", pa.string())]))


def test_times_at_the_ends_of_the_calendar():
    assert sql({"after": date(7, 1, 1)}) == "(end_time >= timestamp '0007-01-01 00:00:00.000000')"
    assert sql({"after": "0001-01-01"}) == "(end_time >= timestamp '0001-01-01 00:00:00.000000')"
    assert sql({"before": datetime.max}) == "(start_time < timestamp '9999-12-31 23:59:59.999999')"
    assert sql({"before": np.datetime64("2026-01-31T09:30", "ns")}).endswith("'2026-01-31 09:30:00.000000')")
    east, west = timezone(timedelta(hours=5)), timezone(-timedelta(hours=5))
    for beyond in ("0001-01-01T00:00:00+05:00", datetime.min.replace(tzinfo=east), datetime.max.replace(tzinfo=west)):
        with pytest.raises(QueryError, match="outside the years 1 to 9999"):
            sql({"after": beyond})


def test_what_documents_can_be_asked():
    conditions = Conditions.of({"tenant": "a", "document": "7f", "speaker": "Ann"})
    assert conditions.of_documents() == "(tenant IN ('a')) AND (id IN ('7f'))"
    assert Conditions.of([{"tenant": "a"}, "words > 5", None]).of_documents() == "(tenant IN ('a'))"
    assert Conditions.of("tenant = 'a'").of_documents() is Conditions.of(None).of_documents() is None


def test_what_differs_within_a_document():
    assert not Conditions.of([{"tenant": "a", "session": "b"}, None]).vary and not Conditions.of(None).vary
    for where in ({"tenant": "a", "speaker": "Ann"}, {"after": "2026-01-01"}, "tenant = 'a'"):
        assert Conditions.of(where).vary, "SQL is not looked into"
