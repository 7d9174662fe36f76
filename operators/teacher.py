"""The retriever to imitate: exact nearest neighbours of every scored token and the distribution that they vote for.

kNN-LM (arXiv 1911.00172, equations 2 and 3): p(v) = sum over neighbours whose next token is v of softmax(-d^2 / t).
Distances are exact, because quantised ones cost 0.44 perplexity (16.50 against 16.06 in its section 5), and k = 256
keeps 95 % of the gain of k = 1024 (MLP Memory, arXiv 2508.01832, table 9). Rows of the query's own document, the row
itself included, are masked *by id*: dropping the first hit drops a random one where keys repeat, and an index that
leaks the document teaches copying. The temperature has to follow the scale of the keys; 0.2 of the median squared
distance of the nearest neighbour was the optimum for both taps that we tried, where published constants run from 1 to
200. The heaviest 64 tokens hold about 95 % of the mass.

Search is a GEMM in float32 over query blocks of constant shape with a running top-k. Candidates are scored again by
direct difference, ties go to the smaller row number, and a result counts only when the rounding bound of the GEMM
proves that no other row can be nearer; the few rows with long ties are searched again without the bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mnemic.errors import RecipeError, StepError
from operators.contracts import Corpus, Progress, Resources

if TYPE_CHECKING:
    import torch

NO_NEIGHBOUR = 0xFFFFFFFF
"""Row number in ``neighbours`` where the store has fewer rows to offer; its distance is infinite."""

_COLUMNS = ("document", "position", "key", "token", "split")
_STORE_BLOCK = 32768
_SLACK = 64
_SELF_TEST = 256
_TEMPERATURE_SAMPLE = 1024
_TEMPERATURE_SHARE = 0.2
_ROUNDING = 1e-5  # bound on the GEMM's error, relative to |q|^2 + max |k|^2; measured below 1e-6 at 576 components


@dataclass(frozen=True)
class Teacher:
    """Columns ``neighbours``, ``distances`` and ``teacher_*`` for rows of the datastore.

    ``neighbours`` is k, ``support`` how many tokens of the distribution are kept, ``temperature`` its scale (None: from
    the store, see above), ``block`` how many rows are searched at once.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(gpus=1.0, memory=2 << 30)

    neighbours: int = 256
    support: int = 64
    temperature: float | None = None
    block: int = 512

    def __post_init__(self) -> None:
        if min(self.neighbours, self.support, self.block) < 1 or (
            self.temperature is not None and not 0 < self.temperature < float("inf")
        ):
            raise RecipeError(
                f"A teacher cannot have neighbours {self.neighbours}, support {self.support}, block {self.block} and "
                f"temperature {self.temperature}; it needs at least one neighbour, one token of support, a block of "
                "one row, and a temperature above 0. Leave the temperature out to have it chosen."
            )

    def output(self, schema: pa.Schema) -> pa.Schema:
        k, m = self.neighbours, self.support
        return pa.schema(
            [
                pa.field("neighbours", pa.list_(pa.uint32(), k)),  # row numbers of the store, nearest first
                pa.field("distances", pa.list_(pa.float32(), k)),  # squared L2
                pa.field("teacher_ids", pa.list_(pa.int32(), m)),  # tokens, heaviest first, padded with -1
                pa.field("teacher_probs", pa.list_(pa.float16(), m)),  # renormalised over the kept ones
                pa.field("teacher_rest", pa.float32()),  # mass of the tokens that were not kept
                pa.field("teacher_label", pa.float32()),  # probability of the true token, before truncation
            ]
        )

    def fit(self, corpus: Corpus, device: str, progress: Progress) -> FittedTeacher:
        """Hold the rows of split "store", check the search on itself, and set the temperature."""
        fitted = self._hold(corpus, device, progress, self.temperature or 0.0)
        _self_test(fitted.store, self.neighbours)
        if self.temperature is None:
            fitted.temperature = _fitting_temperature(fitted.store)
        return fitted

    def restore(self, state: pa.Table, corpus: Corpus, device: str) -> FittedTeacher:
        """Hold the store in another process: its rows are read again, the temperature is given."""
        return self._hold(corpus, device, lambda done, total: None, state["temperature"][0].as_py())

    def _hold(self, corpus: Corpus, device: str, progress: Progress, temperature: float) -> FittedTeacher:
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
        store = Store(
            torch.from_numpy(np.concatenate(keys)).to(device),
            torch.from_numpy(encoded.indices.to_numpy().astype(np.int64)).to(device),
            self.block,
        )
        return FittedTeacher(self, store, np.concatenate(tokens), encoded.dictionary, temperature)


class Store:
    """Keys [n, d] float16 and the document number of each, on one device; searched by brute force."""

    def __init__(self, keys: torch.Tensor, document: torch.Tensor, block: int) -> None:
        self.keys, self.document, self.block = keys, document, block
        self.norms = _blockwise_norms(keys)
        self.largest_norm = float(self.norms.max())

    def search(
        self, queries: torch.Tensor, document: torch.Tensor, k: int
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(squared distances float32 [block, k], rows int64 [block, k]) of successive blocks of the queries.

        Rows of the query's document are not found; -1 masks none. Sorted by (distance, row); where fewer than k rows
        remain, distance is infinite and the row is n. The last block comes padded: only its first rows are queries.
        """
        import torch

        k = min(k, self.keys.shape[0])
        for begin in range(0, queries.shape[0], self.block):
            query = queries[begin : begin + self.block].float()
            owner = document[begin : begin + self.block]
            fill = self.block - query.shape[0]
            query = torch.nn.functional.pad(query, (0, 0, 0, fill))
            owner = torch.nn.functional.pad(owner, (0, fill), value=-1)
            candidates, bound = self._candidates(query, owner, min(k + _SLACK, self.keys.shape[0]))
            distances, rows = self._rescore(query, candidates, k)
            error = _ROUNDING * (query.square().sum(1) + self.largest_norm)
            unproven = (distances[:, -1] + 2 * error >= bound) & torch.isfinite(bound)
            for row in torch.nonzero(unproven[: self.block - fill]).flatten().tolist():
                reach = float(distances[row, -1] + 2 * error[row])
                distances[row], rows[row] = self._search_again(query[row], int(owner[row]), reach, k)
            yield distances, rows

    def _candidates(self, query: torch.Tensor, owner: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows [block, count] that are nearest by GEMM, masked ones as n, and the largest distance among them."""
        import torch

        best = torch.full((query.shape[0], 0), torch.inf, device=query.device)
        rows = torch.zeros((query.shape[0], 0), dtype=torch.int64, device=query.device)
        for begin in range(0, self.keys.shape[0], _STORE_BLOCK):
            keys = self.keys[begin : begin + _STORE_BLOCK].float()
            scores = torch.addmm(self.norms[begin : begin + _STORE_BLOCK][None, :], query, keys.T, alpha=-2.0)
            self._mask(scores, owner, begin)
            near, place = scores.topk(min(count, keys.shape[0]), dim=1, largest=False)
            best, rows = torch.cat([best, near], 1), torch.cat([rows, place + begin], 1)
            if best.shape[1] > count:
                best, place = best.topk(count, dim=1, largest=False)
                rows = rows.gather(1, place)
        rows = rows.masked_fill(torch.isinf(best), self.keys.shape[0])
        bound = torch.where(
            torch.tensor(count < self.keys.shape[0], device=query.device),
            best.amax(1) + query.square().sum(1),
            torch.inf,
        )
        return rows, bound

    def _mask(self, scores: torch.Tensor, owner: torch.Tensor, begin: int) -> None:
        """Infinite score where store row and query are of one document.

        Store rows are ordered by document, so only the columns between the outermost documents asked for are compared.
        """
        import torch

        block = self.document[begin : begin + scores.shape[1]]
        known = owner[owner >= 0]
        if known.numel():
            low = int(torch.searchsorted(block, known.min()))
            high = int(torch.searchsorted(block, known.max(), right=True))
            if low < high:
                scores[:, low:high].masked_fill_(block[None, low:high] == owner[:, None], torch.inf)

    def _rescore(self, query: torch.Tensor, rows: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The k nearest of each query's candidate ``rows`` by direct difference, in (distance, row) order."""
        import torch

        rows = rows.sort(1).values
        distances = torch.empty(rows.shape, device=query.device)
        # On a CPU the differences must stay in the cache: 4 MB at a time take a quarter of the time of 32 MB.
        elements = 1 << (20 if query.device.type == "cpu" else 23)
        step = max(1, elements // (rows.shape[1] * query.shape[1]))
        for begin in range(0, rows.shape[0], step):
            part = rows[begin : begin + step].clamp(max=self.keys.shape[0] - 1)
            distances[begin : begin + step] = (
                (self.keys[part].float() - query[begin : begin + step, None]).square().sum(2)
            )
        distances.masked_fill_(rows == self.keys.shape[0], torch.inf)
        order = torch.argsort(distances, dim=1, stable=True)[:, :k]
        return distances.gather(1, order), rows.gather(1, order)

    def _search_again(self, query: torch.Tensor, owner: int, reach: float, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Exact search of one query among all rows within ``reach`` by GEMM; for ties longer than the slack."""
        import torch

        limit = reach - float(query.square().sum())
        found = []
        for begin in range(0, self.keys.shape[0], _STORE_BLOCK):
            keys = self.keys[begin : begin + _STORE_BLOCK].float()
            scores = torch.addmv(self.norms[begin : begin + _STORE_BLOCK], keys, query, alpha=-2.0)
            scores.masked_fill_(self.document[begin : begin + _STORE_BLOCK] == owner, torch.inf)
            found.append(torch.nonzero(scores <= limit).flatten() + begin)
        distances, rows = self._rescore(query[None], torch.cat(found)[None], k)
        return distances[0], rows[0]


@dataclass
class FittedTeacher:
    """The store in memory; calling it with rows of the datastore gives their teacher columns."""

    settings: Teacher
    store: Store
    tokens: NDArray[np.int32]
    documents: pa.Array
    temperature: float

    tables: ClassVar[Mapping[str, pa.Table]] = {}

    @property
    def summary(self) -> dict[str, float]:
        """The temperature in use, and how many rows are searched."""
        return {"temperature": self.temperature, "keys": len(self.tokens)}

    @property
    def state(self) -> pa.Table:
        return pa.table({"temperature": [self.temperature]})

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        import torch

        device = self.store.keys.device
        queries = torch.from_numpy(vectors(batch.column("key"))).to(device)
        owner = pc.fill_null(pc.index_in(batch.column("document").cast(pa.string()), self.documents), -1)
        document = torch.from_numpy(owner.to_numpy(zero_copy_only=False).astype(np.int64)).to(device)
        label = batch.column("token").to_numpy(zero_copy_only=False).astype(np.int32)
        k, total = self.settings.neighbours, batch.num_rows
        neighbours = np.full((total, k), NO_NEIGHBOUR, dtype=np.uint32)
        distances = np.full((total, k), np.inf, dtype=np.float32)
        begin = 0
        for near, rows in self.store.search(queries, document, k):
            end = min(begin + self.settings.block, total)
            distances[begin:end, : near.shape[1]] = near[: end - begin].cpu().numpy()
            found = rows[: end - begin].cpu().numpy()
            neighbours[begin:end, : near.shape[1]] = np.where(found == len(self.tokens), NO_NEIGHBOUR, found)
            begin = end
        votes = np.full((total, k), -1, dtype=np.int32)
        np.copyto(votes, self.tokens[np.minimum(neighbours, len(self.tokens) - 1)], where=neighbours != NO_NEIGHBOUR)
        target = distribution(distances, votes, label, self.temperature, self.settings.support)
        schema = self.settings.output(batch.schema)
        columns = (neighbours, distances, target.ids, target.probs, target.rest, target.label)
        return pa.RecordBatch.from_arrays([_column(column) for column in columns], schema=schema)


@dataclass(frozen=True)
class Distribution:
    """Sparse next-token distributions: ids int32 [n, m] padded with -1, probs float16 [n, m], rest and label [n]."""

    ids: NDArray[np.int32]
    probs: NDArray[np.float16]
    rest: NDArray[np.float32]
    label: NDArray[np.float32]


def distribution(
    distances: NDArray[np.float32],
    votes: NDArray[np.int32],
    label: NDArray[np.int32],
    temperature: float,
    support: int,
) -> Distribution:
    """What neighbours at squared ``distances`` [n, k] with next tokens ``votes`` [n, k] say; -1 says nothing.

    A row without neighbours keeps nothing: ids -1, probabilities 0, rest 1.
    """
    rows, k = distances.shape
    if not rows:
        return Distribution(
            np.empty((0, support), np.int32), np.empty((0, support), np.float16), *(np.empty(0, np.float32),) * 2
        )
    known = np.where(votes >= 0, distances.astype(np.float64), np.inf)
    nearest = known.min(1, keepdims=True)
    gap = np.where(np.isfinite(known), known - np.where(np.isfinite(nearest), nearest, 0.0), np.inf)
    weight = np.exp(-gap / temperature)
    weight /= np.maximum(weight.sum(1, keepdims=True), np.finfo(np.float64).tiny)
    truth = (weight * (votes == label[:, None])).sum(1)

    order = np.argsort(votes, axis=1, kind="stable")
    token, mass = np.take_along_axis(votes, order, 1), np.take_along_axis(weight, order, 1)
    new = np.ones((rows, k), dtype=bool)
    new[:, 1:] = token[:, 1:] != token[:, :-1]
    place = np.flatnonzero(new)
    row, slot = place // k, (np.cumsum(new, axis=1) - 1).reshape(-1)[place]
    probs = np.zeros((rows, max(k, support)))
    ids = np.full((rows, max(k, support)), -1, dtype=np.int32)
    probs[row, slot] = np.add.reduceat(mass.reshape(-1), place)
    ids[row, slot] = token.reshape(-1)[place]

    # Slots ascend by token, so a stable sort breaks ties by token id.
    heaviest = np.argsort(-probs, axis=1, kind="stable")[:, :support]
    probs, ids = np.take_along_axis(probs, heaviest, 1), np.take_along_axis(ids, heaviest, 1)
    kept = probs.sum(1, keepdims=True)
    halves = (probs / np.maximum(kept, np.finfo(np.float64).tiny)).astype(np.float16)
    return Distribution(
        np.where(halves > 0, ids, -1).astype(np.int32),
        halves,
        np.clip(1.0 - kept[:, 0], 0.0, 1.0).astype(np.float32),
        truth.astype(np.float32),
    )


def vectors(column: pa.Array) -> NDArray[np.float16]:
    """A fixed-size list column of float16 as an array [n, d]."""
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.array(flat, dtype=np.float16).reshape(len(column), column.type.list_size)


def _column(values: NDArray[np.generic]) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _blockwise_norms(keys: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.cat([block.float().square().sum(1) for block in torch.split(keys, _STORE_BLOCK)])


def _sample(store: Store, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    rows = np.random.default_rng(0).permutation(store.keys.shape[0])[:size]
    chosen = torch.from_numpy(np.sort(rows)).to(store.keys.device)
    return chosen, store.keys[chosen]


def _self_test(store: Store, k: int) -> None:
    """Every one of 256 stored rows must find itself, or k copies of itself, at distance 0."""
    import torch

    chosen, queries = _sample(store, _SELF_TEST)
    begin = 0
    for distances, rows in store.search(queries, torch.full_like(chosen, -1), k):
        own = chosen[begin : begin + store.block]
        begin += store.block
        near, found = distances[: len(own)], (rows[: len(own)] == own[:, None]).any(1)
        if not bool(((near[:, 0] == 0) & (found | (near[:, -1] == 0))).all()):
            raise StepError(
                "The search does not find stored rows of the datastore at distance 0, so its keys are damaged or not "
                "numbers; rebuild the datastore."
            )


def _fitting_temperature(store: Store) -> float:
    """0.2 of the median squared distance of the nearest neighbour in another document, of those that are no copies."""
    import torch

    chosen, queries = _sample(store, _TEMPERATURE_SAMPLE)
    nearest = torch.cat([near[:, 0] for near, _ in store.search(queries, store.document[chosen], 1)])[: len(chosen)]
    nearest = nearest[torch.isfinite(nearest) & (nearest > 0)]
    return _TEMPERATURE_SHARE * float(nearest.median()) if nearest.numel() else 1.0
