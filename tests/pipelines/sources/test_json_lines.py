"""JSON Lines in a folder source: fields, times, bad lines, cut files, and memory that one line bounds."""

from __future__ import annotations

import json
import re
import time as clock
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.sources import json_values
from pipelines.sources.contracts import Document, Reject
from pipelines.sources.folder import TEXT_KINDS, Folder
from pipelines.sources.recognise import recognised, unreadable
from pipelines.sources.text import is_blank

Found = Document | Reject


def everything(source: Folder, limit: int = 10_000) -> list[Found]:
    return [entry for item in source.manifest() for entry in source.read(item, limit)]


@pytest.fixture
def lines(tmp_path: Path) -> Callable[..., list[Found]]:
    """Read a JSON Lines file with these bytes."""

    def read(data: bytes | list[object], limit: int = 10_000, **fields: str) -> list[Found]:
        if isinstance(data, list):
            data = b"".join(json.dumps(record).encode() + b"\n" for record in data)
        (tmp_path / "talk.jsonl").write_bytes(data)
        return everything(Folder(path="talk.jsonl", root=str(tmp_path), **fields), limit)  # type: ignore[arg-type]

    return read


def test_a_line_is_a_document_with_its_fields(lines: Callable[..., list[Found]]) -> None:
    record = {"body": "Hello.", "key": 7, "topic": "greetings", "who": "Ada", "chat": 3, "org": "acme", "at": 0}
    fields = {
        "text_field": "body",
        "id_field": "key",
        "collection_field": "topic",
        "speaker_field": "who",
        "session_field": "chat",
        "tenant_field": "org",
        "time_field": "at",
    }
    assert lines([record], **fields) == [
        Document("talk.jsonl#7", "Hello.", "greetings", "acme", "3", "Ada", datetime(1970, 1, 1, tzinfo=UTC))
    ]
    assert lines([{"body": "Hello.", "key": "a", "at": None}], **fields) == [
        Document("talk.jsonl#a", "Hello.", "talk", "", "", "", None)
    ]


def test_collection_falls_back_to_the_first_folder_then_the_name(tmp_path: Path) -> None:
    for place in ("top.jsonl", "x/y/deep.ndjson"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text('{"text": "hello", "c": null}\n')
    entries = everything(Folder(path=str(tmp_path), suffixes=[".jsonl", ".ndjson"], collection_field="c"))
    assert [(entry.locator, getattr(entry, "collection", None)) for entry in entries] == [
        ("top.jsonl#1", "top"),
        ("x/y/deep.ndjson#1", "x"),
    ]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b'{"text": null}', "line 2 is null, not a string"),
        (b'{"other": 1}', "line 2 is missing"),
        (b'{"text": 1.5}', "line 2 is a number"),
        (b'{"text": true}', "line 2 is a boolean"),
        (b'{"text": ["a"]}', "line 2 is an array"),
        (b'{"text": {}}', "line 2 is an object"),
        (b'["a"]', "Line 2 is an array, not an object"),
        (b"null", "Line 2 is null"),
        (b"{text: 1}", r"Line 2 is not JSON \(.* at character 1\). Correct"),
        (b'{"text": "a"} x', "Line 2 is not JSON"),
        (b'{"text": "\xe9"}', "Line 2 is not UTF-8: byte 0xe9 at offset 10 .*iconv"),
        (b'{"text": "\\ud800"}', r"Line 2 cannot be stored. .*surrogate \(U\+D800\)"),
        (b'{"text": "a\\u0000"}', "Line 2 cannot be stored. .*NUL"),
        (b'{"text": "x", "who": "\\udfff"}', "surrogate"),
        (b'{"text": "x", "who": 1.5}', "The field 'who' of line 2 is a number; make it a string"),
        (b'{"text": "x", "who": true}', "is a boolean"),
        (b'{"text": "x", "n": ' + b"9" * 5000 + b"}", "too many digits"),
        (b'{"text": ' + b"[" * 4000 + b"]" * 4000 + b"}", "too deeply|is an array"),
        (b'{"text": "' + b"x" * 10_000 + b'"}', "Line 2 is longer than a document may be .*max_document_bytes"),
    ],
)
def test_a_bad_line_costs_that_line_alone(lines: Callable[..., list[Found]], line: bytes, sentence: str) -> None:
    good = b'{"text": "good"}'
    first, bad, last = lines(b"\n".join([good, line, good, b""]), speaker_field="who")
    assert (first, last) == (Document("talk.jsonl#1", "good", "talk"), Document("talk.jsonl#3", "good", "talk"))
    assert isinstance(bad, Reject) and (bad.locator, bad.severity) == ("talk.jsonl#2", "reject")
    assert re.search(sentence, bad.reason)


def test_blank_texts_are_empty_and_blank_lines_are_nothing(lines: Callable[..., list[Found]]) -> None:
    entries = lines(b'\n{"text": " \\n"}\r\n\r\n  \n{"text": "x"}\n\n')
    assert [(entry.locator, type(entry)) for entry in entries] == [("talk.jsonl#2", Reject), ("talk.jsonl#5", Document)]
    assert isinstance(entries[0], Reject) and entries[0].severity == "empty"
    for nothing in (b"", b"\n\n", b"\xef\xbb\xbf\n"):
        (entry,) = lines(nothing)
        assert isinstance(entry, Reject) and entry.severity == "empty"


@pytest.mark.parametrize("end", [b'{"text": "cut o', b'{"text": "caf\xc3', b'{"text"', b"{"])
def test_a_file_that_was_cut_off_is_told(lines: Callable[..., list[Found]], end: bytes) -> None:
    good, bad = lines(b'{"text": "good"}\n' + end)
    assert isinstance(good, Document)
    assert isinstance(bad, Reject) and "seems cut off" in bad.reason
    *_, last = lines(b'{"text": "good"}\n' + end + b"\n")
    assert isinstance(last, Reject) and "cut off" not in last.reason


def test_a_last_line_without_an_end_is_fine_if_it_is_whole(lines: Callable[..., list[Found]]) -> None:
    assert lines(b'\xef\xbb\xbf{"text": "one"}\n{"text": "two"}') == [
        Document("talk.jsonl#1", "one", "talk"),
        Document("talk.jsonl#2", "two", "talk"),
    ]


def test_utf_16_is_one_reject_and_not_one_a_line(lines: Callable[..., list[Found]]) -> None:
    (entry,) = lines('{"text": "one"}\n{"text": "two"}\n'.encode("utf-16"))
    assert isinstance(entry, Reject) and "iconv -f UTF-16" in entry.reason


def test_ids_are_unique_and_present(lines: Callable[..., list[Found]]) -> None:
    entries = lines(
        [{"text": "a", "id": 1}, {"text": "a", "id": "1"}, {"text": "b"}, {"text": "c", "id": ""}], id_field="id"
    )
    assert [(entry.locator, type(entry)) for entry in entries] == [
        ("talk.jsonl#1", Document),
        ("talk.jsonl#2", Reject),
        ("talk.jsonl#3", Reject),
        ("talk.jsonl#4", Reject),
    ]
    assert "repeats the id" in getattr(entries[1], "reason", "")
    assert "missing or empty" in getattr(entries[2], "reason", "")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-01T12:00:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01T12:00:00+02:00", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01 12:00:00.25", datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        (1_700_000_000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (1_700_000_000.5, datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=UTC)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (None, None),
    ],
)
def test_times_become_utc(lines: Callable[..., list[Found]], value: object, expected: datetime | None) -> None:
    (entry,) = lines([{"text": "x", "at": value}], time_field="at")
    assert isinstance(entry, Document) and entry.time == expected
    assert entry.time is None or entry.time.tzinfo is UTC


def test_the_machines_time_zone_has_no_say(lines: Callable[..., list[Found]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    clock.tzset()
    try:
        entries = lines([{"text": "x", "at": "2026-03-01T12:00:00"}, {"text": "x", "at": 0}], time_field="at")
    finally:
        monkeypatch.undo()
        clock.tzset()
    assert [getattr(entry, "time", None) for entry in entries] == [
        datetime(2026, 3, 1, 12, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
    ]


@pytest.mark.parametrize(
    "value",
    ["yesterday", "", "1700000000", True, [1], 1_700_000_000_000, float("nan"), 10**400, "0001-01-01T00:00+14:00"],
)
def test_a_time_that_cannot_be_read_is_rejected(lines: Callable[..., list[Found]], value: object) -> None:
    (entry,) = lines([{"text": "x", "at": value}], time_field="at")
    assert (
        isinstance(entry, Reject) and "The time of line 1 cannot be read" in entry.reason and "ISO 8601" in entry.reason
    )


def test_a_line_of_very_many_values_is_told_and_one_of_many_commas_is_read(lines, monkeypatch) -> None:
    monkeypatch.setattr(json_values, "_MOST_OBJECT_BYTES", 6400)
    text = ',[{"\\' * 90
    read = lines([{"text": text}, {"text": "x", "more": [[] for _ in range(90)]}, {"text": "y"}])
    assert [one.text if isinstance(one, Document) else one.reason for one in read] == [
        text,
        "Line 2 holds more values than are read at once; split the line.",
        "y",
    ]


def test_a_long_line_is_never_held_whole(tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl"
    path.write_bytes(b'{"text": "' + b"x" * 20_000_000 + b'"}\n{"text": "after"}\n')
    source = Folder(path=str(path))
    item = source.manifest()[0]
    tracemalloc.start()
    first, second = source.read(item, 100_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(first, Reject) and second == Document("big.jsonl#2", "after", "big")
    assert peak < 2_000_000


contents = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
records = st.one_of(
    contents.map(lambda text: json.dumps({"text": text}, ensure_ascii=False).encode()),
    contents.map(lambda text: json.dumps({"text": text}).encode()),
    st.binary(max_size=30).map(lambda data: data.replace(b"\n", b"")),
    st.just(b""),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.lists(records, max_size=8),
    limit=st.integers(1, 60),
    end=st.sampled_from([b"\n", b"\r\n"]),
    whole=st.booleans(),
)
def test_every_line_is_a_document_or_a_reject(
    tmp_path: Path, data: list[bytes], limit: int, end: bytes, whole: bool
) -> None:
    """Against the definition: split the whole file at line feeds, then decode and parse each line by itself."""
    path = tmp_path / "any.jsonl"
    path.write_bytes(end.join(data) + (end if whole and data else b""))
    source = Folder(path=str(path))
    item = source.manifest()[0]
    entries = list(source.read(item, limit))
    assert entries == list(source.read(item, limit))
    content = path.read_bytes()
    form = recognised("any.jsonl", content)
    foreign = bool(unreadable(content)) or (form is not None and form.kind not in TEXT_KINDS)
    if foreign or content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return
    expected: dict[str, str | None] = {}
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        mark = 3 if number == 1 and content.startswith(b"\xef\xbb\xbf") else 0
        too_long = len(line.rstrip(b"\r")) + mark > limit
        if not line.strip() and not too_long:
            continue
        expected[f"any.jsonl#{number}"] = None
        if too_long:
            continue
        try:
            text = json.loads(line.decode())["text"]
        except (ValueError, TypeError, KeyError, IndexError):
            continue
        usable = isinstance(text, str) and not is_blank(text) and "\0" not in text
        expected[f"any.jsonl#{number}"] = text if usable else None
    if not expected:
        assert [(entry.locator, getattr(entry, "severity", "")) for entry in entries] == [("any.jsonl", "empty")]
    else:
        assert {entry.locator: getattr(entry, "text", None) for entry in entries} == expected
