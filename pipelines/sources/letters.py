"""A letter: from the bytes of RFC 5322 and MIME to who wrote it, when, to what, and its text.

The standard library parses it. What the parser would take long for is cut before: headers that state more than anybody
means (an encoded subject of a megabyte, ten thousand parameters). Charsets are read as people use their names.
"""

from __future__ import annotations

import codecs
import email.header
import email.message
import email.utils
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy

from pipelines.sources.html_text import html_text
from pipelines.sources.json_values import Unusable
from pipelines.sources.transcript import usable_name

MOST_HEADERS = 1 << 18
"""Bytes of the headers of a letter."""

_FIELD = re.compile(rb"(?im)^(message-id|references|in-reply-to|date):([^\n]*(?:\n[ \t][^\n]*)*)")
_ID = re.compile(rb"<([^<>\s]{1,500})>")
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")
_PARSED_FIELD = re.compile(rb"(?im)^(?:content-[a-z-]{1,40}|subject|from|sender|date):[^\n]*(?:\n[ \t][^\n]*)*")
_LONGEST_FIELD = 4_000
"""Bytes of a header that is parsed."""

_REPLY = re.compile(
    r"(?:\s*(?:re|aw|fwd?|wg|sv|vs|antw|odp|tr|rif|res|ref|回复|答复|转发)\s*(?:\[\d+\])?\s*[:：])+\s*", re.IGNORECASE
)
_SUPERSETS = {"ascii": "utf-8", "iso8859-1": "cp1252", "gb2312": "gb18030", "gbk": "gb18030", "euc_kr": "cp949"}
_REFUSED = frozenset(("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "utf-7"))
"""Codecs that are no charsets, or take long."""

_MOST_REFERENCES = 100
_MOST_PARTS = 1_000
_BOUNDARY = re.compile(rb"(?i)boundary")
_MOST_COMPARED = 50_000_000
"""Lines times boundaries, up to which a letter is parsed: the parser compares each line with every open boundary."""


@dataclass(frozen=True)
class Head:
    """What of a letter's headers makes threads: its id, the ids of letters that it answers, its time."""

    id: str
    references: tuple[str, ...]
    time: datetime | None


@dataclass(frozen=True)
class Letter:
    """What a letter says. ``attachments`` counts the parts that are not its text."""

    head: Head
    speaker: str
    subject: str
    text: str
    attachments: int


def headers_of(data: bytes) -> bytes:
    """The headers at the beginning of ``data``."""
    match = _END_OF_HEADERS.search(data)
    return data[: match.start()] if match else data


def read_head(headers: bytes) -> Head:
    """The head of a letter from its headers; what is missing or cannot be read is "" or None."""
    own, date, references = "", None, list[str]()
    for match in _FIELD.finditer(headers):
        name = match[1].lower()
        if name == b"date":
            date = date or read_date(match[2][:200].decode("latin-1"))
        elif name == b"message-id":
            own = own or _first_id(match[2])
        else:
            references += [_text_of(part[1]) for part in _ID.finditer(match[2][:MOST_HEADERS])]
    if len(references) > _MOST_REFERENCES:
        references = references[: _MOST_REFERENCES // 2] + references[-_MOST_REFERENCES // 2 :]
    return Head(own, tuple(dict.fromkeys(references)), date)


def _first_id(value: bytes) -> str:
    match = _ID.search(value)
    return _text_of(match[1]) if match else _text_of(value.strip()[:500])


def _text_of(value: bytes) -> str:
    return value.decode("ascii", "replace").replace("\0", "\ufffd")


def read_date(value: str) -> datetime | None:
    """A time in UTC from a header `Date`; None where it states none."""
    try:
        time = email.utils.parsedate_to_datetime(" ".join(value.split()))
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except Exception:  # of any kind, by what the library meets
        return None


def read_letter(data: bytes) -> Letter:
    """The letter in ``data``, which may end before it does. Raises `Unusable`."""
    data = _PARSED_FIELD.sub(lambda match: match[0][:_LONGEST_FIELD], data)
    if data.count(b"\n") * len(_BOUNDARY.findall(data)) > _MOST_COMPARED:
        raise Unusable("The letter has too many parts and lines; leave it out.")
    head = read_head(headers_of(data)[:MOST_HEADERS])
    try:
        message = message_from_bytes(data, policy=policy.compat32)
        text, attachments = _body(message)
        name, address = email.utils.parseaddr(_header(message, "From") or _header(message, "Sender"))
        return Letter(
            head, usable_name(name) or usable_name(address), usable_name(_header(message, "Subject")), text, attachments
        )
    except RecursionError as error:
        raise Unusable("The parts of the letter are nested too deeply; leave it out.") from error
    except Unusable:
        raise
    except Exception as error:  # of any kind: the library was not written for every damage
        raise Unusable(f"The letter cannot be parsed ({type(error).__name__}); correct it.") from error


def bare_subject(subject: str) -> str:
    """A subject without "Re:" and its like in other languages."""
    return _REPLY.sub("", subject, count=1).strip() if _REPLY.match(subject) else subject.strip()


def _header(message: email.message.Message, name: str) -> str:
    value = str(message.get(name, ""))[:4_000]
    try:
        parts = email.header.decode_header(value)
    except Exception:  # broken encoded words stay as they are
        parts = [(value, None)]
    texts = [part if isinstance(part, str) else decode(part, charset or "utf-8") for part, charset in parts]
    text = "".join(texts)
    try:
        return text.encode("ascii", "surrogateescape").decode("utf-8", "replace") if not text.isascii() else text
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")


def decode(data: bytes, charset: str) -> str:
    """Text of bytes in a charset as people name it: bytes that do not fit are read as UTF-8, else as Windows does."""
    try:
        name = codecs.lookup(charset.strip("'\" ")[:40]).name
    except (LookupError, ValueError):
        name = "utf-8"
    if name in _REFUSED:
        name = "utf-8"
    name = _SUPERSETS.get(name, name)
    for candidate in (name, "utf-8"):
        try:
            return data.decode(candidate)
        except (UnicodeDecodeError, LookupError, ValueError):
            continue
    return data.decode("cp1252" if name == "utf-8" else name if _is_text(name) else "cp1252", "replace")


def _is_text(name: str) -> bool:
    try:
        return isinstance(b"".decode(name), str)
    except (LookupError, UnicodeError):
        return False


def _body(message: email.message.Message) -> tuple[str, int]:
    """The text of a letter, and how many parts are not part of it."""
    texts, attachments = [], 0
    for number, (part, kind) in enumerate(_texts(message)):
        if number > _MOST_PARTS or kind is None:
            attachments += 1
        else:
            payload = part.get_payload(decode=True)
            text = decode(payload, _charset(part)) if isinstance(payload, bytes) else ""
            text = text.replace("\r\n", "\n").replace("\r", "\n")
            if kind == "html":
                text = html_text(text)
            elif str(part.get_param("format", "")).lower() == "flowed":
                text = unflow(text)
            texts.append(text.strip())
    return "\n\n".join(filter(None, texts)), attachments


def _charset(part: email.message.Message) -> str:
    try:
        return part.get_content_charset() or "utf-8"
    except (LookupError, ValueError):
        return "utf-8"


def _texts(message: email.message.Message) -> Iterator[tuple[email.message.Message, str | None]]:
    """Leaves that are text with their kind, `plain` or `html`, of alternatives the plain one; others with None."""
    kind, payload = message.get_content_type(), message.get_payload()
    if message.get_content_disposition() == "attachment" or kind.startswith("message/"):
        yield message, None
    elif isinstance(payload, list):
        parts = [part for part in payload if isinstance(part, email.message.Message)]
        if kind == "multipart/alternative":
            choices = [list(_texts(part)) for part in parts]
            spoken = [choice for choice in choices if any(form and _is_said(part) for part, form in choice)]
            plain = [choice for choice in spoken if any(form == "plain" for _, form in choice)]
            yield from (plain or spoken or [[]])[0]
        else:
            for part in parts:
                yield from _texts(part)
    elif kind in ("text/plain", "text/html"):
        yield message, kind.removeprefix("text/")
    else:
        yield message, None


def _is_said(part: email.message.Message) -> bool:
    payload = part.get_payload()
    return isinstance(payload, str) and bool(payload.strip())


def unflow(text: str) -> str:
    """Text of `format=flowed` (RFC 3676): a line that ends in a space goes on in the next of equal depth."""
    lines: list[list[str]] = []  # pieces, since a paragraph may have a million
    depths: list[int] = []
    for line in text.split("\n"):
        words = line.lstrip(">")
        depth = len(line) - len(words)
        words = words.removeprefix(" ")
        if lines and depths[-1] == depth and lines[-1][-1].endswith(" ") and "-- " not in (words, *lines[-1][:1]):
            lines[-1] += [words] if words else []
        else:
            lines.append([words])
            depths.append(depth)
    whole = map("".join, lines)
    return "\n".join(f"{'>' * depth} {line}" if depth else line for depth, line in zip(depths, whole, strict=True))
