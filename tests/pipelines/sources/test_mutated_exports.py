"""Exports with damage anywhere: nothing is raised, nothing hangs, and only messages that damage touches are lost."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from chat_exports import FORMATS, read_all, word, words_of

from pipelines.sources.contracts import Document, Reject

HOSTILE = (
    *(
        b"",
        b"\0",
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b"\\",
        b",",
        b"\n",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\\ud800",
        b"'",
        b"<",
    ),
    *(
        b"9" * 5_000,
        b"[" * 3_000,
        b'{"a":' * 1_500,
        b"null",
        b"true",
        b"-1e999",
        b"From ",
        b": ",
        b"\r",
        b"\xe2\x80\x8e",
    ),
    *(b"0001-01-01T00:00:00Z", b"99999-12-31", b"NaN", b"=?utf-8?q?=ff?=", b"A" * 20_000),
)


def mutate(data: bytes, draw: random.Random) -> tuple[bytes, int, int]:
    """The data with a few bytes flipped, deleted, put in between or all cut; and the first and last place of it."""
    place = draw.randrange(len(data))
    kind = draw.randrange(5)
    if kind == 0:
        return data[:place] + bytes([draw.randrange(256)]) + data[place + 1 :], place, place + 1
    if kind == 1:
        end = min(len(data), place + draw.randrange(1, 12))
        return data[:place] + data[end:], place, end
    if kind == 2:
        return data[:place] + draw.choice(HOSTILE) + data[place:], place, place
    if kind == 3:
        end = min(len(data), place + draw.randrange(1, 12))
        return data[:place] + draw.choice(HOSTILE) + data[end:], place, end
    return data[:place], place, len(data)


def touched(form: str, data: bytes, first: int, last: int) -> set[str]:
    """Words whose messages stand where the damage is: between the word before it and the word behind it."""
    if form in ("eml", "maildir"):
        return {word(3)}  # the file is that letter
    places = [(number, data.index(word(number).encode())) for number in range(8) if word(number).encode() in data]
    before = [number for number, place in sorted(places, key=lambda entry: entry[1]) if place <= first][-1:]
    behind = [number for number, place in sorted(places, key=lambda entry: entry[1]) if place > first]
    inside = [number for number, place in places if first <= place < last]
    return {word(number) for number in (*before, *behind[:1], *inside)}


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_not_damaged_is_read(form: str, tmp_path: Path) -> None:
    kind, write = FORMATS[form]
    damaged = write(tmp_path)
    source = kind(path=".", root=str(tmp_path))
    data = damaged.read_bytes()
    everything = {word(number) for number in range(8)}
    assert words_of(read_all(source)) == everything
    for seed in range(200):
        draw = random.Random(f"{form} {seed}")
        mutated, first, last = mutate(data, draw)
        damaged.write_bytes(mutated)
        started = time.monotonic()
        entries = read_all(source)
        assert time.monotonic() - started < 10, seed
        lost = everything - words_of(entries) - touched(form, data, first, last)
        reports = [entry for entry in entries if isinstance(entry, Reject)]
        assert not lost, (seed, lost, mutated[max(0, first - 60) : first + 60], reports)
        for entry in entries:
            assert entry.locator.encode()
            if isinstance(entry, Reject):
                assert entry.reason.encode() and entry.reason.endswith(".") and str(tmp_path) not in entry.reason, seed
            else:
                check(entry)


def check(document: Document) -> None:
    document.text.encode()
    assert "\0" not in document.text
    assert document.text and len({turn.id for turn in document.turns}) == len(document.turns)
    end = -1
    for turn in document.turns:
        assert turn.start == end + 1 and turn.end > turn.start
        assert turn.time is None or turn.time.utcoffset() is not None
        end = turn.end
        (turn.id + turn.speaker).encode()
    assert end == len(document.text)
    (document.tenant + document.session + document.collection + document.speaker).encode()
