"""Slack's export: a folder a channel, a file of messages a day, and `users.json` beside the folders.

    users.json                  [{"id": "U1", "name": "ada", "real_name": "Ada L.", "profile": {"display_name": "Ada"}}]
    general/2026-03-02.json     [{"type": "message", "user": "U1", "ts": "1772443812.000100", "text": "Hi <@U2>",
                                  "thread_ts": "1772443812.000100", "reply_count": 2, "replies": [...]}]

A thread is a session, named by its `thread_ts`; the other messages of a day are one, named by the day. Replies of a
thread may stand in files of later days, so what is read at once is a channel, never a day: an item is the folder of a
channel, and a new day reads that channel again. A channel is a tenant; `users.json` gives speakers and mentions their
names. Messages of bots (unless ``bots``), of Slack itself (joins, topics) and those without text are left out, counted.

A channel is read twice, first for the last day of each thread, so that only threads that still go on stay in memory.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, ClassVar, Literal

from pydantic import Field

from pipelines.sources.contracts import Document, Item, Reject
from pipelines.sources.files import Files
from pipelines.sources.grouped import grouped, members
from pipelines.sources.json_stream import Damage, JsonStream, streamed
from pipelines.sources.json_values import MARK, Unusable, record_of
from pipelines.sources.slack_text import message_text, people
from pipelines.sources.times import read_time
from pipelines.sources.transcript import Chat, LeftOut, Message, Transcript, usable_name, usable_text

USERS = "users.json"
COMPANIONS = frozenset(
    (
        *(USERS, "channels.json", "groups.json", "dms.json", "mpims.json", "integration_logs.json", "org_users.json"),
        *("canvases.json", "lists.json", "huddle_transcripts.json", "file_conversations.json", "user_groups.json"),
    )
)
"""Files beside the folders of channels that hold no messages."""

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\.json")
_MESSAGE = re.compile(rb'(?<!\\)"type"\s*:\s*"message"')
_STAMP = re.compile(rb'(?<!\\)"ts"\s*:\s*"[0-9]{9,10}\.[0-9]{6}"')
_USER = re.compile(rb'(?<!\\)"team_id"\s*:\s*"[A-Z0-9]+"')
_SAID = frozenset(
    (None, "", "thread_broadcast", "me_message", "file_share", "file_comment", "bot_message", "reply_broadcast")
)
"""Subtypes of messages that somebody wrote; the others are Slack's own."""

ALL = "*.json"
Open = Callable[[], BinaryIO | Reject]


def recognise(name: str, head: bytes) -> bool:
    """Messages of a day of a channel, or the list of the export's users or channels."""
    text = head.removeprefix(MARK).lstrip()
    if not text.startswith(b"["):
        return False
    base = posixpath.basename(name)
    if base == USERS:
        return bool(_USER.search(text))
    return base not in COMPANIONS and bool(_MESSAGE.search(text) and _STAMP.search(text))


def recognise_folder(path: str, names: frozenset[str]) -> bool:
    """An unpacked export: the lists of users and channels, and folders of channels."""
    return {USERS, "channels.json"} <= names and any(name.endswith("/") for name in names)


class Slack(Files):
    """The folder of an unpacked Slack export, or of one channel of it, at ``path``.

    ``bots``: take what bots say, false. ``max_json_bytes``: the longest message, in characters.
    """

    version: ClassVar[int] = 1

    kind: Literal["slack"] = "slack"
    name: str = "slack"
    suffixes: list[str] = Field(default=[".json"], min_length=1)
    bots: bool = False
    max_json_bytes: int = Field(default=16_000_000, gt=0)

    def manifest(self) -> list[Item]:
        items = super().manifest()
        base, _ = self._place()
        if not os.path.isdir(base):
            return items
        stamps = {item.locator: item.stamp for item in items}
        days = [item for item in items if posixpath.basename(item.locator) not in COMPANIONS]
        return grouped(days, ALL, lambda folder: stamps.get(_users_of(folder), "")) or items

    def read(self, item: Item, max_document_bytes: int) -> Iterator[Document | Reject]:
        folder, name = posixpath.split(item.locator)
        if name != ALL:
            yield from super().read(item, max_document_bytes)
            return
        names = members(self, folder, lambda name: name not in COMPANIONS)
        if isinstance(names, Reject):
            yield names
            return
        days: dict[str, Open] = {place: lambda place=place: self.file(Item(place, 0, "")) for place in names}  # type: ignore[misc]
        users = self.file(Item(_users_of(folder), 0, ""))
        yield from self.channel(days, users, item.locator, self._channel_name(folder), max_document_bytes)

    def documents(self, file: BinaryIO, locator: str, max_document_bytes: int) -> Iterator[Document | Reject]:
        """One day of a channel alone, without names of users."""
        folder = posixpath.dirname(locator)

        def again() -> BinaryIO:
            file.seek(0)
            return _Kept(file)  # type: ignore[return-value]

        with file:
            channel = posixpath.basename(folder) or posixpath.splitext(posixpath.basename(locator))[0]
            yield from self.channel({locator: again}, None, locator, channel, max_document_bytes)

    def channel(
        self, days: Mapping[str, Open], users: BinaryIO | Reject | None, locator: str, channel: str, limit: int
    ) -> Iterator[Document | Reject]:
        """The sessions of a channel from its days, by locator, in their order."""
        names = people(users) if users is not None and not isinstance(users, Reject) else {}
        chat = Chat(f"{locator}#", channel, channel)
        left = LeftOut(locator)
        last = self._last_days(days)
        threads: dict[str, Transcript] = {}
        for number, (place, day) in enumerate(days.items()):
            stem = posixpath.splitext(posixpath.basename(place))[0]
            rest = Transcript(chat, stem, limit)
            for value in self._day(place, day):
                if isinstance(value, Reject):
                    yield value
                    continue
                where, record = value
                try:
                    thread, message = self._message(record, where, names, left)
                except Unusable as error:
                    if error.severity == "empty":
                        left.add("without text (files, pictures)", where)
                    else:
                        yield Reject(where, str(error), error.severity)
                    continue
                if message is not None:
                    session = threads.setdefault(thread, Transcript(chat, thread, limit)) if thread else rest
                    yield from session.add(message)
            yield from rest.close()
            for thread in [thread for thread in threads if last.get(thread, 0) <= number]:
                yield from threads.pop(thread).close()
        yield from left.told()

    def _channel_name(self, folder: str) -> str:
        return usable_name(folder) or usable_name(os.path.basename(self._place()[0])) or "channel"

    def _last_days(self, days: Mapping[str, Open]) -> dict[str, int]:
        """The number of the last day on which something was said in each thread."""
        last: dict[str, int] = {}
        for number, (place, day) in enumerate(days.items()):
            for value in self._day(place, day):
                if not isinstance(value, Reject) and isinstance(value[1], dict) and (thread := _thread(value[1])):
                    last[thread] = number
        return last

    def _day(self, place: str, day: Open) -> Iterator[tuple[str, Any] | Reject]:
        """(locator, value) of the messages of a file, and rejects."""
        file = day()
        if isinstance(file, Reject):
            yield file
            return
        values: list[tuple[str, Any]] = []

        def read(stream: JsonStream) -> Iterator[Document | Reject]:
            stream.enter()
            for element in stream.elements(_is_message):
                if isinstance(element, Damage):
                    yield Reject(f"{place}#{element.number}", f"The message cannot be read. {element.reason}")
                else:
                    values.append((f"{place}#{element[0]}", element[1]))
                    yield _NEXT

        for outcome in streamed(file, place, self.max_json_bytes, read):
            if outcome is _NEXT:
                yield values.pop()
            elif isinstance(outcome, Reject):
                yield outcome

    def _message(self, value: Any, place: str, names: Mapping[str, str], left: LeftOut) -> tuple[str, Message | None]:
        """The thread of a message, "" for none, and the message, None for one that is left out. Raises `Unusable`."""
        record = record_of(value, "the message")
        kind, subtype = record.get("type"), record.get("subtype")
        if kind != "message" or (subtype is not None and not isinstance(subtype, str)):
            raise Unusable("The `type` of the message is not `message`; leave it out, or correct it.")
        if subtype not in _SAID:
            left.add("of Slack itself (joins, topics, deleted messages)", place)
            return "", None
        bot = subtype == "bot_message" or ("bot_id" in record and record["bot_id"] is not None)
        if bot and not self.bots:
            left.add("of bots, which `bots: true` takes", place)
            return "", None
        text = usable_text(message_text(record, names), "the message")
        stamp = record.get("ts")
        time = read_time(stamp) if isinstance(stamp, str) else None
        own = usable_name(stamp) or place.rpartition("#")[2]
        return _thread(record), Message(own, text, _speaker(record, names), time, place)


class _Kept:
    """An open file that closing leaves open, since it is read twice."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Kept:
        return self

    def __exit__(self, *error: object) -> None:
        pass


_NEXT = Reject("", "", "empty")
"""Says that a message waits."""


def _users_of(folder: str) -> str:
    return posixpath.join(posixpath.dirname(folder), USERS)


def _thread(record: Mapping[str, Any]) -> str:
    """The thread of a message, "" for one that nobody answered."""
    return usable_name(record.get("thread_ts"))


def _speaker(record: Mapping[str, Any], names: Mapping[str, str]) -> str:
    own = usable_name(record.get("user"))
    profile = record.get("user_profile")
    profile = profile if isinstance(profile, dict) else {}
    bot = record.get("bot_profile")
    stated = [profile.get("display_name"), profile.get("real_name"), record.get("username")]
    stated.append(bot.get("name") if isinstance(bot, dict) else None)
    candidates = (names.get(own, ""), *map(usable_name, stated), own, usable_name(record.get("bot_id")))
    return next(filter(None, candidates), "")


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") == "message" and "ts" in value
