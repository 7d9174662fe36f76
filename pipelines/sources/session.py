"""A session of a conversation becomes a document: its turns one below the other, each with its place in the text.

A turn is written "Speaker: text", as people write dialogues down and as language models read them. A bad turn costs
that turn alone. Faults in the times or ids of turns are noted once a session, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipelines.sources.contracts import Document, Reject, Turn
from pipelines.sources.json_values import Unusable, first_label, first_value, kind_of, record_of, shown
from pipelines.sources.text import is_blank, text_fault, too_large
from pipelines.sources.times import FORMS, read_time

IDS = ("dia_id", "turn_id", "id")
SPEAKERS = ("speaker", "name", "role", "from")
TEXTS = ("text", "content", "value")
TIMES = ("time", "timestamp", "date", "date_time")
CAPTION = "blip_caption"
"""What is seen on the image that a turn shares."""


@dataclass(frozen=True)
class TurnFields:
    """Which fields of a turn hold what, the first that states something first."""

    ids: tuple[str, ...] = IDS
    speakers: tuple[str, ...] = SPEAKERS
    texts: tuple[str, ...] = TEXTS
    times: tuple[str, ...] = TIMES


USUAL = TurnFields()


class Names:
    """Names that differ: one that was given before gets the next number that is free."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}  # name -> the number that it got last

    def __call__(self, name: str) -> str:
        candidate = name
        while candidate in self._last:
            self._last[name] += 1
            candidate = f"{name}-{self._last[name]}"
        self._last[candidate] = 1
        return candidate


@dataclass(frozen=True)
class Utterance:
    """What a turn says. ``stated`` is its time as it stands there; ``others`` are the kinds of parts without text."""

    id: str
    speaker: str
    text: str
    stated: object = None
    others: tuple[str, ...] = ()


def read_turn(value: object, subject: str, captions: bool, fields: TurnFields = USUAL) -> Utterance:
    """A turn from JSON, called ``subject`` ("turn 3") in sentences; with the caption of an image that it shares.

    Raises `Unusable`.
    """
    record = record_of(value, subject)
    name = first_label(record, fields.ids, subject)
    speaker = " ".join(first_label(record, fields.speakers, subject).split())
    caption = record.get(CAPTION) if captions else None
    if caption is not None and not isinstance(caption, str):
        raise Unusable(f"The field '{CAPTION}' of {subject} is {kind_of(caption)}; make it a string, or null.")
    if caption is None and not any(key in record for key in fields.texts):
        other = f" (or {_or(fields.texts[1:])})" if fields.texts[1:] else ""
        raise Unusable(f"There is no text in {subject}; write it as `{fields.texts[0]}`{other}.")
    text, others = _text(record, subject, fields.texts)
    if caption is not None and not is_blank(caption):
        text = f"{text} [shares {' '.join(caption.split())}]".strip()
    if is_blank(text):
        only = f", only {_or(others)}" if others else ""
        raise Unusable(f"The text of {subject} holds nothing{only}.", "empty")
    if fault := text_fault(text):
        raise Unusable(f"The text of {subject} cannot be stored. {fault}")
    return Utterance(name, speaker, text, first_value(record, fields.times)[1], others)


@dataclass
class _Note:
    """A note about several turns: how many, and the first of them."""

    turns: int = 0
    first: str = ""

    def add(self, first: str) -> None:
        self.turns += 1
        self.first = self.first or first


@dataclass
class Session:
    """A session while its turns are read. ``repeated``: its stated id, where an earlier session has that id; else "".

    It holds at most ``limit`` bytes of text: of a longer one, only its size is counted on.
    """

    file: str
    conversation: str
    name: str
    limit: int
    stated: object = None
    repeated: str = ""
    captions: bool = True
    fields: TurnFields = USUAL
    number: int = 0  # of the turn read last
    size: int = 0  # bytes of text
    _end: int = 0
    _lines: list[str] = field(default_factory=list)
    _turns: list[Turn] = field(default_factory=list)
    _names: Names = field(default_factory=Names)
    _ids: _Note = field(default_factory=_Note)
    _times: _Note = field(default_factory=_Note)
    _others: _Note = field(default_factory=_Note)

    @property
    def locator(self) -> str:
        """File, conversation and session. The last "/" parts the two: in a session's id it is escaped."""
        return f"{self.file}#{self.conversation}/{self.name.replace('%', '%25').replace('/', '%2F')}"

    def add(self, value: object, subject: str = "") -> Iterator[Reject]:
        """Take the next turn from JSON, or tell why it cannot be taken."""
        self.number += 1
        subject = subject or f"turn {self.number}"
        try:
            utterance = read_turn(value, subject, self.captions, self.fields)
        except Unusable as error:
            yield Reject(f"{self.locator}/{self.number}", str(error), error.severity)
            return
        line = f"{utterance.speaker}: {utterance.text}" if utterance.speaker else utterance.text
        self.size += len(line.encode()) + (self.size > 0)
        if self.size > self.limit:
            self._lines, self._turns, self._names = [], [], Names()
            return
        stated_id = utterance.id or str(self.number)
        name = self._names(stated_id)
        if name != stated_id:
            self._ids.add(f"{subject}: {shown(stated_id)}, now {shown(name)}")
        time = read_time(utterance.stated)
        if time is None and utterance.stated is not None:
            self._times.add(f"{subject}: {shown(utterance.stated)}")
        if utterance.others:
            self._others.add(f"{subject}: {_or(utterance.others)}")
        start = self._end + (1 if self._lines else 0)
        self._end = start + len(line)
        self._lines.append(line)
        self._turns.append(Turn(name, start, self._end, utterance.speaker, time))

    def finish(self) -> Iterator[Document | Reject]:
        """The document and the notes about it; a `Reject` instead where there is none."""
        if self.size > self.limit:
            yield Reject(self.locator, too_large(self.size, self.limit))
            return
        if not self._turns:
            yield Reject(self.locator, "The session holds no turn that can be used.", "empty")
            return
        time = read_time(self.stated)
        speakers = {turn.speaker for turn in self._turns}
        yield Document(
            locator=self.locator,
            text="\n".join(self._lines),
            collection=self.conversation,
            tenant=self.conversation,
            session=self.name,
            speaker=speakers.pop() if len(speakers) == 1 else "",
            time=time or self._begin(),
            turns=tuple(self._turns),
        )
        yield from self._told(time)

    def _begin(self) -> datetime | None:
        return min((turn.time for turn in self._turns if turn.time is not None), default=None)

    def _told(self, time: datetime | None) -> Iterator[Reject]:
        if self.repeated:
            yield self._only(
                f"its id {shown(self.repeated)}, which an earlier session of {shown(self.conversation)} in the file"
                f" has; it goes by {shown(self.name)}. Give sessions ids that differ, and let the lines of one follow"
                " one another."
            )
        if time is None and self.stated is not None:
            yield self._only(f"its time, which cannot be read ({shown(self.stated)}); write {FORMS}.")
        if self._times.turns:
            yield self._only(f"the times of {_turns(self._times)}, which cannot be read; write {FORMS}.")
        if self._ids.turns:
            yield self._only(f"the ids of {_turns(self._ids)}, which earlier turns have; give turns ids that differ.")
        if self._others.turns:
            yield self._only(f"what is no text in {_turns(self._others)}.")

    def _only(self, what: str) -> Reject:
        return Reject(self.locator, f"Left out is only {what}", "note")


def _text(record: Mapping[str, Any], subject: str, fields: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The text of a turn, stripped, and the kinds of its parts that are no text. Raises `Unusable`."""
    key, value = first_value(record, fields)
    if value is not None and not isinstance(value, str | list):
        raise Unusable(f"The field '{key}' of {subject} is {kind_of(value)}, not a string; write the text there.")
    parts, others = [value or ""] if not isinstance(value, list) else [], []
    for part in value if isinstance(value, list) else ():
        text = part.get("text") if isinstance(part, dict) else part
        if isinstance(text, str):
            parts.append(text)
        else:
            kind = part.get("type") if isinstance(part, dict) else None
            others.append(shown(kind)[1:-1] if isinstance(kind, str) and kind else kind_of(part))
    text = "\n".join(parts).replace("\r\n", "\n").replace("\r", "\n").strip()
    return text, tuple(dict.fromkeys(others))


def _turns(note: _Note) -> str:
    return f"1 turn ({note.first})" if note.turns == 1 else f"{note.turns:,} turns (the first is {note.first})"


def _or(words: tuple[str, ...]) -> str:
    return ", ".join(words[:5])
