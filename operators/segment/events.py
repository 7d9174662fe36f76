"""Rows of `events` from units and the ranges of them that are events.

A row's vector is the mean of its units' vectors, L2-normalised: no text is encoded twice. Its text joins the units by a
line break, or by nothing where they touch. Its id is a hash of document, unit range, level and segmenter, so the same
cut always has the same id. Neighbours are linked within a document for sessions and within a session for what they
hold.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pyarrow as pa

from mnemic.arrays import Flags, Floats, Integers, Vectors
from mnemic.ids import hash_parts
from mnemic.schema import TIME, events
from mnemic.vectors import column
from operators.segment.levels import CAUSES, Level
from operators.segment.ranges import mean_vectors, nearest_units

_LATEST = np.iinfo(np.int64).max


def make_events(
    units: pa.RecordBatch,
    vectors: Vectors,
    words: Integers,
    levels: list[Level],
    *,
    segmenter: str,
    representatives: int,
) -> pa.RecordBatch:
    """Rows of `mnemic.schema.events` for ``units`` sorted by document and ordinal, level by level from the top.

    ``vectors`` is float32 [n, d], ``words`` [n]; ``segmenter`` is the segmenter's fingerprint. Rows say their mean
    surprisal where the units have that column.
    """
    schema = events(vectors.shape[1])
    if units.num_rows == 0:
        return pa.RecordBatch.from_pylist([], schema=schema)
    document: list[str] = units.column("document").to_pylist()
    texts: list[str] = units.column("text").to_pylist()
    batches: list[pa.RecordBatch] = []
    above: list[str] = []
    ends = np.cumsum([len(level.firsts) for level in levels])
    means = np.empty((int(ends[-1]), vectors.shape[1]), np.float32)  # of all levels, so that no copy joins them
    beside = pa.schema(field for field in schema if field.name != "vector")
    for level, end in zip(levels, ends.tolist(), strict=True):
        facts = _ids(document, units.column("ordinal").to_numpy(), level, above, segmenter)
        above += facts["id"]
        own = mean_vectors(vectors, level.firsts, level.ends, out=means[end - len(level.firsts) : end])
        facts |= _content(units, texts, words, level)
        nearest = nearest_units(vectors, own, level.firsts, level.ends, representatives)
        facts["representatives"] = _ordinals(units, nearest)
        arrays = [_array(facts[field.name], field.type) for field in beside]
        batches.append(pa.RecordBatch.from_arrays(arrays, schema=beside))
    joined = pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
    columns = [column(means) if name == "vector" else joined[name] for name in schema.names]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _array(values: Any, dtype: pa.DataType) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, dtype)


def _ids(document: list[str], ordinal: Integers, level: Level, above: list[str], segmenter: str) -> dict[str, Any]:
    """Who each range is, and who is beside and above it."""
    firsts, ends, parent = level.firsts.tolist(), level.ends.tolist(), level.parent.tolist()
    owner = [document[first] for first in firsts]
    first_units, end_units = ordinal[level.firsts], ordinal[level.ends - 1] + 1
    ids = [
        hash_parts("event", name, first, end, level.name, segmenter)
        for name, first, end in zip(owner, first_units.tolist(), end_units.tolist(), strict=True)
    ]
    new = np.array([True, *(a != b for a, b in itertools.pairwise(owner))][: len(ids)], np.bool_)
    positions = np.arange(len(firsts))
    ordinals = positions - np.maximum.accumulate(np.where(new, positions, 0)) if ids else positions
    together = _together(owner, level)
    return {
        "id": ids,
        "document": owner,
        "level": [level.name] * len(ids),
        "leaf": level.leaf,
        "ordinal": ordinals.astype(np.int32),
        "first_unit": first_units,
        "end_unit": end_units,
        "cause": pa.DictionaryArray.from_arrays(pa.array(level.cause.astype(np.int8)), CAUSES).cast(pa.string()),
        "score": pa.array(level.score.astype(np.float32), from_pandas=True),
        "threshold": pa.array(level.threshold.astype(np.float32), from_pandas=True),
        "previous": [ids[i - 1] if i and together[i - 1] else "" for i in range(len(ids))],
        "next": [ids[i + 1] if i < len(ends) - 1 and together[i] else "" for i in range(len(ids))],
        "parent": [above[place] if place >= 0 else "" for place in parent],
    }


def _together(owner: list[str], level: Level) -> list[bool]:
    """Whether each range and the next are linked: of one document, and nothing but an end of a session between them."""
    barrier = {CAUSES.index("start"), CAUSES.index("pause")} if level.name != "session" else {CAUSES.index("start")}
    causes = level.cause.tolist()
    return [owner[i] == owner[i + 1] and causes[i + 1] not in barrier for i in range(len(owner) - 1)]


def _content(units: pa.RecordBatch, texts: list[str], words: Integers, level: Level) -> dict[str, Any]:
    """What each range holds: characters, text, words, times, speakers, surprise."""
    firsts, ends = level.firsts, level.ends
    starts, stops = units.column("start").to_numpy(), units.column("end").to_numpy()
    total = np.concatenate([[0], np.cumsum(words)])
    earliest, latest = _time_spans(units.column("time"), firsts, ends)
    return {
        "start": starts[firsts],
        "end": stops[ends - 1],
        "text": _texts(texts, starts[1:] == stops[:-1], firsts, ends),
        "words": (total[ends] - total[firsts]).astype(np.int32),
        "surprise": _mean_surprisal(units, firsts, ends),
        "start_time": earliest,
        "end_time": latest,
        "speakers": _speakers(units.column("speaker").to_pylist(), firsts, ends),
        "turns": _turns(units.column("turn").to_pylist(), firsts, ends),
        **{name: units.column(name).take(pa.array(firsts)) for name in ("source", "collection", "tenant", "session")},
    }


def _texts(texts: list[str], touching: Flags, firsts: Integers, ends: Integers) -> list[str]:
    touched = np.concatenate([[0, 0], np.cumsum(touching)])
    joined = []
    for first, end, any_touch in zip(
        firsts.tolist(), ends.tolist(), (touched[ends] > touched[firsts + 1]).tolist(), strict=True
    ):
        if any_touch:
            parts = [texts[first]]
            for unit in range(first + 1, end):
                parts += ["" if touching[unit - 1] else "\n", texts[unit]]
            joined.append("".join(parts))
        else:
            joined.append("\n".join(texts[first:end]))
    return joined


def _time_spans(times: pa.Array, firsts: Integers, ends: Integers) -> tuple[pa.Array, pa.Array]:
    if times.null_count == len(times) or not len(firsts):
        nothing = pa.nulls(len(firsts), TIME)
        return nothing, nothing
    present = times.is_valid().to_numpy(zero_copy_only=False)
    values = times.cast(pa.int64()).fill_null(0).to_numpy()
    missing = ~_reduced(np.logical_or, present, firsts, ends)
    earliest = _reduced(np.minimum, np.where(present, values, _LATEST), firsts, ends)
    latest = _reduced(np.maximum, np.where(present, values, -_LATEST), firsts, ends)
    return (
        pa.array(earliest, pa.int64(), mask=missing).cast(TIME),
        pa.array(latest, pa.int64(), mask=missing).cast(TIME),
    )


def _reduced(function: np.ufunc, values: np.ndarray[Any, Any], firsts: Integers, ends: Integers) -> Any:
    """``function`` over the values of every range [first, end)."""
    bounds = np.stack([firsts, ends], axis=1).reshape(-1)
    return function.reduceat(np.append(values, values[-1:]), bounds)[::2]


def _mean_surprisal(units: pa.RecordBatch, firsts: Integers, ends: Integers) -> pa.Array:
    """Mean of the units' surprisal where they have it; null for a range without."""
    if "surprisal" not in units.schema.names or not len(firsts):
        return pa.nulls(len(firsts), pa.float32())
    column: Floats = units.column("surprisal").cast(pa.float64()).to_numpy(zero_copy_only=False)
    present = ~np.isnan(column)
    counts = _reduced(np.add, present.astype(np.int64), firsts, ends)
    sums = _reduced(np.add, np.where(present, column, 0.0), firsts, ends)
    means = np.divide(sums, counts, out=np.full(len(firsts), np.nan), where=counts > 0)
    return pa.array(means.astype(np.float32), from_pandas=True)


def _speakers(speakers: list[str], firsts: Integers, ends: Integers) -> list[list[str]]:
    if not any(speakers):
        return [[] for _ in range(len(firsts))]
    return [sorted(set(speakers[first:end]) - {""}) for first, end in zip(firsts.tolist(), ends.tolist(), strict=True)]


def _turns(turns: list[str], firsts: Integers, ends: Integers) -> list[list[str]]:
    """The turns of each range in order, each once."""
    if not any(turns):
        return [[] for _ in range(len(firsts))]
    return [
        list(dict.fromkeys(filter(None, turns[first:end])))
        for first, end in zip(firsts.tolist(), ends.tolist(), strict=True)
    ]


def _ordinals(units: pa.RecordBatch, rows: Integers) -> pa.Array:
    """The ordinals of the units at ``rows`` int64 [ranges, most], a list for each range; those of -1 are left out."""
    chosen = rows >= 0
    bounds = np.concatenate([[0], np.cumsum(chosen.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(bounds), units.column("ordinal").take(pa.array(rows[chosen])))
