"""What a memory is trained on, read from a bank: each student's own view of the datastore and its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from mnemic.dataset import Snapshot, Store
from mnemic.schema import KEYS
from operators.imitate import Training, TrainingRows
from pipelines.corpus_reader import KeyOrder

STORE = "split = 'store'"
VALIDATION = "split LIKE 'validation-%'"

_TAUGHT = ("token", "teacher_ids", "teacher_probs")
_HELD_OUT = ("token", "base_logprob")


def training_rows(store: Store, version: int, operator: Training) -> tuple[Any, int]:
    """What ``operator`` trains on, of this version of the datastore, and how many rows of the store that is."""
    datastore = store["datastore"].require(version)
    rows = TrainingRows.from_arrow(
        _ordered(datastore, STORE, ("input", *_TAUGHT)), _ordered(datastore, VALIDATION, ("input", *_HELD_OUT))
    )
    return rows, len(rows.token)


def _ordered(datastore: Snapshot, where: str, columns: Sequence[str]) -> pa.Table:
    order = KeyOrder(datastore, KEYS["datastore"], where)
    return order.take(range(len(order)), columns)
