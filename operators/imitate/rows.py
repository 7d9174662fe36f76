"""The rows that a student is trained on: the datastore's with the teacher's distributions, and held-out rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemic.errors import StepError
from mnemic.vectors import vectors

UNTAUGHT = "Some rows of the store have no teacher yet; run the teacher step on all rows first."


@dataclass(frozen=True)
class TrainingRows:
    """Rows of the datastore in (document, position) order: those of the store, and held-out ones for validation.

    An array may lie in a file: it is looked at row by row, and never written to.
    """

    input: NDArray[np.float16]  # [n, d]
    token: NDArray[np.int32]  # [n]
    teacher_ids: NDArray[np.int32]  # [n, m]
    teacher_probs: NDArray[np.uint8]  # [n, m], as `operators.teacher.targets` stores them
    validation_input: NDArray[np.float16]  # [v, d]
    validation_token: NDArray[np.int32]  # [v]
    validation_base_logprob: NDArray[np.float32]  # [v]


def taught(store: pa.Table) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """The teacher's tokens int32 [n, m] and their probabilities uint8 [n, m], as stored.

    Raises `StepError` where it has not seen a row.
    """
    if store.column("teacher_ids").null_count or store.column("teacher_probs").null_count:
        raise StepError(UNTAUGHT)
    return vectors(store["teacher_ids"], np.int32), vectors(store["teacher_probs"], np.uint8)


def vector(table: pa.Table, name: str, dtype: Any) -> NDArray[Any]:
    """A column of numbers as an array [n] of ``dtype``."""
    return np.array(table.column(name).to_numpy(), dtype=dtype)
