"""The teacher as an operator: neighbours of every row of the datastore, and the distribution that they vote for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mnemic.errors import StepError
from mnemic.neighbours.exact import Exact
from mnemic.neighbours.lists import Layout, Lists
from operators.contracts import Corpus, Progress, Resources, refuse
from operators.teacher.distribution import distribution
from operators.teacher.targets import target_columns, target_fields

if TYPE_CHECKING:
    import torch

NO_NEIGHBOUR = 0xFFFFFFFF
"""Row number in ``neighbours`` where the store has fewer rows to offer; its distance is infinite."""

EXACT_ROWS = 20_000
"""Stores up to this size are searched exactly, which takes seconds."""

_COLUMNS = ("document", "position", "key", "token", "split")
_SELF_TEST = 256
_TEMPERATURE_SAMPLE = 1024
_TEMPERATURE_SHARE = 0.2


@dataclass(frozen=True)
class Teacher:
    """Columns ``neighbours``, ``distances`` and ``teacher_*`` for rows of the datastore.

    ``neighbours`` is k, ``support`` how many tokens of the distribution are kept, ``temperature`` its scale (None: from
    the store). ``search`` is "exact", "lists", or "auto": exact up to 20,000 rows. ``recall`` is the share of a row's
    64 nearest that lists are to find; distances of those found are exact either way.
    """

    version: ClassVar[int] = 2
    resources: ClassVar[Resources] = Resources(gpus=1.0, memory=2 << 30)

    neighbours: int = 256
    support: int = 64
    temperature: float | None = None
    search: str = "auto"
    recall: float = 0.98

    def __post_init__(self) -> None:
        temperature = self.temperature
        refuse(
            f"The teacher's {name} is {getattr(self, name)!r}; give {wanted}."
            for name, right, wanted in (
                ("neighbours", self.neighbours >= 1, "a number of at least 1, such as 256"),
                ("support", self.support >= 1, "a number of tokens of at least 1, such as 64"),
                (
                    "temperature",
                    temperature is None or 0 < temperature < float("inf"),
                    "a number above 0, or leave it out to have it chosen",
                ),
                ("search", self.search in ("auto", "exact", "lists"), "auto, exact or lists"),
                ("recall", 0 < self.recall <= 1, "a share above 0 and at most 1, such as 0.98"),
            )
            if not right
        )

    def output(self, schema: pa.Schema) -> pa.Schema:
        k, m = self.neighbours, self.support
        return pa.schema(
            [
                pa.field("neighbours", pa.list_(pa.uint32(), k)),  # row numbers of the store, nearest first
                pa.field("distances", pa.list_(pa.float32(), k)),  # squared L2
                *target_fields(schema.field("token").type, m),
            ]
        )

    def fit(self, corpus: Corpus, device: str, progress: Progress) -> FittedTeacher:
        """Hold the rows of split "store", check the search on itself, and choose lists and temperature."""
        rows = _Rows.read(corpus, device, progress)
        store = Exact(rows.keys, rows.document) if self._exactly(rows) else Lists(rows.keys, rows.document)
        found = store.measure(self.recall) if isinstance(store, Lists) else {}
        _self_test(store, rows, self.neighbours)
        temperature = self.temperature if self.temperature is not None else _fitting_temperature(store, rows)
        return FittedTeacher(self, store, rows.tokens, rows.names, temperature, found)

    def restore(self, state: pa.Table, corpus: Corpus, device: str) -> FittedTeacher:
        """Hold the store in another process: its rows are read again, what was chosen is given."""
        import torch

        rows = _Rows.read(corpus, device, lambda done, total: None)
        chosen = state.to_pylist()[0]
        if chosen["probes"]:
            centroids = torch.frombuffer(bytearray(chosen["centroids"]), dtype=torch.float32)
            layout = Layout(centroids.view(-1, rows.keys.shape[1]).to(device), chosen["probes"])
            store: Exact | Lists = Lists(rows.keys, rows.document, layout)
        else:
            store = Exact(rows.keys, rows.document)
        return FittedTeacher(self, store, rows.tokens, rows.names, chosen["temperature"])

    def _exactly(self, rows: _Rows) -> bool:
        return self.search == "exact" or (self.search == "auto" and len(rows.keys) <= EXACT_ROWS)


@dataclass
class FittedTeacher:
    """The store in memory; calling it with rows of the datastore gives their teacher columns."""

    settings: Teacher
    store: Exact | Lists
    tokens: NDArray[np.int32]
    documents: pa.Array
    temperature: float
    found: Mapping[str, Any] = field(default_factory=dict)

    tables: ClassVar[Mapping[str, pa.Table]] = {}

    @property
    def summary(self) -> dict[str, Any]:
        """The temperature in use, how many rows are searched, and how."""
        return {"temperature": self.temperature, "keys": len(self.tokens), **self.found}

    @property
    def state(self) -> pa.Table:
        lists = self.store.layout if isinstance(self.store, Lists) else None
        return pa.table(
            {
                "temperature": [self.temperature],
                "probes": [lists.probes if lists else 0],
                "centroids": pa.array([lists.centroids.cpu().numpy().tobytes() if lists else b""], pa.large_binary()),
            }
        )

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        import torch

        device = self.store.keys.device
        queries = torch.from_numpy(vectors(batch.column("key"))).to(device)
        owner = pc.fill_null(pc.index_in(batch.column("document").cast(pa.string()), self.documents), -1)
        document = torch.from_numpy(owner.to_numpy(zero_copy_only=False).astype(np.int64)).to(device)
        label = batch.column("token").to_numpy(zero_copy_only=False).astype(np.int32)
        distances, rows = self.store.search(queries, document, self.settings.neighbours)
        votes = np.where(rows < 0, -1, self.tokens[rows]).astype(np.int32)
        target = distribution(distances, votes, label, self.temperature, self.settings.support)
        neighbours = np.where(rows < 0, NO_NEIGHBOUR, rows).astype(np.uint32)
        schema = self.settings.output(batch.schema)
        columns = [
            _column(neighbours),
            _column(distances),
            *target_columns(target, schema.field("teacher_ids").type.value_type),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=schema)


@dataclass(frozen=True)
class _Rows:
    """The store's rows in (document, position) order: the number of a document is its place in ``names``."""

    keys: torch.Tensor  # float16 [n, d]
    document: torch.Tensor  # int64 [n]
    tokens: NDArray[np.int32]
    names: pa.Array

    @classmethod
    def read(cls, corpus: Corpus, device: str, progress: Progress) -> _Rows:
        import torch

        keys: list[NDArray[np.float16]] = []
        tokens: list[NDArray[np.int32]] = []
        names: list[pa.Array] = []
        read = 0
        for batch in corpus.batches(_COLUMNS):
            read += batch.num_rows
            stored = batch.filter(pc.equal(batch.column("split"), "store"))
            if stored.num_rows:
                keys.append(vectors(stored.column("key")))
                tokens.append(stored.column("token").to_numpy(zero_copy_only=False).astype(np.int32))
                names.append(stored.column("document").cast(pa.string()))
            progress(read, len(corpus))
        if not keys:
            raise StepError("The datastore has no row of split 'store'; give documents to the store in the recipe.")
        encoded = pa.chunked_array(names).combine_chunks().dictionary_encode()
        return cls(
            torch.from_numpy(np.concatenate(keys)).to(device),
            torch.from_numpy(encoded.indices.to_numpy().astype(np.int64)).to(device),
            np.concatenate(tokens),
            encoded.dictionary,
        )

    def sample(self, size: int) -> torch.Tensor:
        """Places of some rows, ascending."""
        import torch

        drawn = np.random.default_rng(0).permutation(len(self.keys))[:size]
        return torch.from_numpy(np.sort(drawn)).to(self.keys.device)


def vectors(column: pa.Array) -> NDArray[np.float16]:
    """A fixed-size list column of float16 as an array [n, d]."""
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.array(flat, dtype=np.float16).reshape(len(column), column.type.list_size)


def _column(values: NDArray[np.generic]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _self_test(store: Exact | Lists, rows: _Rows, k: int) -> None:
    """Every one of 256 stored rows must find itself, or k copies of itself, at distance 0."""
    import torch

    chosen = rows.sample(_SELF_TEST)
    distances, found = store.search(rows.keys[chosen], torch.full_like(chosen, -1), k)
    itself = (found == chosen.cpu().numpy()[:, None]).any(1)
    if not ((distances[:, 0] == 0) & (itself | (distances[:, -1] == 0))).all():
        raise StepError(
            "The search does not find stored rows of the datastore at distance 0, so its keys are damaged or not "
            "numbers; rebuild the datastore."
        )


def _fitting_temperature(store: Exact | Lists, rows: _Rows) -> float:
    """0.2 of the median squared distance of the nearest neighbour in another document, of those that are no copies."""
    chosen = rows.sample(_TEMPERATURE_SAMPLE)
    nearest = store.search(rows.keys[chosen], rows.document[chosen], 1)[0][:, 0]
    nearest = nearest[np.isfinite(nearest) & (nearest > 0)]
    return _TEMPERATURE_SHARE * float(np.median(nearest)) if len(nearest) else 1.0
