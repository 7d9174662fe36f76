"""Conversations in JSON: every session is a document that knows its turns, their ids, their speakers and their times.

These values are read, alone in a `.json` file, in a list there, or one a line in JSON Lines, which are streamed:

    {"id": "monday", "conversation": "team", "time": "2026-03-02T09:30:00Z", "turns": [   a session
        {"id": 7, "speaker": "Ada", "text": "The parser works.", "time": "2026-03-02T09:30:12Z"}]}
    {"id": "team", "sessions": [...]}                                                     a conversation of sessions
    {"conversation": "team", "session": "monday", "speaker": "Ada", "text": "It works."}  a turn
    {"sample_id": "team", "conversation": {"session_1": [...]}}                           LoCoMo's layout

Other names of these fields that are known are `messages`, `dialogue`, `role`, `from`, `content`, `value`, `timestamp`
and their like (see the constants here and in `session`); other fields are ignored. Turns that follow one another and
name the same conversation and session are one session; one that comes back later in the file is another, and told. A
session or turn without an id goes by its number, and one whose id was there before by that id and a number. A session
that names no conversation belongs to the conversation called like the file. A time that cannot be read is noted and
left out, and the session is kept. A session that states no time began with its first turn that does.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar, Literal, TypeAlias

from pydantic import Field

from pipelines.sources.contracts import Document, Reject
from pipelines.sources.files import Files
from pipelines.sources.json_values import (
    JSON_LINES,
    MARK,
    Unusable,
    first_label,
    first_value,
    json_file,
    json_lines,
    kind_of,
    once,
    record_of,
)
from pipelines.sources.locomo import is_sample, sample_name
from pipelines.sources.locomo import sessions as sample_sessions
from pipelines.sources.recognise import TALKS, recognised
from pipelines.sources.session import CAPTION, IDS, SPEAKERS, TEXTS, TIMES, Names, Session, TurnFields

CONVERSATIONS = ("conversation_id", "conversation", "tenant", "sample_id")
"""Fields that say which conversation a session or turn belongs to; a conversation itself may also say `id`."""

SESSIONS = ("session_id", "session")
"""Fields that say which session a turn belongs to; a session itself may also say `id`."""

TURNS = ("turns", "messages", "dialogue", "conversation", "conversations")
"""Fields that hold the turns of a session."""

_BEGINS = re.compile(
    rb'"(?:turns|messages|dialogue|conversations?|sessions)"\s*:\s*\[\s*\{|"session_[0-9]{1,9}"\s*:\s*\['
)
"""What stands near the beginning of a JSON file of conversations that is written over many lines."""

NAMED = ("turns_field", "tenant_field", "session_field", "id_field", "speaker_field", "text_field", "time_field")
"""Settings that name fields."""

Found: TypeAlias = Document | Reject


def recognise(name: str, head: bytes) -> bool:
    """JSON or JSON Lines that begin with a session, a conversation or a turn of one of these layouts."""
    text = head.removeprefix(MARK).lstrip()
    if text[:1] not in (b"{", b"["):
        return False
    first = text.partition(b"\n")[0]
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return _BEGINS.search(text) is not None
    value = value[0] if isinstance(value, list) and value else value
    if not isinstance(value, dict):
        return False
    turn = "conversation" in value or any(field in value for field in (*SESSIONS, *CONVERSATIONS))
    return (
        is_sample(value)
        or isinstance(value.get("sessions"), list)
        or isinstance(value.get(_turns_field(value)), list)
        or (turn and any(field in value for field in TEXTS) and any(field in value for field in SPEAKERS))
    )


class Conversations(Files):
    """JSON and JSON Lines below ``path`` (a folder, a file or a glob, relative to ``root``), or LoCoMo's files.

    A document is one session; its tenant and its collection are the conversation, so that an evaluation holds out
    conversations as a whole. ``captions`` adds what is seen on a shared image, where a turn says so, to what is said.
    ``max_json_bytes`` limits what is read at once: a JSON file, or a line of JSON Lines. The fields ``*_field`` name
    what holds it in these files, in place of the names that are known. An export of a chat program, which has a source
    of its own, is refused, unless one of them is named.
    """

    version: ClassVar[int] = 1

    kind: Literal["conversations"] = "conversations"
    name: str = "conversations"
    suffixes: list[str] = Field(default=[".json", ".jsonl", ".ndjson"], min_length=1)
    captions: bool = True
    max_json_bytes: int = Field(default=100_000_000, gt=0)
    turns_field: str | None = None
    tenant_field: str | None = None
    session_field: str | None = None
    id_field: str | None = None
    speaker_field: str | None = None
    text_field: str | None = None
    time_field: str | None = None

    def identity(self) -> Mapping[str, object]:
        """As of all files; names of fields are there only where one is named."""
        return {name: value for name, value in super().identity().items() if name not in NAMED or value is not None}

    def other(self, locator: str, head: bytes) -> Reject | None:
        """An export of a chat program is refused: read as JSON of no particular layout it loses speakers and times."""
        if self.others == "leave":
            return super().other(locator, head)
        open_layout = any(getattr(self, name) for name in NAMED) or locator.lower().endswith(JSON_LINES)
        form = None if open_layout else recognised(os.path.basename(locator), head)
        if form is None or form not in TALKS:
            return None
        whole = ", with the folder of the whole export as its `path`" if form.has("recognise_folder") else ""
        return Reject(
            locator,
            f"It is {form.title}; read it with a source of `kind: {form.kind}`{whole}, which knows who spoke and when.",
        )

    def documents(self, file: BinaryIO, locator: str, max_document_bytes: int) -> Iterator[Found]:
        reading = _Reading(locator, max_document_bytes, self.captions, self._layout())
        for value in self._values(file, locator):
            yield from [value] if isinstance(value, Reject) else reading.take(value)
        yield from reading.close()

    def _layout(self) -> _Layout:
        def fields(name: str | None, usual: tuple[str, ...]) -> tuple[str, ...]:
            return usual if name is None else (name,)

        turn = TurnFields(
            fields(self.id_field, IDS),
            fields(self.speaker_field, SPEAKERS),
            fields(self.text_field, TEXTS),
            fields(self.time_field, TIMES),
        )
        conversations, sessions = fields(self.tenant_field, CONVERSATIONS), fields(self.session_field, SESSIONS)
        return _Layout(conversations, sessions, fields(self.turns_field, TURNS), turn)

    def _values(self, file: BinaryIO, locator: str) -> Iterator[_Value | Reject]:
        if locator.lower().endswith(JSON_LINES):
            for line in json_lines(file, locator, self.max_json_bytes, "a line", "max_json_bytes", once):
                yield line if isinstance(line, Reject) else _Value(line[1], line[0], f"line {line[0]}")
            return
        try:
            content = json_file(file, self.max_json_bytes, "max_json_bytes", once)
        except Unusable as error:
            yield Reject(locator, str(error), error.severity)
            return
        if not isinstance(content, list):
            yield _Value(content, 1, "the file", alone=True)
        elif not content:
            yield Reject(locator, "The file holds an empty list.", "empty")
        else:
            yield from (_Value(value, number, f"entry {number}") for number, value in enumerate(content, start=1))


@dataclass(frozen=True)
class _Layout:
    """Which fields hold what."""

    conversations: tuple[str, ...]
    sessions: tuple[str, ...]
    turns: tuple[str, ...]
    turn: TurnFields


@dataclass(frozen=True)
class _Value:
    """A value of a file, and how sentences call it."""

    value: Any
    number: int
    subject: str
    alone: bool = False


class _Reading:
    """What of a file has been read: the ids of its sessions, and the session that the next turn may belong to."""

    def __init__(self, locator: str, limit: int, captions: bool, layout: _Layout) -> None:
        self.locator = locator
        self.limit = limit
        self.captions = captions
        self.layout = layout
        self.stem = os.path.splitext(locator)[0]
        self.names: dict[str, Names] = {}
        self.open: Session | None = None
        self.key = ("", "")

    def take(self, value: _Value) -> Iterator[Found]:
        """What the next value of the file adds."""
        try:
            record = record_of(value.value, value.subject)
            if is_sample(record):
                yield from self.close()
                yield from self._sample(record, value)
            elif "sessions" in record:
                yield from self.close()
                yield from self._conversation(record, value)
            elif _turns_field(record, self.layout.turns):
                yield from self.close()
                yield from self._session(record, value.subject, "", str(value.number))
            elif any(field in record for field in (*self.layout.turn.texts, CAPTION)):
                yield from self._turn(record, value)
            else:
                raise Unusable(
                    f"Nothing in {value.subject} is known as a conversation: it has no `sessions`, `turns` or `text`."
                    " Name its fields so, or as pipelines/sources/conversations.py says."
                )
        except Unusable as error:
            place = self.locator if value.alone else f"{self.locator}#{value.number}"
            yield Reject(place, str(error), error.severity)

    def close(self) -> Iterator[Found]:
        """The session of single turns that was open."""
        if self.open is not None:
            session, self.open = self.open, None
            yield from session.finish()

    def _sample(self, record: Mapping[str, Any], value: _Value) -> Iterator[Found]:
        name = sample_name(record, value.number, value.subject)
        yield from self._sessions(sample_sessions(record, value.subject), name)

    def _conversation(self, record: Mapping[str, Any], value: _Value) -> Iterator[Found]:
        sessions = _array(record, "sessions", value.subject)
        name = first_label(record, (*self.layout.conversations, "id"), value.subject)
        name = name or (self.stem if value.alone else f"{self.stem}/{value.number}")
        called = ((f"session {number} of {value.subject}", item) for number, item in enumerate(sessions, start=1))
        yield from self._sessions(called, name)

    def _sessions(self, sessions: Iterable[tuple[str, object]], conversation: str) -> Iterator[Found]:
        for number, (subject, session) in enumerate(sessions, start=1):
            try:
                yield from self._session(record_of(session, subject), subject, conversation, str(number))
            except Unusable as error:
                yield Reject(f"{self.locator}#{conversation}/{number}", str(error), error.severity)

    def _session(self, record: Mapping[str, Any], subject: str, conversation: str, number: str) -> Iterator[Found]:
        field = _turns_field(record, self.layout.turns)
        if not field:
            raise Unusable(f"There are no turns in {subject}; write them as `turns`, a list of objects.")
        turns = _array(record, field, subject)
        own = first_label(record, tuple(name for name in self.layout.conversations if name != field), subject)
        name = first_label(record, (*self.layout.sessions, "id"), subject) or number
        session = self._begin(conversation or own or self.stem, name, first_value(record, self.layout.turn.times)[1])
        for turn in turns:
            yield from session.add(turn)
        yield from session.finish()

    def _turn(self, record: Mapping[str, Any], value: _Value) -> Iterator[Found]:
        conversation = first_label(record, self.layout.conversations, value.subject) or self.stem
        key = (conversation, first_label(record, self.layout.sessions, value.subject) or "1")
        if self.open is None or key != self.key:
            yield from self.close()
            self.open, self.key = self._begin(*key), key
        yield from self.open.add(record, value.subject)

    def _begin(self, conversation: str, stated_id: str, stated: object = None) -> Session:
        name = self.names.setdefault(conversation, Names())(stated_id)
        repeated = stated_id if name != stated_id else ""
        layout = self.layout.turn
        return Session(self.locator, conversation, name, self.limit, stated, repeated, self.captions, layout)


def _turns_field(record: Mapping[str, Any], fields: tuple[str, ...] = TURNS) -> str:
    """The field that holds the turns of a session, "" for none; `conversation` may be the name of one."""
    return next((f for f in fields if f in record and (f != "conversation" or isinstance(record[f], list))), "")


def _array(record: Mapping[str, Any], field: str, subject: str) -> list[Any]:
    """A field that holds a list of something. Raises `Unusable`."""
    value = record[field]
    if value is not None and not isinstance(value, list):
        raise Unusable(f"The field '{field}' of {subject} is {kind_of(value)}, not an array; write a list of objects.")
    if not value:
        raise Unusable(f"The field '{field}' of {subject} holds nothing.", "empty")
    return value
