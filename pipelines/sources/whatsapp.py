"""WhatsApp's export of a chat: `_chat.txt` of an iPhone, or `WhatsApp Chat with Ada.txt` of Android.

What a line looks like depends on the phone's language (see `pipelines.sources.whatsapp_lines`). A line without a date
goes on with the message before. The chat is a tenant, a session ends at a pause, times are those of the phone's clock:
``time_zone`` says where it was. Lines of WhatsApp itself, which have no speaker, and places of left-out media are left
out and counted. A file whose dates can be read in two ways is refused, unless ``dates`` says how.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import BinaryIO, ClassVar, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator

from pipelines.sources.contracts import Document, Reject
from pipelines.sources.files import Files
from pipelines.sources.json_values import CONVERT, UTF_16, Unusable
from pipelines.sources.text import open_failed, size_of
from pipelines.sources.transcript import Chat, LeftOut, Message, Pauses, usable_name, usable_text
from pipelines.sources.whatsapp_lines import MARKS, TIE, DateOrder, Stamp, moment, read_stamp

_NAMES = re.compile(
    r"(?:whatsapp[ _]chat[ _](?:-|with|mit)|chat[ _]de[ _]whatsapp[ _]con|chat[ _]whatsapp[ _]con"
    r"|conversa[ _]d?n?o[ _]whatsapp[ _]com|discussion[ _]whatsapp[ _]avec|чат[ _]whatsapp[ _]с)[ _]",
    re.IGNORECASE,
)
_CHAT = re.compile(r"_chat(?:[ _(].*)?", re.IGNORECASE)
_SPEAKER = re.compile(rf"[{MARKS}]{{0,9}}([^\n]{{1,100}}?)[{MARKS}]{{0,9}}: ")
_MEDIA = re.compile(rf"[{MARKS}\s]{{0,20}}(?:<[^<>\n]{{3,60}}>|[{MARKS}][^\n]{{1,200}})[{MARKS}\s]{{0,20}}")
_ATTACHED = re.compile(
    rf"\A[{MARKS}]*[A-Z]{{3,5}}-\d{{8}}-WA\d{{1,6}}\.\w{{2,5}} \([^()\n]{{4,60}}\)"
    rf"|[{MARKS}]<[^<>\n:]{{1,30}}: [^<>\n]{{1,200}}>"
)
"""A file that was sent, as Android names it, or as an iPhone does; a caption may stand below, or before."""

_EDITED = re.compile(rf"[{MARKS}]<[^<>\n]{{3,60}}>[{MARKS}\s]*$")
# No pattern here repeats a mark or a space without a bound before more that may fail: a line may be full of them.
_CLEAN = str.maketrans(dict.fromkeys(MARKS))


def recognise(name: str, head: bytes) -> bool:
    """Text whose first lines begin with a date as WhatsApp writes it: two of them, or all that there are."""
    text = head.decode("utf-8", "replace").lstrip("\ufeff")
    lines = [line for line in text[:16_384].splitlines() if line.strip()][:40]
    stamps = [(stamp, line) for line in lines if (stamp := read_stamp(line)) is not None]
    if not stamps or read_stamp(lines[0]) is None or (len(stamps) < 2 and len(lines) > 1):
        return False
    base = os.path.basename(name).lower()
    if not ("_chat" in base or "whatsapp" in name.lower()) and any(_is_like_a_log(*stamp) for stamp in stamps):
        return False
    return any(_SPEAKER.match(line[stamp.end :]) for stamp, line in stamps)


def _is_like_a_log(stamp: Stamp, line: str) -> bool:
    """Whether a line may be that of a program's log: a date of ISO 8601, or seconds without brackets."""
    bracket = line.lstrip(MARKS).startswith("[")
    return (stamp.mark == "-" and stamp.numbers[0] > 99) or (not bracket and line[: stamp.end].count(":") > 1)


class WhatsApp(Files):
    """WhatsApp's chats in text files below ``path``.

    ``dates``: `day-first`, `month-first`, `year-first`, or `auto`: told from the file. ``time_zone``: that of the
    phone, such as `Europe/Berlin`, UTC. ``pause_hours``: the pause that ends a session, in hours, 6.
    ``max_line_bytes``: the longest line.
    """

    version: ClassVar[int] = 1

    kind: Literal["whatsapp"] = "whatsapp"
    name: str = "whatsapp"
    suffixes: list[str] = Field(default=[".txt"], min_length=1)
    dates: Literal["auto", "day-first", "month-first", "year-first"] = "auto"
    time_zone: str = "UTC"
    pause_hours: float = Field(default=6.0, gt=0.0, le=87_600.0)
    max_line_bytes: int = Field(default=1_000_000, gt=0)

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except Exception as error:  # by the name it is a path, a missing file or a broken one
            raise ValueError(f"There is no time zone '{zone[:60]}'; write one such as Europe/Berlin or UTC.") from error
        return zone

    def documents(self, file: BinaryIO, locator: str, max_document_bytes: int) -> Iterator[Document | Reject]:
        with file:
            try:
                yield from self._chat(file, locator, max_document_bytes)
            except OSError as error:
                yield Reject(locator, open_failed(error))

    def _chat(self, file: BinaryIO, locator: str, limit: int) -> Iterator[Document | Reject]:
        start, size = file.tell(), size_of(file)
        if file.read(2) in UTF_16:
            yield Reject(locator, CONVERT)
            return
        order = DateOrder()
        for _, line in self._lines(file, start, size):
            if (stamp := read_stamp(line)) is not None:
                order.add(stamp)
        dates = self.dates if self.dates != "auto" else order.decide()
        if not order.lines:
            reason = "No line of it begins with a date as WhatsApp writes it; read it with `kind: folder`."
            yield Reject(locator, reason, "reject" if size else "empty")
            return
        if not dates:
            yield Reject(locator, TIE)
            return
        name = chat_name(locator)
        chat = Chat(f"{locator}#", name, name)
        pauses, left, zone = Pauses(chat, self.pause_hours, limit), LeftOut(locator), ZoneInfo(self.time_zone)
        for number, stamp, text in _messages(self._lines(file, start, size), limit):
            place = f"{locator}#{number}"
            if stamp is None:
                yield Reject(place, f"Line {number} stands before the first message; leave it out.")
                continue
            try:
                message = _message(text, number, place, left)
            except Unusable as error:
                yield Reject(place, str(error), error.severity)
                continue
            if message is None:
                continue
            speaker, words = message
            time = moment(stamp, dates, zone)
            if time is None:
                yield Reject(
                    place, f"The date of line {number} is none with `dates: {dates}`; its message has no time.", "note"
                )
            yield from pauses.add(Message(str(number), words, speaker, time, place))
        yield from pauses.close()
        yield from left.told()

    def _lines(self, file: BinaryIO, start: int, size: int) -> Iterator[tuple[int, str]]:
        """(number, line) of what the file held at first, without ends; of a longer line the beginning."""
        file.seek(start)
        left, number = size - start, 0
        while left > 0 and (data := file.readline(min(left, self.max_line_bytes))):
            number += 1
            rest = data
            left -= len(data)
            while left > 0 and rest and not rest.endswith(b"\n"):
                rest = file.readline(min(left, 1 << 16))
                left -= len(rest)
            yield (
                number,
                data.decode("utf-8", "surrogateescape").rstrip("\r\n").removeprefix("\ufeff" if number == 1 else ""),
            )


def chat_name(locator: str) -> str:
    """The chat that a file is: what its name says behind "WhatsApp Chat with", or its folder for `_chat.txt`."""
    folder, base = os.path.split(locator)
    stem = os.path.splitext(base)[0]
    if _CHAT.fullmatch(stem):
        above, name = os.path.split(folder)
        return os.path.join(above, _NAMES.sub("", name, count=1)) or stem
    return os.path.join(folder, _NAMES.sub("", stem, count=1).strip() or stem)


def _messages(lines: Iterator[tuple[int, str]], limit: int) -> Iterator[tuple[int, Stamp | None, str]]:
    """(number of the first line, stamp, text) of each message; more than ``limit`` characters are cut off."""
    number, stamp, text, size = 0, None, list[str](), 0
    for here, line in lines:
        following = read_stamp(line)
        if following is not None:
            if text:
                yield number, stamp, "\n".join(text)
            number, stamp, text, size = here, following, [line[following.end :]], 0
        elif text:
            size += len(line) + 1
            if size <= limit:
                text.append(line)
        elif line.strip(MARKS + " \t"):
            number, stamp, text, size = here, None, [line], 0
    if text:
        yield number, stamp, "\n".join(text)


def _message(text: str, number: int, place: str, left: LeftOut) -> tuple[str, str] | None:
    """Speaker and text; None for what is left out and counted. Raises `Unusable`."""
    match = _SPEAKER.match(text)
    if match is None:
        left.add("without a speaker, of WhatsApp itself", place)
        return None
    words = text[match.end() :]
    if _MEDIA.fullmatch(words.strip()) or not words.translate(_CLEAN).strip():
        left.add("in place of media or of what was deleted", place)
        return None
    words = _EDITED.sub("", words) if ">" in words[-80:] else words
    rest = _ATTACHED.sub("", words, count=1)
    if rest != words and not rest.translate(_CLEAN).strip():
        left.add("in place of media or of what was deleted", place)
        return None
    return usable_name(match[1].translate(_CLEAN)), usable_text(rest.translate(_CLEAN), f"the message in line {number}")
