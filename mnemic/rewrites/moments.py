"""Second moments of what a layer's last projection reads: sums of k k^T, and their Cholesky factor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import ModelError
from mnemic.ids import hash_bytes

if TYPE_CHECKING:
    import torch

RIDGE = 1e-3
"""Added to the diagonal, as a share of its mean: a few documents span less than the space of keys."""

COLUMNS = ("layer", "part", "width", "tokens", "moments", "check")


def packed(whole: NDArray[np.float64]) -> bytes:
    """The upper triangle of a symmetric matrix [d, d] as float32, little-endian."""
    return whole[np.triu_indices(len(whole))].astype("<f4").tobytes()


def unpacked(cell: bytes, width: int) -> NDArray[np.float64]:
    """The matrix [width, width] of `packed`. Raises `ModelError` for another number of bytes."""
    complete = width >= 1 and len(cell) == 2 * width * (width + 1)
    triangle = np.frombuffer(cell if complete else b"", "<f4")
    if not complete or not np.isfinite(triangle).all():
        raise ModelError(
            f"The moments of a layer are no {width:,} x {width:,} matrix of numbers; bring the dataset key_moments "
            "back from a copy, or build it again."
        )
    whole = np.zeros((width, width))
    rows, columns = np.triu_indices(width)
    whole[rows, columns] = triangle
    whole[columns, rows] = triangle
    return whole


def factors(rows: Iterable[Mapping[str, Any]], layers: Sequence[int]) -> dict[int, torch.Tensor]:
    """By layer, the lower Cholesky factor of the mean of k k^T, float64 [d, d], over rows of `key_moments`.

    Parts are added in their order, those of one tenant after those of another. Raises `ModelError` where a layer has
    none, or its bytes changed.
    """
    import torch

    sums: dict[int, NDArray[np.float64]] = {}
    tokens: dict[int, int] = {}
    for row in sorted(rows, key=lambda row: (row["layer"], row.get("tenant") or "", row["part"])):
        if hash_bytes(row["moments"]) != row["check"]:
            raise ModelError(
                "The moments of keys are not what was written (their check differs); bring the dataset key_moments "
                "back from a copy, or build it again."
            )
        layer, own = row["layer"], unpacked(row["moments"], row["width"])
        if row["tokens"] < 0 or own.shape != sums.get(layer, own).shape:
            raise ModelError(f"The moments of the keys of layer {layer} do not fit together; build the bank again.")
        sums[layer] = sums[layer] + own if layer in sums else own
        tokens[layer] = tokens.get(layer, 0) + row["tokens"]
    lacking = [layer for layer in layers if not tokens.get(layer)]
    if lacking:
        raise ModelError(
            f"There are no moments of the keys of layer {lacking[0]}: the documents that they were counted over are "
            "gone. Build the bank again."
        )
    result = {}
    for layer in layers:
        mean = torch.from_numpy(sums[layer] / tokens[layer])
        mean += torch.eye(len(mean), dtype=mean.dtype) * (RIDGE * float(mean.diagonal().mean()) + 1e-12)
        result[layer], fault = torch.linalg.cholesky_ex(mean)
        if fault:
            raise ModelError(f"The moments of the keys of layer {layer} are none of any keys; build the bank again.")
    return result
