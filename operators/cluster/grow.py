"""The tree from the root to the leaves: every level trained, small children dropped, all rows sent one level down."""

from __future__ import annotations

import dataclasses
import functools
import queue
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mnemic.arrays import Integers, Vectors
from mnemic.descent import STRIDE
from mnemic.threads import side_by_side
from operators.cluster.kmeans import KMeansSettings, add_up, moved, steps_of_a_unit, trained
from operators.cluster.nearest import longest
from operators.cluster.tree import Tree, TreeLevel, chunk_rows, root
from operators.contracts import Progress

if TYPE_CHECKING:
    import torch

_TOGETHER = 2 << 20
"""Bytes of examples that are trained on together on a CPU: they stay in its own cache from step to step."""

_TOGETHER_GPU = 1 << 30

EXAMPLES = 256
"""Examples for each node of such a level."""

STEPS = 4
"""Steps of plain k-means by all nodes of a level to which rows go from the root."""


@dataclasses.dataclass(frozen=True)
class Grower:
    """Grows a tree on ``vectors``, float32 [n, d] in random order: a sample of a corpus of ``rows``."""

    vectors: Vectors
    rows: int
    how: KMeansSettings
    device: str = "cpu"

    def grown(self, depth: int, min_leaf: int, full: bool, progress: Progress | None = None) -> Tree:
        """The tree with ``depth`` levels below the root.

        No node has fewer than ``min_leaf`` rows, in proportion where the corpus has more rows than the sample. With
        ``full`` a node is divided only into as many children as can have full trees below them.
        """
        tree, node = root(mean(self.vectors)), np.zeros(len(self.vectors), np.int64)
        floor = -(-min_leaf * len(self.vectors) // self.rows)
        for level in range(depth):
            below = min_leaf * (self.how.branching ** (depth - level - 1) if full else 1)
            sizes = np.bincount(node, minlength=len(tree.names[-1]))
            children = np.clip(sizes * self.rows // len(self.vectors) // below, 1, self.how.branching)
            how = self.how
            if level and children.sum() <= STRIDE:  # the result is only a start
                how = dataclasses.replace(how, iterations=-(-how.iterations // 4))
            centroids = self._centroids(node, sizes, children, tree.names[-1], how)
            if sum(map(len, centroids)) > STRIDE:
                tree, node = self._divided(tree, node, centroids, floor)
            else:
                tree, node = self._strode(tree, centroids, floor)
            if progress is not None:
                progress(level + 1, depth)
        return tree

    def _centroids(
        self, node: Integers, sizes: Integers, children: Integers, names: list[str], how: KMeansSettings
    ) -> list[Vectors]:
        """The centroids of the children of every node, float32 [children, d], before small ones are dropped.

        ``node`` int64 [n] are the nodes of the vectors, ``sizes`` and ``children`` int64 [nodes].
        """
        members = np.split(np.argsort(node, kind="stable"), np.cumsum(sizes)[:-1])
        centroids_of: list[Vectors] = [np.empty((0, 0), np.float32)] * len(sizes)
        for single in np.flatnonzero(children == 1).tolist():
            centroids_of[single] = mean(self.vectors[members[single]])
        step = steps_of_a_unit(self.vectors)
        divided = np.flatnonzero(children > 1)
        examples = np.minimum(sizes, how.examples)

        def train(group: Integers) -> None:
            points = self._points([members[one][: examples[one]] for one in group], step)
            children_of = trained(points, examples[group], children[group], [names[one] for one in group], how)
            for one, centroids in zip(group.tolist(), children_of, strict=True):
                centroids_of[one] = centroids / np.float32(step)

        side_by_side(train, self._groups(divided[np.argsort(-examples[divided], kind="stable")], examples), self.device)
        return centroids_of

    def _groups(self, nodes: Integers, examples: Integers) -> Iterator[Integers]:
        """Groups of nodes that are trained together, largest first; one with more than a step's examples is single."""
        most = (_TOGETHER if self.device == "cpu" else _TOGETHER_GPU) // (4 * self.vectors.shape[1])
        start = 0
        while start < len(nodes):
            largest = int(examples[nodes[start]])
            count = 1 if largest > self.how.sample else max(1, most // largest)
            yield nodes[start : start + count]
            start += count

    def _points(self, members: list[Integers], step: float) -> torch.Tensor:
        """The examples of some nodes in whole steps: float32 [nodes, m, d], zeros after the last of each."""
        import torch

        longest_one = max(map(len, members))
        points = torch.empty(len(members), longest_one, self.vectors.shape[1], device=self.device)
        vectors = torch.from_numpy(self.vectors)
        for place, rows in zip(points, members, strict=True):
            if self.device == "cpu":
                torch.index_select(vectors, 0, torch.from_numpy(rows), out=place[: len(rows)])
            else:
                place[: len(rows)] = vectors[torch.from_numpy(rows)].to(self.device)
            place[len(rows) :] = 0
        return points.mul_(step).round_()

    def _strode(self, tree: Tree, parts: list[Vectors], floor: int) -> tuple[Tree, Integers]:
        """The tree with one more level, of at most 256 nodes, reached from the root; and the rows' nodes, int64 [n].

        The nodes move to the means of the rows that go to them, wherever those were, and the levels above follow.
        Then nodes with fewer rows than ``floor`` go, one at a time, the smallest, and among equals the first.
        """
        parent = np.repeat(np.arange(len(parts)), [len(one) for one in parts])
        centroids = np.concatenate(parts)
        if len(parts) > 1:
            centroids = self._refined(centroids)
        everyone = np.arange(len(self.vectors))
        node = self._nearest(centroids, everyone)
        sizes, remaining = np.bincount(node, minlength=len(centroids)), np.arange(len(centroids))
        while len(remaining) > 1 and sizes[remaining].min() < floor:
            gone = remaining[sizes[remaining].argmin()]
            remaining = remaining[remaining != gone]
            rows = np.flatnonzero(node == gone)
            node[rows] = remaining[self._nearest(centroids[remaining], rows)]
            sizes = np.bincount(node, minlength=len(centroids))
        place = np.empty(len(centroids), np.int64)
        place[remaining] = np.arange(len(remaining))
        return self._regrown(tree, centroids[remaining], parent[remaining], place[node]), place[node]

    def _regrown(self, tree: Tree, centroids: Vectors, parent: Integers, node: Integers) -> Tree:
        """``tree`` above these nodes, whose parents are ``parent`` int64, without nodes that have no child."""
        levels = [(centroids, parent)]
        for level in reversed(range(1, tree.depth + 1)):
            still, index = np.unique(levels[0][1], return_inverse=True)
            levels[0] = (levels[0][0], index)
            node = index[node]
            above = tree.ancestors(level)[level - 1][still]
            levels.insert(0, (self._means(node, len(still)), above))
        grown = root(tree.centroids[0])
        for means, above in levels:
            grown = grown.extended([means[above == one] for one in range(grown.leaves)], self.how.branching)
        return grown

    def _refined(self, centroids: Vectors) -> Vectors:
        """``centroids`` float32 [k, d] after some steps of k-means, on the first examples."""
        import torch

        step = steps_of_a_unit(self.vectors)
        some = min(len(self.vectors), self.how.examples, EXAMPLES * len(centroids))
        points = self._points([np.arange(some)], step)
        start = torch.from_numpy(centroids * np.float32(step))[None].to(points.device)
        return (moved(points, start, STEPS)[0].cpu().numpy() / np.float32(step)).astype(np.float32)

    def _means(self, node: Integers, nodes: int) -> Vectors:
        sums, sizes = np.zeros((1, nodes, self.vectors.shape[1])), np.zeros((1, nodes), np.int64)
        add_up(self.vectors[None], node[None], sums, sizes)
        means: Vectors = (sums[0] / np.maximum(sizes[0], 1)[:, None]).astype(np.float32)
        return means

    def _nearest(self, centroids: Vectors, rows: Integers) -> Integers:
        tree = root(centroids[:1]).extended([centroids], len(centroids))
        return self._sent(tree, np.zeros(len(rows), np.int64), rows)

    def _divided(self, tree: Tree, node: Integers, parts: list[Vectors], floor: int) -> tuple[Tree, Integers]:
        """The tree with one more level, and the rows' nodes there; children with fewer rows than ``floor`` go.

        One child goes at a time, the smallest and among equals the first, and its rows go to the nearest that remain.
        One child always remains.
        """
        grown = tree.extended(parts, self.how.branching)
        below = self._sent(grown, node, np.arange(len(node)))
        sizes = np.bincount(below, minlength=grown.leaves)
        below_floor = (grown.children[-1] >= 0) & (sizes[grown.children[-1]] < floor)
        small = np.flatnonzero(below_floor.any(axis=1))
        small = small[[len(parts[one]) > 1 for one in small]]
        if len(small) == 0:
            return grown, below
        order = np.argsort(node, kind="stable")
        starts = np.searchsorted(node[order], np.arange(len(parts) + 1))
        for one in small.tolist():
            rows = order[starts[one] : starts[one + 1]]
            parts[one] = self._without_small(parts[one], rows, below[rows] - grown.children[-1][one, 0], floor)
        if sum(map(len, parts)) <= STRIDE:  # now descent begins here
            return self._strode(tree, parts, floor)
        grown = tree.extended(parts, self.how.branching)
        return grown, self._sent(grown, node, np.arange(len(node)))

    def _without_small(self, centroids: Vectors, rows: Integers, choice: Integers, floor: int) -> Vectors:
        sizes = np.bincount(choice, minlength=len(centroids))
        while len(centroids) > 1 and sizes.min() < floor:
            centroids = np.delete(centroids, sizes.argmin(), axis=0)
            one = root(centroids[:1]).extended([centroids], self.how.branching)
            sizes = np.bincount(self._sent(one, np.zeros(len(rows), np.int64), rows), minlength=len(centroids))
        return centroids

    def _sent(self, tree: Tree, node: Integers, rows: Integers) -> Integers:
        """The nodes of the last level, int64 [rows], that ``rows`` go to from ``node``, of the level before."""
        import torch

        level = TreeLevel(tree.centroids[-1], tree.children[-1], self.device)
        order = np.argsort(node, kind="stable")
        children, size = np.empty(len(rows), np.int64), min(chunk_rows(self.device), len(rows))
        vectors = torch.from_numpy(self.vectors)
        in_place = self.device == "cpu" and level.nodes > 1
        rooms: queue.SimpleQueue[torch.Tensor] = queue.SimpleQueue()
        for _ in range(0 if in_place else torch.get_num_threads() if len(rows) > size else 1):
            rooms.put(torch.empty(size, self.vectors.shape[1]))

        def send(start: int) -> None:
            part = order[start : start + size]
            own, place = torch.from_numpy(node[part]).to(self.device), torch.from_numpy(rows[part])
            if in_place:
                children[part] = level.below(vectors, own, self._longest, place).numpy()
                return
            room = rooms.get()
            some = torch.index_select(vectors, 0, place, out=room[: len(part)]).to(self.device)
            children[part] = level.below(some, own, self._longest).cpu().numpy()
            rooms.put(room)

        side_by_side(send, range(0, len(rows), size or 1), self.device)
        return children

    @functools.cached_property
    def _longest(self) -> float:
        """The length of the longest vector."""
        import torch

        return longest(torch.from_numpy(self.vectors))


def mean(vectors: Vectors) -> Vectors:
    """The mean of ``vectors`` [n, d], float32 [1, d]; the sum is float64, row after row."""
    average: Vectors = vectors.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32)
    return average
