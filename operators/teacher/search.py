"""The search of a store: lists or codes chosen for it, its keys read, and the neighbours of rows in it.

`operators.teacher.neighbours` has the settings. A plan reads those, and imports nothing of what stands here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemic import schema
from mnemic.errors import StepError
from mnemic.neighbours.codes import rounded
from mnemic.neighbours.exact import ExactSearch
from mnemic.neighbours.layout import InMemoryKeys, Layout, centroids_of, coder_of, lists_of, measured
from mnemic.neighbours.lists import Lists
from mnemic.neighbours.parts import Part, Partial, Range, candidates_of, merged
from mnemic.splits import STORED
from mnemic.vectors import column, vectors
from operators.contracts import Corpus, Progress
from operators.teacher.quantised import Quantised
from operators.teacher.store import StoredKeys

if TYPE_CHECKING:
    import torch

_SELF_TEST = 256


class SearchSettings(Protocol):
    """`operators.teacher.neighbours.Neighbours`, as the search sees it."""

    @property
    def k(self) -> int: ...
    @property
    def recall(self) -> float: ...
    def way(self, rows: int) -> str: ...
    def parts(self, rows: int, width: int) -> int: ...
    def columns(self, distances: NDArray[np.float32], rows: NDArray[np.int64]) -> pa.RecordBatch: ...


def fit(settings: SearchSettings, corpus: Corpus, device: str, progress: Progress) -> FittedNeighbours:
    """See `Neighbours.fit`."""
    keys = StoredKeys.of(corpus, device, progress)
    rows, width, way = len(keys), keys.take(np.zeros(1, np.int64))[0].shape[1], settings.way(len(keys))
    summary: dict[str, Any] = {"search": way, "keys": rows}
    empty = {"lists": schema.lists(width).empty_table()}
    if way == "ivfpq":
        quantised, chosen = Quantised.fit(keys, settings.k, settings.recall)
        _self_test(quantised, *_sampled(keys), settings.k)
        return FittedNeighbours(settings, keys, quantised, empty, {**summary, **chosen})
    if way == "exact":
        in_memory = keys.in_memory()
        exact = ExactSearch(in_memory.keys, in_memory.document)
        _self_test(exact, *_sampled(in_memory), settings.k)
        return FittedNeighbours(settings, keys, exact, empty, summary)
    whole = settings.parts(rows, width) == 1
    store: StoredKeys | InMemoryKeys = keys.in_memory() if whole else keys
    coder = coder_of(store)
    if isinstance(store, InMemoryKeys):
        store = replace(store, codes=coder.codes(store.keys))
    centroids = centroids_of(store, coder)
    measurement = measured(store, coder, centroids, settings.recall)
    summary |= {"lists": len(centroids), "probes": measurement.probes, "recall": measurement.recall}
    lists = None
    if isinstance(store, InMemoryKeys):
        lists = Lists(store.keys, store.document, Layout(centroids, measurement.probes), coder, codes=store.codes)
        _self_test(lists, *_sampled(store), settings.k)
    return FittedNeighbours(settings, keys, lists, {"lists": _table(centroids, measurement.sizes)}, summary)


def restore(settings: SearchSettings, state: pa.Table, corpus: Corpus, device: str) -> FittedNeighbours:
    """See `Neighbours.restore`."""
    keys = StoredKeys.of(corpus, device)
    if settings.way(len(keys)) == "ivfpq":
        return FittedNeighbours(settings, keys, Quantised.restore(state, keys))
    in_memory = keys.in_memory()
    if settings.way(len(keys)) == "exact":
        return FittedNeighbours(settings, keys, ExactSearch(in_memory.keys, in_memory.document))
    centroids, _ = _layout(corpus.table("lists"), device)
    return FittedNeighbours(
        settings, keys, Lists(in_memory.keys, in_memory.document, Layout(centroids, _probes(state)))
    )


def part(settings: SearchSettings, state: pa.Table, corpus: Corpus, device: str, lists: Range) -> PartOfStore:
    """See `Neighbours.part`."""
    import torch

    keys = StoredKeys.of(corpus, device)
    centroids, sizes = _layout(corpus.table("lists"), device)
    coder, layout = coder_of(keys), Layout(centroids, _probes(state))
    heads = rounded(centroids)
    parts: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    read = 0
    for key, document in keys.batches():
        nearest = lists_of(heads, coder.codes(key))
        here = torch.nonzero((nearest >= lists[0]) & (nearest < lists[1])).flatten()
        parts.append((key[here], document[here], here + read))
        read += len(key)
    stored, document, rows = (torch.cat(column) for column in zip(*parts, strict=True))
    searched = Lists(stored, document, layout, coder, rows)
    _self_test(searched, *_sampled(InMemoryKeys(stored, document)), settings.k, rows)
    return PartOfStore(settings, keys, Part(searched, lists, sizes))


def merge(settings: SearchSettings, answers: Sequence[pa.RecordBatch], rows: pa.Array) -> pa.RecordBatch:
    """See `Neighbours.merge`."""
    partials = []
    for batch in answers:
        place = places_in(batch["row"].to_numpy(), rows.to_numpy())
        here = place >= 0
        order, named = (vectors(batch[name], copy=False) for name in ("order", "named"))
        partials.append(Partial(place[here], order[here], named[here]))
    return settings.columns(*merged(partials, len(rows), settings.k))


@dataclass
class FittedNeighbours:
    """A store, in memory unless it is searched in parts; called with rows of the datastore, finds their neighbours."""

    settings: SearchSettings
    keys: StoredKeys
    store: ExactSearch | Lists | Quantised | None
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> pa.Table:
        """The number of probes; the lists themselves are in the table `lists`."""
        if isinstance(self.store, Quantised):
            return self.store.state
        return pa.table({"probes": [self.summary.get("probes", 0)]})

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        assert self.store is not None, "a store in parts is asked part by part"
        queries, document = self.keys.queries(batch["key"]), self.keys.numbers(batch["document"])
        return self.settings.columns(*self.store.search(queries, document, self.settings.k))


@dataclass(frozen=True)
class PartOfStore:
    """Some lists of a store, in memory; called with all rows of some documents it gives their partial answers."""

    settings: SearchSettings
    keys: StoredKeys
    part: Part

    def __call__(self, batch: pa.RecordBatch) -> pa.Table:
        """Columns as `partials` has them, for the rows (by ``_rowid``) that probe these lists."""
        import torch

        queries, document = self.keys.queries(batch["key"]), self.keys.numbers(batch["document"])
        stored = np.array(batch["split"].cast(pa.string())) == STORED
        partial = self.part.search(queries, document, torch.from_numpy(stored).to(document.device), self.settings.k)
        columns = [batch["_rowid"].take(pa.array(partial.queries)), column(partial.order), column(partial.named)]
        return pa.Table.from_arrays(columns, schema=partials(self.settings.k, len(self.keys)))


def partials(k: int, rows: int) -> pa.Schema:
    """Schema of a part's answer about rows of the datastore, for a store with so many ``rows``."""
    count = candidates_of(k, rows)
    return pa.schema(
        [
            pa.field("row", pa.uint64(), nullable=False),  # row id of the query
            pa.field("order", pa.list_(pa.int64(), count), nullable=False),  # see mnemic.neighbours.parts.Partial
            pa.field("named", pa.list_(pa.int64(), count), nullable=False),
        ]
    )


def places_in(values: NDArray[np.uint64], ids: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The place of each of ``values`` uint64 [n] among ``ids`` uint64 [m], m at least 1: int64 [n], -1 for none."""
    order = np.argsort(ids)
    place = order[np.searchsorted(ids[order], values).clip(max=len(ids) - 1)]
    return np.where(ids[place] == values, place, -1)


def _table(centroids: torch.Tensor, sizes: NDArray[np.int64]) -> pa.Table:
    values = centroids.cpu().numpy()
    columns = [pa.array(np.arange(len(values), dtype=np.int32)), pa.array(sizes), column(values)]
    return pa.Table.from_arrays(columns, schema=schema.lists(values.shape[1]))


def _layout(lists: pa.Table, device: str) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Centroids float32 [lists, d] and sizes int64 [lists] of a table of lists."""
    import torch

    ordered = lists.sort_by("list").combine_chunks()
    centroids = vectors(ordered["centroid"], np.float32)
    return torch.from_numpy(centroids).to(device), ordered["rows"].to_numpy().copy()


def _probes(state: pa.Table) -> int:
    return int(state["probes"][0].as_py())


def _sampled(keys: StoredKeys | InMemoryKeys) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Some keys float16 [s, d], and their rows int64 [s]."""
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

    expected = rows if names is None else names.cpu().numpy()[rows]
    distances, nearest = store.search(keys, torch.full((len(keys),), -1, device=keys.device), k)
    itself = (nearest == expected[:, None]).any(1)
    if not ((distances[:, 0] == 0) & (itself | (distances[:, -1] == 0))).all():
        raise StepError(
            "The search does not find stored rows of the datastore at distance 0, so its keys are damaged or not "
            "numbers; rebuild the datastore."
        )
