"""Measure first: integer counts of every document, as one column, from which rules decide later without its text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from mnemic.arrays import Integers
from mnemic.statistics import PLACE, VIEW, statistics_type
from operators.contracts import NO_REJECTS, BatchFunction, Resources, refuse
from operators.measure.citations import without_citations
from operators.sections import Grow, Section

WORDS = ("unicode", "whitespace", "datajuicer", "spacy-en")
VIEWS = ("", "c4", "c4-open")


@dataclass(frozen=True)
class Measure:
    """Adds `statistics`, a struct of the counts of `mnemic.statistics`, to documents.

    ``words``: what a word is. "unicode" (ours, the default) finds runs of letters and digits; "whitespace" is
    `str.split`, as dolma and Curator have it; "datajuicer" and "spacy-en" (datatrove's) are theirs. ``view``: the text
    that is measured again for FineWeb's rules. "c4" is what C4's rules leave, "c4-open" what they leave without the one
    about the ends of lines, "" (the default) none.
    """

    words: str = "unicode"
    view: str = ""
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(memory=1 << 30)

    def __post_init__(self) -> None:
        refuse(
            [
                ""
                if value in choices
                else f'`{name}` of the statistics is "{value}"; use one of {", ".join(map(repr, choices))}.'
                for name, value, choices in (("words", self.words, WORDS), ("view", self.view, VIEWS))
            ]
        )

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field("statistics", statistics_type(bool(self.view)), nullable=False)])

    def open(self, device: str) -> BatchFunction:
        from operators.measure.measurer import Measurer  # which needs numba

        measurer, added = Measurer(self.words), self.output(pa.schema([]))

        def measure(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
            counts, view = counted(measurer, batch.column("text"), self.view)
            columns = [*counts.T, *(() if view is None else view.T)]
            arrays = [pa.array(column.astype(np.int32)) for column in columns]
            struct = pa.StructArray.from_arrays(arrays, fields=list(added.field("statistics").type))
            return pa.RecordBatch.from_arrays([struct], schema=added), NO_REJECTS

        return measure


def counted(measurer: Any, texts: pa.Array, view: str) -> tuple[Integers, Integers | None]:
    """Counts of ``texts`` int64 [n, raw], and with a ``view`` those of it int64 [n, view]."""
    measured = measurer.measure(texts, open_lines=view == "c4-open")
    if not view:
        return measured.counts, None
    cited = np.flatnonzero(measured.cited)
    lines = ["\n".join(without_citations(text)) for text in texts.take(pa.array(cited)).to_pylist()]
    judged = measurer.measure(pa.array(lines, pa.large_string()), judged=True, open_lines=view == "c4-open")
    pairs = zip(texts.to_pylist(), _bounds(measured.ends), strict=True)
    left = [_left(text, measured.spans[slice(*ends)]) for text, ends in pairs]
    for place, text, ends in zip(cited.tolist(), lines, _bounds(judged.ends), strict=True):
        left[place] = _left(text, judged.spans[slice(*ends)])
    seen = measurer.measure(pa.array(left, pa.large_string()), whole=False).counts
    return measured.counts, seen[:, [PLACE[name.removeprefix("c4_")] for name in VIEW]]


def _bounds(ends: Integers) -> list[tuple[int, int]]:
    starts = np.concatenate([[0], ends])[:-1]
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def _left(text: str, spans: Any) -> str:
    """The lines of ``text`` at ``spans`` int32 [n, 2], as C4 joins them."""
    return "\n".join(text[first:last] for first, last in spans.tolist()).strip()


def _as_curated(settings: dict[str, Any] | None, sections: Mapping[str, Any]) -> dict[str, Any] | None:
    """Rules are over statistics: where a recipe has rules, it measures what their preset asks for."""
    curate = sections.get("curate")
    if curate is None:
        return settings
    return {**curate.measured, **(settings or {})}


SECTION = Section("measure", Measure, Grow("documents", columns=("id", "text"), after=("read",)), complete=_as_curated)
