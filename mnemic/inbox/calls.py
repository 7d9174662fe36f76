"""A call of `Bank.remember`: its rows, checked, and as the bytes of a file and back.

Whoever remembers may be a program that passes on what a stranger wrote, so everything is bounded and checked here: a
text without characters that no text has, times that are times, and no more rows and bytes than a call may have.
"""

from __future__ import annotations

import json
import re
import unicodedata
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from mnemic.conditions.values import moment, shown
from mnemic.errors import BankError, QueryError
from mnemic.facts import ADVICE, mapping
from mnemic.ids import hash_parts

SOURCE = "inbox"
"""The source that documents have which were remembered; no source of a recipe is called so."""

ROW_BYTES = 1 << 20
"""Bytes that the text of a row may have, in UTF-8."""
CALL_ROWS = 1_000
CALL_BYTES = 4 << 20
"""Rows of a call, and bytes of their texts together."""
NAME_CHARACTERS = 200
"""Of a tenant, a speaker or a key."""
FILE_BYTES = 8 * CALL_BYTES
"""Bytes that the file of a call can have: JSON writes a control character with six."""

CALL = 24
"""Characters of the id of a call: the beginning of the ids of its rows."""

_TURN = ("text", "speaker", "time")


@dataclass(frozen=True)
class Row:
    """Something that was remembered: a text, or what somebody said in a conversation.

    ``time`` is when it was said, in UTC; by default when it was remembered. Of a ``turn`` the speaker is written
    before the text, as in any conversation of a bank.
    """

    id: str
    text: str
    speaker: str
    time: datetime

    @property
    def call(self) -> str:
        return self.id[:CALL]

    @property
    def ordinal(self) -> int:
        return int(self.id[CALL:], 16)


@dataclass(frozen=True)
class RememberedCall:
    """The rows of one call. With ``turns`` they are a conversation, else one text.

    ``digest`` is a hash of all that the caller stated: two calls that say the same under one key are one.
    """

    id: str
    tenant: str
    turns: bool
    digest: str
    remembered: datetime
    rows: tuple[Row, ...]

    @property
    def size(self) -> int:
        return sum(len(row.text.encode()) for row in self.rows)

    @property
    def _hash(self) -> str:
        """Of everything in the file, so that a damaged one is noticed."""
        rows = [part for row in self.rows for part in (row.text, row.speaker, row.time.isoformat())]
        return hash_parts(self.id, self.tenant, int(self.turns), self.digest, self.remembered.isoformat(), *rows)

    def as_bytes(self) -> bytes:
        facts = {
            "call": self.id,
            "tenant": self.tenant,
            "turns": self.turns,
            "digest": self.digest,
            "remembered": self.remembered.isoformat(),
            "rows": [[row.text, row.speaker, row.time.isoformat()] for row in self.rows],
            "hash": self._hash,
        }
        return json.dumps(facts, ensure_ascii=False).encode()


def row_id(call: str, number: int) -> str:
    """The id of a row: that of its call, and its number in it."""
    return f"{call}{number:08x}"


def call_of(
    what: Any, tenant: str | None, speaker: str | None, time: Any, key: str | None, now: datetime | None = None
) -> RememberedCall:
    """The call that remembers ``what``: a text, or a list of turns, each a text or a mapping of text, speaker, time.

    ``speaker`` and ``time`` hold for turns that state none. Raises `QueryError` for what cannot be remembered.
    """
    now = now or datetime.now(UTC)
    owner = _name("tenant", tenant)
    by_default = _name("speaker", speaker)
    when = None if time is None else _time(time, "time")
    turns = not isinstance(what, str)
    stated = (
        [_turn(one, f"turn {number}") for number, one in enumerate(_list(what), 1)] if turns else [(what, "", None)]
    )
    rows, facts, size = [], list[str | int](), 0
    identity = _identity(owner, key)
    for number, (text, own_speaker, own_time) in enumerate(stated):
        subject = f"turn {number + 1}" if turns else "the text"
        text, who, stated_time = _text(text, subject), own_speaker or by_default, own_time or when  # noqa: PLW2901
        size += len(text.encode())
        if size > CALL_BYTES:
            raise QueryError(
                f"More than {CALL_BYTES:,} bytes are to be remembered at once. Give the rest in further calls."
            )
        rows.append(Row(row_id(identity, number), text, who, stated_time or now))
        facts += [text, who, "" if stated_time is None else stated_time.isoformat()]
    own = hash_parts("digest", owner, int(turns or bool(by_default)), *facts)
    return RememberedCall(identity, owner, turns or bool(by_default), own, now, tuple(rows))


def read_call(data: bytes, place: str) -> RememberedCall:
    """The call that a file holds. Raises `BankError` where it is none, or holds other words than were remembered."""
    if len(data) > FILE_BYTES:
        raise BankError(f"{place} has more than {FILE_BYTES:,} bytes, as no call has. {ADVICE}")
    facts = mapping(data, place)
    try:
        identity = str(facts["call"])
        rows = tuple(
            Row(row_id(identity, number), str(text), str(speaker), _stored_time(time))
            for number, (text, speaker, time) in enumerate(facts["rows"])
        )
        remembered = _stored_time(facts["remembered"])
        call = RememberedCall(
            identity, str(facts["tenant"]), bool(facts["turns"]), str(facts["digest"]), remembered, rows
        )
        whole = call._hash == facts["hash"]
    except (KeyError, TypeError, ValueError) as error:
        raise BankError(f"{place} is no call that was remembered. {ADVICE}") from error
    if not whole or not re.fullmatch(f"[0-9a-f]{{{CALL}}}", identity) or not rows:
        raise BankError(f"{place} is no call that was remembered. {ADVICE}")
    return call


def _identity(tenant: str, key: str | None) -> str:
    if key is None:
        return uuid.uuid4().hex[:CALL]
    name = _name("key", key)
    if not name:
        raise QueryError("The key is empty, so every call would have the same. Give one that differs, or leave it out.")
    return hash_parts("remembered", tenant, name)[:CALL]


def _list(what: Any) -> list[Any]:
    if isinstance(what, Mapping):
        return [what]
    if not isinstance(what, list | tuple):
        raise QueryError(
            f"{shown(what)} cannot be remembered; give a text, or a list of turns such as "
            "{'speaker': 'Ada', 'text': 'I mended it.'}."
        )
    if not what:
        raise QueryError("The list of turns is empty; give at least one turn, such as {'text': 'I mended it.'}.")
    if len(what) > CALL_ROWS:
        raise QueryError(
            f"{len(what):,} turns are to be remembered at once, and {CALL_ROWS:,} may; make several calls."
        )
    return list(what)


def _turn(value: Any, subject: str) -> tuple[Any, str, datetime | None]:
    if isinstance(value, str):
        return value, "", None
    if not isinstance(value, Mapping):
        raise QueryError(f"{subject} is {shown(value)}; write it as {{'speaker': 'Ada', 'text': 'I mended it.'}}.")
    others = [name for name in value if name not in _TURN]
    if others or "text" not in value:
        fault = f"has a field {shown(others[0])}" if others else "has no text"
        raise QueryError(f"{subject} {fault}; a turn has text, and may have speaker and time.")
    time = value.get("time")
    return (
        value["text"],
        _name(f"speaker of {subject}", value.get("speaker")),
        time and _time(time, f"time of {subject}"),
    )


def _text(value: Any, subject: str) -> str:
    if not isinstance(value, str):
        raise QueryError(f"{subject} is {shown(value)}, not text; give a string.")
    if len(value) > ROW_BYTES:
        raise QueryError(f"{subject} has {len(value):,} characters, and {ROW_BYTES:,} bytes may be; split it.")
    text = str.__str__(value).replace("\r\n", "\n").replace("\r", "\n").strip()
    _check(text, subject)
    if len(text.encode()) > ROW_BYTES:
        raise QueryError(f"{subject} has {len(text.encode()):,} bytes, and {ROW_BYTES:,} may be; split it.")
    if all(letter.isspace() or unicodedata.category(letter) == "Cf" for letter in text):
        raise QueryError(f"There is nothing to be seen in {subject}; give a text with words.")
    return text


def _name(what: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise QueryError(f"The {what} is {shown(value)}, not text; give a string, or leave it out.")
    if len(value) > NAME_CHARACTERS:
        raise QueryError(f"The {what} has {len(value):,} characters, and {NAME_CHARACTERS} may be; shorten it.")
    name = str.__str__(value)
    _check(name, f"the {what}")
    if not name.isprintable():
        raise QueryError(f"The {what} {shown(name)} holds a line break or a control character; take it out.")
    return name if what in ("tenant", "key") else " ".join(name.split())


def _check(text: str, subject: str) -> None:
    if "\0" in text:
        raise QueryError(f"{subject} holds a NUL character, so it is no text; remove the character.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise QueryError(
            f"{subject} holds half a character (U+{ord(text[error.start]):04X}, a lone surrogate) at {error.start}; "
            "check how it was read."
        ) from error


def _time(value: Any, name: str) -> datetime:
    if not isinstance(value, str | date) and type(value).__name__ not in ("datetime64", "Timestamp"):
        raise QueryError(f"The {name} is {shown(value)}; give a date, a datetime or ISO 8601.")
    return moment(value, name).replace(tzinfo=UTC)


def _stored_time(value: Any) -> datetime:
    time = datetime.fromisoformat(value)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
