"""A share of the kept documents that stands for all of them, as a column; nothing is deleted.

Documents are chosen, not events: all that is trained is made of documents (their split, their tokens), and an event
alone is no text that a language model would meet. A document lies in the leaf of the cluster tree that has most of its
characters, at the sum of its events' vectors. Beside the subset there is always a random one of equal size and with as
many documents of every source, since a subset that is not compared with one says nothing: "better than random" is what
a comparison may show, and no promise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa

from mnemic.arrays import Flags, Floats, Integers
from mnemic.canaries import planted
from mnemic.errors import RecipeError
from mnemic.ids import unit_draw
from mnemic.kept import SUBSET
from operators.contracts import Progress, Resources, bounds, refuse
from operators.sections import Driven, Section, shared_field

METHODS = ("leaves",)
TRAINED = ("leaves", "random", "all")

AT_ONCE = 1 << 16
"""Documents whose vectors are in memory at a time."""

MOST = 1 << 14
"""Documents of a leaf; a larger one is divided evenly, since the work of a leaf grows with its square."""


class LeafCorpus(Protocol):
    """The documents that may be chosen, by ascending id, and the vectors of their events."""

    def documents(self) -> pa.Table:
        """Columns id, source and leaf, the path of the leaf that has most of the document's text."""

    def vectors(self, places: Sequence[int]) -> Floats:
        """The sums of the vectors of the events of the documents at ``places``, float64 [n, d]."""


@dataclass(frozen=True)
class Subset:
    """Adds `subset` to documents: {leaves, random, trained}, what each method takes and whether it may be trained on.

    ``share`` of the documents that have events, default 0.3. ``method``: "leaves", the only one, takes of every leaf of
    the cluster tree a number proportional to its size to the power of ``alpha`` (default 0.5; 1 takes the same share of
    all), never below 8 or the whole leaf, and in a leaf the documents that are farthest from each other. ``random``
    stays on. ``train``: documents of the datastore's part `store`: those of "leaves" (default) or "random", or "all".
    Documents of the source ``planted`` are trained on and counted nowhere.
    """

    share: float = 0.3
    method: str = "leaves"
    random: bool = True
    alpha: float = 0.5
    train: str = "leaves"
    seed: int = 0
    planted: str = shared_field("", said_by="curate.planted", identity=False)
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()

    def __post_init__(self) -> None:
        refuse(
            bounds(
                self,
                "The subset's {name} is {value!r}; give {bound}.",
                (
                    ("share", 0 < self.share < 1, "a share above 0 and below 1, such as 0.3"),
                    ("method", self.method in METHODS, "leaves"),
                    ("alpha", 0 <= self.alpha <= 1, "a power from 0 to 1, such as 0.5"),
                    ("train", self.train in TRAINED, f"one of {', '.join(TRAINED)}"),
                ),
            )
        )
        if self.random is not True:
            raise RecipeError(
                "`random` of the subset cannot be off: a subset is always shown beside a random one of equal size and "
                "source mix. Leave `random` out."
            )

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field("subset", SUBSET, nullable=False)])

    def fit(self, corpus: LeafCorpus, device: str, progress: Progress) -> Chosen:
        """Choose. ``summary`` has the documents, how many are taken, and both mixes of sources."""
        from operators.subset.select import farthest, gridded, quotas

        rows = corpus.documents()
        ids, sources, leaves = (rows[name].to_pylist() for name in ("id", "source", "leaf"))
        paths, leaf_of = np.unique(np.array(leaves, dtype=np.str_), return_inverse=True)
        leaf_of = _divided(leaf_of)
        sizes = np.bincount(leaf_of)
        parts = quotas(sizes.tolist(), self.share, self.alpha)
        order = np.argsort(leaf_of, kind="stable")
        ends = np.cumsum(sizes)
        chosen = np.zeros(len(ids), np.bool_)
        done = 0
        for first, last in _groups(sizes.tolist()):
            places = order[ends[first] - sizes[first] : ends[last - 1]]
            points = gridded(corpus.vectors(places.tolist()))
            begin = 0
            for leaf in range(first, last):
                mine = slice(begin, begin + int(sizes[leaf]))
                chosen[places[mine][farthest(points[mine], int(parts[leaf]))]] = True
                begin = mine.stop
            done += len(places)
            progress(done, len(ids))
        drawn = self._drawn(ids, sources, chosen)
        return Chosen(
            np.array(ids, dtype=np.bytes_),
            chosen,
            drawn,
            self.train,
            _summary(sources, chosen, drawn, paths),
            planted=self.planted,
        )

    def _drawn(self, ids: Sequence[str], sources: Sequence[str], chosen: Flags) -> Flags:
        """As many documents of each source as were chosen, those with the smallest draws."""
        left = Counter(source for source, one in zip(sources, chosen.tolist(), strict=True) if one)
        drawn = np.zeros(len(ids), np.bool_)
        for place in sorted(
            range(len(ids)), key=lambda place: (unit_draw(self.seed, "subset", ids[place]), ids[place])
        ):
            if left[sources[place]]:
                left[sources[place]] -= 1
                drawn[place] = True
        return drawn

    def restore(self, state: pa.Table, corpus: Any, device: str) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
        """What was chosen, in another process."""
        leaves, drawn = (np.asarray(state[name], np.bool_) for name in ("leaves", "random"))
        ids = np.array(state["id"].to_pylist(), dtype=np.bytes_)
        return Chosen(ids, leaves, drawn, self.train, planted=self.planted)


@dataclass(frozen=True, eq=False)
class Chosen:
    """The documents ``ids``, sorted, and whether each method takes them, bool [n]; others are taken by none."""

    ids: Any
    leaves: Flags
    drawn: Flags
    train: str
    summary: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    planted: str = ""

    @property
    def state(self) -> pa.Table:
        ids = pa.array(self.ids.astype(str), pa.string())
        return pa.table({"id": ids, "leaves": pa.array(self.leaves), "random": pa.array(self.drawn)})

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The column, in the order of ``batch``'s `id`; with canaries it has the `source` too."""
        keys = np.array(batch.column("id").cast(pa.binary()).to_pylist() or [b""], dtype=np.bytes_)[: batch.num_rows]
        places = np.minimum(np.searchsorted(self.ids, keys), max(len(self.ids) - 1, 0))
        there = self.ids[places] == keys if len(self.ids) else np.zeros(len(keys), np.bool_)
        leaves, drawn = (there & flags[places] if len(flags) else there for flags in (self.leaves, self.drawn))
        trained = {"leaves": leaves, "random": drawn}.get(self.train, np.ones(len(keys), np.bool_))
        if self.planted:
            trained = trained | planted(batch.column("source"))
        struct = pa.StructArray.from_arrays(
            [pa.array(flags) for flags in (leaves, drawn, trained)], fields=list(SUBSET)
        )
        schema = pa.schema([pa.field("subset", SUBSET, nullable=False)])
        return pa.RecordBatch.from_arrays([struct], schema=schema)


def _divided(leaf_of: Integers) -> Integers:
    """The number of the leaf, or of its part, of each document, int64 [n]; those of a large leaf take turns."""
    order = np.argsort(leaf_of, kind="stable")
    sizes = np.bincount(leaf_of)
    rank = np.empty(len(leaf_of), np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    parts = -(-sizes // MOST)
    numbers: Integers = (np.cumsum(parts) - parts)[leaf_of] + rank % np.maximum(parts, 1)[leaf_of]
    return numbers


def _groups(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges of leaves that have `AT_ONCE` documents together at most."""
    first = rows = 0
    for leaf, size in enumerate(sizes):
        if leaf > first and rows + size > AT_ONCE:
            yield first, leaf
            first, rows = leaf, 0
        rows += size
    if first < len(sizes):
        yield first, len(sizes)


def _summary(sources: Sequence[str], chosen: Flags, drawn: Flags, paths: Any) -> dict[str, Any]:
    names = np.array(sources, dtype=np.str_)
    mixes = {
        name: dict(sorted(Counter(names[flags].tolist()).items()))
        for name, flags in (("leaves", chosen), ("random", drawn))
    }
    return {"documents": len(sources), "of_leaves": len(paths), "taken": int(chosen.sum()), "sources": mixes}


def _as_curated(settings: dict[str, Any] | None, sections: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings stand below `curate`."""
    if settings is not None:
        raise ValueError("write it below `curate`: `curate: {subset: {share: 0.3}}`")
    curate = sections.get("curate")
    if curate is None or curate.subset is None:
        return None
    if sections.get("cluster") is None:
        raise ValueError("a subset takes documents of the leaves of the cluster tree, and `cluster` is off; turn it on")
    return dict(curate.subset)


SECTION = Section(
    "subset",
    Subset,
    Driven("pipelines.steps.subset:subset_step", after=("deduplicate", "cluster")),
    reads=("cluster",),
    complete=_as_curated,
)
