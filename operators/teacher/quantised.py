"""The search by faiss's inverted file of product codes, for stores whose keys fit no memory: 64 bytes a row are held.

Codes propose four times k candidates, which are scored again by their stored keys, read as they are needed. Ranking by
the codes' own distances costs 0.44 perplexity (kNN-LM, arXiv 1911.00172, section 5), and exact scores of the candidates
win back nine tenths of it. The default for large stores, lists in parts (`mnemic.neighbours.parts`), finds more and
needs no other package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.errors import StepError
from mnemic.neighbours.layout import Keys, NearestKeys

if TYPE_CHECKING:
    import torch

CANDIDATES = 4
"""Times k rows that are scored exactly."""

_CODE_BYTES = 64
_BITS = 8
_TRAINED_BY = 39  # rows for each centroid, of which faiss wants as many
_TRAINING_ROWS = 1 << 20
_TOGETHER = 256  # queries whose candidates' keys are read at once
_ELEMENTS = 1 << 24  # of differences at once
_PIECE = 1 << 26  # bytes of the index in one row of a table


@dataclass
class Quantised:
    """A faiss index of the rows of a store, the number of the document of each, int64 [n], and their ``keys``."""

    index: Any
    keys: Keys
    document: npt.NDArray[np.int64]

    @classmethod
    def fit(cls, keys: Keys, k: int, recall: float) -> tuple[Quantised, dict[str, Any]]:
        """Train on a sample, add all keys, and probe as many lists as reach this recall of the 64 nearest."""
        import torch

        faiss = _faiss()
        rows = len(keys)
        sample = np.sort(np.random.default_rng(0).permutation(rows)[:_TRAINING_ROWS])
        training = _floats(keys.take(sample)[0])
        width, most = training.shape[1], max(2, rows // _TRAINED_BY)
        bits = min(_BITS, int(np.log2(most)))
        code = next(parts for parts in range(min(_CODE_BYTES, width), 0, -1) if width % parts == 0)
        lists = min(most, max(1, round(rows**0.5)))
        index = faiss.index_factory(width, f"IVF{lists},PQ{code}x{bits}np")  # np: not sorted for Hamming distances
        index.verbose = False
        index.train(training)
        documents, nearest, read = [], NearestKeys.of(keys), 0
        for key, document in keys.batches():
            index.add(_floats(key))
            documents.append(document.cpu().numpy())
            nearest.look_at(key, document, torch.arange(read, read + len(key), device=key.device))
            read += len(key)
        quantised = cls(index, keys, np.concatenate(documents))
        reached = 0.0
        for probes in sorted({min(lists, 1 << step) for step in range(lists.bit_length() + 1)}):
            index.nprobe = probes
            reached = _share(nearest, quantised.search(nearest.queries, nearest.document, k)[1])
            if reached >= recall:
                break
        return quantised, {"lists": lists, "probes": index.nprobe, "recall": round(reached, 4), "code_bytes": code}

    @classmethod
    def restore(cls, state: pa.Table, keys: Keys) -> Quantised:
        faiss = _faiss()
        data = np.frombuffer(b"".join(state["index"].to_pylist()), np.uint8)
        index = faiss.deserialize_index(data)
        documents = [document.cpu().numpy() for _, document in keys.batches()]
        return cls(index, keys, np.concatenate(documents))

    @property
    def state(self) -> pa.Table:
        """The index in pieces, with the number of probes."""
        data = _faiss().serialize_index(self.index).tobytes()
        pieces = [data[at : at + _PIECE] for at in range(0, len(data), _PIECE)]
        return pa.table({"probes": [self.index.nprobe] * len(pieces), "index": pa.array(pieces, pa.large_binary())})

    def search(
        self, queries: torch.Tensor, document: torch.Tensor, k: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """(distances float32 [b, k], rows int64 [b, k]) as `mnemic.neighbours.lists.Lists.search` gives them."""
        distances, rows = self._search(queries, document, k, self.index.nprobe)
        short = np.flatnonzero(rows[:, min(k, len(self.document)) - 1] < 0)
        if len(short) and self.index.nprobe < self.index.nlist:
            distances[short], rows[short] = self._search(queries[short], document[short], k, self.index.nlist)
        return distances, rows

    def _search(
        self, queries: torch.Tensor, document: torch.Tensor, k: int, probes: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        looking = _faiss().SearchParametersIVF(nprobe=probes)
        distances = np.full((len(queries), k), np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        count = min(CANDIDATES * k, len(self.document))
        owner = document.cpu().numpy()
        for begin in range(0, len(queries), _TOGETHER):
            part = queries[begin : begin + _TOGETHER]
            candidates = np.sort(self.index.search(_floats(part), count, params=looking)[1], axis=1)
            unknown = (candidates < 0) | (self.document[candidates] == owner[begin : begin + _TOGETHER, None])
            near = self._distances(part, candidates, unknown)
            order = np.argsort(near, axis=1, kind="stable")[:, :k]  # rows ascend, so equal distances do too
            near, candidates = np.take_along_axis(near, order, 1), np.take_along_axis(candidates, order, 1)
            distances[begin : begin + _TOGETHER, : near.shape[1]] = near
            rows[begin : begin + _TOGETHER, : near.shape[1]] = np.where(np.isfinite(near), candidates, -1)
        return distances, rows

    def _distances(
        self, queries: torch.Tensor, candidates: npt.NDArray[np.int64], unknown: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        """Squared distances float32 [b, c] to ``candidates`` int64 [b, c], infinite where ``unknown`` bool [b, c]."""
        import torch

        near = np.full(candidates.shape, np.inf, np.float32)
        rows = np.unique(candidates[~unknown])
        if not len(rows):
            return near
        stored, _ = self.keys.take(rows)
        place = torch.from_numpy(np.searchsorted(rows, candidates).clip(max=len(rows) - 1)).to(stored.device)
        step = max(1, _ELEMENTS // (candidates.shape[1] * stored.shape[1]))
        for begin in range(0, len(queries), step):
            part = stored[place[begin : begin + step]].float() - queries[begin : begin + step, None].float()
            near[begin : begin + step] = part.square_().sum(2).cpu().numpy()
        near[unknown] = np.inf
        return near


def _share(nearest: NearestKeys, answers: npt.NDArray[np.int64]) -> float:
    """The share of the nearest keys that is among the rows ``answers`` int64 [s, k]."""
    import torch

    k = answers.shape[1]
    there = torch.isfinite(nearest.best[:, :k]).cpu().numpy()
    rows = nearest.named[:, :k].cpu().numpy()
    hits = sum(int(np.isin(rows[i][there[i]], answers[i]).sum()) for i in range(len(rows)))
    return hits / max(1, int(there.sum()))


def _floats(keys: torch.Tensor) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = np.ascontiguousarray(keys.float().cpu().numpy())
    return values


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise StepError(
            "The search 'ivfpq' needs the package faiss-cpu, which is not installed: `pip install 'mnemic[faiss]'`, or "
            "choose `search: lists`, which needs nothing."
        ) from None
    return faiss
