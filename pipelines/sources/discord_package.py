"""Channels of Discord's data package: what its owner wrote, newest first, in CSV (older packages) or JSON.

A row of CSV begins with an id and a time, by which rows are told apart even where a quote is missing.
"""

from __future__ import annotations

import csv
import io
import os
import posixpath
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from pipelines.sources.contracts import Reject
from pipelines.sources.json_stream import Damage, JsonStream
from pipelines.sources.json_values import Unusable, json_file, kind_of, record_of
from pipelines.sources.text import open_failed, size_of
from pipelines.sources.times import EPOCH, read_time
from pipelines.sources.transcript import Chat, LeftOut, Message, usable_name, usable_text

MESSAGES = ("messages.csv", "messages.json")
"""Names of the files that hold a channel."""

_ROW = re.compile(r"(?m)^(?=[0-9]{15,21},[0-9]{4}-[0-9]{2}-[0-9]{2})")
_MOST_COMPANION_BYTES = 32_000_000


def companions_of(locator: str) -> tuple[str, str, str, str]:
    """Where a package says more of a channel: its own file, the index of all, and the owner (in either spelling)."""
    folder = posixpath.dirname(locator)
    above = posixpath.dirname(folder)
    root = posixpath.dirname(above)
    return (
        posixpath.join(folder, "channel.json"),
        posixpath.join(above, "index.json"),
        posixpath.join(root, "account/user.json"),
        posixpath.join(root, "Account/user.json"),
    )


def describe(companions: list[BinaryIO | Reject], locator: str) -> tuple[Chat, str]:
    """The channel of a file of messages, and the name of the package's owner, from its companions in their order."""
    channel, index, *owners = [_companion(file) for file in companions] or [{}, {}, {}]
    own = usable_name(channel.get("id")) or posixpath.basename(posixpath.dirname(locator)).removeprefix("c")
    guild = channel.get("guild")
    server = usable_name(guild.get("name")) if isinstance(guild, dict) else ""
    name = usable_name(channel.get("name"))
    collection = "/".join(filter(None, (server, name))) or usable_name(index.get(own))
    collection = collection or own or os.path.splitext(locator)[0]
    names = [usable_name(owner.get(field)) for owner in owners for field in ("global_name", "username")]
    tenant = f"{collection} ({own})" if own and own != collection else collection
    return Chat(f"{locator}#", tenant, collection), next(filter(None, names), "")


def _companion(file: BinaryIO | Reject) -> dict[str, Any]:
    if isinstance(file, Reject):
        return {}
    try:
        value = json_file(file, _MOST_COMPANION_BYTES, "max_channel_bytes")
    except Unusable:
        return {}
    return value if isinstance(value, dict) else {}


def is_message(value: Any) -> bool:
    """Whether a value is a message of a package."""
    return isinstance(value, dict) and "ID" in value and "Contents" in value


def packed_messages(file: BinaryIO, chat: Chat, owner: str, limit: int, left: LeftOut) -> Iterator[Message | Reject]:
    """The messages of a channel, oldest first, and rejects. Closes the file."""
    locator = chat.locator.removesuffix("#")
    messages: list[Message] = []
    with file:
        try:
            if size_of(file) > limit:
                reason = f"The file is larger than a channel may be ({limit:,} bytes); raise `max_channel_bytes`."
                yield Reject(locator, reason)
                return
            records = _rows(file) if locator.lower().endswith(".csv") else _values(file)
            for number, record in records:
                place = f"{chat.locator}{number}"
                try:
                    messages.append(_message(record, number, place, owner))
                except Unusable as error:
                    if error.severity == "empty":
                        left.add("without text (pictures, files, stickers)", place)
                    else:
                        yield Reject(place, str(error), error.severity)
        except OSError as error:
            yield Reject(locator, open_failed(error))
        except Unusable as error:
            yield Reject(locator, str(error), error.severity)
    yield from sorted(messages, key=lambda message: message.time or EPOCH)


def _message(record: Any, number: int, place: str, owner: str) -> Message:
    subject = f"message {number}"
    if isinstance(record, Damage):
        raise Unusable(f"The message cannot be read. {record.reason}")
    fields = record_of(record, subject)
    text = fields.get("Contents")
    if not isinstance(text, str):
        raise Unusable(f"The `Contents` of {subject} is {kind_of(text)}, not a string; correct it.")
    time = read_time(fields.get("Timestamp"))
    return Message(usable_name(fields.get("ID")) or str(number), usable_text(text, subject), owner, time, place)


def _values(file: BinaryIO) -> Iterator[tuple[int, Any]]:
    stream = JsonStream(file, 16_000_000, "max_channel_bytes")
    stream.enter()
    for element in stream.elements(is_message):
        yield (element.number, element) if isinstance(element, Damage) else element


def _rows(file: BinaryIO) -> Iterator[tuple[int, Any]]:
    text = file.read().decode("utf-8-sig", "surrogateescape")
    header, *rows = _ROW.split(text)
    names = [name.strip() for name in header.strip().split(",")]
    names = names if "Contents" in names else ["ID", "Timestamp", "Contents", "Attachments"]
    for number, row in enumerate(rows, start=1):
        try:
            values = next(csv.reader(io.StringIO(row, newline="")))
        except (csv.Error, StopIteration) as error:
            yield number, Damage(number, f"Its row is not CSV ({error}); correct it.")
            continue
        if len(values) < 3:
            yield number, Damage(number, "Its row has fewer than three columns; correct it.")
        else:
            yield number, dict(zip(names, values, strict=False))
