"""The stored form of a distribution: 198 bytes for 64 tokens.

A probability is one byte, in steps of 1/16 in its logarithm: 3 % of itself at most from what it was, before the kept
ones are brought back to a sum of 1. That moves a student's target by 0.0001 nats (documentation, SmolLM2); 64
probabilities as float16 would take 64 bytes more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemic.vectors import column

if TYPE_CHECKING:
    from operators.teacher.distribution import Distribution

STEPS = 16
"""Steps of a byte in a factor of e."""

ZERO = 255
"""The byte of probability 0; what is less probable than e^-15.9 of the heaviest is none."""

_VALUES = np.append(np.exp(-np.arange(ZERO) / STEPS), 0.0).astype(np.float32)


def target_fields(token: pa.DataType, support: int) -> list[pa.Field]:
    """Columns of a stored distribution over tokens of this type."""
    return [
        pa.field("teacher_ids", pa.list_(token, support)),  # heaviest first; 0 where the byte says that there is none
        pa.field("teacher_probs", pa.list_(pa.uint8(), support)),  # steps below 1, see `probabilities`
        pa.field("teacher_rest", pa.float16()),  # mass of the tokens that were not kept
        pa.field("teacher_label", pa.float32()),  # probability of the true token, before truncation
    ]


def target_columns(teacher: Distribution, token: pa.DataType) -> list[pa.Array]:
    """The values of `target_fields` for the rows of ``teacher``."""
    with np.errstate(divide="ignore"):
        steps = np.rint(-STEPS * np.log(teacher.probs))
    codes = np.where((teacher.ids < 0) | ~(steps < ZERO), ZERO, np.maximum(steps, 0)).astype(np.uint8)
    ids = np.where(codes == ZERO, 0, teacher.ids).astype(token.to_pandas_dtype())
    return [
        column(ids),
        column(codes),
        pa.array(teacher.rest.astype(np.float16)),
        pa.array(teacher.label),
    ]


def probabilities(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The probabilities of bytes uint8 [n, m], float32 [n, m]: each row sums to 1, or to 0 where it has no token."""
    values: NDArray[np.float32] = _VALUES[codes]
    total = values.sum(1, keepdims=True)
    np.divide(values, total, out=values, where=total > 0)
    return values
