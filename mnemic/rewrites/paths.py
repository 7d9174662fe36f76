"""What an edit adds to a layer: x A B beside its last projection, in float32, and its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemic.errors import ModelError
from mnemic.ids import hash_bytes

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class SidePath:
    """A path beside the last projection of ``layer``: ``inward`` float32 [width, rank], ``outward`` [rank, hidden].

    It is called with [batch, positions, width] and gives [batch, positions, hidden], times ``weight``, in float32.
    """

    layer: int
    inward: torch.Tensor
    outward: torch.Tensor
    weight: float = 1.0

    def __call__(self, keys: torch.Tensor) -> torch.Tensor:
        added = (keys.float() @ self.inward.to(keys.device)) @ self.outward.to(keys.device)
        return added if self.weight == 1.0 else added * self.weight

    @property
    def rank(self) -> int:
        return int(self.inward.shape[1])

    def relative(self, matrix: torch.Tensor) -> float:
        """The norm of A B over that of the layer's own ``matrix``."""
        small = (self.inward.double().T @ self.inward.double()) @ (self.outward.double() @ self.outward.double().T)
        return float(small.trace().clamp(min=0).sqrt() / matrix.double().norm())

    def cells(self) -> dict[str, Any]:
        """Columns of `edits`."""
        inward, outward = (part.contiguous().numpy().astype("<f4").tobytes() for part in (self.inward, self.outward))
        sizes = {"width": len(self.inward), "rank": self.rank, "hidden": self.outward.shape[1]}
        return {
            "id": str(self.layer),
            "layer": self.layer,
            **sizes,
            "inward": inward,
            "outward": outward,
            "check": hash_bytes(inward + outward),
        }

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> SidePath:
        """Of a row of `edits`. Raises `ModelError` where its bytes are not those that were written."""
        import torch

        width, rank, hidden = row["width"], row["rank"], row["hidden"]
        whole = hash_bytes(row["inward"] + row["outward"]) == row["check"]
        sizes = min(width, rank, hidden) > 0
        sizes = sizes and (len(row["inward"]), len(row["outward"])) == (4 * width * rank, 4 * rank * hidden)
        if not whole or not sizes:
            raise ModelError(
                f"The edit of layer {row['layer']} is not what was written (its check differs); bring the dataset "
                "edits back from a copy, or build it again."
            )
        inward = np.frombuffer(row["inward"], "<f4").reshape(width, rank).copy()
        outward = np.frombuffer(row["outward"], "<f4").reshape(rank, hidden).copy()
        if not np.isfinite(inward).all() or not np.isfinite(outward).all():
            raise ModelError(f"The edit of layer {row['layer']} has numbers that are none; build the bank again.")
        return cls(row["layer"], torch.from_numpy(inward), torch.from_numpy(outward))


@dataclass(frozen=True)
class EditPaths:
    """The paths of some facts, one a layer."""

    paths: tuple[SidePath, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of their matrices."""
        return sum(4 * (one.inward.numel() + one.outward.numel()) for one in self.paths)
