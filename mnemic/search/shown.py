"""Results for a person: best first and numbered, where a text is from, the text, and scores on request."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mnemic.quoting import one_of
from mnemic.search.note_hits import NoteHit
from mnemic.search.results import Hit
from mnemic.terminal import one_line, plain
from mnemic.view import View

_SIGNALS = {
    "similarity": "cosine",
    "bm25": "bm25",
    "event_bm25": "event",
    "document_bm25": "document",
    "part_similarity": "part",
    "title_bm25": "title",
}
_COSINES = ("similarity", "part_similarity")
_WIDTH = 112
BOLD, DIM, YELLOW, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[33m", "\x1b[0m"


@dataclass(frozen=True)
class Style:
    """``colour``: bold places and coloured words. ``explain``: scores, ranks and ids. ``dated``: texts with their days.

    ``words``: roots of the question's words (`roots`), which are coloured.
    """

    colour: bool = False
    explain: bool = False
    dated: bool = False
    words: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Surroundings:
    """What stands beside hits: titles by document, and texts before and after by the hit's id."""

    titles: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, Sequence[str]] = field(default_factory=dict)
    after: Mapping[str, Sequence[str]] = field(default_factory=dict)


def best_first(hits: Sequence[Hit]) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))


def surroundings(view: View, hits: Sequence[Hit], around: int = 0) -> Surroundings:
    """Titles of the hits' documents where the bank has them, and ``around`` rows before and after each hit."""
    titles: dict[str, str] = {}
    ids = sorted({hit.document for hit in hits})
    if ids and "title" in view.dataset("documents").schema.names:
        rows = view.table("documents", ["id", "title"], one_of("id", ids)).to_pylist()
        titles = {row["id"]: row["title"] for row in rows if row["title"]}
    if not around or not hits:
        return Surroundings(titles)
    return Surroundings(titles, _beside(view, hits, "previous", around), _beside(view, hits, "next", around))


def _beside(view: View, hits: Sequence[Hit], column: str, around: int) -> dict[str, list[str]]:
    """Up to ``around`` texts on one side of each hit, in reading order."""
    at = {hit.id: hit.id for hit in hits}
    texts: dict[str, list[str]] = {hit.id: [] for hit in hits}
    for step in range(around + 1):
        columns = ["id", column, "text"] if step else ["id", column]
        rows = view.table("events", columns, one_of("id", sorted(set(at.values())))).to_pylist()
        by_id = {row["id"]: row for row in rows}
        at = {hit: identity for hit, identity in at.items() if identity in by_id}
        if step:
            for hit, identity in at.items():
                texts[hit].append(by_id[identity]["text"])
        at = {hit: by_id[identity][column] for hit, identity in at.items() if by_id[identity][column]}
        if not at:
            break
    return {hit: beside[::-1] if column == "previous" else beside for hit, beside in texts.items()}


def shown(number: int, hit: Hit, style: Style, beside: Surroundings, width: int = _WIDTH) -> str:
    """A hit as lines: its number and place, its text, and with ``style.explain`` scores and id."""
    indent = " " * 4
    lines = [f"{f'{number}.':<4}{_coloured(_place(hit, beside), BOLD, style)}"]
    named = hit.document in beside.titles  # in the first line
    stated = {name: value for name, value in hit.metadata.items() if not (named and name == "title")}
    lines += [f"{indent}{one_line(f'{name}: {_listed(value)}', 200)}" for name, value in stated.items()]
    lines += [_coloured(_wrapped(text, width, "  | "), DIM, style) for text in beside.before.get(hit.id, ())]
    text = _wrapped(hit.dated if style.dated else hit.text, width)
    if style.colour:
        text = re.sub(r"\w+", lambda word: _highlighted(word[0], style.words), text)
    lines.append(text)
    lines += [_coloured(_wrapped(text, width, "  | "), DIM, style) for text in beside.after.get(hit.id, ())]
    if style.explain:
        lines.append(_coloured(f"{indent}{one_line(_scores(hit), 400)}", DIM, style))
    return "\n".join(lines) + "\n"


def shown_note(number: int, hit: NoteHit, style: Style, width: int = _WIDTH) -> str:
    """A note as lines: its number, its writer and time, its text, and with ``style.explain`` its ranks and id."""
    note = hit.note
    place = f"note by {one_line(note.writer, 60)}{f'  {note.said_at:%Y-%m-%d %H:%M}' if note.said_at else ''}"
    lines = [f"{f'{number}.':<4}{_coloured(place, BOLD, style)}", _wrapped(hit.dated, width)]
    if style.explain:
        scores = f"[{hit.reason}; fused {hit.score:.4f}]  note {note.id[:12]}"
        lines.append(_coloured(f"    {one_line(scores, 400)}", DIM, style))
    return "\n".join(lines) + "\n"


def _place(hit: Hit, beside: Surroundings) -> str:
    """Title or file, source, speaker and time, on one line."""
    title = beside.titles.get(hit.document, "")
    parts = [
        one_line(title, 100),
        one_line(hit.locator, 200),
        one_line(hit.source, 60),
        one_line(", ".join(hit.speakers), 80),
        f"{hit.time:%Y-%m-%d %H:%M}" if hit.time else "",
        "remembered, not yet consolidated" if hit.pending else "",
    ]
    return "  ".join(filter(None, parts))


def _scores(hit: Hit) -> str:
    scores = [
        f"{name} {value:.3f}" if signal in _COSINES else f"{name} {value:.2f}"
        for signal, name in _SIGNALS.items()
        if (value := getattr(hit, signal)) is not None
    ]
    return f"[{', '.join([f'{hit.reason}; fused {hit.score:.4f}', *scores])}]  {hit.level} {hit.id[:12]}"


def _wrapped(text: str, width: int, margin: str = "    ") -> str:
    lines = [textwrap.fill(line, width) for line in plain(text).splitlines() if line.strip()]
    return textwrap.indent("\n".join(lines), margin)


def _listed(value: object) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _coloured(text: str, code: str, style: Style) -> str:
    return f"{code}{text}{PLAIN}" if style.colour and text else text


def roots(question: str) -> frozenset[str]:
    """The words of a question as they are coloured in texts: those of three letters and more."""
    return frozenset(_root(word) for word in re.findall(r"\w+", question.lower()) if len(word) > 2)


def _highlighted(word: str, words: frozenset[str]) -> str:
    return f"{YELLOW}{word}{PLAIN}" if _root(word.lower()) in words else word


def _root(word: str) -> str:
    """The word without an English ending, as the full-text index, which compares stems, may have found it."""
    return re.sub(r"(?<=\w{3})(ings?|ed|e?s|ly|e)$", "", word)
