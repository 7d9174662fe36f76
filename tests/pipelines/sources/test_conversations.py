"""Conversations: every layout gives the same documents, turns keep their places, and bad input costs only itself."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conversation_files import Found, documents, everything, rejects, said
from hypothesis import HealthCheck

from mnemic.command import main
from mnemic.errors import RecipeError, SourceError
from pipelines.recipe import load_recipe
from pipelines.sources.contracts import Document, Reject, Turn
from pipelines.sources.conversations import Conversations

LOCOMO = Path(__file__).parents[4] / "shared" / "data" / "locomo_dev.json"
SLOW_FOLDER = [HealthCheck.function_scoped_fixture]


Read = Callable[..., list[Found]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a file with these bytes, with this value as JSON, or (JSON Lines) with these values."""

    def reading(content: object, name: str = "chat.json", limit: int = 100_000, **fields: Any) -> list[Found]:
        if not isinstance(content, bytes):
            lines = content if name.endswith("l") and isinstance(content, list) else [content]
            content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        (tmp_path / name).write_bytes(content)
        return everything(Conversations(path=name, root=str(tmp_path), **fields), limit)

    return reading


MONDAY = {
    "id": "monday",
    "conversation": "team",
    "time": "2026-03-02T09:30:00+01:00",
    "turns": [
        {"id": 7, "speaker": "Ada", "text": " The parser works. ", "time": 1772440212},
        {"id": "8", "speaker": "Bob", "text": "Since when?\r\nIt did not."},
    ],
}
MONDAY_READ = Document(
    locator="chat.json#team/monday",
    text="Ada: The parser works.\nBob: Since when?\nIt did not.",
    collection="team",
    tenant="team",
    session="monday",
    time=datetime(2026, 3, 2, 8, 30, tzinfo=UTC),
    turns=(
        Turn("7", 0, 22, "Ada", datetime(2026, 3, 2, 8, 30, 12, tzinfo=UTC)),
        Turn("8", 23, 51, "Bob", None),
    ),
)


# ---------------------------------------------------------------- layouts


def test_a_session_is_a_document_that_knows_its_turns(read: Read) -> None:
    assert read(MONDAY) == [MONDAY_READ]
    assert said(MONDAY_READ) == ["Ada: The parser works.", "Bob: Since when?\nIt did not."]
    assert read([MONDAY]) == [MONDAY_READ]


def test_a_conversation_holds_its_sessions(read: Read) -> None:
    session = {key: value for key, value in MONDAY.items() if key != "conversation"}
    assert read({"id": "team", "sessions": [session]}) == [MONDAY_READ]
    assert read([{"conversation_id": "team", "sessions": [session]}]) == [MONDAY_READ]


@pytest.mark.parametrize(
    ("turns", "speaker", "text", "time"),
    [("messages", "role", "content", "timestamp"), ("dialogue", "name", "value", "date"), *[("conversations",) * 4]],
)
def test_fields_have_other_names_too(read: Read, turns: str, speaker: str, text: str, time: str) -> None:
    if turns == "conversations":
        speaker, text, time = "from", "value", "time"
    turn = {"turn_id": 1, speaker: "assistant", text: "Yes.", time: 0}
    (entry,) = documents(read({"session_id": "s", "tenant": "t", turns: [turn]}))
    assert (entry.tenant, entry.session, entry.speaker, entry.text) == ("t", "s", "assistant", "assistant: Yes.")
    assert entry.turns == (Turn("1", 0, 15, "assistant", datetime(1970, 1, 1, tzinfo=UTC)),)


def test_turns_that_follow_one_another_are_a_session(read: Read) -> None:
    lines = [
        {"conversation": "team", "session": "monday", "id": 7, "speaker": "Ada", "text": "One.", "time": 20},
        {"conversation": "team", "session": "monday", "id": 8, "speaker": "Bob", "text": "Two.", "time": 10},
        {"conversation": "team", "session": "tuesday", "speaker": "Ada", "text": "Three."},
        {"conversation": "other", "session": "tuesday", "speaker": "Ada", "text": "Four."},
    ]
    entries = documents(read(lines, "chat.jsonl"))
    assert [(d.locator, d.text, d.speaker) for d in entries] == [
        ("chat.jsonl#team/monday", "Ada: One.\nBob: Two.", ""),
        ("chat.jsonl#team/tuesday", "Ada: Three.", "Ada"),
        ("chat.jsonl#other/tuesday", "Ada: Four.", "Ada"),
    ]
    assert entries[0].time == datetime(1970, 1, 1, 0, 0, 10, tzinfo=UTC)  # it began with the earliest turn
    assert entries[1].time is None


def test_a_session_that_comes_back_is_another_one_and_told(read: Read) -> None:
    lines = [{"session": name, "text": f"{n}"} for n, name in enumerate(["a", "b", "a", "a"])]
    entries = read(lines, "chat.jsonl")
    assert [(d.session, d.text) for d in documents(entries)] == [("a", "0"), ("b", "1"), ("a-2", "2\n3")]
    (reject,) = rejects(entries)
    assert reject.locator == "chat.jsonl#chat/a-2" and reject.severity == "note"
    assert "only its id: " not in reject.reason
    assert reject.reason.startswith("Left out is only its id 'a', which an earlier session")


def test_a_bad_line_does_not_end_a_session(read: Read) -> None:
    entries = read(b'{"text": "one"}\n{"text": \n7\n{"text": "two"}', "chat.jsonl")
    assert [d.text for d in documents(entries)] == ["one\ntwo"]
    assert [r.locator for r in rejects(entries)] == ["chat.jsonl#2", "chat.jsonl#3"]


def locomo(**conversation: object) -> dict[str, object]:
    sample = {"speaker_a": "Ada", "speaker_b": "Bob", **conversation}
    return {"sample_id": "conv-1", "qa": [], "conversation": sample, "event_summary": {}}


def test_locomos_layout(read: Read) -> None:
    """Sessions by number, not by name; dates of sessions that do not exist mean nothing."""
    turn = {"speaker": "Ada", "dia_id": "D10:1", "text": "Ten."}
    shared = {"speaker": "Bob", "dia_id": "D2:1", "text": "Look!", "blip_caption": "a photo of\na  kite", "query": "k"}
    only = {"speaker": "Ada", "dia_id": "D2:2", "text": "", "blip_caption": "a lake"}
    sample = locomo(
        session_10=[turn],
        session_10_date_time="12:05 am on 1 June, 2023",
        session_2=[shared, only],
        session_2_date_time="1:56 pm on 8 May, 2023",
        session_11_date_time="1:56 pm on 9 May, 2023",
    )
    second, tenth = read([sample])
    assert tenth == Document(
        "chat.json#conv-1/session_10",
        "Ada: Ten.",
        "conv-1",
        "conv-1",
        "session_10",
        "Ada",
        datetime(2023, 6, 1, 0, 5, tzinfo=UTC),
        (Turn("D10:1", 0, 9, "Ada"),),
    )
    assert isinstance(second, Document) and second.time == datetime(2023, 5, 8, 13, 56, tzinfo=UTC)
    assert said(second) == ["Bob: Look! [shares a photo of a kite]", "Ada: [shares a lake]"]
    entries = read([sample], captions=False)
    assert documents(entries)[0].text == "Bob: Look!"
    assert [(r.locator, r.severity) for r in rejects(entries)] == [("chat.json#conv-1/session_2/2", "empty")]
    assert documents(read(sample)) == [second, tenth]
    assert [d.tenant for d in documents(read([{**sample, "sample_id": None}] * 2))] == ["1", "1", "2", "2"]


def test_one_session_of_a_sample_that_is_wrong_costs_that_session(read: Read) -> None:
    turn = {"dia_id": "D3:1", "text": "Three."}
    entries = read([locomo(session_1="no", session_2=[], session_3=[turn], session_4=None)])
    assert [d.session for d in documents(entries)] == ["session_3"]
    assert [(r.locator, r.severity) for r in rejects(entries)] == [
        ("chat.json#conv-1/1", "reject"),
        ("chat.json#conv-1/2", "empty"),
        ("chat.json#conv-1/4", "empty"),
    ]
    assert "session_1 of entry 1 is a string, not an array" in rejects(entries)[0].reason


def test_the_real_file_has_its_conversations_sessions_and_turns() -> None:
    if not LOCOMO.exists():
        pytest.skip(f"{LOCOMO} is not there: LoCoMo's licence keeps it out of the repository")
    entries = everything(Conversations(path=str(LOCOMO)), 10_000_000)
    assert not rejects(entries)
    counts = {name: [len(d.turns) for d in documents(entries) if d.tenant == name] for name in ("conv-26", "conv-30")}
    assert {name: (len(turns), sum(turns)) for name, turns in counts.items()} == {
        "conv-26": (19, 419),
        "conv-30": (19, 369),
    }
    assert len({d.tenant for d in documents(entries)}) == 3
    assert all(d.time is not None and turn.id.startswith("D") for d in documents(entries) for turn in d.turns)


# ---------------------------------------------------------------- ids


def test_what_has_no_id_goes_by_its_number(read: Read) -> None:
    turns = [{"text": "one"}, {"text": " "}, {"text": "three"}]
    (first, second) = documents(read([{"turns": turns}, {"turns": turns}]))
    assert (first.locator, second.locator) == ("chat.json#chat/1", "chat.json#chat/2")
    assert [turn.id for turn in first.turns] == ["1", "3"]
    (first, second) = documents(read([{"sessions": [{"turns": turns}]}] * 2))
    assert (first.tenant, second.tenant) == ("chat/1", "chat/2")
    assert documents(read({"sessions": [{"turns": turns}]}))[0].tenant == "chat"


def test_ids_that_stand_twice_are_told_and_nothing_is_lost(read: Read) -> None:
    turns = [{"id": name, "text": "x"} for name in ["a", "a-2", "a", "a", 5, 5]]
    entries = read([{"id": "s", "turns": turns}, {"id": "s", "turns": [{"text": "y"}]}])
    first, second = documents(entries)
    assert [turn.id for turn in first.turns] == ["a", "a-2", "a-3", "a-4", "5", "5-2"]
    assert (first.session, second.session) == ("s", "s-2")
    reasons = {r.locator: r.reason for r in rejects(entries)}
    assert "only the ids of 3 turns (the first is turn 3: 'a', now 'a-3')" in reasons["chat.json#chat/s"]
    assert "goes by 's-2'" in reasons["chat.json#chat/s-2"]


def test_locators_differ_whatever_the_ids_hold(read: Read) -> None:
    one = [{"text": "x"}]
    sessions = [("a/b", "c"), ("a", "b/c"), ("a", "b%2Fc"), ("a/b/c", "1")]
    entries = documents(read([{"conversation": c, "session": s, "turns": one} for c, s in sessions]))
    assert len({d.locator for d in entries}) == len(sessions)
    assert [(d.tenant, d.session) for d in entries] == sessions


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("turn", "severity", "sentence"),
    [
        ("7", "reject", "Turn 2 is a number, not an object"),
        ("null", "reject", "Turn 2 is null"),
        ("{}", "reject", "There is no text in turn 2; write it as `text`"),
        ('{"text": null}', "empty", "The text of turn 2 holds nothing"),
        ('{"text": "\\u200b\\n"}', "empty", "holds nothing"),
        ('{"content": []}', "empty", "holds nothing"),
        ('{"content": [{"type": "image_url"}]}', "empty", "holds nothing, only image_url"),
        ('{"text": 1.5}', "reject", "The field 'text' of turn 2 is a number, not a string"),
        ('{"content": {"parts": ["x"]}}', "reject", "'content' of turn 2 is an object"),
        ('{"text": "x", "speaker": ["Ada"]}', "reject", "The field 'speaker' of turn 2 is an array"),
        ('{"text": "x", "id": 1.5}', "reject", "The field 'id' of turn 2 is a number; make it a string"),
        ('{"text": "x", "blip_caption": 3}', "reject", "'blip_caption' of turn 2 is a number"),
        ('{"text": "a\\u0000"}', "reject", "cannot be stored. .*NUL"),
        ('{"text": "\\ud800"}', "reject", "cannot be stored. .*surrogate"),
        ('{"text": "x", "speaker": "\\udfff"}', "reject", "'speaker' of turn 2 cannot be stored. .*surrogate"),
        ('{"text": "x", "text": "y"}', "reject", "The key 'text' of turn 2 stands twice; keep"),
    ],
)
def test_a_bad_turn_costs_that_turn_alone(read: Read, turn: str, severity: str, sentence: str) -> None:
    entries = read(f'{{"turns": [{{"text": "good"}}, {turn}, {{"text": "fine"}}]}}'.encode())
    (document,), (bad,) = documents(entries), rejects(entries)
    assert document.text == "good\nfine"
    assert [turn.id for turn in document.turns] == ["1", "3"]
    assert (bad.locator, bad.severity) == ("chat.json#chat/1/2", severity)
    assert re.search(sentence, bad.reason)


def test_the_text_parts_of_a_message_are_its_text(read: Read) -> None:
    parts = [{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {"url": "x"}}, "a kite", 7]
    entries = read({"messages": [{"role": "user", "content": parts}, {"role": "user", "content": parts}]})
    assert said(documents(entries)[0]) == ["user: Look:\na kite"] * 2
    (reject,) = rejects(entries)
    assert reject.severity == "note"
    assert reject.reason == "Left out is only what is no text in 2 turns (the first is turn 1: image_url, a number)."


def test_a_time_that_cannot_be_read_costs_the_time_alone(read: Read) -> None:
    turns = [{"text": "one", "time": "\ud800"}, {"text": "two", "time": 50}, {"text": "three", "time": [1]}]
    entries = read({"time": "05/08/2023", "turns": turns})
    (document,) = documents(entries)
    assert [turn.time for turn in document.turns] == [None, datetime(1970, 1, 1, 0, 0, 50, tzinfo=UTC), None]
    assert document.time == document.turns[1].time
    assert [r.locator for r in rejects(entries)] == ["chat.json#chat/1"] * 2
    session, several = (r.reason for r in rejects(entries))
    assert session.startswith("Left out is only its time, which cannot be read ('05/08/2023'); write ISO 8601")
    assert r"only the times of 2 turns (the first is turn 1: '\ud800'), which cannot be read" in several


@pytest.mark.parametrize(
    ("content", "severity", "sentence"),
    [
        (b"", "empty", "holds nothing"),
        (b"\xef\xbb\xbf \n", "empty", "holds nothing"),
        (b"[]", "empty", "empty list"),
        (b'{"turns": []}', "empty", "The field 'turns' of the file holds nothing"),
        (b'{"turns": [{"text": ""}]}', "empty", "holds nothing"),
        (b'{"turns": null, "text": "x"}', "empty", "holds nothing"),
        (b"null", "reject", "The file is null, not an object"),
        (b'"text"', "reject", "The file is a string, not an object"),
        (b"{}", "reject", "Nothing in the file is known as a conversation: it has no `sessions`, `turns` or `text`"),
        (b'{"conversation": {"speaker_a": "Ada"}}', "reject", "Nothing in the file is known"),
        (b'{"turns": {"1": "x"}}', "reject", "The field 'turns' of the file is an object, not an array"),
        (b'{"sessions": 3}', "reject", "The field 'sessions' of the file is a number"),
        (b'{"turns": [], "turns": []}', "reject", "The key 'turns' of the file stands twice"),
        (b'{"id": [], "turns": [{"text": "x"}]}', "reject", "The field 'id' of the file is an array"),
        (b'{"id": "a\\u0000", "turns": [{"text": "x"}]}', "reject", "'id' of the file cannot be stored. .*NUL"),
        (b"{turns: 1}", "reject", r"The file is not JSON \(.* at line 1, column 2\)"),
        (b'{"text": "a"}\n{"text": "b"}', "reject", r"Extra data .* end its name in `.jsonl`"),
        (b'{"text": "\xe9"}', "reject", "not UTF-8: byte 0xe9 at offset 10 .*iconv"),
        ('{"text": "x"}'.encode("utf-16"), "reject", "UTF-16.*iconv"),
        (b"[" * 100_000, "reject", "nested too deeply"),
        (b'{"n": ' + b"9" * 5000 + b"}", "reject", "too many digits"),
        (b'{"text": "' + b"x" * 3_000_000 + b'"}', "reject", "larger than a JSON file may be .*`max_json_bytes`"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_sentence(read: Read, content: bytes, severity: str, sentence: str) -> None:
    entries = read(content, max_json_bytes=2_000_000)
    assert not documents(entries)
    assert entries[0] in rejects(entries) and getattr(entries[0], "severity", "") == severity
    assert re.search(sentence, rejects(entries)[0].reason)


def test_a_bad_session_costs_that_session_alone(read: Read) -> None:
    good = {"turns": [{"text": "good"}]}
    entries = read({"sessions": [good, 7, {"time": "x"}, {"turns": "x"}, {"turns": [1]}, good]})
    assert [d.session for d in documents(entries)] == ["1", "6"]
    bad = {f"chat.json#chat/{n}" for n in (2, 3, 4, 5)} | {"chat.json#chat/5/1"}
    assert {r.locator for r in rejects(entries)} == bad
    entries = read([good, 7, {"x": 1}, good])
    assert [r.locator for r in rejects(entries)] == ["chat.json#2", "chat.json#3"]
    assert len(documents(entries)) == 2


def test_a_session_may_be_as_large_as_a_document_and_no_larger(read: Read) -> None:
    session = {"id": "s", "turns": [{"speaker": "Ada", "text": "é" * 10}, {"text": "x" * 9}]}
    (entry,) = read(session, limit=35)
    assert isinstance(entry, Document) and len(entry.text.encode()) == 35
    (entry,) = read(session, limit=34)
    assert isinstance(entry, Reject) and "35 bytes" in entry.reason and "max_document_bytes" in entry.reason
    assert entry.locator == "chat.json#chat/s"


def test_lines_have_a_limit_of_their_own(read: Read) -> None:
    good = b'{"text": "good"}\n'
    entries = read(good + b'{"text": "' + b"x" * 300 + b'"}\n' + good, "chat.jsonl", max_json_bytes=200)
    assert [d.text for d in documents(entries)] == ["good\ngood"]
    assert "Line 2 is longer than a line may be (200 bytes); raise `max_json_bytes`" in rejects(entries)[0].reason


def test_a_session_of_any_length_is_never_held_whole(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    path.write_bytes((b'{"session": "s", "speaker": "Ada", "text": "' + b"x" * 1000 + b'"}\n') * 5_000)
    source = Conversations(path=str(path))
    item = source.manifest()[0]
    tracemalloc.start()
    (entry,) = source.read(item, 100_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(entry, Reject) and "5,029,999 bytes" in entry.reason
    assert peak < 500_000


# ---------------------------------------------------------------- as a source


def test_a_folder_of_conversations(tmp_path: Path) -> None:
    for name in ["a.json", "x/b.jsonl", "x/c.NDJSON", "x/.hidden.json", "notes.txt"]:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text('{"text": "hello"}\n')
    (tmp_path / "secret.json").write_text('{"text": "secret"}')
    (tmp_path / "in" / "out.json").symlink_to(tmp_path / "secret.json")
    entries = {f.locator: f for f in everything(Conversations(path="in", root=str(tmp_path)))}
    assert {k: v.tenant for k, v in entries.items() if isinstance(v, Document)} == {
        "a.json#a/1": "a",
        "x/b.jsonl#x/b/1": "x/b",
        "x/c.NDJSON#x/c/1": "x/c",
    }
    (outside,) = rejects(entries.values())
    assert "outside the folder" in outside.reason
    with pytest.raises(SourceError, match=r"found no file .* \.json, \.jsonl, \.ndjson"):
        Conversations(path="in/*.txt", root=str(tmp_path)).manifest()


def test_identity_is_what_decides_what_is_read(tmp_path: Path) -> None:
    base = Conversations(path="a", root="b").identity()
    assert Conversations(path="c", root=str(tmp_path), name="other").identity() == base
    assert Conversations(path="a", captions=False).identity() != base
    assert Conversations(path="a", max_json_bytes=7).identity() != base
    json.dumps(base)


def test_a_recipe_names_it_and_paths_are_the_recipes(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("name: r\nsources:\n  - {kind: conversations, path: chats.jsonl}\n")
    (tmp_path / "chats.jsonl").write_text('{"text": "hello"}\n')
    (source,) = load_recipe(tmp_path / "r.yaml").sources
    assert [item.locator for item in source.manifest()] == ["chats.jsonl"]
    with pytest.raises(RecipeError, match="a source needs a `kind`: folder, conversations, "):
        load_recipe({"name": "r", "sources": [{"path": "x"}]})


def test_init_writes_a_recipe_for_conversations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "talk").mkdir()
    assert main(["init", str(tmp_path / "my talk.yaml"), "--conversations", str(tmp_path / "talk")]) == 0
    recipe = load_recipe(tmp_path / "my talk.yaml")
    (source,) = recipe.sources
    assert (recipe.name, source.kind, source.path) == ("my-talk", "conversations", "talk")
    assert main(["init", str(tmp_path / "b.yaml"), "--conversations", "x", "--from", "demo"]) == 2
    assert "leave out one of the two" in capsys.readouterr().err
