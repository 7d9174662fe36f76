"""Summaries of packs from the answers of `calls`: those that stand in the units that they name.

A session of one pack has one; a longer one has a summary of each of its parts, in their order. The checks are those of
notes (`operators.written.grounding`), and what does not pass is a reject.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa

from mnemic.ids import hash_parts
from mnemic.notes.datasets import SUMMARIES, SUMMARIES_SPEC
from mnemic.writing.json_text import Malformed, read_json
from operators.contracts import REJECTED, BatchFunction, Resources, bounds, refuse
from operators.sections import Driven, Section
from operators.written.facts import reject_of, shares
from operators.written.grounding import Sources
from operators.written.prompts import SUMMARY


@dataclass(frozen=True)
class PackSummaries:
    """Derives `summaries` from good answers.

    ``grounded``: share of a summary's long words that must stand in its sources, default 0.5. ``max_rejected``: largest
    share of the summaries that may be rejects, default 0.5.
    """

    grounded: float = 0.5
    max_rejected: float = field(default=0.5, metadata={"identity": False})
    version: ClassVar[int] = 2
    resources: ClassVar[Resources] = Resources()
    written: ClassVar[str] = "summaries"

    def __post_init__(self) -> None:
        rules = shares(self, ("grounded", "max_rejected"))
        refuse(bounds(self, "`{name}` of summaries is {value!r}; give {bound}.", rules))

    def output(self, schema: pa.Schema) -> pa.Schema:
        return SUMMARIES

    def open(self, device: str) -> BatchFunction:
        return self.summaries

    def summaries(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """The summaries of a batch of answer rows of `calls`; those that do not stand in their sources are rejects."""
        rows, rejects = [], []
        for call in batch.to_pylist():
            summary = self._summary(call)
            if isinstance(summary, str):
                rejects.append(reject_of(call, "", f"A summary is left out: {summary}."))
            else:
                rows.append(summary)
        return (
            pa.RecordBatch.from_pylist(rows, schema=SUMMARIES),
            pa.RecordBatch.from_pylist(rejects, schema=REJECTED),
        )

    def _summary(self, call: Mapping[str, Any]) -> dict[str, Any] | str:
        """The row of an answer, or why it is none."""
        try:
            answer = read_json(call["answer"], SUMMARY.schema)
        except Malformed as error:
            return str(error)
        sources = Sources.of_call(call, answer["n"])
        if isinstance(sources, str):
            return sources
        text = " ".join(answer["text"].split())
        share, missing = sources.grounded(text, self.grounded)
        if missing:
            return missing
        return {
            "id": hash_parts("summary", call["call"], text),
            **{name: call[name] for name in ("call", "document", "tenant", "session", "pack", "part", "prompt")},
            "start": call["units"][0]["start"],
            "end": call["units"][-1]["end"],
            "text": text,
            "sources": sources.rows,
            "writer": call["model"],
            "grounded": share,
        }


def _as_written(settings: dict[str, Any] | None, sections: Mapping[str, Any]) -> dict[str, Any] | None:
    """It runs where `written` asks for summaries."""
    written = sections.get("written")
    if written is not None and written.summaries:
        return settings or {}
    if settings is not None:
        raise ValueError("nobody asks for summaries; write `summaries: true` in `written`")
    return None


SECTION = Section(
    "summaries",
    PackSummaries,
    Driven("pipelines.steps.notes:summaries_step", after=("calls",), datasets=(SUMMARIES_SPEC,)),
    complete=_as_written,
)
