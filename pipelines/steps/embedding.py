"""The embedding step: a row step that takes the vectors of texts that an earlier release has, and encodes the others.

Units are derived anew for small reasons: one sentence of a document was edited, a file was moved, the splitter has
another version. Most of their texts were encoded before, by the same model with the same settings, and a text's vector
does not depend on its neighbours; so taking the stored one leaves the bank what it is when it is built afresh, and
costs one pass over the texts of that release. A worker hashes the texts that are pending, streams the texts of the
newest release past them once, and keeps the row ids of those that are wanted: 16 bytes for each, whatever the size of
the bank. Texts are compared in full before a vector is taken. The model is loaded when a text has to be encoded.

Texts that come twice in one build are encoded once per batch of 8,192 rows.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Hashes
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.growth import pending
from mnemic.release import readable_release
from mnemic.vectors import vectors
from operators.context import COLUMN, with_context
from operators.embed import Embed
from pipelines.identity import Record
from pipelines.steps.contracts import Context
from pipelines.steps.grow import Compute, GrowStep

_BASE = 0x9E3779B97F4A7C15  # odd, so it has an inverse modulo 2**64
_INVERSE = pow(_BASE, -1, 1 << 64)


@dataclass(frozen=True)
class EmbedStep(GrowStep):
    """The row step that grows `embedding`. Its operator is resolved: it names what it does, not "auto".

    Without ``reuse`` it encodes every text, whatever an earlier release has.
    """

    operator: Embed
    reuse: bool = True

    def described(self) -> Record:
        """The record with the model's address, revision and size beside it."""
        return replace(self.record, found=self.operator.about)

    def factory(self, context: Context, before: Snapshot) -> Callable[[], Compute]:
        encoding = super().factory(context, before)
        version = self._earlier_version(context.store) if self.reuse else None
        if version is None:
            return encoding
        store, name, columns = context.store, self.dataset, self.columns
        head = store[name].require()
        names = self.operator.output(head.schema).names
        todo, now, schema = pending(head, names), head.version, self.operator.output(head.schema)

        def made() -> Compute:
            texts = store[name].require(now).scan(columns, fragments=todo)
            earlier = EarlierRows(store[name].require(version), names, texts)
            return Reusing(earlier, functools.cache(encoding), schema)

        return made

    def _earlier_version(self, store: Store) -> int | None:
        """The dataset's version in the newest release that can be read, if its columns are as they would be now."""
        release = readable_release(store, (self.dataset,))
        if release is None:
            return None
        version = release.versions[self.dataset]
        earlier = store[self.dataset].require(version)
        own = json.loads(json.dumps(dict(self.record.fields)))
        for field in self.operator.output(earlier.schema):
            stored = earlier.column_record(field.name) or {}
            if (stored.get("version"), stored.get("fields")) != (self.record.version, own):
                return None
            if earlier.schema.field(field.name).type != field.type:
                return None
        return version if earlier.count() else None


def embedding_step(record: Record, operator: Embed, after: tuple[str, ...]) -> EmbedStep:
    """The step of a recipe's ``embed`` section."""
    columns = ("text", COLUMN) if "context" in after else ("text",)
    return EmbedStep(record, operator, "units", columns, after)


def note_vectors_step(record: Record, operator: Embed, after: tuple[str, ...]) -> EmbedStep:
    """The step of the section `note_vectors`."""
    return EmbedStep(record, operator, "notes", ("text",), after)


class EarlierRows:
    """The rows of an earlier state of a dataset, in columns ``names``, for texts of now.

    A text is what is encoded (`operators.context.with_context`), of the columns that a state has for it.
    """

    def __init__(self, earlier: Snapshot, names: Iterable[str], pending_batches: Iterable[pa.RecordBatch]) -> None:
        self._earlier, self._names = earlier, list(names)
        self._columns = [name for name in ("text", COLUMN) if name in earlier.schema.names]
        hashes_of_pending = (text_hashes(with_context(batch)) for batch in pending_batches)
        pending_hashes = np.unique(np.concatenate([np.zeros(0, np.uint64), *hashes_of_pending]))
        hashes, rows = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)]
        for batch in earlier.scan(self._columns, row_ids=True):
            batch_hashes = text_hashes(with_context(batch))
            hit = _place(pending_hashes, batch_hashes) >= 0
            hashes.append(batch_hashes[hit])
            rows.append(batch["_rowid"].to_numpy()[hit])
        self._hashes, first = np.unique(np.concatenate(hashes), return_index=True)
        self._rows = np.concatenate(rows)[first]

    def of(self, texts: pa.Array) -> tuple[npt.NDArray[np.int64], pa.Table]:
        """For each text the row of the table that holds its columns, or -1; int64 [texts], and the table."""
        place = _place(self._hashes, text_hashes(texts))
        rows, row_of = np.unique(self._rows[place[place >= 0]], return_inverse=True)
        stored = self._earlier.take_rows(rows, [*self._columns, *self._names])
        place[place >= 0] = row_of
        reusable = np.flatnonzero(place >= 0)
        encoded = with_context(stored).combine_chunks()
        same = pc.equal(encoded.take(pa.array(place[reusable])), texts.take(pa.array(reusable)))
        place[reusable[~same.to_numpy(zero_copy_only=False)]] = -1  # another text of the same hash
        place[np.isin(place, np.flatnonzero(_without_direction(stored.select(self._names))))] = -1
        return place, stored.select(self._names)


class Reusing:
    """Columns of a batch: taken from earlier rows where they have its texts, else computed.

    ``reused`` counts the rows whose columns were taken.
    """

    def __init__(self, earlier: EarlierRows, encoding: Callable[[], Compute], schema: pa.Schema) -> None:
        self._earlier, self._encoding, self._schema = earlier, encoding, schema
        self.reused = 0

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        place, stored = self._earlier.of(with_context(batch))
        missing = place < 0
        self.reused += int((~missing).sum())
        parts: list[Any] = [stored.cast(self._schema)]
        if missing.any():
            place[missing] = len(stored) + np.arange(missing.sum())
            parts.append(pa.Table.from_batches([self._encoding()(batch.filter(pa.array(missing)))]))
        rows = pa.concat_tables(parts).combine_chunks().take(pa.array(place)).combine_chunks()
        return pa.RecordBatch.from_arrays(
            [rows[name].combine_chunks() for name in self._schema.names], schema=self._schema
        )


def _without_direction(rows: pa.Table) -> npt.NDArray[np.bool_]:
    """Rows with a vector that is zero or no number, as mnemic once stored them: they are encoded again, and told."""
    lost = np.zeros(len(rows), bool)
    for name in rows.column_names:
        if pa.types.is_fixed_size_list(rows.schema.field(name).type):
            rows_of_column = vectors(rows[name], copy=False)
            lost |= ~np.isfinite(rows_of_column).all(axis=1) | ~rows_of_column.any(axis=1)
    return lost


def text_hashes(texts: pa.Array) -> Hashes:
    """64-bit hash of each text (UTF-8), uint64 [texts]: a polynomial of its bytes, from differences of running sums."""
    strings = texts.cast(pa.large_binary())
    _, offsets, data = strings.buffers()
    ends = np.frombuffer(offsets, np.int64)[strings.offset : strings.offset + len(strings) + 1]
    values = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]] if data is not None else np.zeros(0, np.uint8)
    ends = ends - ends[0]
    powers = _powers(_BASE, len(values))
    sums = np.zeros(len(values) + 1, np.uint64)
    np.cumsum((values.astype(np.uint64) + np.uint64(1)) * powers[:-1], out=sums[1:])
    mixed = (sums[ends[1:]] - sums[ends[:-1]]) * _powers(_INVERSE, len(values))[ends[:-1]]
    hashes: Hashes = mixed ^ (np.diff(ends).astype(np.uint64) * np.uint64(0xBF58476D1CE4E5B9))
    return hashes


def _powers(base: int, count: int) -> Hashes:
    """base**0 ... base**count modulo 2**64."""
    factors = np.full(count + 1, base, np.uint64)
    factors[0] = 1
    return np.cumprod(factors, dtype=np.uint64)


def _place(sorted_hashes: Hashes, hashes: Hashes) -> npt.NDArray[np.int64]:
    """Where each of ``asked`` is in the ascending ``known``, or -1."""
    if len(sorted_hashes) == 0:
        return np.full(len(hashes), -1)
    places = np.minimum(np.searchsorted(sorted_hashes, hashes), len(sorted_hashes) - 1)
    return np.where(sorted_hashes[places] == hashes, places, -1)
