"""Events to the leaves of a tree: the result of clustering a corpus."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from operators.cluster.describe import vectors_of
from operators.cluster.tree import Descent, Tree


@dataclasses.dataclass(frozen=True)
class ClusterPaths:
    """A fitted tree: the table `clusters`, and the leaf of any event with a ``vector``."""

    tables: Mapping[str, pa.Table]
    tree: Tree
    device: str = "cpu"

    @property
    def summary(self) -> dict[str, int]:
        return {"levels": self.tree.depth, "leaves": self.tree.leaves}

    @property
    def state(self) -> pa.Table:
        return self.tables["clusters"].select(["path", "centroid"])

    @functools.cached_property
    def _descent(self) -> Descent:
        return Descent(self.tree, self.device)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_descent"}

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        leaves = self._descent(vectors_of(batch))[-1]
        paths = pa.array(self.tree.names[-1], pa.string()).take(pa.array(leaves))
        return pa.RecordBatch.from_arrays([paths], schema=pa.schema([pa.field("cluster", pa.string(), nullable=False)]))
