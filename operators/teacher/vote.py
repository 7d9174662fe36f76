"""What neighbours vote for: the scale of their distances chosen, the store's tokens read, and the columns of rows.

`operators.teacher.operator` has the settings. A plan reads those, and imports nothing of what stands here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mnemic.splits import STORED, VALIDATION_PREFIX
from mnemic.vectors import vectors
from operators.contracts import Corpus, Progress
from operators.teacher.copies import Groups
from operators.teacher.distribution import distribution
from operators.teacher.neighbours import NO_NEIGHBOUR
from operators.teacher.store import ids_of, places_of
from operators.teacher.targets import target_columns
from operators.teacher.temperature import FACTORS, by_geometry, tuned

_COLUMNS = ("document", "token", "neighbours", "distances")
_GEOMETRY_ROWS = 1024
_VALIDATION_ROWS = 4096


class VoteSettings(Protocol):
    """`operators.teacher.operator.Teacher`, as the vote sees it."""

    @property
    def support(self) -> int: ...
    @property
    def temperature(self) -> float | None: ...
    @property
    def mask_similarity(self) -> float | None: ...
    def output(self, schema: pa.Schema) -> pa.Schema: ...


def fit(settings: VoteSettings, corpus: Corpus, device: str, progress: Progress) -> FittedTeacher:
    """See `Teacher.fit`."""
    store = _Store.read(settings, corpus, progress)
    places = _sample(store.places, _GEOMETRY_ROWS)
    distances, votes, neighbours = store.votes(corpus.take(places.tolist(), _COLUMNS))
    there = (neighbours != NO_NEIGHBOUR).sum(axis=1)
    summary: dict[str, Any] = {"keys": len(store.token), "alike": store.groups.alike}
    summary["masked"] = round(1.0 - float((votes >= 0).sum() / max(1, there.sum())), 4)
    summary["alone"] = round(float(((votes >= 0).sum(axis=1) == 0).mean()), 4)
    temperature = settings.temperature
    if temperature is None:
        temperature = summary["geometry"] = by_geometry(distances, votes)
    if len(store.validation):
        held_out = corpus.take(_sample(store.validation, _VALIDATION_ROWS).tolist(), (*_COLUMNS, "base_logprob"))
        distances, votes, _ = store.votes(held_out)
        token, base = (held_out[name].to_numpy() for name in ("token", "base_logprob"))
        factors = (1.0,) if settings.temperature is not None else FACTORS
        best = tuned(distances, votes, token.astype(np.int32), base, temperature, factors)
        temperature = best.temperature
        summary |= {"weight": best.weight, "base_perplexity": best.base_perplexity, "perplexity": best.perplexity}
        summary["validation_rows"] = len(held_out)
    return FittedTeacher(settings, store, temperature, {"temperature": temperature, **summary})


def restore(settings: VoteSettings, state: pa.Table, corpus: Corpus, device: str) -> FittedTeacher:
    """See `Teacher.restore`."""
    store = _Store.read(settings, corpus, lambda done, total: None)
    return FittedTeacher(settings, store, state["temperature"][0].as_py())


@dataclass
class FittedTeacher:
    """The tokens of the store and a temperature; called with rows of the datastore it gives their teacher columns."""

    settings: VoteSettings
    store: _Store
    temperature: float
    summary: dict[str, Any] = field(default_factory=dict)

    tables: ClassVar[dict[str, pa.Table]] = {}

    @property
    def state(self) -> pa.Table:
        return pa.table({"temperature": [self.temperature]})

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        label = batch["token"].to_numpy(zero_copy_only=False).astype(np.int32)
        distances, votes, _ = self.store.votes(pa.table(batch))
        teacher = distribution(distances, votes, label, self.temperature, self.settings.support)
        schema = self.settings.output(batch.schema)
        return pa.RecordBatch.from_arrays(
            target_columns(teacher, schema.field("teacher_ids").type.value_type), schema=schema
        )


@dataclass(frozen=True)
class _Store:
    """Token int32 [n] and group int64 [n] of every row of the store.

    ``places`` and ``validation`` int64 are the places of the store's and the validation rows in the corpus.
    """

    token: NDArray[np.int32]
    group: NDArray[np.int64]
    groups: Groups
    places: NDArray[np.int64]
    validation: NDArray[np.int64]

    @classmethod
    def read(cls, settings: VoteSettings, corpus: Corpus, progress: Progress) -> _Store:
        columns: list[tuple[pa.Array, pa.Array]] = []
        stored, held_out = [], []
        read = 0
        for batch in corpus.batches(("document", "token", "split")):
            here = pc.equal(batch["split"], STORED)
            columns.append((batch["document"].filter(here), batch["token"].filter(here)))
            stored.append(here.to_numpy(zero_copy_only=False))
            held_out.append(pc.starts_with(batch["split"], VALIDATION_PREFIX).to_numpy(zero_copy_only=False))
            read += batch.num_rows
            progress(read, len(corpus))
        documents = ids_of(document for document, _ in columns)
        pairs = corpus.table("pairs") if settings.mask_similarity is not None else _NO_PAIRS
        groups = Groups.of(documents, pairs)
        token = np.concatenate([token.to_numpy(zero_copy_only=False).astype(np.int32) for _, token in columns])
        group = groups.group[np.concatenate([places_of(document, documents) for document, _ in columns])]
        places, validation = (np.flatnonzero(np.concatenate(flags)) for flags in (stored, held_out))
        return cls(token, group, groups, places, validation)

    def votes(self, rows: pa.Table) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.uint32]]:
        """Distances float32, next tokens int32 and rows uint32 of the neighbours of ``rows``, each [b, k].

        A token is -1 where there is no neighbour, or where it is masked.
        """
        table = rows.select(["document", "neighbours", "distances"]).combine_chunks()
        neighbours, distances = (vectors(table[name], copy=False) for name in ("neighbours", "distances"))
        own = self.groups.numbers(table["document"].combine_chunks())
        place = np.where(neighbours == NO_NEIGHBOUR, 0, neighbours)
        silent = (neighbours == NO_NEIGHBOUR) | (self.group[place] == own[:, None])
        return distances, np.where(silent, -1, self.token[place]).astype(np.int32), neighbours


_NO_PAIRS = pa.schema([("document", pa.string()), ("other", pa.string())]).empty_table()


def _sample(places: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """A fixed sample of ``places``, int64 [size], ascending."""
    return np.sort(np.random.default_rng(0).permutation(places)[:size])
