"""Documents to sentences, by rules: the units that are embedded and grouped into events.

A unit ends at a blank line, before a heading, list item, field or prompt line, and after a heading. It also ends where
``.``, ``!`` or ``?`` is followed by space and a capital or an opening quote, unless the word before is an abbreviation
or initial, and at the marks of scripts that have others, such as the danda of Hindi and the full-width stop of Chinese.
Rules replace a learned splitter (Punkt: Kiss and Strunk 2006). They need no data, they read documentation
(lists, prompts, tables) as well as prose, and one regular expression passes over 10 million characters a second. Units
tile the document: they are in order, do not overlap, and leave out nothing but whitespace, so that any range of units
is a range of characters. A conversation is divided where its turns are.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from mnemic.catalogue import CATALOGUE
from mnemic.errors import RecipeError
from mnemic.kept import KEPT
from mnemic.schema import UNITS
from operators.contracts import REJECTED, BatchFunction, Resources
from operators.sections import Derive, Section

_MARKS = (
    "\u0964\u0965"  # danda and double danda, of Hindi, Bengali and most scripts of India
    "\u061d-\u061f"  # Arabic
    "\u0589"  # Armenian
    "\u0700-\u0702"  # Syriac
    "\u07f9\u0837\u0839\u083d\u083e"  # N'Ko, Samaritan
    "\u0df4"  # Sinhala
    "\u0f0d-\u0f12\u0f14"  # Tibetan
    "\u104b"  # Burmese
    "\u1362\u1367\u1368"  # Ethiopic, of Amharic and Tigrinya
    "\u166e\u1735\u1736"  # Canadian syllabics, Philippine scripts
    "\u17d4\u17d5"  # Khmer
    "\u1803\u1809\u1944\u1945"  # Mongolian, Limbu
    "\u1aa8-\u1aab\u1b5a\u1b5b\u1b5e\u1b5f\u1c3b\u1c3c\u1c7e\u1c7f"  # Tai Tham, Balinese, Lepcha, Ol Chiki
    "\ua4ff\ua60e\ua60f\ua6f3\ua6f7"  # Lisu, Vai, Bamum
    "\ua876\ua877\ua8ce\ua8cf\ua92f"  # Phags-pa, Saurashtra, Kayah Li
    "\ua9c9\uaa5d-\uaa5f\uaaf0\uaaf1\uabeb"  # Javanese, Cham, Meetei Mayek
    "\U00011047\U00011048\U000110be-\U000110c1"  # Brahmi, Kaithi
    "\U00011141-\U00011143\U000111c5\U000111c6"  # Chakma, Sharada
)
"""Characters of scripts without capitals that end sentences and do nothing else (Unicode's Sentence_Terminal)."""

_WORD_SPACE = "\u1361"
"""Between two words of Amharic; two of them end a sentence."""

# Possessive quantifiers and the look-behind keep the search linear on hostile text, such as a million full stops.
_BREAK = re.compile(
    r"""
      (?P<heading>^[^\S\n]*+\#{1,6}[^\S\n][^\n]*+$)  # a unit of its own
    | (?P<underline>^[^\S\n]*+(?P<line>[=\-~^"*+#])(?P=line){2,}+[^\S\n]*+$)  # ends the title above it
    | (?P<block>\n[^\S\n]*+\n
        | \n(?=[^\S\n]*+(?:  # list item, prompt, fence, table row, field
            [-*+\u2022\u2023\u25e6]\s | \(?\d{1,3}[.)]\s | (?:>>>|\.\.\.)\s | ```|~~~ | \|\s
            | [:@][a-z]\w*+[^\n:]*+:\s)))
    | (?P<wide>(?:[\u3002\uff61\uff01\uff1f\ufe12\ufe15\ufe16\ufe52\ufe56\ufe57]  # no space follows these
            | (?<![0-9\uff10-\uff19])\uff0e(?![A-Za-z\uff21-\uff3a\uff41-\uff5a]))++  # no "1." of a list, no "U.S."
        [\u201d\u2019\u300d\u300f\uff09\uff63]*+)
    | (?P<own>(?:(?P<mark>"""
    + f"[{_MARKS}]|{_WORD_SPACE * 2}"
    + r""")(?:[^\S\n]*+(?P=mark))*+)++[)\]}"'\u201d\u2019\u00bb\u203a*_`]*+)  # nothing else ends in these
    | (?P<urdu>(?<!\u06d4)\u06d4++[)\]}"'\u201d\u2019\u00bb*_`]*+(?!\S))
    | (?<![.!?\u2026])(?P<stop>[.!?\u2026]++)[)\]}"'\u201d\u2019\u00bb*_`]*+
        (?=\s++(?P<opening>["'\u201c\u2018\u00ab(\[{*_`\u00bf\u00a1]*)(?P<next>\w))
    """,
    re.VERBOSE | re.MULTILINE,
)
_SPACES = re.compile(r"\s*")
_LAST_SPACE = re.compile(r".*\s", re.DOTALL)
_LAST_WORD = re.compile(r"[^\s(\[{\"'\u201c\u2018\u00ab]*$")
_QUOTE = re.compile("[\"'\u201c\u2018\u00ab*_`]")
_ABBREVIATION = re.compile(
    r"""e\.g | i\.e | a\.m | p\.m | u\.s | u\.k | etc | cf | vs | al | viz | ibid | resp | incl | excl | approx | ca
    | figs? | eqs? | secs? | ch | chap | vols? | pp | eds? | refs? | mr | mrs | ms | dr | prof | st | jr | sr | inc
    | ltd | co | corp | bros | dept | gen | col | lt | sgt | capt | rev | hon""",
    re.VERBOSE,
)


@dataclasses.dataclass(frozen=True)
class Sentences:
    """Row operator from documents to units (`mnemic.schema.UNITS`).

    Reads ``id``, ``text``, ``speaker``, ``time``, ``turns`` and whose the document is (and ``locator`` for rejects). Of
    a conversation every turn is a unit, with its own speaker and time (else the document's). A unit longer than
    ``max_characters`` is cut at its last space before the limit, or at the limit where it has none. One shorter than
    ``min_characters`` is joined with the next, the last with the one before, where the two fit the maximum. A document
    of whitespace alone is given back as an "empty" reject.
    """

    version: ClassVar[int] = 3
    resources: ClassVar[Resources] = Resources()

    max_characters: int = 1000
    min_characters: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.min_characters <= self.max_characters:
            raise RecipeError(
                f"Sentences cannot be between {self.min_characters} and {self.max_characters} characters long; set "
                "min_characters to at least 1 and max_characters to no less than that."
            )

    def output(self, schema: pa.Schema) -> pa.Schema:
        return UNITS

    def open(self, device: str) -> BatchFunction:
        return self._split_batch

    def ranges(self, text: str) -> list[tuple[int, int]]:
        """Character ranges [start, end) of the units of one text, in order."""
        cut = [
            piece for start, end in _sentences(text) for piece in _cut_at_spaces(text, start, end, self.max_characters)
        ]
        return cut if self.min_characters == 1 else self._join_short(cut)

    def _turn_ranges(self, text: str, turns: list[dict[str, Any]]) -> list[tuple[list[tuple[int, int]], Any]]:
        """The units of each turn of a conversation: one, or its sentences where it is longer than a unit may be."""
        by_turn = []
        for turn in turns:
            start, end = turn["start"], turn["end"]
            whole = [(start, end)] if end - start <= self.max_characters else None
            by_turn.append((whole or [(start + a, start + b) for a, b in self.ranges(text[start:end])], turn))
        return by_turn

    def _join_short(self, ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
        joined: list[tuple[int, int]] = []
        for position, (start, end) in enumerate(ranges):
            if joined:
                first, last = joined[-1]
                short = last - first < self.min_characters
                short_at_end = position == len(ranges) - 1 and end - start < self.min_characters
                if (short or short_at_end) and end - first <= self.max_characters:
                    joined[-1] = (first, end)
                    continue
            joined.append((start, end))
        return joined

    def _split_batch(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        texts: list[str] = batch.column("text").to_pylist()
        turns: list[list[dict[str, Any]] | None] = batch.column("turns").to_pylist()
        ranges: list[list[tuple[int, int]]] = []
        spoken: list[dict[str, Any] | None] = []  # of each unit its turn
        for text, conversation in zip(texts, turns, strict=True):
            pieces_of = [(self.ranges(text), None)] if not conversation else self._turn_ranges(text, conversation)
            ranges.append([piece for pieces, _ in pieces_of for piece in pieces])
            spoken += [turn for pieces, turn in pieces_of for _ in pieces]
        counts = np.array([len(pieces_of) for pieces_of in ranges], np.int64)
        rows = pa.array(np.repeat(np.arange(len(texts)), counts))
        firsts = np.cumsum(counts) - counts
        bounds = np.array(list(itertools.chain.from_iterable(ranges)), np.int64).reshape(-1, 2)
        columns = {
            "document": batch.column("id").take(rows),
            "ordinal": pa.array((np.arange(len(rows)) - np.repeat(firsts, counts)).astype(np.int32)),
            "start": pa.array(bounds[:, 0]),
            "end": pa.array(bounds[:, 1]),
            "speaker": _of_turns("speaker", spoken, batch.column("speaker").take(rows)),
            "time": _of_turns("time", spoken, batch.column("time").take(rows)),
            "turn": pa.array(["" if turn is None else turn["id"] for turn in spoken], pa.string()),
            **{name: batch.column(name).take(rows) for name in ("source", "collection", "tenant", "session")},
            "text": pa.array(
                [text[start:end] for text, pieces_of in zip(texts, ranges, strict=True) for start, end in pieces_of],
                pa.large_string(),
            ),
        }
        units = pa.RecordBatch.from_arrays([columns[name] for name in UNITS.names], schema=UNITS)
        return units, _rejects(batch, np.flatnonzero(counts == 0))


SECTION = Section(
    "units",
    Sentences,
    Derive(
        origin="documents",
        target=CATALOGUE["units"],
        columns=("id", "source", "collection", "tenant", "session", "text", "speaker", "time", "turns"),
        key=("id",),
        target_key=("document",),
        after=("deduplicate",),
        where=KEPT,
        needs=("duplicate_of",),
    ),
    on=True,
    reads=("read",),
)


def _of_turns(name: str, turns: list[dict[str, Any] | None], otherwise: pa.Array) -> pa.Array:
    """For each unit what its turn says, where it says anything; ``otherwise`` is what its document says."""
    if not any(turns):
        return otherwise
    values = [turn[name] or value if turn else value for turn, value in zip(turns, otherwise.to_pylist(), strict=True)]
    return pa.array(values, otherwise.type)


def _rejects(batch: pa.RecordBatch, empty: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.RecordBatch:
    indices = pa.array(empty)
    count = len(empty)
    has_locator = "locator" in batch.schema.names
    reason = "The document holds nothing but whitespace; leave it out of the source, or ignore this."
    return pa.RecordBatch.from_arrays(
        [
            batch.column("id").take(indices),
            batch.column("locator").take(indices) if has_locator else pa.array([""] * count, pa.string()),
            pa.array([reason] * count, pa.string()),
            pa.array(["empty"] * count, pa.string()),
        ],
        schema=REJECTED,
    )


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    """Ranges between the breaks of ``text``, without the whitespace around them."""
    start = 0
    for match in _BREAK.finditer(text):
        if match["heading"] is not None:
            cuts: tuple[int, ...] = (match.start(), match.end())
        elif match["stop"] is None or _ends_sentence(text, start, match):
            cuts = (match.end(),)
        else:
            continue
        for cut in cuts:
            yield from _stripped(text, start, cut)
            start = cut
    yield from _stripped(text, start, len(text))


def _ends_sentence(text: str, start: int, match: re.Match[str]) -> bool:
    following = match["next"]
    if (following.islower() or not following.isalpha()) and not _QUOTE.search(match["opening"]):
        return False
    if match["stop"] != ".":
        return True
    # Bounded, so that text without spaces stays linear.
    word = _LAST_WORD.search(text, max(start, match.start() - 24), match.start())
    before = word.group().lower() if word else ""
    initial = len(before) == 1 and before.isalpha() and before != "i"
    return not initial and _ABBREVIATION.fullmatch(before) is None


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    piece = text[start:end]
    begin = start + len(piece) - len(piece.lstrip())
    finish = start + len(piece.rstrip())
    if begin < finish:
        yield begin, finish


def _cut_at_spaces(text: str, start: int, end: int, longest: int) -> Iterator[tuple[int, int]]:
    """Ranges of at most ``longest`` characters that cover the non-whitespace of [start, end)."""
    while end - start > longest:
        space = _LAST_SPACE.match(text, start + 1, start + longest + 1)
        cut = space.end() if space else start + longest
        yield from _stripped(text, start, cut)
        spaces = _SPACES.match(text, cut, end)
        start = spaces.end() if spaces else cut
    yield start, end
