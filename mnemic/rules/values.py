"""The numbers of documents that expressions may name: the statistics, and what other columns say.

A name whose column is not there has no value (NaN), so a rule over it does not judge.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Floats
from mnemic.canaries import PLANTED, planted
from mnemic.languages import LANGUAGES
from mnemic.personal import PERSONAL_KINDS
from mnemic.statistics import RAW, VIEW

STATISTICS = "statistics"
"""The column of documents with the counts; one of them is read as `statistics.words`."""

CONTAMINATED = "contaminated"
"""Questions of evaluation sets that stand in a document: a column beside the statistics, counted from rows."""

OF_COLUMNS: dict[str, tuple[str, ...]] = {
    "language": ("language_score", "language_second", *(f"language_{code}" for code in LANGUAGES)),
    "perplexity": ("perplexity",),
    "quality": ("quality",),
    "pii": ("pii", *(f"pii_{kind}" for kind in PERSONAL_KINDS)),
}
"""Column of documents -> the names that it gives: `language_en` is 1 where the language is en, else 0; `pii` counts all
spans of personal data, `pii_email` those of a kind; `perplexity` is that of a language model, where it was read."""


def names_of(columns: Iterable[str], view: bool) -> set[str]:
    """The names that expressions may have where documents have these ``columns``, and statistics with a ``view``."""
    return {*RAW, *(VIEW if view else ()), CONTAMINATED, *(name for one in columns for name in OF_COLUMNS[one])}


def column_of(name: str) -> str:
    """The column that gives ``name``; "" where it is a count, or no name at all."""
    return next((column for column, names in OF_COLUMNS.items() if name in names), "")


def values_of(batch: pa.RecordBatch, names: Collection[str]) -> dict[str, Floats]:
    """All statistics of the documents ``batch``, and those of the ``names`` that other columns give, float64 [n] each.

    Statistics are a column `statistics`, or some of its parts, `statistics.words` and others. Without rows of
    contamination nothing is contaminated. `PLANTED` among the names comes of the column `source`.
    """
    size, there, counts = batch.num_rows, batch.schema.names, dict[str, pa.Array]()
    for name in there:
        if name == STATISTICS:
            struct = batch.column(name)
            counts |= {struct.type.field(place).name: part for place, part in enumerate(struct.flatten())}
        elif name.startswith(f"{STATISTICS}."):
            counts[name.removeprefix(f"{STATISTICS}.")] = batch.column(name)
    values = {name: np.asarray(part, np.float64) for name, part in counts.items()}
    values[CONTAMINATED] = (
        np.asarray(batch.column(CONTAMINATED), np.float64) if CONTAMINATED in there else np.zeros(size)
    )
    if PLANTED in names:
        values[PLANTED] = planted(batch.column("source")).astype(np.float64)
    for name in sorted(set(names) - values.keys()):
        column = column_of(name)
        values[name] = _value(batch.column(column), column, name) if column in there else np.full(size, np.nan)
    return values


def _value(column: pa.Array, of: str, name: str) -> Floats:
    if of == "quality":
        return _floats(column)
    if of == "perplexity":
        return _floats(pc.struct_field(column, "perplexity"))
    part = name.removeprefix(f"{of}_")
    if of == "pii":
        parents = np.asarray(pc.list_parent_indices(column))
        if part != name:
            parents = parents[np.asarray(pc.equal(pc.struct_field(pc.list_flatten(column), "kind"), part))]
        return np.bincount(parents, minlength=len(column)).astype(np.float64)
    if part in ("score", "second"):
        return _floats(pc.struct_field(column, part))
    return _floats(pc.equal(pc.struct_field(column, "language"), part))


def _floats(values: pa.Array) -> Floats:
    """As float64; NaN where there is none."""
    return np.asarray(pc.fill_null(values.cast(pa.float64()), np.nan), np.float64)
