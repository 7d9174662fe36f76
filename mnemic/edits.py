"""Edits: spans of a document that whatever is made of its text leaves out. The text itself stays, and so do ids.

They are the column `edits` of documents, in banks whose recipe cuts lines or spans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mnemic.arrays import Integers

if TYPE_CHECKING:
    from mnemic.dataset import Snapshot

EDITS = pa.list_(
    pa.struct(
        [
            pa.field("start", pa.int64(), nullable=False),  # character range in the document: text[start:end]
            pa.field("end", pa.int64(), nullable=False),
            pa.field("rule", pa.string(), nullable=False),  # the reason
        ]
    )
)
"""The column `edits`: spans in reading order that do not overlap."""

Edit = Mapping[str, Any]


def blanked(text: str, edits: Sequence[Edit] | None) -> str:
    """``text`` with white space in place of its ``edits``: all places stay, and nothing goes over one."""
    if not edits:
        return text
    parts, place = [], 0
    for edit in edits:
        size = edit["end"] - edit["start"]
        parts += [text[place : edit["start"]], "\n" + " " * (size - 2) + "\n" if size > 1 else "\n" * size]
        place = edit["end"]
    return "".join([*parts, text[place:]])


def without(text: str, edits: Sequence[Edit] | None) -> str:
    """``text`` without its ``edits``."""
    if not edits:
        return text
    starts = [0, *(edit["end"] for edit in edits)]
    ends = [*(edit["start"] for edit in edits), len(text)]
    return "".join(text[start:end] for start, end in zip(starts, ends, strict=True))


def original(places: Integers, edits: Sequence[Edit] | None) -> Integers:
    """Where characters int64 [n] of `without` stand in the text that has its ``edits``."""
    if not edits:
        return places
    sizes = np.array([edit["end"] - edit["start"] for edit in edits], np.int64)
    starts = np.array([edit["start"] for edit in edits], np.int64)
    cut = np.concatenate([[0], np.cumsum(sizes)])
    moved: Integers = places + cut[np.searchsorted(starts - cut[:-1], places, side="right")]
    return moved


def readable(rows: pa.Table) -> pa.Table:
    """Documents with the column `text` as it is read: without their edits, where they have that column."""
    if "edits" not in rows.schema.names:
        return rows
    texts = [without(*pair) for pair in zip(rows["text"].to_pylist(), rows["edits"].to_pylist(), strict=True)]
    place = rows.schema.get_field_index("text")
    return rows.set_column(place, "text", pa.array(texts, pa.large_string())).drop_columns(["edits"])


def readable_documents(documents: Snapshot, where: str) -> pa.Table:
    """id and text of the ``documents`` that satisfy ``where``, as `readable` gives them."""
    edits = ["edits"] if "edits" in documents.schema.names else []
    return readable(documents.table(["id", "text", *edits], where))


def readings(batch: pa.RecordBatch) -> tuple[list[str], list[Sequence[Edit] | None]]:
    """Texts of documents without their edits, and the edits of each: None in a bank that has none."""
    texts: list[str] = batch.column("text").to_pylist()
    if "edits" not in batch.schema.names:
        return texts, [None] * len(texts)
    edits = batch.column("edits").to_pylist()
    return [without(*pair) for pair in zip(texts, edits, strict=True)], edits


def merged(spans: Sequence[tuple[int, int, str]]) -> list[dict[str, Any]]:
    """Edits of ``spans`` (start, end, rule): overlapping ones are one, under the rule that comes first."""
    edits: list[dict[str, Any]] = []
    for start, end, rule in sorted(spans):
        if start >= end:
            continue
        if edits and start < edits[-1]["end"]:
            edits[-1]["end"] = max(edits[-1]["end"], end)
        else:
            edits.append({"start": start, "end": end, "rule": rule})
    return edits
