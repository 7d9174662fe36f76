"""The operator: its settings, and the tree of a corpus as two reductions with the training between them.

`Cluster.sampling` draws the events to train on, `Cluster.grown` trains the tree on their vectors in one process, and
`Cluster.describing` reads every event once more for the table `clusters`. `Cluster.fit` does all of it here; the step
(`pipelines.steps.cluster`) uses any number of workers, with the same result.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import pyarrow as pa

from mnemic.arrays import RowIds, Vectors
from mnemic.catalogue import CATALOGUE
from mnemic.errors import RecipeError, StepError
from operators.contracts import Corpus, Progress, Reduction, Resources
from operators.sections import Driven, Section

if TYPE_CHECKING:
    from operators.cluster.describe import Describing
    from operators.cluster.paths import ClusterPaths
    from operators.cluster.sample import Sample, Sampling
    from operators.cluster.tree import Tree

PartT = TypeVar("PartT")

METHODS = ("tree", "flat", "faiss")

FEWEST_TRAINED, MOST_TRAINED = 131_072, 1 << 20
"""Events that a tree is trained on at most: 64 a leaf, within these bounds; 200 MB to 1.6 GB at 384 components."""

TRAINED_A_LEAF = 64

FLAT_STEPS = 25


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Corpus operator that adds ``cluster`` (path of the leaf, such as "3.11"; "" for a tree of depth 0) to events.

    It reads ``id``, ``vector`` and ``text``; its table `clusters` has a row for every node, the root included.
    ``branching`` children a node; ``depth`` levels below the root, or None for as many as leave ``min_leaf`` events a
    leaf on average were every node full. ``iterations`` steps of ``sample`` events train a node; none may put more than
    ``share`` / branching of them into one cluster. The paper's share is 1.5; with 1.2 the leaves are more even, and
    held-out events nearer to their centroids.

    Every node has at least ``min_leaf`` events of the corpus if that has so many, with or without a ``depth``. The
    training takes all events of a corpus of up to 131,072, of a larger one 64 a leaf, at most 1,048,576. Where those
    are not all events, the bound is on a node's part of them: at least ``min_leaf`` * trained / rows, rounded up. In
    the whole corpus that is about ``min_leaf``, and can be fewer. A node that cannot be divided so has one child.
    ``min_leaf`` 1 only leaves out empty nodes.

    ``method`` "flat" makes one level of ``clusters`` leaves by plain k-means, without a bound on shares or sizes;
    "faiss" has faiss do that, where it is installed, with bits that depend on its version.
    """

    version: ClassVar[int] = 5
    resources: ClassVar[Resources] = Resources()

    branching: int = 16
    depth: int | None = None
    min_leaf: int = 64
    iterations: int = 20
    sample: int = 6400
    share: float = 1.2
    seed: int = 0
    method: str = "tree"
    clusters: int | None = None

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
        if self.method not in METHODS:
            raise RecipeError(f"There is no method {self.method!r} of clustering; use one of {', '.join(METHODS)}.")
        if (self.method == "tree") != (self.clusters is None) or (self.clusters is not None and self.clusters < 2):
            raise RecipeError(
                f"Clustering by method {self.method!r} cannot have clusters {self.clusters}; give at least 2 "
                "`clusters` to the methods flat and faiss, and none to a tree."
            )

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field("cluster", pa.string(), nullable=False)])

    def levels(self, rows: int) -> int:
        """Levels below the root for a corpus of ``rows`` events."""
        if self.method != "tree":
            return 1
        if self.depth is not None:
            return self.depth
        depth = 0
        while rows >= self.min_leaf * self.branching ** (depth + 1):
            depth += 1
        return 1 if depth == 0 and rows >= 2 * self.min_leaf else depth

    def trained(self, rows: int) -> int:
        """Events that are trained on, of a corpus of ``rows``."""
        leaves = self.clusters or self.branching ** self.levels(rows)
        return min(rows, max(FEWEST_TRAINED, min(TRAINED_A_LEAF * leaves, MOST_TRAINED)))

    def sampling(self, rows: int) -> Sampling:
        """The draw of the events to train on, of a corpus of ``rows``."""
        from operators.cluster.sample import Sampling

        if rows == 0:
            raise StepError("There are no events to cluster; check that the sources hold documents with text.")
        return Sampling(self.seed, self.trained(rows), rows)

    def grown(self, vectors: Vectors, rows: int, device: str = "cpu", progress: Progress | None = None) -> Tree:
        """The tree of a corpus of ``rows``, trained on ``vectors``: float32 [n, d] in the order of their draws."""
        from operators.cluster.flat import faiss_centroids
        from operators.cluster.grow import Grower, mean
        from operators.cluster.kmeans import KMeansSettings
        from operators.cluster.tree import root

        depth = self.levels(rows)
        if self.method == "faiss" and len(vectors) > 1:
            clusters = min(self.clusters or 1, len(vectors))
            centroids = faiss_centroids(vectors, clusters, FLAT_STEPS, self.seed)
            return root(mean(vectors)).extended([centroids], clusters)
        if self.method == "flat":
            how = KMeansSettings(self.clusters or 1, FLAT_STEPS, len(vectors), math.inf, self.seed)
            return Grower(vectors, rows, how, device).grown(1, 1, False)
        how = KMeansSettings(self.branching, self.iterations, self.sample, self.share, self.seed)
        grower = Grower(vectors, rows, how, device)
        return grower.grown(depth, self.min_leaf, self.depth is None, progress)

    def describing(self, tree: Tree, sample: Sample, rows: int) -> Describing:
        """The reduction that makes the table `clusters` of a corpus of ``rows``."""
        from operators.cluster.describe import Describing
        from operators.cluster.labels import vocabulary

        return Describing(tree, tuple(vocabulary(sample.words, tree.leaves)), self.seed, rows)

    def read(self, nodes: pa.Table) -> Tree:
        """The tree of a table `clusters`, or of its columns path and centroid."""
        from operators.cluster.tree import tree_of

        return tree_of(nodes, self.clusters or self.branching)

    def fit(self, corpus: Corpus, device: str, progress: Progress) -> ClusterPaths:
        """Build the tree from ``corpus`` (events in the order of their ids) and describe its nodes, in this process."""
        from operators.cluster.paths import ClusterPaths
        from operators.cluster.sample import drawn_vectors

        rows, done = len(corpus), 0

        def batches(columns: Sequence[str]) -> Iterable[pa.RecordBatch]:
            nonlocal done
            for batch in corpus.batches(columns):
                yield batch
                done += batch.num_rows
                progress(done, 2 * rows)

        sampling, numbered = self.sampling(rows), 0
        parts = []
        for batch in batches(["id", "text"]):
            numbers = pa.array(np.arange(numbered, numbered + batch.num_rows), pa.uint64())
            numbered += batch.num_rows
            columns = [*batch.columns, numbers]
            parts.append(sampling.partial(pa.RecordBatch.from_arrays(columns, names=["id", "text", "number"])))
        sample = reduced(sampling, parts)
        tree = self.grown(drawn_vectors(sample, functools.partial(_vectors_in_parts, corpus)), rows, device)
        paths = ClusterPaths({}, tree)
        describing = self.describing(tree, sample, rows)
        described = (
            describing.partial(batch.append_column("cluster", paths(batch).column("cluster")))
            for batch in batches(["id", "vector", "text"])
        )
        return ClusterPaths({"clusters": describing.finish(reduced(describing, described))}, tree)

    def restore(self, state: pa.Table, corpus: Corpus, device: str) -> ClusterPaths:
        """The fitted tree, from the paths and centroids of its nodes."""
        from operators.cluster.paths import ClusterPaths

        return ClusterPaths({"clusters": state}, self.read(state), device)


SECTION = Section(
    "cluster",
    Cluster,
    Driven("pipelines.steps.cluster:ClusterStep", after=("segment",), datasets=(CATALOGUE["clusters"],)),
    on=True,
)


def reduced(reduction: Reduction[PartT, Any], parts: Iterable[PartT]) -> PartT:
    """All parts merged; there is at least one."""
    return functools.reduce(reduction.merge, parts)


def _vectors_in_parts(corpus: Corpus, numbers: RowIds) -> Iterable[tuple[RowIds, Vectors]]:
    from operators.cluster.describe import vectors_of

    for start in range(0, len(numbers), 8192):
        some = numbers[start : start + 8192]
        table = corpus.take(some.astype(np.int64).tolist(), ["vector"])
        yield some, vectors_of(table.combine_chunks().to_batches()[0])
