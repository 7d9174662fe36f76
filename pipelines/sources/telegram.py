"""Telegram's export: `result.json` of Telegram Desktop, of one chat or of all.

    {"name": "Ada", "type": "personal_chat", "id": 4711, "messages": [
        {"id": 1, "type": "message", "date": "2026-03-02T10:30:12", "date_unixtime": "1772443812", "from": "Ada",
         "from_id": "user4711", "text": ["See ", {"type": "link", "text": "https://example.org"}]}]}
    {"about": "...", "chats": {"about": "...", "list": [one such object a chat]}, "left_chats": {...}}

A chat is a tenant, named by its name and id, since two people may have one name. A session ends at a pause. Speakers
are `from`, or `from_id` of an account that is gone. Messages of the service (joins, calls, pins) and those without text
are left out and counted. `date_unixtime` is the time; older exports have `date` alone, which is read as UTC.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, ClassVar, Literal

from pydantic import Field

from mnemic.links.stated import LINKS
from pipelines.sources.columns import asks_for
from pipelines.sources.contracts import Document, Reject
from pipelines.sources.files import Files
from pipelines.sources.json_stream import Damage, JsonStream, last_object, streamed
from pipelines.sources.json_values import MARK, Unusable, kind_of, record_of
from pipelines.sources.times import read_time
from pipelines.sources.transcript import Chat, LeftOut, Message, Pauses, usable_name, usable_text

_CHAT = re.compile(
    rb'(?<!\\)"type"\s*:\s*"(?:saved_messages|replies|verification_codes|personal_chat|bot_chat'
    rb'|(?:private|public)_(?:group|supergroup|channel))"\s*,\s*"id"\s*:\s*-?[0-9]+\s*,\s*"messages"\s*:\s*\['
)
_ALL = re.compile(rb'\A(?:\xef\xbb\xbf)?\s*\{\s*"about"\s*:\s*"[^"]*Telegram|(?<!\\)"date_unixtime"\s*:\s*"[0-9]+"')


_FIRST = r'\{\s*"id"\s*:\s*[0-9]+\s*,\s*"type"\s*:\s*"(?:message|service)"'


def recognise(name: str, head: bytes) -> bool:
    """An object that holds a chat, or that begins as an export of all chats does."""
    text = head.removeprefix(MARK).lstrip()
    return text.startswith(b"{") and bool(_CHAT.search(text) or _ALL.search(text))


class Telegram(Files):
    """Telegram's `result.json` below ``path``.

    ``pause_hours``: the pause that ends a session, in hours, 6. ``max_json_bytes``: the longest message, in characters.
    """

    version: ClassVar[int] = 1

    kind: Literal["telegram"] = "telegram"
    name: str = "telegram"
    suffixes: list[str] = Field(default=[".json"], min_length=1)
    pause_hours: float = Field(default=6.0, gt=0.0, le=87_600.0)
    max_json_bytes: int = Field(default=16_000_000, gt=0)

    def _pauses(self, chat: Chat, limit: int) -> Pauses:
        return Pauses(chat, self.pause_hours, limit, replies=asks_for(self.columns, LINKS))

    def documents(self, file: BinaryIO, locator: str, max_document_bytes: int) -> Iterator[Document | Reject]:
        def read(stream: JsonStream) -> Iterator[Document | Reject]:
            number = 0
            while (header := stream.seek("messages", _FIRST)) is not None:
                number += 1
                yield from self._chat(stream, _chat(header, locator, number), max_document_bytes)
            if not number:
                yield Reject(
                    locator, "It is no export of Telegram, since it holds no `messages`; leave it out.", "empty"
                )

        yield from streamed(file, locator, self.max_json_bytes, read)

    def _chat(self, stream: JsonStream, chat: Chat, limit: int) -> Iterator[Document | Reject]:
        pauses, left = self._pauses(chat, limit), LeftOut(chat.locator.rstrip("/#"))
        for element in stream.elements(_is_message, end="messages"):
            if isinstance(element, Damage):
                yield Reject(f"{chat.locator}{element.number}", f"The message cannot be read. {element.reason}")
                continue
            number, value = element
            place = f"{chat.locator}{number}"
            try:
                message = _message(value, number, place)
            except Unusable as error:
                if error.severity == "empty":
                    left.add("without text (photos, stickers, files)", place)
                else:
                    yield Reject(place, str(error), error.severity)
                continue
            if message is None:
                left.add("of the service (joins, calls, pins)", place)
            else:
                yield from pauses.add(message)
        yield from pauses.close()
        yield from left.told()


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and "id" in value and "type" in value and ("date" in value or "text" in value)


def _chat(header: str, locator: str, number: int) -> Chat:
    stated = last_object(header, "id") or last_object(header, "type")
    name = usable_name(stated.get("name")) or usable_name(stated.get("type"))
    own = usable_name(stated.get("id"))
    if not name and not own:
        name = os.path.splitext(locator)[0]
        own = str(number) if number > 1 else ""
    tenant = f"{name} ({own})" if name and own else name or own
    return Chat(f"{locator}#{tenant}/", tenant, name or own)


def _message(value: Any, number: int, place: str) -> Message | None:
    """None for a message of the service. Raises `Unusable`."""
    subject = f"message {number}"
    record = record_of(value, subject)
    if record.get("type") != "message":
        return None
    text = usable_text(_text(record, subject), subject)
    time = read_time(record.get("date_unixtime")) or read_time(record.get("date"))
    speaker = usable_name(record.get("from")) or usable_name(record.get("from_id"))
    answers = usable_name(record.get("reply_to_message_id"))
    return Message(usable_name(record.get("id")) or str(number), text, speaker, time, place, answers)


def _text(record: Any, subject: str) -> str:
    value = record.get("text", "")
    parts = value if isinstance(value, list) else [value]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    strings = [text for text in texts if isinstance(text, str)]
    if len(strings) < len(texts):
        raise Unusable(f"The text of {subject} is {kind_of(value)} that holds no text; correct it.")
    poll = record.get("poll")
    question = poll.get("question") if isinstance(poll, dict) else None
    return "".join(strings) or (question if isinstance(question, str) else "")
