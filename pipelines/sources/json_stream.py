"""JSON that is longer than memory: the elements of a long array, one at a time, and on past those that are damaged.

Exports of chats are one JSON file of any size, whose bulk is an array of conversations or of messages. Its elements are
decoded from a buffer that holds one of them and a block of the file, so memory is bounded by the longest element.

What cannot be decoded costs its element alone: the next one is the next object that decodes, is what the reader
expects, and is followed by what follows an element. Bytes that are not UTF-8 are kept as lone surrogates, so that a
reader rejects the message that they are in. Whole numbers of more than 30 digits stay text.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from pipelines.sources.contracts import Document, Reject
from pipelines.sources.json_values import CONVERT, MARK, UTF_16, Unusable
from pipelines.sources.text import open_failed, size_of

BLOCK = 1 << 20
"""Bytes that are read at once."""

HEADER = 1 << 16
"""Characters before an array that say what it belongs to."""

_WORK = 1 << 27
"""Characters that are decoded in vain behind damage, beside eight times the file; then the rest is given up."""

_TAIL = 16
"""Characters of the longest word of JSON, with room: an error so near to the buffer's end may be due to the end."""

_DEEP = 25_000
"""Work that is counted for a value that is nested too deeply."""

_ATTEMPT = 1_000
"""Work that is counted for every try."""

_WINDOW = 4_096
_COUNTED = 8
"""An error at character n of a text costs as much as decoding n / 8."""

_DIGITS = 30
_WEIGHTS = {"{": 240, "[": 96, ",": 64}
"""What values take in memory, by the marks that come with them."""

_MOST_OBJECT_BYTES = 400_000_000
_OBJECT = re.compile(r'\{\s*"')
_SPACE = re.compile(r"[ \t\r\n]*")

Like = Callable[[Any], bool]
"""Whether a value is an element of the kind that a reader expects."""


@dataclass(frozen=True)
class Damage:
    """What could not be decoded: an element, or what follows it. ``number`` counts elements from 1, ``text`` is it."""

    number: int
    reason: str
    text: str = ""


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) <= _DIGITS else digits


DECODER = json.JSONDecoder(strict=False, parse_int=_whole)


class JsonStream:
    """The open file of one JSON value, whose elements have at most ``limit`` characters each; ``setting`` raises it.

    Reads what the file holds when it is opened. Raises `OSError`, and `Unusable` for UTF-16.
    """

    def __init__(self, file: BinaryIO, limit: int, setting: str = "max_json_bytes") -> None:
        self._file = file
        self._left = size_of(file)
        self._limit = limit
        self._setting = setting
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text = ""
        self._place = 0
        self._marks: dict[str, int] = {}  # places: what stands from the first of them on is not forgotten
        self._work = 0
        self._read = 0
        self._entered = False
        head = file.read(min(len(MARK), self._left))
        self._left -= len(head)
        if head.startswith(UTF_16):
            raise Unusable(CONVERT)
        self._text = self._decoder.decode(head.removeprefix(MARK))

    def peek(self) -> str:
        """The next character that is no white space; "" at the end."""
        while True:
            match = _SPACE.match(self._text, self._place)
            self._place = match.end() if match else self._place
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._fill():
                return ""

    def value(self) -> Any:
        """The next value. Raises `Unusable`."""
        self.peek()
        return self._element()

    def enter(self) -> None:
        """Go behind the bracket that is next, if one is."""
        if self.peek() == "[":
            self._place += 1
            self._entered = True

    def seek(self, key: str, first: str = "") -> str | None:
        """Go to the elements of the next array that stands under ``key``, wherever it is.

        ``first`` is a pattern of how an element begins, by which an array is found whose key is damaged.

        Returns the text between, of which the last 65,536 characters are kept; None where no such array follows. A
        quote in a string is escaped, so a bare one is that of a key.
        """
        pattern = re.compile(f"{_array_of(key).pattern}|(?={first})") if first else _array_of(key)
        self._entered = True
        self._marks["header"] = self._place
        try:
            while (match := pattern.search(self._text, self._place)) is None:
                self._marks["header"] = max(self._marks["header"], len(self._text) - HEADER)
                self._place = max(self._place, len(self._text) - len(key) - 256)
                if not self._fill():
                    return None
            self._place = match.end()
            return self._text[max(self._marks["header"], match.start() - HEADER) : match.start()]
        finally:
            del self._marks["header"]

    def elements(self, like: Like, end: str = "", keep: bool = False) -> Iterator[tuple[int, Any] | Damage]:
        """(number, value) of each element of the array whose "[" was just read, or of the values that stand here.

        After damage the next element is one that is ``like`` those expected. ``end`` is a key whose array, where damage
        leads to it, is not part of this one. With ``keep`` a damage comes with its text, up to the limit.
        """
        number = 0
        while True:
            mark = self.peek()
            if mark == "]":
                self._place += 1
                if self.peek() != "{":
                    return
                yield Damage(number, "The list of elements ends here, and goes on behind; correct the bracket.")
                continue
            if mark == "":
                if not self._entered:
                    return
                yield Damage(number + 1, "The file ends inside of its list, so it seems cut off; copy it again.")
                return
            if mark == ",":
                self._place += 1
                continue
            number += 1
            self._marks["damage"] = self._place
            try:
                value = self._element()
            except Unusable as error:
                there, text = self._recover(like, end, keep)
                yield Damage(number, str(error), text)
                if not there:
                    return
                continue
            del self._marks["damage"]
            yield number, value
            if self.peek() not in (",", "]", "{", ""):
                self._marks["damage"] = self._place
                there, text = self._recover(like, end, keep)
                yield Damage(number, "What follows is no comma and no end of the list; correct it.", text)
                if not there:
                    return

    def _fill(self) -> bool:
        """Read on, and forget what stands before the anchor or the place. Whether there was more."""
        if self._left <= 0:
            return False
        first = min((self._place, *self._marks.values()))
        data = self._file.read(min(self._left, max(BLOCK, len(self._text) - first)))
        self._left = self._left - len(data) if data else 0
        self._read += len(data)
        self._text = self._text[first:] + self._decoder.decode(data, self._left <= 0)
        self._place -= first
        self._marks = {name: place - first for name, place in self._marks.items()}
        return bool(data)

    def _element(self) -> Any:
        """The value at the place, which is behind it then, or stays. Raises `Unusable`."""
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._place)
            except RecursionError as error:
                self._work += _DEEP
                raise Unusable("It is nested too deeply; flatten it.") from error
            except json.JSONDecodeError as error:
                self._work += max(0, error.pos - self._place) + error.pos // _COUNTED
                near = error.pos >= len(self._text) - _TAIL or error.msg.startswith("Unterminated string")
                if near and self._may_grow() and self._fill():
                    continue
                cut = "The file seems cut off, since it ends inside; copy it again." if near else "Correct it."
                raise Unusable(f"It is not JSON ({error.msg}). {cut}") from error
            # A number may go on behind the text that was read: 0 is the beginning of 0.5, and 1.5 that of 1.5e-3.
            open_ended = len(self._text) - end <= 2 and not self._text[end:].strip(".eE+-")
            if open_ended and self._text[end - 1] not in '}]"' and self._may_grow() and self._fill():
                continue
            self._place = end
            return value

    def _may_grow(self) -> bool:
        length = len(self._text) - self._place
        if self._left <= 0:
            return False
        if length > self._limit:
            raise Unusable(
                f"It is longer than an element may be ({self._limit:,} characters); raise `{self._setting}`."
            )
        if length > 4 * BLOCK:
            weight = sum(self._text.count(mark, self._place) * size for mark, size in _WEIGHTS.items())
            if weight > _MOST_OBJECT_BYTES:
                raise Unusable("It holds more values than are read at once; split it.")
        return True

    def _recover(self, like: Like, end: str, keep: bool) -> tuple[bool, str]:
        """Go to the next element behind the damage. Whether there is one, and the text that was passed."""
        pattern = re.compile(f"{_OBJECT.pattern}|{_array_of(end).pattern}") if end else _OBJECT
        self._place = self._marks["damage"] + 1
        there = False
        while not there and self._work < _WORK + 8 * self._read:
            if not keep or len(self._text) - self._marks.get("damage", self._place) > self._limit + 4 * BLOCK:
                self._marks.pop("damage", None)
            match = pattern.search(self._text, self._place)
            if match is None:
                self._place = max(self._place, len(self._text) - 256)
                if self._fill():
                    continue
                self._place = len(self._text)
                break
            self._place = match.start()
            self._work += _ATTEMPT
            if self._text[self._place] != "{":
                break
            if vain := _hopeless(self._text, self._place):
                self._work += vain
            else:
                there = self._begins_one(like)
            self._place += not there
        start = self._marks.pop("damage", self._place)
        return there, self._text[start : self._place]

    def _begins_one(self, like: Like) -> bool:
        """Whether an element that is ``like`` the expected ones begins at the place, which stays."""
        self._marks["candidate"] = self._place
        try:
            value = self._element()
            self._work += self._place - self._marks["candidate"]
            return like(value) and self.peek() in (",", "]", "{", "")
        except Unusable:
            return False
        finally:
            self._place = self._marks.pop("candidate")


def streamed(
    file: BinaryIO, locator: str, limit: int, read: Callable[[JsonStream], Iterator[Document | Reject]]
) -> Iterator[Document | Reject]:
    """What ``read`` makes of an open JSON file, which is closed; a `Reject` where it cannot be read."""
    with file:
        try:
            stream = JsonStream(file, limit)
            if stream.peek():
                yield from read(stream)
            else:
                yield Reject(locator, "The file holds nothing.", "empty")
        except OSError as error:
            yield Reject(locator, open_failed(error))
        except Unusable as error:
            yield Reject(locator, str(error), error.severity)


def last_object(text: str, key: str) -> dict[str, Any]:
    """The object with ``key`` that is open at the end of ``text``, behind a comma: the owner of an array."""
    whole = text.rstrip().removesuffix(",") + "}"
    begin = len(whole)
    for _ in range(64):  # a string may hold braces, an object others
        begin = whole.rfind("{", 0, begin)
        if begin < 0:
            break
        try:
            value, end = DECODER.raw_decode(whole, begin)
        except (json.JSONDecodeError, RecursionError):
            continue
        if end == len(whole) and isinstance(value, dict) and key in value:
            return value
    return {}


def objects(text: str, like: Like) -> Iterator[Any]:
    """The objects of damaged JSON text that decode and are ``like`` those wanted, wherever they stand, none twice."""
    place = work = 0
    while work < _WORK and (match := _OBJECT.search(text, place)):
        place = match.start() + 1
        work += _ATTEMPT
        if vain := _hopeless(text, match.start()):
            work += vain
            continue
        try:
            value, end = DECODER.raw_decode(text, match.start())
        except RecursionError:
            work += _DEEP
            continue
        except json.JSONDecodeError as error:
            work += max(0, error.pos - match.start()) + error.pos // _COUNTED
            continue
        work += end - match.start()
        if like(value):
            place = end
            yield value


def _hopeless(text: str, place: int) -> int:
    """How many characters were decoded in vain, where the first ones show that no value begins here; else 0.

    An error in a long text takes long to make, since it counts the lines before it.
    """
    window = text[place : place + _WINDOW]
    try:
        DECODER.raw_decode(window)
    except RecursionError:
        return _DEEP
    except json.JSONDecodeError as error:
        near = error.pos >= len(window) - _TAIL or error.msg.startswith("Unterminated string")
        return 0 if near else error.pos + 1
    return 0


def _array_of(key: str) -> re.Pattern[str]:
    return re.compile(r'(?<!\\)"' + re.escape(key) + r'"\s*:\s*\[')
