"""The search as an operator: the nearest neighbours of every row of the datastore among the rows of its store.

It is the master result: what the teacher says follows from it. Rows of the query's own document are masked here, which
holds whatever is asked later; documents that are nearly alike are masked when the distribution is made, from these same
neighbours (`operators.teacher.operator`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemic import schema
from mnemic.catalogue import CATALOGUE
from mnemic.errors import StepError
from mnemic.neighbours.codes import rounded
from mnemic.neighbours.exact import ExactSearch
from mnemic.neighbours.layout import InMemoryKeys, Layout, centroids_of, coder_of, lists_of, measured
from mnemic.neighbours.lists import Lists
from mnemic.neighbours.parts import Part, Partial, Range, candidates_of, merged, ranges
from operators.contracts import Corpus, Progress, Resources, refuse
from operators.sections import Driven, Section
from operators.teacher.quantised import Quantised
from operators.teacher.store import StoredKeys

if TYPE_CHECKING:
    import torch

NO_NEIGHBOUR = 0xFFFFFFFF
"""Row number in ``neighbours`` where the store has fewer rows to offer; its distance is infinite."""

EXACT_ROWS = 20_000
"""Stores up to this size are searched exactly, which takes seconds."""

_SELF_TEST = 256
_KEY_BYTES, _ROW_BYTES = 6, 64  # of a component: keys and codes, twice while they are sorted; and of the rest of a row


@dataclass(frozen=True)
class Neighbours:
    """Columns ``neighbours`` and ``distances`` of the ``k`` nearest rows of the store, for rows of the datastore.

    ``search`` is "exact", "lists", "ivfpq", or "auto": exact up to 20,000 rows, then lists. ``recall`` is the share of
    a row's 64 nearest that lists, or faiss's codes, are to find; distances of those found are exact either way. Where a
    store takes more than ``memory_gb``, workers hold ranges of its lists; what is found is the same.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(gpus=1.0, memory=2 << 30)

    k: int = 256
    search: str = "auto"
    recall: float = 0.98
    memory_gb: float = field(default=8.0, metadata={"identity": False})

    def __post_init__(self) -> None:
        refuse(
            f"The {name} of the neighbours is {getattr(self, name)!r}; give {wanted}."
            for name, right, wanted in (
                ("k", self.k >= 1, "a number of at least 1, such as 256"),
                ("search", self.search in ("auto", "exact", "lists", "ivfpq"), "auto, exact, lists or ivfpq"),
                ("recall", 0 < self.recall <= 1, "a share above 0 and at most 1, such as 0.98"),
                ("memory_gb", self.memory_gb > 0, "a number above 0, such as 8"),
            )
            if not right
        )

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema(
            [
                pa.field("neighbours", pa.list_(pa.uint32(), self.k)),  # row numbers of the store, nearest first
                pa.field("distances", pa.list_(pa.float32(), self.k)),  # squared L2
            ]
        )

    def way(self, rows: int) -> str:
        """How a store of so many rows is searched: exact, lists or ivfpq."""
        if self.search != "auto":
            return self.search
        return "exact" if rows <= EXACT_ROWS else "lists"

    def parts(self, rows: int, width: int) -> int:
        """Into how many parts a store of keys of this width is divided."""
        bytes_of = rows * (_KEY_BYTES * width + _ROW_BYTES)
        return max(1, math.ceil(bytes_of / (self.memory_gb * 1e9))) if self.way(rows) == "lists" else 1

    def fit(self, corpus: Corpus, device: str, progress: Progress) -> FittedNeighbours:
        """Choose lists, and how many are looked at; hold the store, where it fits, and check the search on itself."""
        keys = StoredKeys.of(corpus, device, progress)
        rows, width, way = len(keys), keys.take(np.zeros(1, np.int64))[0].shape[1], self.way(len(keys))
        found: dict[str, Any] = {"search": way, "keys": rows}
        empty = {"lists": schema.lists(width).empty_table()}
        if way == "ivfpq":
            quantised, chosen = Quantised.fit(keys, self.k, self.recall)
            _self_test(quantised, *_sampled(keys), self.k)
            return FittedNeighbours(self, keys, quantised, empty, {**found, **chosen})
        if way == "exact":
            held = keys.held()
            exact = ExactSearch(held.keys, held.document)
            _self_test(exact, *_sampled(held), self.k)
            return FittedNeighbours(self, keys, exact, empty, found)
        whole = self.parts(rows, width) == 1
        store: StoredKeys | InMemoryKeys = keys.held() if whole else keys
        coder = coder_of(store)
        if isinstance(store, InMemoryKeys):
            store = replace(store, codes=coder.codes(store.keys))
        centroids = centroids_of(store, coder)
        told = measured(store, coder, centroids, self.recall)
        found |= {"lists": len(centroids), "probes": told.probes, "recall": told.recall}
        lists = None
        if isinstance(store, InMemoryKeys):
            lists = Lists(store.keys, store.document, Layout(centroids, told.probes), coder, codes=store.codes)
            _self_test(lists, *_sampled(store), self.k)
        return FittedNeighbours(self, keys, lists, {"lists": _table(centroids, told.sizes)}, found)

    def restore(self, state: pa.Table, corpus: Corpus, device: str) -> FittedNeighbours:
        """Hold the store in another process: its rows are read again, what was chosen is given."""
        keys = StoredKeys.of(corpus, device)
        if self.way(len(keys)) == "ivfpq":
            return FittedNeighbours(self, keys, Quantised.restore(state, keys))
        held = keys.held()
        if self.way(len(keys)) == "exact":
            return FittedNeighbours(self, keys, ExactSearch(held.keys, held.document))
        centroids, _ = _layout(corpus.table("lists"), device)
        return FittedNeighbours(self, keys, Lists(held.keys, held.document, Layout(centroids, _probes(state))))

    def part(self, state: pa.Table, corpus: Corpus, device: str, lists: Range) -> PartOfStore:
        """Hold the rows of a range of lists; the other keys are only looked at."""
        import torch

        keys = StoredKeys.of(corpus, device)
        centroids, sizes = _layout(corpus.table("lists"), device)
        coder, layout = coder_of(keys), Layout(centroids, _probes(state))
        heads = rounded(centroids)
        held: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        read = 0
        for key, document in keys.batches():
            nearest = lists_of(heads, coder.codes(key))
            here = torch.nonzero((nearest >= lists[0]) & (nearest < lists[1])).flatten()
            held.append((key[here], document[here], here + read))
            read += len(key)
        stored, document, rows = (torch.cat(column) for column in zip(*held, strict=True))
        searched = Lists(stored, document, layout, coder, rows)
        _self_test(searched, *_sampled(InMemoryKeys(stored, document)), self.k, rows)
        return PartOfStore(self, keys, Part(searched, lists, sizes))

    def ranges(self, lists: pa.Table) -> list[Range]:
        """The ranges of lists that workers hold, of a store whose table of lists this is."""
        ordered = lists.sort_by("list")
        sizes, width = ordered["rows"].to_numpy(), ordered.schema.field("centroid").type.list_size
        return ranges(sizes, self.parts(int(sizes.sum()), width))

    def merge(self, said: Sequence[pa.RecordBatch], rows: pa.Array) -> pa.RecordBatch:
        """The columns for the rows with these ids, from what all parts ``said`` of them, and of others."""
        known = []
        for batch in said:
            place = places_in(batch["row"].to_numpy(), rows.to_numpy())
            here = place >= 0
            known.append(Partial(place[here], _matrix(batch["order"])[here], _matrix(batch["named"])[here]))
        return self.columns(*merged(known, len(rows), self.k))

    def columns(self, distances: NDArray[np.float32], rows: NDArray[np.int64]) -> pa.RecordBatch:
        """Distances [b, k] and rows [b, k], -1 for none, as they are stored."""
        neighbours = np.where(rows < 0, NO_NEIGHBOUR, rows).astype(np.uint32)
        made = [_column(neighbours), _column(distances)]
        return pa.RecordBatch.from_arrays(made, schema=self.output(pa.schema([])))


SECTION = Section(
    "neighbours",
    Neighbours,
    Driven("pipelines.steps.neighbours:neighbours_step", after=("datastore",), datasets=(CATALOGUE["lists"],)),
    on="language_model",
)


@dataclass
class FittedNeighbours:
    """A store, in memory unless it is searched in parts; called with rows of the datastore, finds their neighbours."""

    settings: Neighbours
    keys: StoredKeys
    store: ExactSearch | Lists | Quantised | None
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> pa.Table:
        """How many lists are looked at; where the lists lie stands in the table `lists`."""
        if isinstance(self.store, Quantised):
            return self.store.state
        return pa.table({"probes": [self.summary.get("probes", 0)]})

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        assert self.store is not None, "a store in parts is asked part by part"
        queries, document = self.keys.queries(batch["key"]), self.keys.numbers(batch["document"])
        return self.settings.columns(*self.store.search(queries, document, self.settings.k))


@dataclass(frozen=True)
class PartOfStore:
    """Some lists of a store, in memory; called with all rows of some documents it says what it knows of them."""

    settings: Neighbours
    keys: StoredKeys
    held: Part

    def __call__(self, batch: pa.RecordBatch) -> pa.Table:
        """Columns as `partials` has them, for the rows (by ``_rowid``) that look into these lists."""
        import torch

        queries, document = self.keys.queries(batch["key"]), self.keys.numbers(batch["document"])
        stored = np.array(batch["split"].cast(pa.string())) == "store"
        found = self.held.search(queries, document, torch.from_numpy(stored).to(document.device), self.settings.k)
        columns = [batch["_rowid"].take(pa.array(found.queries)), _column(found.order), _column(found.named)]
        return pa.Table.from_arrays(columns, schema=partials(self.settings.k, len(self.keys)))


def partials(k: int, rows: int) -> pa.Schema:
    """What a part says of a row of the datastore, of a store with so many ``rows``."""
    count = candidates_of(k, rows)
    return pa.schema(
        [
            pa.field("row", pa.uint64(), nullable=False),  # row id of the query
            pa.field("order", pa.list_(pa.int64(), count), nullable=False),  # see mnemic.neighbours.parts.Partial
            pa.field("named", pa.list_(pa.int64(), count), nullable=False),
        ]
    )


def places_in(wanted: NDArray[np.uint64], ids: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The place of each wanted id among ``ids``, of which there are some; -1 where it is none of them."""
    order = np.argsort(ids)
    place = order[np.searchsorted(ids[order], wanted).clip(max=len(ids) - 1)]
    return np.where(ids[place] == wanted, place, -1)


def _table(centroids: torch.Tensor, sizes: NDArray[np.int64]) -> pa.Table:
    values = centroids.cpu().numpy()
    columns = [pa.array(np.arange(len(values), dtype=np.int32)), pa.array(sizes), _column(values)]
    return pa.Table.from_arrays(columns, schema=schema.lists(values.shape[1]))


def _layout(lists: pa.Table, device: str) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Centroids and sizes of a table of lists."""
    import torch

    ordered = lists.sort_by("list").combine_chunks()
    centroid = ordered["centroid"].combine_chunks()
    values = centroid.flatten().to_numpy().reshape(-1, centroid.type.list_size)
    return torch.from_numpy(np.array(values, np.float32)).to(device), ordered["rows"].to_numpy().copy()


def _probes(state: pa.Table) -> int:
    return int(state["probes"][0].as_py())


def _column(values: NDArray[np.generic]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _matrix(column: pa.Array) -> NDArray[np.int64]:
    found: NDArray[np.int64] = column.flatten().to_numpy().reshape(len(column), column.type.list_size)
    return found


def _sampled(keys: StoredKeys | InMemoryKeys) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Some keys, and their rows."""
    rows = np.sort(np.random.default_rng(0).permutation(len(keys))[:_SELF_TEST])
    return keys.take(rows)[0], rows


def _self_test(
    store: ExactSearch | Lists | Quantised,
    keys: torch.Tensor,
    rows: NDArray[np.int64],
    k: int,
    names: torch.Tensor | None = None,
) -> None:
    """Every one of 256 stored rows must find itself, or k copies of itself, at distance 0."""
    import torch

    wanted = rows if names is None else names.cpu().numpy()[rows]
    distances, found = store.search(keys, torch.full((len(keys),), -1, device=keys.device), k)
    itself = (found == wanted[:, None]).any(1)
    if not ((distances[:, 0] == 0) & (itself | (distances[:, -1] == 0))).all():
        raise StepError(
            "The search does not find stored rows of the datastore at distance 0, so its keys are damaged or not "
            "numbers; rebuild the datastore."
        )
