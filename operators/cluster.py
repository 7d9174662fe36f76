"""Events to a tree of clusters: balanced hierarchical k-means, built from the root to the leaves.

The tree is the one of hierarchical memory banks (Pouransari et al., arXiv 2510.02375): 16 children a node, each node
trained on 20 steps of 6,400 examples (`operators.kmeans`), every event then assigned by greedy descent, 16 distances
a level instead of one per leaf. Clusters that too few events descend to are dropped. Trained are a bounded sample of
the events (the 131,072 of smallest seeded hash, which is all that 20 steps can read at the root) and read are all of
them, in batches. Nodes are labelled by their most distinctive words with class-based TF-IDF (Grootendorst, arXiv
2203.05794, section 3.3).
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.errors import RecipeError, StepError
from mnemic.ids import unit_draw
from mnemic.schema import clusters
from operators.contracts import Corpus, Progress, Resources
from operators.kmeans import Floats, Tree, Vectors, balanced_kmeans, drop_small

_TRAINED = 131_072  # events held in memory while the tree is built: 200 MB at 384 components
_READ_FOR_WORDS = 8_192  # events whose words make the vocabulary of labels
_COUNTED = 131_072  # events whose words are counted
_COUNTS = 1 << 23  # counters: leaves times words of the vocabulary
_VOCABULARY = 20_000
_TERMS = 4

_WORD = re.compile(r"\b[^\W\d_]\w{1,29}\b")
_STOP_WORDS = """
a about above after again against all also am an and any are aren as at be because been before being below between both
but by can cannot could couldn did didn do does doesn doing don down during each either else etc even ever few for from
further get gets got had hadn has hasn have haven having he her here hers herself him himself his how however if in into
is isn it its itself just let like ll may me might more most must mustn my myself neither no nor not now of off on once
one only or other otherwise our ours ourselves out over own per re same shall shan she should shouldn since so some such
than that the their theirs them themselves then there therefore these they this those though through thus to too two
under until up upon us use used uses using ve very via was wasn we well were weren what when where whether which while
who whom whose why will with within without won would wouldn yes yet you your yours yourself yourselves
"""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Corpus operator that adds ``cluster`` (path of the leaf, such as "3.11"; "" for a tree of depth 0) to events.

    ``fit`` reads ``id``, ``vector`` and ``text``; its table `clusters` has a row for every node, the root included.
    ``branching`` children a node; ``depth`` levels below the root, or None for as many as leave ``min_leaf`` events a
    leaf on average were every node full. ``iterations`` steps of ``sample`` events train a node; none may put more than
    ``share`` / branching of them into one cluster.

    Every node holds at least ``min_leaf`` events of the corpus if that has so many, whether or not ``depth`` is given.
    Beyond 131,072 events, where only so many are trained on, what holds is a node's part of those: at least
    ``min_leaf`` * 131,072 / rows, rounded up; in the whole corpus that is about ``min_leaf``, and can be fewer.
    A node that cannot be divided so has one child, with all its events. ``min_leaf`` 1 only leaves out empty nodes.
    """

    version: ClassVar[int] = 2
    resources: ClassVar[Resources] = Resources()

    branching: int = 16
    depth: int | None = None
    min_leaf: int = 64
    iterations: int = 20
    sample: int = 6400
    share: float = 1.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.branching < 2 or min(self.min_leaf, self.iterations) < 1 or self.sample < self.branching:
            raise RecipeError(
                f"A tree cannot have branching {self.branching}, min_leaf {self.min_leaf}, iterations "
                f"{self.iterations} and sample {self.sample}; set branching to at least 2, sample to no less than "
                "branching, and the others to at least 1."
            )
        if self.share < 1 or (self.depth is not None and not 0 <= self.depth <= 8):
            raise RecipeError(
                f"A tree cannot have share {self.share} and depth {self.depth}; set share to at least 1 and depth "
                "between 0 and 8, or leave depth out to take it from the number of events."
            )

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field("cluster", pa.string(), nullable=False)])

    def levels(self, rows: int) -> int:
        """Levels below the root for a corpus of ``rows`` events."""
        if self.depth is not None:
            return self.depth
        depth = 0
        while rows >= self.min_leaf * self.branching ** (depth + 1):
            depth += 1
        return 1 if depth == 0 and rows >= 2 * self.min_leaf else depth

    def fit(self, corpus: Corpus, device: str, progress: Progress) -> ClusterPaths:
        """Build the tree from ``corpus`` (events in the order of their ids) and describe its nodes."""
        rows = len(corpus)
        if rows == 0:
            raise StepError("There are no events to cluster; check that the sources hold documents with text.")
        points, frequency = self._sample(corpus, lambda done: progress(done, 2 * rows))
        tree = self._grow(points, rows)
        terms = _vocabulary(frequency, len(tree.names[-1]))
        nodes = _describe(tree, corpus, terms, self.seed, lambda done: progress(rows + done, 2 * rows))
        return ClusterPaths({"clusters": nodes}, tree)

    def restore(self, state: pa.Table, corpus: Corpus, device: str) -> ClusterPaths:
        """The tree again, from the paths and centroids of its nodes."""
        return ClusterPaths({"clusters": state}, _tree_of(state, self.branching))

    def _sample(self, corpus: Corpus, progress: Callable[[int], None]) -> tuple[Vectors, collections.Counter[str]]:
        """Vectors to train on, in the order of their rows' draws, and word frequencies of some texts."""
        kept: list[tuple[Floats, Vectors]] = []
        held, done, highest = 0, 0, 1.0
        frequency: collections.Counter[str] = collections.Counter()
        for batch in corpus.batches(["id", "vector", "text"]):
            draws = _draws(batch, self.seed)
            chosen = np.flatnonzero(draws < highest)
            kept.append((draws[chosen], _vectors(batch)[chosen]))
            held += len(chosen)
            if held > 1.25 * _TRAINED:
                kept = [_smallest(kept)]
                held, highest = _TRAINED, float(kept[0][0][-1])
            some = pa.array(np.flatnonzero(draws * len(corpus) < _READ_FOR_WORDS))
            for text in batch.column("text").take(some).to_pylist():
                frequency.update(_words(text))
            done += batch.num_rows
            progress(done)
        return _smallest(kept)[1], frequency

    def _grow(self, points: Vectors, rows: int) -> Tree:
        """The tree for a corpus of ``rows`` events, level by level from the root."""
        tree = Tree([[""]], [_mean(points)], [])
        node_of = np.zeros(len(points), np.int64)
        depth = self.levels(rows)
        for level in range(depth):
            # A depth taken from the rows counts on full nodes below; a given one is reached with whatever there is.
            below = self.min_leaf * (self.branching ** (depth - level - 1) if self.depth is None else 1)
            centroids: list[Vectors] = []
            for node, name in enumerate(tree.names[-1]):
                members = points[node_of == node]
                wanted = min(len(members) * rows // len(points) // below, self.branching)
                centroids.append(self._children(members, wanted, -(-self.min_leaf * len(points) // rows), name))
            tree = tree.extended(centroids, self.branching)
            node_of = tree.descend(points)[-1]
        return tree

    def _children(self, members: Vectors, wanted: int, floor: int, name: str) -> Vectors:
        """Centroids for the node ``name``: at most ``wanted``, of at least ``floor`` members each, or their mean."""
        if wanted > 1:
            made, _ = balanced_kmeans(
                members,
                wanted,
                steps=self.iterations,
                sample=self.sample,
                share=self.share,
                seed=self.seed,
                name=name,
            )
            kept = drop_small(members, made.astype(np.float32), floor, self.branching)
            if len(kept) > 1:
                return kept
        return _mean(members)


def _mean(vectors: Vectors) -> Vectors:
    mean: Vectors = vectors.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32)
    return mean


@dataclasses.dataclass(frozen=True)
class ClusterPaths:
    """What `Cluster.fit` learned: the table `clusters`, and the leaf of any event with a ``vector``."""

    tables: Mapping[str, pa.Table]
    tree: Tree

    @property
    def summary(self) -> dict[str, int]:
        return {"levels": len(self.tree.names) - 1, "leaves": len(self.tree.names[-1])}

    @property
    def state(self) -> pa.Table:
        return self.tables["clusters"].select(["path", "centroid"])

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        leaves = self.tree.descend(_vectors(batch))[-1]
        paths = pa.array(self.tree.names[-1], pa.string()).take(pa.array(leaves))
        return pa.RecordBatch.from_arrays([paths], schema=pa.schema([pa.field("cluster", pa.string(), nullable=False)]))


def _tree_of(nodes: pa.Table, branching: int) -> Tree:
    """The tree whose nodes are the rows of ``nodes`` (path, centroid), in any order."""
    column = nodes["centroid"].combine_chunks()
    centroids = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
    place = {tuple(map(int, filter(None, path.split(".")))): row for row, path in enumerate(nodes["path"].to_pylist())}
    tree = Tree([[""]], [centroids[[place[()]]]], [])
    for level in range(max(map(len, place))):
        below = sorted(path for path in place if len(path) == level + 1)
        parents = sorted(path for path in place if len(path) == level)
        made = [centroids[[place[path] for path in below if path[:-1] == parent]] for parent in parents]
        tree = tree.extended(made, branching)
    return tree


def _describe(tree: Tree, corpus: Corpus, terms: list[str], seed: int, progress: Callable[[int], None]) -> pa.Table:
    """The table `clusters`: size, radius and label of every node, over all events, sorted by path."""
    sizes = [np.zeros(len(names), np.int64) for names in tree.names]
    squares = [np.zeros(len(names)) for names in tree.names]
    number = {term: index for index, term in enumerate(terms)}
    counts = np.zeros((len(tree.names[-1]), len(terms)), np.int32)
    done = 0
    for batch in corpus.batches(["id", "vector", "text"]):
        vectors = _vectors(batch)
        paths = tree.descend(vectors)
        for level, nodes in enumerate(paths):
            difference = (vectors - tree.centroids[level][nodes]).astype(np.float64)
            # One row after the other, so the sums do not depend on where batches end.
            np.add.at(squares[level], nodes, np.einsum("ij,ij->i", difference, difference))
            np.add.at(sizes[level], nodes, 1)
        counted = np.flatnonzero(_draws(batch, seed) * len(corpus) < _COUNTED)
        texts = batch.column("text").take(pa.array(counted)).to_pylist()
        found = [[number[word] for word in _words(text) if word in number] for text in texts]
        leaves = np.repeat(paths[-1][counted], [len(words) for words in found])
        np.add.at(counts, (leaves, np.array(list(itertools.chain.from_iterable(found)), np.int64)), 1)
        done += batch.num_rows
        progress(done)
    labels = _labels(tree, counts, terms)
    rows = [(name, level, index) for level, names in enumerate(tree.names) for index, name in enumerate(names)]
    rows.sort()
    schema = clusters(tree.centroids[0].shape[1])
    centroids = np.stack([tree.centroids[level][index] for _, level, index in rows])
    columns = [
        [name for name, _, _ in rows],
        [level for _, level, _ in rows],
        [name.rpartition(".")[0] for name, _, _ in rows],
        [int(sizes[level][index]) for _, level, index in rows],
        [math.sqrt(squares[level][index] / max(sizes[level][index], 1)) for _, level, index in rows],
        [labels[level][index] for _, level, index in rows],
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=False)]
    vectors_column = pa.FixedSizeListArray.from_arrays(pa.array(centroids.reshape(-1)), centroids.shape[1])
    return pa.Table.from_arrays([*arrays, vectors_column], schema=schema)


def _labels(tree: Tree, counts: npt.NDArray[np.int32], terms: list[str]) -> list[list[str]]:
    """The four most distinctive terms of every node: class-based TF-IDF, tf * log(1 + words per node / frequency)."""
    totals = [counts.astype(np.int64)]
    for children in reversed(tree.children):
        below = np.concatenate([totals[0], np.zeros((1, len(terms)), np.int64)])
        totals.insert(0, sum((below[column] for column in children.T), np.zeros((len(children), len(terms)), np.int64)))
    frequency = np.maximum(counts.sum(axis=0, dtype=np.int64), 1)
    labels = []
    for level in totals:
        weight = np.log1p(level.sum() / len(level) / frequency)
        level_labels = []
        for row in level:
            score = row * weight
            best = np.argsort(-score, kind="stable")[:_TERMS]  # terms are in alphabetical order: so are equal ones
            level_labels.append(", ".join(terms[term] for term in best if score[term] > 0))
        labels.append(level_labels)
    return labels


def _vocabulary(frequency: Mapping[str, int], leaves: int) -> list[str]:
    size = min(_VOCABULARY, _COUNTS // leaves)
    return sorted(sorted(frequency, key=lambda word: (-frequency[word], word))[:size])


def _words(text: str) -> Iterator[str]:
    stop_words = _stop_words()
    return (word for word in _WORD.findall(text.lower()) if word not in stop_words)


@functools.cache
def _stop_words() -> frozenset[str]:
    return frozenset(_STOP_WORDS.split())


def _draws(batch: pa.RecordBatch, seed: int) -> Floats:
    """A number in [0, 1) for every row, which depends on the seed and the row's id alone."""
    return np.array([unit_draw(seed, "cluster", row) for row in batch.column("id").to_pylist()], np.float64)


def _vectors(batch: pa.RecordBatch) -> Vectors:
    column = batch.column("vector")
    flat: Vectors = column.flatten().to_numpy().astype(np.float32, copy=False)
    return flat.reshape(len(column), column.type.list_size)


def _smallest(parts: list[tuple[Floats, Vectors]]) -> tuple[Floats, Vectors]:
    """The rows of smallest draws, sorted by them; equal ones stay in the order of their ids."""
    draws = np.concatenate([draws for draws, _ in parts])
    order = np.argsort(draws, kind="stable")[:_TRAINED]
    return draws[order], np.concatenate([vectors for _, vectors in parts])[order]
