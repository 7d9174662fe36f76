"""The rows of a call as a search ranks them before a build has cut them: turns, pieces of a text, and the whole.

A build makes one document of a call, and cuts it into sentences and events. Until then a turn is a row of its own, and
a text is cut into pieces of about `PIECE` words, at the end of a line or a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from mnemic.inbox.waiting import WaitingCall
from mnemic.words import count_words

PIECE = 100
"""Words of a piece: a text encoder reads no more than some 200 at once."""
_LONGEST = 1_000
"""Characters of a piece without a place to cut at."""

_END = re.compile(r"(?<=[.!?。！？])\s+|\n+")


@dataclass(frozen=True)
class WaitingPiece:
    """A row of a level: its place in the document that the call becomes, and who said it when.

    ``id`` is that of the row; a later piece of the same row has another one, and the whole of a call the call's.
    ``spoken`` are (first character of a part of ``text``, when it was said).
    """

    id: str
    level: str
    start: int
    text: str
    words: int
    speakers: tuple[str, ...]
    turns: tuple[str, ...]
    spoken: tuple[tuple[int, datetime], ...]
    leaf: bool

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def lines_of(call: WaitingCall) -> list[str]:
    """The texts of the rows as they stand in the document: a turn has its speaker before it, a line break after it."""
    named = call.turns
    return [f"{row.speaker}: {row.text}" if named and row.speaker else row.text for row in call.rows]


def smallest(call: WaitingCall) -> list[WaitingPiece]:
    """Turns of a conversation, pieces of a text; a text of one piece is an event, as in a bank."""
    lines = lines_of(call)
    if not call.turns:
        parts = list(cut(lines[0]))
        row = call.rows[0]
        level = "passage" if len(parts) > 1 else "event"
        return [
            WaitingPiece(
                row.id if not number else piece_id(row.id, start),
                level,
                start,
                text,
                count_words(text),
                (),
                (),
                ((0, row.time),),
                True,
            )
            for number, (start, text) in enumerate(parts)
        ]
    pieces, start = [], 0
    for row, line in zip(call.rows, lines, strict=True):
        speakers = (row.speaker,) if row.speaker else ()
        spoken = ((0, row.time),)
        pieces.append(WaitingPiece(row.id, "turn", start, line, count_words(line), speakers, (row.id,), spoken, True))
        start += len(line) + 1
    return pieces


def whole(call: WaitingCall, pieces: list[WaitingPiece], level: str) -> WaitingPiece:
    """The call as one row of ``level``, event or session."""
    text = "\n".join(lines_of(call))
    speakers = tuple(dict.fromkeys(name for piece in pieces for name in piece.speakers))
    turns = tuple(one for piece in pieces for one in piece.turns)
    spoken = tuple((piece.start, piece.spoken[0][1]) for piece in pieces) if call.turns else pieces[0].spoken
    alone = level == "event" and len(pieces) == 1 and not call.turns
    return WaitingPiece(call.id, level, 0, text, count_words(text), speakers, turns, spoken, alone)


def piece_id(row: str, start: int) -> str:
    """The id of a later piece of a row: the row's, and the character where it begins."""
    return f"{row}{start:08x}"


def cut(text: str) -> Iterator[tuple[int, str]]:
    """(first character, text) of pieces of about `PIECE` words, cut where a sentence or a line ends."""
    start = end = words = 0
    for first, last in _sentences(text):
        size = count_words(text[first:last])
        if words and words + size > PIECE:
            yield start, text[start:end]
            start, words = first, 0
        end, words = last, words + size
    if words:
        yield start, text[start:end]


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    """Character ranges of sentences, none of them longer than a piece may be, without the spaces between them."""
    first = 0
    for match in [*_END.finditer(text), None]:
        last = match.start() if match else len(text)
        while last - first > _LONGEST:
            space = text.rfind(" ", first + 1, first + _LONGEST)
            stop = space if space > 0 else first + _LONGEST
            yield first, stop
            first = stop + (space > 0)
        if last > first:
            yield first, last
        first = match.end() if match else last
