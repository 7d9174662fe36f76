"""The search as an operator: the nearest neighbours of every row of the datastore among the rows of its store.

It is the master result: what the teacher says follows from it. Rows of the query's own document are masked here, which
holds whatever is asked later; documents that are nearly alike are masked when the distribution is made, from these same
neighbours (`operators.teacher.operator`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemic.catalogue import CATALOGUE
from mnemic.vectors import column
from operators.contracts import Corpus, Progress, Resources, bounds, refuse
from operators.sections import Driven, Section

if TYPE_CHECKING:
    from mnemic.neighbours.parts import Range
    from operators.teacher.search import FittedNeighbours, PartOfStore

NO_NEIGHBOUR = 0xFFFFFFFF
"""Row number in ``neighbours`` where the store has fewer rows to offer; its distance is infinite."""

EXACT_ROWS = 20_000
"""Stores up to this size are searched exactly, which takes seconds."""

_KEY_BYTES, _ROW_BYTES = 6, 64  # of a component: keys and codes, twice while they are sorted; and of the rest of a row


@dataclass(frozen=True)
class Neighbours:
    """Columns ``neighbours`` and ``distances`` of the ``k`` nearest rows of the store, for rows of the datastore.

    ``search`` is "exact", "lists", "ivfpq", or "auto": exact up to 20,000 rows, then lists. ``recall`` is the share of
    a row's 64 nearest that lists, or faiss's codes, are to find; distances of those found are exact either way. Where a
    store takes more than ``memory_gb``, workers hold ranges of its lists; what is found is the same.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(gpus=1.0, memory=2 << 30)

    k: int = 256
    search: str = "auto"
    recall: float = 0.98
    memory_gb: float = field(default=8.0, metadata={"identity": False})

    def __post_init__(self) -> None:
        refuse(
            bounds(
                self,
                "The {name} of the neighbours is {value!r}; give {bound}.",
                (
                    ("k", self.k >= 1, "a number of at least 1, such as 256"),
                    ("search", self.search in ("auto", "exact", "lists", "ivfpq"), "auto, exact, lists or ivfpq"),
                    ("recall", 0 < self.recall <= 1, "a share above 0 and at most 1, such as 0.98"),
                    ("memory_gb", self.memory_gb > 0, "a number above 0, such as 8"),
                ),
            )
        )

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema(
            [
                pa.field("neighbours", pa.list_(pa.uint32(), self.k)),  # row numbers of the store, nearest first
                pa.field("distances", pa.list_(pa.float32(), self.k)),  # squared L2
            ]
        )

    def way(self, rows: int) -> str:
        """The search of a store with so many rows: exact, lists or ivfpq."""
        if self.search != "auto":
            return self.search
        return "exact" if rows <= EXACT_ROWS else "lists"

    def parts(self, rows: int, width: int) -> int:
        """The number of parts of a store of ``rows`` keys of this width."""
        bytes_of = rows * (_KEY_BYTES * width + _ROW_BYTES)
        return max(1, math.ceil(bytes_of / (self.memory_gb * 1e9))) if self.way(rows) == "lists" else 1

    def fit(self, corpus: Corpus, device: str, progress: Progress) -> FittedNeighbours:
        """Choose the lists and the number of probes; read the store where it fits, and check the search on itself."""
        from operators.teacher import search

        return search.fit(self, corpus, device, progress)

    def restore(self, state: pa.Table, corpus: Corpus, device: str) -> FittedNeighbours:
        """Read the store in another process, with the lists and probes that `fit` chose."""
        from operators.teacher import search

        return search.restore(self, state, corpus, device)

    def part(self, state: pa.Table, corpus: Corpus, device: str, lists: Range) -> PartOfStore:
        """Read the rows of a range of lists; all other keys are only assigned to their lists."""
        from operators.teacher import search

        return search.part(self, state, corpus, device, lists)

    def ranges(self, lists: pa.Table) -> list[Range]:
        """The ranges of lists that workers hold, of a store whose table of lists this is."""
        from mnemic.neighbours.parts import ranges

        ordered = lists.sort_by("list")
        sizes, width = ordered["rows"].to_numpy(), ordered.schema.field("centroid").type.list_size
        return ranges(sizes, self.parts(int(sizes.sum()), width))

    def merge(self, answers: Sequence[pa.RecordBatch], rows: pa.Array) -> pa.RecordBatch:
        """The columns for the rows with these ids, from the ``answers`` of all parts about these and other rows."""
        from operators.teacher import search

        return search.merge(self, answers, rows)

    def columns(self, distances: NDArray[np.float32], rows: NDArray[np.int64]) -> pa.RecordBatch:
        """The stored form of distances float32 [b, k] and rows int64 [b, k], -1 for none."""
        neighbours = np.where(rows < 0, NO_NEIGHBOUR, rows).astype(np.uint32)
        arrays = [column(neighbours), column(distances)]
        return pa.RecordBatch.from_arrays(arrays, schema=self.output(pa.schema([])))


SECTION = Section(
    "neighbours",
    Neighbours,
    Driven("pipelines.steps.neighbours:neighbours_step", after=("datastore",), datasets=(CATALOGUE["lists"],)),
    on="language_model",
)
