"""Spans that what is made of a text leaves out: lines that C4's rules drop, and questions of evaluation sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from mnemic.canaries import planted
from mnemic.edits import EDITS, merged
from mnemic.errors import RecipeError
from operators.contracts import NO_REJECTS, BatchFunction, Resources
from operators.measure.citations import cut_lines
from operators.sections import Driven, Section, shared_field

MATCHES = "matches"
"""A column beside the text: spans of evaluation sets in it, as a list of {start, end}."""


@dataclass(frozen=True)
class Edits:
    """Adds `edits` (`mnemic.edits.EDITS`) to documents.

    ``lines``: "c4" cuts the lines that C4's rules drop, and citations; "c4-open" keeps those that only lack a mark at
    their end; "" cuts none. ``contamination``: whether spans that stand in evaluation sets are cut. Nothing is cut in
    documents of the source ``planted``.
    """

    lines: str = ""
    contamination: bool = False
    planted: str = shared_field("", said_by="curate.planted", identity=False)
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()

    def __post_init__(self) -> None:
        if self.lines not in ("", "c4", "c4-open"):
            raise RecipeError(f'`lines` of the edits is "{self.lines}"; use "c4", "c4-open" or "".')

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field("edits", EDITS, nullable=False)])

    def open(self, device: str) -> BatchFunction:
        added = self.output(pa.schema([]))

        def edit(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
            matches = batch.column(MATCHES).to_pylist() if self.contamination else [[]] * batch.num_rows
            rows: list[list[Any]] = []
            spared = planted(batch.column("source")) if self.planted else np.zeros(batch.num_rows, np.bool_)
            for text, spans, whole in zip(batch.column("text").to_pylist(), matches, spared, strict=True):
                if whole:
                    rows.append([])
                    continue
                cut = cut_lines(text, self.lines == "c4-open") if self.lines else []
                rows.append(merged([*cut, *((one["start"], one["end"], "contaminated") for one in spans or ())]))
            return pa.RecordBatch.from_arrays([pa.array(rows, EDITS)], schema=added), NO_REJECTS

        return edit


def _as_curated(settings: dict[str, Any] | None, sections: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings follow from `curate`."""
    if settings is not None:
        raise ValueError("it follows from `curate`: from its preset, and from `contamination: {action: cut}`")
    curate = sections.get("curate")
    if curate is None:
        return None
    cut = (curate.contamination or {}).get("action") == "cut"
    lines = curate.measured["view"] if curate.cut_lines else ""
    return {"lines": lines, "contamination": cut} if cut or lines else None


SECTION = Section(
    "edits",
    Edits,
    Driven("pipelines.steps.curate:edits_step", after=("read",), optional=("contamination",)),
    complete=_as_curated,
)
