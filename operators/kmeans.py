"""Balanced k-means, and greedy descent through the tree that it builds.

One node of the tree is trained as in hierarchical memory banks (Pouransari et al., arXiv 2510.02375, clustering tree):
k-means++ initialisation, then expectation-maximisation steps on fresh examples, and when a cluster holds more than
``share`` / k of a step's assignments (0.094 = 1.5 / 16 in the paper), they are split evenly with the smallest one.
Without it one cluster of a corpus takes a third of the events and its memory block is trained on everything. The paper
splits at random; here the points come in the order of a seeded hash and every other one goes, which is as random and
always the same. Descent takes the nearest centroid, balanced or not, and can leave a cluster with next to nothing (of
20,000 events in 231 leaves, 53 leaves had fewer than 64), so such centroids are dropped (`drop_small`). All arithmetic
is float64 over points in that fixed order, so the tree is a function of the rows alone.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from mnemic.ids import unit_draw

Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

_BLOCK = 16  # rows of a node that are multiplied at once, always; the shape decides the bits of the products
_ROWS = 1024  # rows that descend at once: at worst each is alone in its block, 50 MB at 384 components


def balanced_kmeans(
    points: Vectors, clusters: int, *, steps: int, sample: int, share: float, seed: int, name: str
) -> tuple[Floats, Integers]:
    """Centroids float64 [k, d] and the last step's balanced assignment of its points.

    ``points`` float32 [n, d] are in random order; step t uses the t-th ``sample`` of them, over again when they run
    out. k is ``clusters``, or less where there are fewer distinct points. ``name`` tells this node's draws from others.
    """
    centroids = initial_centroids(points[:sample], clusters, seed, name)
    assignment = np.zeros(0, np.int64)
    for step in range(steps):
        if len(points) <= sample:
            batch = points.astype(np.float64)
        else:
            batch = points[np.arange(step * sample, (step + 1) * sample) % len(points)].astype(np.float64)
        before = assignment
        assignment = balance(_nearest(batch, centroids), len(centroids), share)
        sums = np.zeros_like(centroids)
        for cluster in range(len(centroids)):
            sums[cluster] = batch[assignment == cluster].sum(axis=0)
        sizes = np.bincount(assignment, minlength=len(centroids))[:, None]
        centroids = np.divide(sums, sizes, out=centroids, where=sizes > 0)
        if len(points) <= sample and np.array_equal(before, assignment):
            break
    return centroids, assignment


def initial_centroids(points: Vectors, clusters: int, seed: int, name: str) -> Floats:
    """k-means++ (Arthur and Vassilvitskii 2007): each next centroid is a point drawn by its squared distance."""
    data = points.astype(np.float64)
    chosen = [int(unit_draw(seed, "k-means++", name, "0") * len(data))]
    distance = ((data - data[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < clusters:
        total = np.cumsum(distance)
        if total[-1] <= 0:
            break
        draw = unit_draw(seed, "k-means++", name, str(len(chosen)))
        chosen.append(int(min(np.searchsorted(total, draw * total[-1], side="right"), len(data) - 1)))
        distance = np.minimum(distance, ((data - data[chosen[-1]]) ** 2).sum(axis=1))
    return data[chosen]


def balance(assignment: Integers, clusters: int, share: float) -> Integers:
    """Move points out of clusters that hold more than ``share`` / ``clusters`` of all, until none does.

    The largest and the smallest cluster end up with equally many; each time the points that move are spread evenly over
    the order of the points.
    """
    balanced = assignment.copy()
    sizes = np.bincount(balanced, minlength=clusters)
    limit = share * len(balanced) / clusters
    while sizes.max() > limit and sizes.max() - sizes.min() > 1:
        largest, smallest = int(sizes.argmax()), int(sizes.argmin())
        members = np.flatnonzero(balanced == largest)
        moving = int(sizes[largest] - sizes[smallest]) // 2
        balanced[members[np.arange(moving) * len(members) // moving]] = smallest
        sizes[largest] -= moving
        sizes[smallest] += moving
    return balanced


def _nearest(points: Floats, centroids: Floats) -> Integers:
    nearest: Integers = ((centroids**2).sum(axis=1) - 2.0 * points @ centroids.T).argmin(axis=1)
    return nearest


@dataclasses.dataclass(frozen=True)
class Tree:
    """Nodes of all levels. Level 0 is the root alone; every leaf is at the last level.

    ``names[l]`` are the paths of level l; ``centroids[l]`` is float32 [nodes, d]; ``children[l]`` [nodes, k] are
    indices into level l + 1, -1 where a node has fewer than k.
    """

    names: list[list[str]]
    centroids: list[Vectors]
    children: list[Integers]

    @property
    def depth(self) -> int:
        return len(self.names) - 1

    def extended(self, centroids: list[Vectors], branching: int) -> Tree:
        """The tree with one more level: ``centroids[i]``, at most ``branching`` of them, below the i-th last node."""
        names: list[str] = []
        children = np.full((len(centroids), branching), -1, np.int64)
        for node, (name, made) in enumerate(zip(self.names[-1], centroids, strict=True)):
            children[node, : len(made)] = len(names) + np.arange(len(made))
            names += [f"{name}.{child}" if name else str(child) for child in range(len(made))]
        return Tree([*self.names, names], [*self.centroids, np.concatenate(centroids)], [*self.children, children])

    def descend(self, vectors: Vectors) -> list[Integers]:
        """Index of each row's node at every level, by greedy descent to the nearest child (Euclidean).

        A row's path does not depend on the other rows: rows of one node are multiplied in blocks of constant shape.
        Equal distances go to the first child.
        """
        paths = [np.zeros(len(vectors), np.int64)]
        for level in range(self.depth):
            children = self.children[level]
            present = children >= 0
            centroids = self.centroids[level + 1].astype(np.float64)[np.maximum(children, 0)]
            squares = np.where(present, (centroids**2).sum(axis=2), np.inf)
            choice = np.zeros(len(vectors), np.int64)
            for start in range(0, len(vectors), _ROWS):
                part = slice(start, start + _ROWS)
                choice[part] = _choose(vectors[part], paths[-1][part], centroids, squares)
            paths.append(children[paths[-1], choice])
        return paths


def _choose(vectors: Vectors, nodes: Integers, centroids: Floats, squares: Floats) -> Integers:
    """The nearest of its node's centroids for each row: ``centroids`` is [nodes, k, d], ``squares`` their norms."""
    order = np.argsort(nodes, kind="stable")
    present, counts = np.unique(nodes, return_counts=True)
    blocks = -(-counts // _BLOCK)
    rank = np.arange(len(nodes)) - np.repeat(np.cumsum(counts) - counts, counts)
    block = np.repeat(np.cumsum(blocks) - blocks, counts) + rank // _BLOCK
    place = rank % _BLOCK
    padded = np.zeros((int(blocks.sum()), _BLOCK, vectors.shape[1]))
    padded[block, place] = vectors[order]
    owner = np.repeat(present, blocks)
    distances = squares[owner][:, None, :] - 2.0 * (padded @ centroids[owner].transpose(0, 2, 1))
    choice = np.empty(len(nodes), np.int64)
    choice[order] = distances.argmin(axis=2)[block, place]
    return choice


def drop_small(points: Vectors, centroids: Vectors, floor: int, branching: int) -> Vectors:
    """The centroids, float32 [k, d], without those that fewer than ``floor`` of a node's ``points`` descend to.

    One goes at a time, the smallest and among equals the first, and its points go to the nearest that remain. One
    centroid always remains. ``branching`` is that of the tree the node belongs to.
    """
    node = Tree([[""]], [centroids[:1]], [])
    while len(centroids) > 1:
        # All points descend again: with a column less, even products of centroids that stay can round differently.
        sizes = np.bincount(node.extended([centroids], branching).descend(points)[-1], minlength=len(centroids))
        if sizes.min() >= floor:
            break
        centroids = np.delete(centroids, sizes.argmin(), axis=0)
    return centroids
