"""Rows of `events` from units and the gaps at which they are cut.

An event is a range of units. Its vector is the mean of its units' vectors, L2-normalised: no text is encoded twice. Its
text joins the units by a line break, or by nothing where they touch; its id is a hash of document, unit range, level
and segmenter, so the same cut always has the same id.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.ids import hash_parts
from mnemic.schema import TIME, events
from operators.segment.score import Flags, Floats

Integers = npt.NDArray[np.int64]
_LATEST = np.iinfo(np.int64).max


def make_events(
    units: pa.RecordBatch,
    vectors: npt.NDArray[np.float32],
    words: Integers,
    *,
    cuts: Flags,
    scores: Floats,
    threshold: Floats,
    segmenter: str,
) -> pa.RecordBatch:
    """Rows of `mnemic.schema.events` for ``units`` sorted by document and ordinal.

    ``vectors`` is float32 [n, d], ``words`` [n]; ``cuts``, ``scores`` and ``threshold`` [n - 1] belong to the gaps,
    NaN means null. ``segmenter`` is the segmenter's fingerprint.
    """
    dimension = vectors.shape[1]
    schema = events(dimension)
    if units.num_rows == 0:
        return pa.RecordBatch.from_pylist([], schema=schema)
    firsts = np.concatenate([[0], np.flatnonzero(cuts) + 1])
    ends = np.concatenate([firsts[1:], [units.num_rows]])
    documents: list[str] = units.column("document").take(pa.array(firsts)).to_pylist()
    ordinal_of = units.column("ordinal").to_numpy()
    first_units, end_units = ordinal_of[firsts], ordinal_of[ends - 1] + 1
    level = "event"
    ids = [
        hash_parts("event", document, first, end, level, segmenter)
        for document, first, end in zip(documents, first_units.tolist(), end_units.tolist(), strict=True)
    ]
    new = np.array([True, *(a != b for a, b in itertools.pairwise(documents))])
    positions = np.arange(len(firsts))
    ordinals = positions - np.maximum.accumulate(np.where(new, positions, 0))
    follows = (~new).tolist()
    starts, stops = units.column("start").to_numpy(), units.column("end").to_numpy()
    earliest, latest = _time_spans(units.column("time"), firsts)
    at_start = np.concatenate([[np.nan], scores])[firsts]
    columns: dict[str, Any] = {
        "id": ids,
        "document": documents,
        "level": [level] * len(ids),
        "ordinal": ordinals.astype(np.int32),
        "first_unit": first_units,
        "end_unit": end_units,
        "start": starts[firsts],
        "end": stops[ends - 1],
        "text": _texts(units.column("text").to_pylist(), starts[1:] == stops[:-1], firsts, ends),
        "words": np.add.reduceat(words, firsts).astype(np.int32),
        "score": pa.array(at_start.astype(np.float32), from_pandas=True),
        "threshold": pa.array(_of_document(threshold, firsts, new).astype(np.float32), from_pandas=True),
        "surprise": pa.nulls(len(ids), pa.float32()),
        "start_time": earliest,
        "end_time": latest,
        "speakers": _speakers(units.column("speaker").to_pylist(), firsts, ends),
        "previous": [ids[i - 1] if follows[i] else "" for i in range(len(ids))],
        "next": [ids[i + 1] if follows[i + 1] else "" for i in range(len(ids) - 1)] + [""],
        "parent": [""] * len(ids),
        "vector": pa.FixedSizeListArray.from_arrays(
            pa.array(mean_vectors(vectors, firsts, ends).reshape(-1)), dimension
        ),
    }
    return pa.RecordBatch.from_arrays(
        [
            value if isinstance(value, pa.Array) else pa.array(value, schema.field(name).type)
            for name, value in columns.items()
        ],
        schema=schema,
    )


def mean_vectors(vectors: npt.NDArray[np.float32], firsts: Integers, ends: Integers) -> npt.NDArray[np.float32]:
    """L2-normalised means of the rows [first, end) of ``vectors``: float32 [events, d]; zero where they cancel out."""
    # Added one after the other, so the sum depends on the event's own rows alone.
    sums = vectors[firsts].astype(np.float64)
    longest = int((ends - firsts).max())
    for offset in range(1, longest):
        members = np.flatnonzero(ends - firsts > offset)
        sums[members] += vectors[firsts[members] + offset]
    lengths = np.sqrt(np.einsum("ij,ij->i", sums, sums))[:, None]
    means: npt.NDArray[np.float32] = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0).astype(
        np.float32
    )
    return means


def _of_document(threshold: Floats, firsts: Integers, new: Flags) -> Floats:
    """Each event's document cut-off, taken from the document's first gap; NaN for documents without a gap."""
    padded = np.concatenate([threshold, [np.nan]])
    opening = np.maximum.accumulate(np.where(new, firsts, 0))
    return padded[opening]


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


def _time_spans(times: pa.Array, firsts: Integers) -> tuple[pa.Array, pa.Array]:
    if times.null_count == len(times):
        nothing = pa.nulls(len(firsts), TIME)
        return nothing, nothing
    known = times.is_valid().to_numpy(zero_copy_only=False)
    values = times.cast(pa.int64()).fill_null(0).to_numpy()
    missing = ~np.logical_or.reduceat(known, firsts)
    earliest = np.minimum.reduceat(np.where(known, values, _LATEST), firsts)
    latest = np.maximum.reduceat(np.where(known, values, -_LATEST), firsts)
    return (
        pa.array(earliest, pa.int64(), mask=missing).cast(TIME),
        pa.array(latest, pa.int64(), mask=missing).cast(TIME),
    )


def _speakers(speakers: list[str], firsts: Integers, ends: Integers) -> list[list[str]]:
    if not any(speakers):
        return [[] for _ in range(len(firsts))]
    return [sorted(set(speakers[first:end]) - {""}) for first, end in zip(firsts.tolist(), ends.tolist(), strict=True)]
