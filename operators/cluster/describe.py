"""Descriptions of nodes: the number of events, their distance from the centroid, the words, the nearest events.

Everything is counted in whole numbers (a squared distance in parts of 2^-32), so parts of a corpus can be described
anywhere and added up in any order.
"""

from __future__ import annotations

import collections
import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Floats, Integers, Vectors
from mnemic.compiled import compiled
from mnemic.schema import clusters
from mnemic.vectors import column, vectors
from operators.cluster.labels import labels, words_of
from operators.cluster.sample import chosen
from operators.cluster.tree import Tree

EXAMPLES = 3
COUNTED = 131_072
"""Events whose words are counted, about."""

_PARTS = 2.0**32
"""Parts of a squared distance; sums of them hold 500 million events that are 2 apart from their centroid."""


@dataclasses.dataclass(frozen=True)
class NearestEvents:
    """The events nearest to each node's centroid, three a node, sorted by (node, squared distance, id): [n] each."""

    node: Integers
    distance: Floats
    id: npt.NDArray[np.bytes_]

    @classmethod
    def of(cls, node: Integers, distance: Floats, ids: npt.NDArray[np.bytes_]) -> NearestEvents:
        """The nearest of events in any order: ``node`` int64, ``distance`` float64, ``ids`` bytes, [events] each."""
        order = np.lexsort((ids, distance, node))
        node = node[order]
        rank = np.arange(len(node)) - np.searchsorted(node, node)
        order = order[rank < EXAMPLES]
        return cls(node[rank < EXAMPLES], distance[order], ids[order])

    def __add__(self, other: NearestEvents) -> NearestEvents:
        parts = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return NearestEvents.of(*(np.concatenate(pair) for pair in parts))


@dataclasses.dataclass(frozen=True)
class Measures:
    """Of every node, level after level: ``sizes`` int64 [nodes], events; ``squares`` int64 [nodes], the sums of their
    squared distances in parts of 2^-32; and the nearest events."""

    sizes: Integers
    squares: Integers
    nearest: NearestEvents

    def __add__(self, other: Measures) -> Measures:
        return Measures(self.sizes + other.sizes, self.squares + other.squares, self.nearest + other.nearest)

    @property
    def radii(self) -> Floats:
        """Root mean square distance to the centroid, float64 [nodes]; 0 for a node without events."""
        radii: Floats = np.sqrt(self.squares / _PARTS / np.maximum(self.sizes, 1))
        return radii


@dataclasses.dataclass(frozen=True)
class NodeDescription:
    """Measures of the nodes, and ``counts`` int64 [n] of ``terms`` int64 [n], each leaf * words + word."""

    measures: Measures
    terms: Integers
    counts: Integers


@dataclasses.dataclass(frozen=True)
class Describing:
    """Describes the nodes of ``tree`` by all events of a corpus of ``rows``: a `Reduction`.

    Batches have ``id``, ``vector``, ``cluster`` and ``text``; a text may be null except in the rows of `reads`. Labels
    are made of ``words``, which are in alphabetical order.
    """

    tree: Tree
    words: tuple[str, ...]
    seed: int
    rows: int

    def reads(self, ids: pa.Array) -> Integers:
        """Places of the events whose texts are read, int64."""
        return chosen(ids, self.seed, COUNTED, self.rows)

    @property
    def nothing(self) -> NodeDescription:
        """The description of no events."""
        return NodeDescription(nothing(self.tree), *(np.empty(0, np.int64),) * 2)

    def partial(self, batch: pa.RecordBatch) -> NodeDescription:
        leaves = leaves_of(self.tree, batch.column("cluster"))
        measures = measured(self.tree, leaves, batch)
        number = {word: index for index, word in enumerate(self.words)}
        occurrences = []
        places = self.reads(batch.column("id"))
        for leaf, text in zip(leaves[places].tolist(), batch.column("text").take(places).to_pylist(), strict=True):
            counted = collections.Counter(number[word] for word in words_of(text) if word in number)
            occurrences += [(leaf * len(self.words) + word, count) for word, count in counted.items()]
        pairs = np.array(occurrences, np.int64).reshape(-1, 2)
        return NodeDescription(measures, *_added_up(pairs[:, 0], pairs[:, 1]))

    def merge(self, one: NodeDescription, other: NodeDescription) -> NodeDescription:
        terms = np.concatenate([one.terms, other.terms])
        counts = np.concatenate([one.counts, other.counts])
        return NodeDescription(one.measures + other.measures, *_added_up(terms, counts))

    def finish(self, whole: NodeDescription) -> pa.Table:
        """The table `clusters`, sorted by path."""
        tree, measures = self.tree, whole.measures
        leaves, terms = whole.terms // max(len(self.words), 1), whole.terms % max(len(self.words), 1)
        label = [one for level in labels(tree, leaves, terms, whole.counts, list(self.words)) for one in level]
        examples: list[list[str]] = [[] for _ in label]
        for node, name in zip(measures.nearest.node.tolist(), measures.nearest.id.tolist(), strict=True):
            examples[node].append(name.decode())
        radii = measures.radii.tolist()
        rows = sorted(zip(*_named(tree), measures.sizes.tolist(), radii, label, examples, strict=True))
        path, level, size, radius, labelled, nearest = (list(column) for column in zip(*rows, strict=True))
        place = {name: index for index, name in enumerate(name for names in tree.names for name in names)}
        centroids = np.concatenate(tree.centroids)[[place[name] for name in path]]
        columns = {
            "path": path,
            "level": level,
            "parent": [name.rpartition(".")[0] for name in path],
            "size": size,
            "radius": radius,
            "label": labelled,
            "examples": nearest,
            "fitted": size,
            "added": [0] * len(path),
            "added_radius": [0.0] * len(path),
        }
        return table_of(columns, centroids)


def table_of(columns: dict[str, list[object]], centroids: Vectors) -> pa.Table:
    """The table `clusters` of these columns, and of ``centroids`` float32 [nodes, d]."""
    schema = clusters(centroids.shape[1])
    arrays = {name: pa.array(values, schema.field(name).type) for name, values in columns.items()}
    arrays["centroid"] = column(centroids)
    return pa.Table.from_arrays([arrays[name] for name in schema.names], schema=schema)


def bare(tree: Tree) -> pa.Table:
    """The table `clusters` of a tree before any event was counted: paths and centroids, and no events."""
    describing = Describing(tree, (), 0, 1)
    return describing.finish(describing.nothing)


def leaves_of(tree: Tree, paths: pa.Array) -> Integers:
    """The leaf that each path names, int64 [paths]."""
    leaves: Integers = pc.index_in(paths, value_set=pa.array(tree.names[-1], pa.string())).to_numpy().astype(np.int64)
    return leaves


def nothing(tree: Tree) -> Measures:
    nodes = sum(map(len, tree.names))
    none = np.empty(0, np.int64)
    return Measures(
        np.zeros(nodes, np.int64), np.zeros(nodes, np.int64), NearestEvents(none, np.empty(0), np.empty(0, "S1"))
    )


def measured(tree: Tree, leaves: Integers, batch: pa.RecordBatch) -> Measures:
    """Measures of the events of a batch (``id``, ``vector``), whose leaves are ``leaves`` int64 [rows]."""
    vectors, ids = vectors_of(batch), np.array(batch.column("id").to_pylist(), np.bytes_)
    measures, first = nothing(tree), 0
    for above, centroids in zip(tree.ancestors(), tree.centroids, strict=True):
        node = above[leaves]
        distance = np.empty(len(node))
        squared_distances(vectors, centroids, node, distance)
        np.add.at(measures.sizes, first + node, 1)
        np.add.at(measures.squares, first + node, np.rint(distance * _PARTS).astype(np.int64))
        near = NearestEvents.of(first + node, distance, ids)
        measures = dataclasses.replace(measures, nearest=measures.nearest + near)
        first += len(centroids)
    return measures


@compiled
def squared_distances(vectors: Vectors, centroids: Vectors, node: Integers, distance: Floats) -> None:
    """Write each row's squared distance to the centroid of its node, ``distance`` float64 [rows], in four running sums.

    ``vectors`` float32 [rows, d], ``centroids`` float32 [nodes, d], ``node`` int64 [rows].
    """
    length = vectors.shape[1]
    for row in range(vectors.shape[0]):
        vector, centroid = vectors[row], centroids[node[row]]
        first = second = third = fourth = 0.0
        for start in range(0, length - length % 4, 4):
            first += (float(vector[start]) - float(centroid[start])) ** 2
            second += (float(vector[start + 1]) - float(centroid[start + 1])) ** 2
            third += (float(vector[start + 2]) - float(centroid[start + 2])) ** 2
            fourth += (float(vector[start + 3]) - float(centroid[start + 3])) ** 2
        for component in range(length - length % 4, length):
            first += (float(vector[component]) - float(centroid[component])) ** 2
        distance[row] = (first + second) + (third + fourth)


def vectors_of(batch: pa.RecordBatch) -> Vectors:
    """The column ``vector``, float32 [rows, d]."""
    return vectors(batch.column("vector"), np.float32, copy=False)


def _named(tree: Tree) -> tuple[list[str], list[int]]:
    names = [(name, level) for level, names in enumerate(tree.names) for name in names]
    return [name for name, _ in names], [level for _, level in names]


def _added_up(keys: Integers, counts: Integers) -> tuple[Integers, Integers]:
    distinct, place = np.unique(keys, return_inverse=True)
    total = np.zeros(len(distinct), np.int64)
    np.add.at(total, place, counts)
    return distinct, total
