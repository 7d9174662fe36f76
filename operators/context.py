"""Where a unit stands: the title of its document and the headings above it, as the column `context` of units.

A sentence of an encyclopedia or a manual rarely says what it is about; its title does. Encoded as "title: sentence" the
mean of a passage's sentences finds what the whole passage encoded at once finds, at no further pass of the encoder: on
HotpotQA-100 and MuSiQue-100 76.5 and 60.2 % of the passages at 5, where bare sentences find 73.5 and 48.2 (LOG.md).
The vectors of a bank are read with the column that they were encoded with, so it stands in the bank and is a step:
`embed` comes after it, and its fingerprint is part of that of the vectors. Banks without the section have neither the
column nor the title, and stay as they are.

Headings are those that a unit is: a line after 1 to 6 number signs, or one that is underlined. Lines inside a fence of
code are none. A comment of a program that is no fenced code looks like a heading; `headings: false` leaves them all.
"""

from __future__ import annotations

import dataclasses
import re
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Integers
from mnemic.errors import RecipeError
from operators.contracts import NO_REJECTS, BatchFunction, Resources
from operators.sections import Grow, Section

COLUMN = "context"
SEPARATOR = ": "
"""Between the parts of a context, and between it and the text of its unit."""

_UNDERLINES = r"[=\-~^\"*+#]"
_CANDIDATE = rf"^(?:#{{1,6}}[ \t]+\S|```|~~~|[^\n]+\n{_UNDERLINES}{{3,}}\s*$)|\n(?:```|~~~)"
"""RE2, on all units at once: those that may be a heading or have a fence of code, few of all."""
_NUMBERED = re.compile(r"(#{1,6})[ \t]+([^\n]*?)[ \t]*#*\Z")
_UNDERLINED = re.compile(rf"([^\n]+)\n({_UNDERLINES})\2{{2,}}\s*\Z")
_FENCE = re.compile(r"^(?:```|~~~)", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class UnitContext:
    """Adds ``context`` (string, "" for none) to units: the title of the document, then the headings above the unit.

    ``headings`` says whether these are taken, true by default; of them the innermost ``depth``, 2 by default. A part
    has at most ``characters``, 120 by default, and is cut there. A heading that repeats the title is left out, and a
    unit that is the title has none. Reads ``document``, ``ordinal``, ``text``, ``title`` of whole documents; a unit's
    context depends on its own document alone.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()

    headings: bool = True
    depth: int = 2
    characters: int = 120

    def __post_init__(self) -> None:
        if self.depth < 1 or self.characters < 1:
            raise RecipeError(
                f"A context of {self.depth} headings with {self.characters} characters says nothing; set `depth` and "
                "`characters` to at least 1, or `headings` to false for titles alone."
            )

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field(COLUMN, pa.string(), nullable=False)])

    def open(self, device: str) -> BatchFunction:
        schema = self.output(pa.schema([]))

        def place(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
            return pa.RecordBatch.from_arrays([self.contexts(batch)], schema=schema), NO_REJECTS

        return place

    def contexts(self, batch: pa.RecordBatch) -> pa.Array:
        """The context of each unit of ``batch``, which has all units of its documents, in any order: string [n]."""
        documents = pc.dictionary_encode(batch.column("document")).indices.to_numpy(zero_copy_only=False)
        ordinals = batch.column("ordinal").to_numpy(zero_copy_only=False)
        order = np.lexsort((ordinals, documents))
        owner, texts = documents[order], batch.column("text").take(pa.array(order))
        titles = pc.fill_null(batch.column("title"), "").cast(pa.string()).take(pa.array(order)).dictionary_encode()
        names, title = [self._part(one) for one in titles.dictionary.to_pylist()], titles.indices.to_numpy()
        above, paths = self._headings(owner, texts)
        kinds, inverse = np.unique(np.stack([title, above], 1), axis=0, return_inverse=True)
        phrases = [self._phrase(names[one], paths[path]) for one, path in kinds.tolist()]
        contexts = pa.array(phrases, pa.string()).take(pa.array(inverse.ravel()))
        bare = pc.utf8_ltrim(pc.utf8_trim_whitespace(texts.cast(pa.string())), "# \t")
        own = pc.equal(pc.utf8_lower(bare), pc.utf8_lower(contexts))
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return pc.if_else(own, "", contexts).take(pa.array(back))

    def _headings(self, owner: Integers, texts: pa.Array) -> tuple[Integers, list[tuple[str, ...]]]:
        """For each unit, in the order of its document, the number of the headings above it, int64 [n], and these."""
        if not self.headings:
            return np.zeros(len(owner), np.int64), [()]
        candidates = np.flatnonzero(pc.match_substring_regex(texts, _CANDIDATE).to_numpy(zero_copy_only=False))
        starts = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))[: len(owner)]
        numbers: dict[tuple[str, ...], int] = {(): 0}
        at = np.full(len(owner), -1, np.int64)  # where a path begins to hold
        own: dict[int, int] = {}  # headings, which stand below what they come after
        at[starts] = 0
        document, fenced = -1, False
        stack: list[tuple[int, str]] = []
        lines: dict[str, int] = {}
        for row, text in zip(candidates.tolist(), texts.take(pa.array(candidates)).to_pylist(), strict=True):
            if owner[row] != document:
                document, fenced, stack, lines = int(owner[row]), False, [], {}
            fences = len(_FENCE.findall(text))
            heading = None if fenced or fences else _heading(text, lines)
            fenced ^= bool(fences % 2)
            if heading is None:
                continue
            stack = [one for one in stack if one[0] < heading[0]]
            own[row] = numbers.setdefault(self._path(stack), len(numbers))
            stack.append((heading[0], self._part(heading[1])))
            at[row] = numbers.setdefault(self._path(stack), len(numbers))
        last = np.maximum.accumulate(np.where(at >= 0, np.arange(len(at)), 0)) if len(at) else at
        above = at[last]
        above[list(own)] = list(own.values())
        return above, list(numbers)

    def _path(self, stack: list[tuple[int, str]]) -> tuple[str, ...]:
        return tuple(name for _, name in stack if name)[-self.depth :]

    def _part(self, text: str) -> str:
        """A title or heading as a part: on one line, cut at ``characters``, without the marks of Markdown around it."""
        return " ".join(text[: 4 * self.characters].split()).strip("#*_` :")[: self.characters].rstrip()

    def _phrase(self, title: str, headings: tuple[str, ...]) -> str:
        parts = [title, *(heading for heading in headings if heading.casefold() != title.casefold())]
        return SEPARATOR.join(part for part in parts if part)


def _heading(text: str, lines: dict[str, int]) -> tuple[int, str] | None:
    """(level, words) of the heading that a unit is; ``lines`` are the underlines of its document, by their order."""
    if numbered := _NUMBERED.match(text):
        return len(numbered[1]), numbered[2]
    if underlined := _UNDERLINED.match(text):
        return lines.setdefault(underlined[2], len(lines) + 1), underlined[1]
    return None


def with_context(batch: pa.RecordBatch) -> pa.Array:
    """What is encoded of units: ``text``, behind its ``context`` where the batch has that and it is not empty."""
    texts = batch.column("text")
    if COLUMN not in batch.schema.names:
        return texts
    context = batch.column(COLUMN).cast(texts.type)
    joined = pc.binary_join_element_wise(context, texts, pa.scalar(SEPARATOR, texts.type))
    return pc.if_else(pc.equal(context, ""), texts, joined)


SECTION = Section(
    "context",
    UnitContext,
    Grow("units", ("document", "ordinal", "text", "title"), after=("units",), whole_documents=True),
)
