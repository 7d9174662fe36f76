"""Messages of a chat become documents: sessions, cut at pauses, and cut again where they are too long.

A message is written "Speaker: text", as in `pipelines.sources.session`. A session of more bytes than a document may
have comes in several documents of the same session, cut before the longest pause in what is too long, or before the
message that did not fit where no times are stated. The cuts depend on the messages alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate, islice
from urllib.parse import quote

from mnemic.links.stated import LINKS, MOST_LINKS, written_link
from pipelines.sources.contracts import Document, Reject, Turn
from pipelines.sources.json_values import Unusable
from pipelines.sources.session import Names
from pipelines.sources.text import is_blank, text_fault, too_large

REMEMBERED = 100_000
"""Messages of a chat that an answer may be linked to."""

_SENTENCE = re.compile(r"[^.!?\n]{1,60}")
"""The beginning of an answer, by which the sentence that links is known."""

LONGEST_NAME = 200
"""Characters of a speaker's, a chat's or a session's name; what is longer is cut."""


_NOT_DECODED = re.compile("[\udc80-\udcff]")
"""Bytes that are not UTF-8, as `pipelines.sources.json_stream` keeps them."""


@dataclass(frozen=True)
class Message:
    """What somebody says in a chat. ``place`` is its locator, for what is told of it.

    ``answers`` is the id of the message that it is a reply to, "" for none.
    """

    id: str
    text: str
    speaker: str
    time: datetime | None
    place: str
    answers: str = ""


@dataclass(frozen=True)
class Chat:
    """What the sessions of a chat have in common. ``locator`` begins those of its documents."""

    locator: str
    tenant: str
    collection: str
    metadata: Mapping[str, object] = field(default_factory=dict)


def usable_text(text: str, subject: str) -> str:
    """The text of a message as it is stored. Raises `Unusable`, of the severity "empty" where nothing is to be seen."""
    if fault := text_fault(text):
        if _NOT_DECODED.search(text):
            raise Unusable(f"The text of {subject} is not UTF-8; convert the file, or correct the message.")
        raise Unusable(f"The text of {subject} cannot be stored. {fault}")
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if is_blank(text):
        raise Unusable(f"The text of {subject} holds nothing.", "empty")
    return text


def usable_name(name: object) -> str:
    """A name in one line, "" where there is none that can be stored."""
    if isinstance(name, bool) or not isinstance(name, str | int):
        return ""
    text = " ".join(str(name).split())[:LONGEST_NAME]
    return "" if text_fault(text) else text


class Replies:
    """Which document the last messages of a chat are in, so that an answer in another one links to it.

    It remembers `REMEMBERED` messages, some 150 bytes each; what is answered later is not linked.
    """

    def __init__(self) -> None:
        self._places: dict[str, str] = {}

    def between(self, messages: Sequence[Message], locator: str) -> list[str]:
        """The links of the document at ``locator``, which holds ``messages``, as the column `links` has them."""
        self._places.update((message.id, locator) for message in messages)
        answers = ((one.text, self._places.get(one.answers, locator)) for one in messages if one.answers)
        first = ((_SENTENCE.match(text), at) for text, at in answers if at != locator)
        links = dict.fromkeys(written_link(match[0], f"/{quote(at)}") for match, at in first if match)
        for old in list(islice(self._places, max(0, len(self._places) - REMEMBERED))):
            del self._places[old]
        return [link for link in links if link][:MOST_LINKS]


class Transcript:
    """One session while its messages come in. It holds at most ``limit`` bytes of text, and gives what is more."""

    def __init__(
        self, chat: Chat, session: str, limit: int, time: datetime | None = None, replies: Replies | None = None
    ) -> None:
        self.chat = chat
        self.replies = replies
        self.session = session
        self.limit = limit
        self.time = time
        self._messages: list[Message] = []
        self._lines: list[str] = []
        self._sizes: list[int] = []
        self._size = 0
        self._pieces = 0

    @property
    def last(self) -> datetime | None:
        """The time of the message that came last."""
        return self._messages[-1].time if self._messages else None

    def add(self, message: Message) -> Iterator[Document | Reject]:
        """Take the next message; documents that are complete by now come out."""
        line = f"{message.speaker}: {message.text}" if message.speaker else message.text
        size = len(line.encode()) + 1
        if size - 1 > self.limit:
            yield Reject(message.place, too_large(size - 1, self.limit))
            return
        while self._size + size - 1 > self.limit and self._messages:
            yield from self._cut(message.time)
        self._messages.append(message)
        self._lines.append(line)
        self._sizes.append(size)
        self._size += size

    def close(self) -> Iterator[Document]:
        """What is left of the session."""
        if self._messages:
            yield self._document(len(self._messages))

    def _cut(self, following: datetime | None) -> Iterator[Document]:
        """Give the messages before the longest pause of the second half; the last pause is that before the next."""
        times = [*(message.time for message in self._messages), following]
        half = next(i for i, total in enumerate(accumulate(self._sizes), start=1) if 2 * total >= self._size)
        pauses = [(_pause(times[i - 1], times[i]), i) for i in range(half, len(times))]
        yield self._document(max(pauses)[1])

    def _document(self, count: int) -> Document:
        turns, end, names = [], -1, Names()
        for message, line in zip(self._messages[:count], self._lines[:count], strict=True):
            start, end = end + 1, end + 1 + len(line)
            turns.append(Turn(names(message.id), start, end, message.speaker, message.time))
        self._pieces += 1
        piece = "" if self._pieces == 1 else f"+{self._pieces}"
        speakers = {turn.speaker for turn in turns}
        begin = min((turn.time for turn in turns if turn.time is not None), default=self.time)
        locator = f"{self.chat.locator}{_escaped(self.session)}{piece}"
        links = [] if self.replies is None else self.replies.between(self._messages[:count], locator)
        document = Document(
            locator=locator,
            text="\n".join(self._lines[:count]),
            collection=self.chat.collection,
            tenant=self.chat.tenant,
            session=self.session,
            speaker=speakers.pop() if len(speakers) == 1 else "",
            time=begin,
            turns=tuple(turns),
            metadata={**self.chat.metadata, LINKS: links} if links else self.chat.metadata,
        )
        self._size -= sum(self._sizes[:count])
        del self._messages[:count], self._lines[:count], self._sizes[:count]
        return document


class Pauses:
    """The messages of a chat in their order, which begin a session after each pause of more than ``hours``.

    A session is called by the time at which it begins, in UTC, or by the id of its first message. With ``replies`` a
    session links to earlier ones whose messages it answers.
    """

    def __init__(self, chat: Chat, hours: float, limit: int, replies: bool = False) -> None:
        self.chat = chat
        self._replies = Replies() if replies else None
        self._longest = timedelta(hours=hours)
        self._limit = limit
        self._names = Names()
        self._open: Transcript | None = None
        self._last: datetime | None = None

    def add(self, message: Message) -> Iterator[Document | Reject]:
        """Take the next message."""
        if self._open is None or _pause(self._last, message.time) > self._longest:
            yield from self.close()
            name = f"{message.time:%Y-%m-%dT%H:%M:%SZ}" if message.time else message.id
            self._open = Transcript(self.chat, self._names(name), self._limit, replies=self._replies)
        self._last = message.time or self._last
        yield from self._open.add(message)

    def close(self) -> Iterator[Document]:
        """The session that was open."""
        if self._open is not None:
            yield from self._open.close()
        self._open = self._last = None


class LeftOut:
    """What a source leaves out by its settings, or since there is no text: counted, and told once by kind.

    A kind ends the sentence "Left out: 3 messages ...".
    """

    def __init__(self, locator: str) -> None:
        self.locator = locator
        self._counts: dict[tuple[str, str], int] = {}
        self._first: dict[tuple[str, str], str] = {}

    def add(self, kind: str, place: str, noun: str = "message") -> None:
        """Count one, which is at ``place``."""
        self._counts[noun, kind] = self._counts.get((noun, kind), 0) + 1
        self._first.setdefault((noun, kind), place)

    def told(self) -> Iterator[Reject]:
        """A note of each kind."""
        for (noun, kind), count in sorted(self._counts.items()):
            number = f"1 {noun}" if count == 1 else f"{count:,} {noun}s"
            place = self._first[noun, kind]
            first = f" ({place})" if count == 1 else f" (the first is {place})"
            yield Reject(self.locator, f"Left out: {number}{first} {kind}.", "note")


def _pause(before: datetime | None, after: datetime | None) -> timedelta:
    if before is None or after is None:
        return timedelta()
    return abs(after.astimezone(UTC) - before.astimezone(UTC))


def _escaped(session: str) -> str:
    for mark in "%/+":
        session = session.replace(mark, f"%{ord(mark):02X}")
    return session
