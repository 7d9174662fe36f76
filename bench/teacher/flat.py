"""Nearest neighbours by faiss: the exact ones, and an inverted file that has as much of them as ours."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.report import peer_library, timed
from bench.teacher.keys import TOKENS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

K, RECALL = 256, 64
"""Neighbours that are searched for, and those whose recall is measured."""


def true_neighbours(flat: Any, document: Ints, queries: Floats, rows: Any) -> Any:
    """The 256 nearest in other documents of ``rows``, whose keys are ``queries``, by faiss' ``flat`` index."""
    near = flat.search(queries, K + TOKENS)[1]  # so that 256 are left without the row's own document
    other = (line[document[line] != document[row]] for line, row in zip(near, rows, strict=True))
    return np.array([line[:K] for line in other])


def shared(rows: Sequence[Ints] | Ints, truth: Ints, k: int = RECALL) -> float:
    """Share of the ``k`` first of ``truth``, int64 [queries, some], that are among the ``k`` first of ``rows``."""
    return float(np.mean([len(np.intersect1d(a[:k], b[:k])) / k for a, b in zip(rows, truth, strict=True)]))


def inverted_file(floats: Floats, document: Ints, rows: Any, truth: Any, recall: float) -> tuple[Any, str]:
    """faiss's inverted file with the number of lists, and of those looked at, that reaches ``recall`` soonest."""
    faiss = peer_library("faiss")
    best: tuple[float, Any, str] | None = None
    for lists in (round(len(floats) ** 0.5), round(2 * len(floats) ** 0.5)):
        index = faiss.index_factory(floats.shape[1], f"IVF{lists},Flat")
        index.cp.max_points_per_centroid = 64
        index.train(floats)
        index.add(floats)
        low, high = 1, lists
        while low < high:  # its own document's rows are searched for too, and left out afterwards
            middle = (low + high) // 2
            index.nprobe = middle
            near = index.search(floats[rows], K + 512)[1]
            other = [
                line[(line >= 0) & (document[line] != document[row])] for line, row in zip(near, rows, strict=True)
            ]
            low, high = (low, middle) if shared(other, truth) >= recall else (middle + 1, high)
        index.nprobe = low
        seconds = timed(partial(index.search, floats[rows], K))
        if best is None or seconds < best[0]:
            best = (seconds, index, f"{lists} lists, {low} looked at")
    assert best is not None
    return best[1], best[2]
