"""What is remembered may come from anybody: a call is stored and read back as it is, or refused with a sentence."""

import contextlib
import datetime
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mnemic.errors import BankError, QueryError
from mnemic.inbox.calls import CALL, CALL_BYTES, CALL_ROWS, ROW_BYTES, RememberedCall, call_of, read_call

NOW = datetime.datetime(2026, 3, 2, 9, 30, tzinfo=datetime.UTC)
TEXTS = st.text(st.characters(), max_size=40)  # surrogates and NUL too


def call(what, tenant=None, speaker=None, time=None, key=None) -> RememberedCall:
    return call_of(what, tenant, speaker, time, key, NOW)


@given(
    st.one_of(TEXTS, st.lists(st.one_of(TEXTS, st.fixed_dictionaries({"text": TEXTS}, optional={"speaker": TEXTS})))),
    st.none() | TEXTS,
    st.none() | TEXTS,
    st.none() | TEXTS,
)
@example("NUL \0", None, None, None)
@example("half \ud800", None, None, None)
@example("\u200b \u200b", None, None, None)
@example(["a", "\r\n"], "t", "s", "k")
@settings(max_examples=150)
def test_a_call_is_stored_whole_or_refused_with_a_sentence(what, tenant, speaker, key):
    try:
        stored = call(what, tenant, speaker, None, key)
    except QueryError as error:
        assert str(error)[-1] == "." and len(str(error)) < 500
        return
    assert read_call(stored.as_bytes(), "a file") == stored
    texts = [what] if isinstance(what, str) else [one if isinstance(one, str) else one["text"] for one in what]
    assert [row.text for row in stored.rows] == [
        one.replace("\r\n", "\n").replace("\r", "\n").strip() for one in texts
    ], "nothing but the space around it and line ends are other"
    assert [row.ordinal for row in stored.rows] == list(range(len(texts)))
    assert {row.call for row in stored.rows} == {stored.id} and len(stored.id) == CALL


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (None, "None cannot be remembered"),
        (7, "7 cannot be remembered"),
        (b"bytes", "cannot be remembered"),
        ({"a", "b"}, "cannot be remembered"),
        ((one for one in "ab"), "cannot be remembered"),
        ([], "is empty"),
        ("", "nothing to be seen"),
        (" \n\t ", "nothing to be seen"),
        ([7], "turn 1 is 7"),
        ([{"speaker": "Ada"}], "has no text"),
        ([{"text": "a", "role": "x"}], "has a field 'role'"),
        ([{"text": b"a"}], "not text"),
        ([{"text": "a", "speaker": 7}], "not text"),
        ([{"text": "a", "time": 12}], "give a date"),
        ([{"text": "a", "time": "soon"}], "is no time"),
        (["a"] * (CALL_ROWS + 1), "make several calls"),
        ("a" * (ROW_BYTES + 1), "split it"),
        ("é" * (ROW_BYTES // 2 + 1), "split it"),
        ("x" * 10_000_000, "split it"),
        (["a" * (ROW_BYTES - 1)] * (CALL_BYTES // ROW_BYTES + 2), "further calls"),
    ],
)
def test_what_cannot_be_remembered(what, words):
    with pytest.raises(QueryError, match=words):
        call(what)


@pytest.mark.parametrize(
    "names",
    [
        {"tenant": 7},
        {"tenant": "a" * 201},
        {"tenant": "a\nb"},
        {"tenant": "\ud800"},
        {"speaker": b"Ada"},
        {"key": ""},
        {"key": "k" * 201},
        {"time": 12.5},
        {"time": "yesterday"},
        {"time": float("nan")},
    ],
)
def test_names_and_times_that_are_none(names):
    with pytest.raises(QueryError):
        call("a text", **names)


def test_times_are_in_utc_and_now_by_default():
    stored = call([{"text": "a", "time": "2026-01-02T03:04:05+01:00"}, {"text": "b"}, {"text": "c"}], time="2026-02-01")
    times = [row.time.isoformat() for row in stored.rows]
    assert times == ["2026-01-02T02:04:05+00:00", *["2026-02-01T00:00:00+00:00"] * 2]
    assert call("a").rows[0].time == NOW
    assert call("a", time=datetime.date(2026, 1, 2)).rows[0].time.day == 2


def test_a_key_makes_ids_that_come_again_and_differ_between_tenants():
    assert call("a", key="k").id == call("a", key="k").id != call("a", "team", key="k").id
    assert call("a", key="k").digest == call("a", key="k").digest != call("b", key="k").digest
    assert call("a").id != call("a").id
    later = call_of("a", None, None, None, "k", NOW + datetime.timedelta(1))
    assert later.digest == call("a", key="k").digest, "the moment is not what was said"


@given(st.data())
@settings(max_examples=100)
def test_a_damaged_file_is_no_call(data):
    stored = call(["I mended it.", {"text": "Good.", "speaker": "Ada"}], "team")
    damaged = bytearray(stored.as_bytes())
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(BankError):
        assert read_call(bytes(damaged), "a file") == stored, "another sign between a day and its time says the same"


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"rows": 7}', b"[" * 100_000, json.dumps([1]).encode()])
def test_other_files_are_no_calls(data):
    with pytest.raises(BankError):
        read_call(data, "a file")
