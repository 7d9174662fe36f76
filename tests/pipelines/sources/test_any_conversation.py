"""Conversations of any content, in any layout and by any worker: nothing is lost, and nothing else is read."""

from __future__ import annotations

import json
import random
import re
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conversation_files import documents, everything, rejects, said
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.sources.conversations import Conversations
from pipelines.sources.text import is_blank

SLOW_FOLDER = [HealthCheck.function_scoped_fixture]

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
names = words.filter(lambda name: bool(name.strip()))
times = st.none() | st.integers(0, 4_000_000_000)
turns = st.fixed_dictionaries(
    {"speaker": st.sampled_from(["Ada", "Bob", " Bob  the\tSecond ", ""]), "text": words, "time": times}
)
sessions = st.lists(turns, min_size=1, max_size=5)
talks = st.dictionaries(names, st.dictionaries(names, sessions, min_size=1, max_size=3), min_size=1, max_size=3)


def plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


@settings(max_examples=60, suppress_health_check=SLOW_FOLDER)
@given(talk=talks)
def test_every_layout_is_read_as_it_was_written(tmp_path: Path, talk: dict[str, dict[str, list[Any]]]) -> None:
    """Against the definition: ids, speakers, times and texts come back, at ranges that cover all but line ends."""
    with_ids = {
        (c, s): [{"id": f"t{n}", **turn} for n, turn in enumerate(turns)]
        for c, sessions in talk.items()
        for s, turns in sessions.items()
    }
    objects = [{"conversation": c, "session": s, "turns": turns} for (c, s), turns in with_ids.items()]
    nested = [
        {"id": c, "sessions": [{"id": s, "turns": with_ids[c, s]} for s in sessions]} for c, sessions in talk.items()
    ]
    single = [{"conversation": c, "session": s, **turn} for (c, s), turns in with_ids.items() for turn in turns]
    layouts = {"list.json": [objects], "nested.json": [nested], "objects.jsonl": objects, "nested.jsonl": nested}
    for name, lines in {**layouts, "turns.jsonl": single}.items():
        (tmp_path / name).write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        entries = documents(everything(Conversations(path=str(tmp_path / name))))
        read = {(d.tenant, d.session): d for d in entries}
        assert len(read) == len(entries)
        for key, turns in with_ids.items():
            usable = [turn for turn in turns if not is_blank(turn["text"])]
            if not usable:
                assert key not in read
                continue
            document = read[key]
            assert document.collection == key[0]
            expected = [(t["id"], " ".join(t["speaker"].split()), moment(t["time"])) for t in usable]
            assert [(t.id, t.speaker, t.time) for t in document.turns] == expected
            written = [
                f"{s}: {plain(t['text'])}" if s else plain(t["text"])
                for t, (_, s, _) in zip(usable, expected, strict=True)
            ]
            assert said(document) == written
            assert document.text == "\n".join(written)
            ranges = [(turn.start, turn.end) for turn in document.turns]
            assert all(start == end + 1 for (_, end), (start, _) in pairwise(ranges))
            assert (ranges[0][0], ranges[-1][1]) == (0, len(document.text))


@settings(max_examples=20, suppress_health_check=SLOW_FOLDER)
@given(files=st.lists(st.tuples(st.sampled_from(["json", "jsonl"]), talks), min_size=1, max_size=4), seed=st.integers())
def test_any_order_and_any_worker_gives_the_same_documents(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, Any]], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("chats")
    for number, (suffix, talk) in enumerate(files):
        lines = [
            {"conversation": c, "session": s, "turns": turns} for c, parts in talk.items() for s, turns in parts.items()
        ]
        text = json.dumps(lines) if suffix == "json" else "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{number}.{suffix}").write_text(text)
    source = Conversations(path=str(folder))
    expected = {item.locator: list(source.read(item, 100)) for item in source.manifest()}
    items = source.manifest()
    random.Random(seed).shuffle(items)
    sent = source.model_dump_json()  # each worker makes its own
    assert {i.locator: list(Conversations.model_validate_json(sent).read(i, 100)) for i in items} == expected
    moved = folder.rename(folder.with_name(f"{folder.name}-moved"))
    assert {i.locator: list(Conversations(path=str(moved)).read(i, 100)) for i in items} == expected


FIELDS = """id session session_id time conversation conversation_id sample_id turns messages sessions session_1
session_1_date_time dia_id speaker role from text content value blip_caption type qa"""
fields = st.sampled_from(FIELDS.split())
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(
        ["", " ", "a/b", "\0", "\ud800", "x" * 60, "1e999", "2026-03-01", "\u200b", "#", "\x1b[2J", "é\r\n"]
    )
    | st.just(10**400)
)
hostile = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(fields, inner, max_size=6),
    max_leaves=40,
)


@settings(max_examples=300, suppress_health_check=SLOW_FOLDER)
@given(
    values=st.lists(hostile, max_size=4),
    cut=st.sampled_from([0, 0, 1, 2, 30]),
    name=st.sampled_from(["h.json", "h.jsonl"]),
)
def test_no_value_of_json_is_more_than_documents_and_sentences(
    tmp_path: Path, values: list[Any], cut: int, name: str
) -> None:
    data = json.dumps(values).encode() if name == "h.json" else b"\n".join(json.dumps(v).encode() for v in values)
    (tmp_path / name).write_bytes(data[: -cut or None])
    source = Conversations(path=str(tmp_path / name))
    entries = everything(source, 80)
    assert entries and entries == everything(source, 80)
    locators = [document.locator for document in documents(entries)]
    assert len(set(locators)) == len(locators)
    for document in documents(entries):
        assert document.turns and not is_blank(document.text) and len(document.text.encode()) <= 80
        assert len({turn.id for turn in document.turns}) == len(document.turns)
        stored = (document.text, document.locator, document.tenant, document.session, *(t.id for t in document.turns))
        assert not any("\0" in text for text in stored) and all(text.encode() for text in stored)
    for reject in rejects(entries):
        assert reject.reason.encode() and reject.reason.endswith(".") and str(tmp_path) not in reject.reason
        assert reject.locator.encode().startswith(name.encode())


@settings(max_examples=100, suppress_health_check=SLOW_FOLDER)
@given(values=st.lists(hostile | turns, max_size=8))
def test_every_turn_is_there_or_told(tmp_path: Path, values: list[Any]) -> None:
    (tmp_path / "all.json").write_text(json.dumps({"turns": values}))
    entries = everything(Conversations(path=str(tmp_path / "all.json")))
    locators = {r.locator for r in rejects(entries) if re.fullmatch(r"all\.json#all/1/\d+", r.locator)}
    assert sum(len(d.turns) for d in documents(entries)) + len(locators) == len(values)
