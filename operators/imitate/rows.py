"""What a student is trained on: rows of the datastore with what the teacher says of them, and held-out rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemic.errors import StepError
from operators.teacher.targets import NOTHING, probabilities

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TrainingRows:
    """Rows of the datastore in (document, position) order: those of the store, and held-out ones for validation."""

    input: NDArray[np.float16]  # [n, d]
    token: NDArray[np.int32]  # [n]
    teacher_ids: NDArray[np.int32]  # [n, m]
    teacher_probs: NDArray[np.uint8]  # [n, m], as `operators.teacher.targets` stores them
    validation_input: NDArray[np.float16]  # [v, d]
    validation_token: NDArray[np.int32]  # [v]
    validation_base_logprob: NDArray[np.float32]  # [v]

    @classmethod
    def from_arrow(cls, store: pa.Table, validation: pa.Table) -> TrainingRows:
        """From tables with the datastore's columns; raises `StepError` where the teacher has not seen a store row."""
        return cls(
            matrix(store, "input", np.float16),
            vector(store, "token", np.int32),
            *taught(store),
            matrix(validation, "input", np.float16),
            vector(validation, "token", np.int32),
            vector(validation, "base_logprob", np.float32),
        )


def taught(store: pa.Table) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """The teacher's tokens and their probabilities, as stored. Raises `StepError` where it has not seen a row."""
    if store.column("teacher_ids").null_count or store.column("teacher_probs").null_count:
        raise StepError("Some rows of the store have no teacher yet; run the teacher step on all rows first.")
    return matrix(store, "teacher_ids", np.int32), matrix(store, "teacher_probs", np.uint8)


@dataclass(frozen=True)
class Labels:
    """What some rows are to say, on the device: the first id of each is its true token, the others the teacher's."""

    ids: torch.Tensor  # int64 [b, m + 1], places in the student's head
    target: torch.Tensor  # float32 [b, m + 1], summing to 1
    probs: torch.Tensor  # float32 [b, m], the teacher's, summing to 1, or to 0 where it says nothing

    def losses(self, scores: torch.Tensor) -> torch.Tensor:
        """Sums of KL(p || q) and cross-entropy over the rows, of log q of the ids; float64 [2]."""
        import torch

        scores = scores.double()
        kl = (torch.special.xlogy(self.probs, self.probs) - self.probs * scores[:, 1:]).sum()
        return torch.stack([kl, -scores[:, 0].sum()])


@dataclass(frozen=True)
class LabelTable:
    """The labels of the store's rows, with tokens as places in the student's head."""

    ids: NDArray[np.int32]
    probs: NDArray[np.uint8]
    alpha: float

    @classmethod
    def build(
        cls,
        token: NDArray[np.int32],
        teacher_ids: NDArray[np.int32],
        teacher_probs: NDArray[np.uint8],
        *,
        head: torch.Tensor,
        alpha: float,
    ) -> LabelTable:
        """``head`` are the head's tokens: all of the store, so the teacher's are among them."""
        tokens = head.cpu().numpy()
        places = np.empty((len(token), 1 + teacher_ids.shape[1]), np.int32)
        places[:, 0] = np.searchsorted(tokens, token)
        places[:, 1:] = np.searchsorted(tokens, teacher_ids)
        places[:, 1:][teacher_probs == NOTHING] = 0
        return cls(places, teacher_probs, alpha)

    def take(self, chosen: NDArray[np.int64], device: str) -> Labels:
        import torch

        probs = torch.from_numpy(probabilities(self.probs[chosen])).to(device)
        own = 1.0 - self.alpha * probs.sum(1, keepdim=True)  # a row without a teacher learns from its token alone
        ids = torch.from_numpy(self.ids[chosen].astype(np.int64)).to(device)
        return Labels(ids, torch.cat([own, self.alpha * probs], 1), probs)


def matrix(table: pa.Table, name: str, dtype: Any) -> NDArray[Any]:
    """A column of lists of one size, as a matrix."""
    column = table.column(name).combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.array(flat, dtype=dtype).reshape(len(column), column.type.list_size)


def vector(table: pa.Table, name: str, dtype: Any) -> NDArray[Any]:
    """A column of numbers."""
    return np.array(table.column(name).to_numpy(), dtype=dtype)
