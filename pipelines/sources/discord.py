"""Discord: channels that DiscordChatExporter wrote as JSON, or the data package that Discord sends to people.

    {"guild": {"id": "1", "name": "Makers"}, "channel": {"id": "2", "name": "general"}, "messages": [      the exporter
        {"id": "3", "type": "Default", "timestamp": "2026-03-02T10:30:12.5+00:00", "content": "Hello",
         "author": {"id": "4", "name": "ada", "nickname": "Ada", "isBot": false}, "attachments": []}]}
    messages/c2/channel.json, messages/c2/messages.csv or .json, messages/index.json, account/user.json     the package

A channel is a tenant, named by its server, name and id, since two people may have one name. A session ends at a pause.
Speakers are nicknames. Messages of bots (unless ``bots``), of Discord itself (joins, pins) and those without text
are left out and counted. The package has what its owner wrote and nothing that others did.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, ClassVar, Literal

from pydantic import Field

from mnemic.ids import hash_parts
from mnemic.links.stated import LINKS
from pipelines.sources.columns import asks_for
from pipelines.sources.contracts import Document, Item, Reject
from pipelines.sources.discord_package import (
    MESSAGES,
    companions_of,
    describe,
    is_message,
    packed_messages,
)
from pipelines.sources.files import Files
from pipelines.sources.json_stream import DECODER, Damage, JsonStream, last_object, streamed
from pipelines.sources.json_values import MARK, Unusable, record_of
from pipelines.sources.times import read_time
from pipelines.sources.transcript import Chat, LeftOut, Message, Pauses, usable_name, usable_text

_PARTS = (rb'guild"\s*:\s*\{', rb'channel"\s*:\s*\{', rb'messages"\s*:\s*\[')
_EXPORTER = tuple(re.compile(rb'(?<!\\)"' + part) for part in _PARTS)
_PACKAGE = re.compile(rb'\A\[\s*\{\s*"ID"\s*:.{0,80}"Timestamp"\s*:', re.DOTALL)
_FIRST = r'\{\s*"id"\s*:\s*"[0-9]+"\s*,\s*"type"\s*:\s*"\w+"\s*,\s*"timestamp"'
_SAID = frozenset(("Default", "Reply", "ThreadStarterMessage", "ChatInputCommand", "ContextMenuCommand"))
"""Kinds of messages that somebody wrote; newer ones without a name are numbers, of which 0 and 19 to 23 are these."""

_SAID_NUMBERS = frozenset(("0", "19", "20", "21", "23"))


def recognise(name: str, head: bytes) -> bool:
    """A channel of DiscordChatExporter, or messages of the data package."""
    text = head.removeprefix(MARK).lstrip()
    if text.startswith(b"{"):
        place = 0
        for part in _EXPORTER:  # one after the other: a pattern of all three tries every pair
            match = part.search(text, place)
            if match is None:
                return False
            place = match.end()
        return True
    return bool(_PACKAGE.match(text)) or text.startswith(b"ID,Timestamp,Contents,Attachments")


class Discord(Files):
    """DiscordChatExporter's JSON below ``path``, or a data package where one is there.

    ``pause_hours``: the pause that ends a session, in hours, 6. ``bots``: take what bots say, false.
    ``max_json_bytes``: the longest message, in characters. ``max_channel_bytes``: the largest file of a channel in a
    package, since it is read whole, in bytes.
    """

    version: ClassVar[int] = 1

    kind: Literal["discord"] = "discord"
    name: str = "discord"
    suffixes: list[str] = Field(default=[".json", ".csv"], min_length=1)
    pause_hours: float = Field(default=6.0, gt=0.0, le=87_600.0)
    bots: bool = False
    max_json_bytes: int = Field(default=16_000_000, gt=0)
    max_channel_bytes: int = Field(default=100_000_000, gt=0)

    def manifest(self) -> list[Item]:
        items = super().manifest()
        packed = [item for item in items if os.path.basename(item.locator) in MESSAGES]
        if not packed:
            return [item for item in items if not item.locator.lower().endswith(".csv")] or items
        stamps = {item.locator: item.stamp for item in items}
        return [
            Item(item.locator, item.size, hash_parts(item.stamp, *(stamps.get(place, "") for place in places)))
            for item in packed
            for places in [companions_of(item.locator)]
        ]

    def read(self, item: Item, max_document_bytes: int) -> Iterator[Document | Reject]:
        file = self.file(item)
        if isinstance(file, Reject):
            yield file
        elif os.path.basename(item.locator) in MESSAGES:
            companions = [self.file(Item(place, 0, "")) for place in companions_of(item.locator)]
            chat, owner = describe(companions, item.locator)
            yield from self._package(file, chat, owner, max_document_bytes)
        else:
            yield from self.documents(file, item.locator, max_document_bytes)

    def _pauses(self, chat: Chat, limit: int) -> Pauses:
        return Pauses(chat, self.pause_hours, limit, replies=asks_for(self.columns, LINKS))

    def documents(self, file: BinaryIO, locator: str, max_document_bytes: int) -> Iterator[Document | Reject]:
        if os.path.basename(locator) in MESSAGES:
            yield from self._package(file, *describe([], locator), max_document_bytes)
            return

        def read(stream: JsonStream) -> Iterator[Document | Reject]:
            header = stream.seek("messages", _FIRST)
            if header is None:
                reason = "It is no channel of DiscordChatExporter, since it holds no `messages`; leave it out."
                yield Reject(locator, reason, "empty")
                return
            chat = _chat(header, locator)
            pauses, left = self._pauses(chat, max_document_bytes), LeftOut(chat.locator.rstrip("/#"))
            for element in stream.elements(_is_message):
                if isinstance(element, Damage):
                    yield Reject(f"{chat.locator}{element.number}", f"The message cannot be read. {element.reason}")
                else:
                    yield from self._take(*element, chat, pauses, left)
            yield from pauses.close()
            yield from left.told()

        yield from streamed(file, locator, self.max_json_bytes, read)

    def _take(self, number: int, value: Any, chat: Chat, pauses: Pauses, left: LeftOut) -> Iterator[Document | Reject]:
        place, subject = f"{chat.locator}{number}", f"message {number}"
        try:
            record = record_of(value, subject)
            author = record.get("author")
            author = author if isinstance(author, dict) else {}
            kind = str(record.get("type", "Default"))
            if kind not in _SAID and kind not in _SAID_NUMBERS:
                left.add("of Discord itself (joins, pins, calls)", place)
            elif author.get("isBot") is True and not self.bots:
                left.add("of bots, which `bots: true` takes", place)
            else:
                text = usable_text(_text(record), subject)
                speaker = usable_name(author.get("nickname")) or usable_name(author.get("name"))
                own = usable_name(record.get("id")) or str(number)
                answered = record.get("reference")
                answers = usable_name(answered.get("messageId")) if isinstance(answered, dict) else ""
                message = Message(own, text, speaker, read_time(record.get("timestamp")), place, answers)
                yield from pauses.add(message)
        except Unusable as error:
            if error.severity == "empty":
                left.add("without text (pictures, files, stickers)", place)
            else:
                yield Reject(place, str(error), error.severity)

    def _package(self, file: BinaryIO, chat: Chat, owner: str, limit: int) -> Iterator[Document | Reject]:
        pauses, left = self._pauses(chat, limit), LeftOut(chat.locator.rstrip("/#"))
        for message in packed_messages(file, chat, owner, self.max_channel_bytes, left):
            yield from [message] if isinstance(message, Reject) else pauses.add(message)
        yield from pauses.close()
        yield from left.told()


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and (("timestamp" in value and "content" in value) or is_message(value))


def _chat(header: str, locator: str) -> Chat:
    stated = last_object(header, "channel")
    guild, channel = stated.get("guild"), stated.get("channel")
    if not isinstance(channel, dict):  # the header is damaged
        guild, channel = _part(header, "guild"), _part(header, "channel")
    server = usable_name(guild.get("name")) if isinstance(guild, dict) else ""
    own, name = usable_name(channel.get("id")), usable_name(channel.get("name"))
    place = os.path.splitext(locator)[0]
    collection = "/".join(filter(None, (server, name))) or place
    tenant = f"{collection} ({own})" if own else collection
    return Chat(f"{locator}#", tenant, collection)


def _part(header: str, key: str) -> dict[str, Any]:
    match = re.search(rf'(?<!\\)"{key}"\s*:\s*(?=\{{)', header)
    try:
        value = DECODER.raw_decode(header, match.end())[0] if match else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(record: Any) -> str:
    """What a message says; what it forwards, or what its embeds say, where it says nothing itself."""
    texts = [record.get("content")]
    forwarded = record.get("forwardedMessage")
    texts.append(forwarded.get("content") if isinstance(forwarded, dict) else None)
    embeds = record.get("embeds")
    for embed in embeds if isinstance(embeds, list) else ():
        texts += [embed.get("title"), embed.get("description")] if isinstance(embed, dict) else []
    if texts[0] is not None and not isinstance(texts[0], str):
        raise Unusable("The `content` of the message is no string; correct it.")
    strings = [text for text in texts if isinstance(text, str) and text.strip()]
    return strings[0] if texts[0] and strings else "\n".join(strings)
