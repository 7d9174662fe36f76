"""The tree of clusters against flat k-means of faiss, on real sentence vectors (`bench.cluster.vectors`).

The tree is built as `Cluster` builds it, from vectors and ids to centroids: 16-way, three levels, 4,096 leaves, from
262,144 vectors (quick: two levels of 32, 1,024 leaves, from 65,536). The peer is ``faiss.Kmeans(d, leaves)`` with its
defaults: 25 iterations over its own sample. Both have two threads, and the time is that of training. Inertia is the
mean squared distance of 16,384 held-out vectors to their centroid: by descent in the tree, exactly nearest with faiss.
Every node keeps at least one event here (``min_leaf`` 1), since the least for a leaf of the default, 64, is what 4,096
leaves of these rows have on average.

Assignment is compared with the bare products of the same shapes: the same chunks of rows, the same groups, over rows
that lie in order already, by as many threads. Leaves are counted over all rows with another vector than every row
before.

Expected on machine A of LOG.md (2 cores of an AMD EPYC; 8.5 minutes): tree_speedup 23.0 (6.93 s for 158 s),
tree_inertia 1.074, leaf_balance 2.79, leaf_balance_default 2.20, assign_efficiency 0.67, assign_rate 391,000 vectors/s.
"""

from __future__ import annotations

import os
import statistics
import sys
import threading
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # two thread pools, faiss' and torch's, would wait for one another

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from bench.cluster.vectors import TRAINED, vectors
from bench.report import Row, main, peer_library, tell, timed
from mnemic.threads import side_by_side
from operators.cluster import Cluster
from operators.cluster.sample import draws
from operators.cluster.tree import CHUNK, Descent, Tree

Vectors = npt.NDArray[np.float32]

THREADS = 2
FULL = Cluster(branching=16, depth=3, min_leaf=1)
QUICK = Cluster(branching=32, depth=2, min_leaf=1)


def measure(quick: bool) -> list[Row]:
    faiss = peer_library("faiss")
    torch.set_num_threads(THREADS)
    faiss.omp_set_num_threads(THREADS)
    operator, rows = (QUICK, 65_536) if quick else (FULL, TRAINED)
    trained, held_out, names = vectors(rows)
    ids = pa.array(names)
    grown(QUICK, trained[:8192], ids[:8192])  # compiles

    trees: list[Tree] = []
    flat: list[Any] = []

    def ours() -> None:
        trees.append(grown(operator, trained, ids))

    def theirs() -> None:
        flat.append(faiss.Kmeans(trained.shape[1], trees[-1].leaves))
        flat[-1].train(trained)

    pairs = 1 if quick else 3
    seconds = [(timed(ours), timed(theirs)) for _ in range(pairs)]
    own_seconds, flat_seconds = (statistics.median(column) for column in zip(*seconds, strict=True))
    tree = trees[-1]
    distance, _ = flat[-1].index.search(held_out, 1)
    reference = float(distance.mean())
    own = inertia(tree, held_out)
    name = f"faiss {faiss.__version__} Kmeans, niter 25, {tree.leaves:,} clusters, {THREADS} threads"
    tell(f"faiss: {flat_seconds:.1f} s, inertia {reference:.4f}   tree: {own_seconds:.2f} s, inertia {own:.4f}")
    must, goal = (
        (None, None) if quick else (20, 50)
    )  # flat k-means costs rows times leaves, so the ratio grows with both
    speedup = statistics.median(theirs / ours for ours, theirs in seconds)
    return [
        Row("tree_speedup", f"training, {rows:,} vectors, {tree.leaves:,} leaves", speedup, "x", must, goal, peer=name),
        Row("tree_inertia", "held-out inertia against flat", own / reference, "x", 1.10, 1.05, False, name),
        Row("tree_seconds", "training the tree", own_seconds, "s"),
        Row("tree_seconds_flat", "training flat k-means", flat_seconds, "s"),
        *assignment(tree, trained),
        *balance(tree, trained, operator),
    ]


def grown(operator: Cluster, trained: Vectors, ids: pa.Array) -> Tree:
    """Vectors and ids to the tree: draws, the sample in their order, training."""
    order = np.argsort(draws(ids, operator.seed), kind="stable")[: operator.trained(len(trained))]
    return operator.grown(trained[order], len(trained))


def inertia(tree: Tree, held_out: Vectors) -> float:
    leaves = tree.descend(held_out)[-1]
    return float(((held_out - tree.centroids[-1][leaves]) ** 2).sum(axis=1, dtype=np.float64).mean())


def assignment(tree: Tree, trained: Vectors) -> list[Row]:
    """Descent and the bare products, in turns."""
    descent = Descent(tree)
    bare = products(tree, trained)
    pairs = []
    for _ in range(7):
        pairs.append((timed(lambda: descent(trained)), timed(bare)))
    own_seconds, bare_seconds = (statistics.median(column) for column in zip(*pairs, strict=True))
    efficiency = statistics.median(theirs / ours for ours, theirs in pairs)
    name = "torch.mm of the same shapes, in order already"
    return [
        Row("assign_efficiency", "assignment against the bare products", efficiency, "x", 0.6, 0.85, peer=name),
        Row("assign_rate", f"assignment, {THREADS} threads", len(trained) / own_seconds, "vectors/s"),
        Row("assign_rate_bare", "the bare products", len(trained) / bare_seconds, "vectors/s"),
    ]


def products(tree: Tree, trained: Vectors) -> Callable[[], None]:
    """The products of a descent, of the same shapes and over as many rows, and nothing else."""
    paths, rows = tree.descend(trained), torch.from_numpy(trained)
    width = tree.children[-1].shape[1]
    first = torch.from_numpy(tree.centroids[tree.entry]).T.contiguous()
    below = torch.randn(trained.shape[1], width)
    groups = []
    for start in range(0, len(trained), CHUNK):
        nodes = [path[start : start + CHUNK] for path in paths[tree.entry : -1]]
        groups.append((start, [np.bincount(level)[np.unique(level)].tolist() for level in nodes]))

    class Room(threading.local):
        def __init__(self) -> None:
            self.wide, self.narrow = torch.empty(CHUNK, first.shape[1]), torch.empty(CHUNK, width)

    room = Room()

    def multiply(group: tuple[int, list[list[int]]]) -> None:
        start, levels = group
        chunk = rows[start : start + CHUNK]
        wide, narrow = room.wide, room.narrow
        torch.mm(chunk, first, out=wide[: len(chunk)])
        for sizes in levels:
            place = 0
            for size in sizes:
                torch.mm(chunk[place : place + size], below, out=narrow[place : place + size])
                place += size

    def multiply_all() -> None:
        side_by_side(multiply, groups, "cpu")

    return multiply_all


def balance(tree: Tree, trained: Vectors, operator: Cluster) -> list[Row]:
    """The largest leaf in parts of the mean, at each level."""
    _, distinct = np.unique(trained, axis=0, return_index=True)
    rows = []
    for level, (names, nodes) in enumerate(zip(tree.names, tree.descend(trained[distinct]), strict=True)):
        if level:
            sizes = np.bincount(nodes, minlength=len(names))
            metric = f"largest / mean of {len(names):,} nodes of level {level}"
            last = level == tree.depth
            must, goal = (4.0, 2.5) if last else (None, None)
            name = "leaf_balance" if last else f"leaf_balance_level_{level}"
            rows.append(Row(name, metric, float(sizes.max() / sizes.mean()), "x", must, goal, False))
    default = Cluster()
    tree = grown(default, trained, pa.array([f"{row:032x}" for row in range(len(trained))]))
    sizes = np.bincount(tree.descend(trained)[-1], minlength=tree.leaves)
    metric = f"largest / mean of the {tree.leaves:,} leaves of the default, of {sizes.min()} or more events"
    return [*rows, Row("leaf_balance_default", metric, float(sizes.max() / sizes.mean()), "x", higher_is_better=False)]


if __name__ == "__main__":
    sys.exit(main("cluster", __doc__ or "", measure))
