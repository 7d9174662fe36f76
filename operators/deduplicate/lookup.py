"""A column that a corpus operator decided for every row, handed out batch by batch.

Deciding needs the whole corpus, writing does not. The decisions are the sorted ids of the rows with one value each, and
a batch looks up its own by binary search.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.errors import StepError


@dataclass(frozen=True, eq=False)
class ColumnById:
    """Values of the column ``name`` (never null) for the rows with these ids, and ``otherwise`` for all other rows."""

    name: str
    ids: npt.NDArray[np.bytes_]  # sorted
    values: pa.Array  # of strings, one for each id
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    otherwise: str | None = None  # None: a row that the operator did not see is an error

    @classmethod
    def build(
        cls,
        name: str,
        ids: pa.Array,
        values: pa.Array,
        tables: Mapping[str, pa.Table],
        summary: Mapping[str, Any],
        otherwise: str | None = None,
    ) -> ColumnById:
        """Of ids in any order. Raises StepError where two rows have one id."""
        keys = _bytes(ids)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        repeated = np.flatnonzero(keys[1:] == keys[:-1])
        if len(repeated):
            raise StepError(
                f"The id {keys[repeated[0]].decode()} stands on more than one row, so `{name}` is not defined; "
                "build the documents again from their sources."
            )
        return cls(name, keys, values.take(pa.array(order)), dict(tables), dict(summary), otherwise)

    @property
    def state(self) -> pa.Table:
        """The ids and their values."""
        return pa.table({"id": pa.array(self.ids.astype(str), pa.string()), "value": self.values})

    @classmethod
    def restore(cls, name: str, state: pa.Table, otherwise: str | None = None) -> ColumnById:
        """From the ``state`` of another fit; its tables and its summary stay with that fit."""
        return cls.build(name, state["id"].combine_chunks(), state["value"].combine_chunks(), {}, {}, otherwise)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """One column, in the order of ``batch``'s `id`. Raises StepError for an id that was not in the corpus."""
        keys = _bytes(batch.column("id"))
        places = np.searchsorted(self.ids, keys)
        present = places < len(self.ids)
        present[present] = self.ids[places[present]] == keys[present]
        if not present.all() and self.otherwise is None:
            missing = keys[np.flatnonzero(~present)[0]].decode()
            raise StepError(
                f"The row {missing} was not there when `{self.name}` was decided for the corpus; "
                "run the step again so that it sees all rows."
            )
        schema = pa.schema([pa.field(self.name, pa.string(), nullable=False)])
        values = self.values.take(pa.array(places, mask=~present)).fill_null(self.otherwise or "")
        return pa.RecordBatch.from_arrays([values], schema=schema)


def _bytes(ids: pa.Array) -> npt.NDArray[np.bytes_]:
    return np.array(ids.cast(pa.binary()).to_pylist() or [b""], dtype=np.bytes_)[: len(ids)]
