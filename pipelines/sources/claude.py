"""Claude's export: `conversations.json`.

    [{"uuid": "c1", "name": "Bread", "created_at": "2026-03-02T09:30:12.5Z", "chat_messages": [
        {"uuid": "m1", "sender": "human", "created_at": "2026-03-02T09:30:12.5Z", "text": "How long does it rise?",
         "content": [{"type": "text", "text": "How long does it rise?"}],
         "attachments": [{"file_name": "recipe.txt", "extracted_content": "Flour, water"}], "files": []}]}]

The text of a message is that of its blocks of the type `text`, or its `text` where there is none. Blocks of tools are
left out and counted unless ``tools``; what the model thinks is dropped. The text that Claude extracted from an
attachment is a turn of its own, after the message.

A conversation is a session, its name the collection, and the export (its folder or file) the tenant. Speakers are the
senders, `human` and `assistant`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, BinaryIO, ClassVar, Literal

from pydantic import Field

from pipelines.sources.contracts import Document, Reject
from pipelines.sources.exports import ExportLayout, conversations, export_name
from pipelines.sources.files import Files
from pipelines.sources.json_stream import objects
from pipelines.sources.json_values import MARK, Unusable, kind_of, record_of
from pipelines.sources.times import read_time
from pipelines.sources.transcript import Chat, LeftOut, Message, Transcript, usable_name, usable_text

_LAYOUT = re.compile(rb'(?<!\\)"chat_messages"\s*:\s*\[')


def recognise(name: str, head: bytes) -> bool:
    """A list or an object whose conversations have `chat_messages`."""
    text = head.removeprefix(MARK).lstrip()
    return text[:1] in (b"[", b"{") and bool(_LAYOUT.search(text))


class Claude(Files):
    """Claude's `conversations.json` below ``path``.

    ``attachments``: take the text that was extracted from attachments, true. ``tools``: take calls of tools and their
    results, false. ``max_json_bytes``: the longest conversation, in characters of JSON.
    """

    version: ClassVar[int] = 1

    kind: Literal["claude"] = "claude"
    name: str = "claude"
    suffixes: list[str] = Field(default=[".json"], min_length=1)
    attachments: bool = True
    tools: bool = False
    max_json_bytes: int = Field(default=64_000_000, gt=0)

    def documents(self, file: BinaryIO, locator: str, max_document_bytes: int) -> Iterator[Document | Reject]:
        left = LeftOut(locator)
        take = partial(self._conversation, locator=locator, left=left, limit=max_document_bytes)
        layout = ExportLayout("Claude", _is_conversation, _salvage, _renamed)
        yield from conversations(file, locator, self.max_json_bytes, layout, take)
        yield from left.told()

    def _conversation(
        self, value: Mapping[str, Any], number: int, *, locator: str, left: LeftOut, limit: int
    ) -> Iterator[Document | Reject]:
        own, title = usable_name(value.get("uuid")) or str(number), usable_name(value.get("name"))
        metadata = {"title": title} if title else {}
        chat = Chat(f"{locator}#", export_name(locator), title or own, metadata)
        transcript = Transcript(chat, own, limit, read_time(value.get("created_at")))
        spoken = False
        for position, record in enumerate(value["chat_messages"], start=1):
            place = f"{locator}#{own}/{position}"
            try:
                for message in self._messages(record_of(record, "the message"), position, place, left):
                    spoken = True
                    yield from transcript.add(message)
            except Unusable as error:
                yield Reject(place, str(error), error.severity)
        yield from transcript.close()
        if not spoken:
            yield Reject(f"{locator}#{own}", "The conversation holds no message that can be used.", "empty")

    def _messages(self, record: Mapping[str, Any], position: int, place: str, left: LeftOut) -> Iterator[Message]:
        """The message, and the texts of its attachments. Raises `Unusable`."""
        own = usable_name(record.get("uuid")) or str(position)
        speaker, time = usable_name(record.get("sender")), read_time(record.get("created_at"))
        attached = record.get("attachments") if self.attachments else None
        texts = [part for part in attached if isinstance(part, dict)] if isinstance(attached, list) else []
        texts = [part for part in texts if isinstance(part.get("extracted_content"), str)]
        try:
            yield Message(own, usable_text(self._text(record, place, left), "the message"), speaker, time, place)
        except Unusable as error:
            if error.severity != "empty":
                raise
            if not texts:
                left.add("without text (pictures, files)", place)
        for number, part in enumerate(texts, start=1):
            name = usable_name(part.get("file_name"))
            content = part["extracted_content"]
            if content.strip():
                text = usable_text(f"[{name or 'attachment'}]\n{content}", f"attachment {number} of the message")
                yield Message(f"{own}/{number}", text, speaker, time, f"{place}/{number}")

    def _text(self, record: Mapping[str, Any], place: str, left: LeftOut) -> str:
        blocks, whole = record.get("content"), record.get("text")
        texts = []
        for block in blocks if isinstance(blocks, list) else ():
            kind = block.get("type") if isinstance(block, dict) else None
            if kind == "text" and isinstance(block.get("text"), str):
                texts.append(block["text"])
            elif kind in ("tool_use", "tool_result"):
                if self.tools:
                    texts.append(_tool(block))
                else:
                    left.add("to and from tools, which `tools: true` takes", place)
        if any(text.strip() for text in texts):
            return "\n".join(texts)
        if whole is not None and not isinstance(whole, str):
            raise Unusable(f"The `text` of the message is {kind_of(whole)}, not a string; correct it.")
        return whole or ""


def _tool(block: Mapping[str, Any]) -> str:
    """A call of a tool with its input, or what it gave."""
    if block["type"] == "tool_use":
        return f"[{usable_name(block.get('name')) or 'tool'}] {_flat(block.get('input'))}"
    return _flat(block.get("content"))


def _flat(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(part, dict) for part in value):
        return "\n".join(part["text"] for part in value if isinstance(part.get("text"), str))
    try:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return ""


def _is_conversation(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("chat_messages"), list)


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and "sender" in value and ("text" in value or "content" in value)


def _renamed(value: dict[str, Any]) -> Any:
    for messages in value.values():
        if isinstance(messages, list) and any(map(_is_message, messages)):
            return {**value, "chat_messages": messages}
    return None


def _salvage(text: str) -> Any:
    messages = list(objects(text, _is_message))
    if not messages:
        return None
    value: dict[str, Any] = {"chat_messages": messages}
    for key in ("uuid", "name", "created_at"):  # those of the conversation stand before its messages
        if match := re.search(rf'(?<!\\)"{key}"\s*:\s*"([^"\\]*)"', text):
            value[key] = match[1]
    return value
