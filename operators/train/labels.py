"""The labels of training rows: the true token of each, and the teacher's distribution beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from operators.teacher.targets import ZERO, probabilities

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Labels:
    """Labels of some rows, on the device: the first id of each is its true token, the others are the teacher's."""

    ids: torch.Tensor  # int64 [b, m + 1], places in the student's head
    target: torch.Tensor  # float32 [b, m + 1], summing to 1
    probs: torch.Tensor  # float32 [b, m], the teacher's, summing to 1, or to 0 where it has none

    def losses(self, scores: torch.Tensor) -> torch.Tensor:
        """Sums of KL(p || q) and cross-entropy over the rows, float64 [2]; ``scores``, [b, m + 1], are log q of ids."""
        import torch

        scores = scores.double()
        kl = (torch.special.xlogy(self.probs, self.probs) - self.probs * scores[:, 1:]).sum()
        return torch.stack([kl, -scores[:, 0].sum()])


@dataclass(frozen=True)
class LabelTable:
    """The labels of the store's rows; ``place`` is the place of each token in the student's head, int64 [vocabulary].

    Labels are made a batch at a time, so the rows may lie in a file.
    """

    token: NDArray[np.int32]
    teacher_ids: NDArray[np.int32]
    teacher_probs: NDArray[np.uint8]
    place: NDArray[np.int64]
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
        """From tokens, int32 [n], and the teacher's, int32 and uint8 [n, m]; ``head``, int64 [tokens], are the head's.

        The head has all tokens of the store, so the teacher's are among them.
        """
        tokens = head.cpu().numpy()
        place = np.zeros(int(tokens.max(initial=0)) + 1, np.int64)
        place[tokens] = np.arange(len(tokens))
        return cls(token, teacher_ids, teacher_probs, place, alpha)

    def take(self, chosen: NDArray[np.int64], device: str) -> Labels:
        """The labels of the rows ``chosen`` int64 [b], on ``device``."""
        import torch

        stored, teacher = self.teacher_probs[chosen], self.teacher_ids[chosen]
        places = np.empty((len(chosen), 1 + teacher.shape[1]), np.int64)
        places[:, 0] = self.place[self.token[chosen]]
        places[:, 1:] = self.place[np.where(stored == ZERO, 0, teacher)]
        places[:, 1:][stored == ZERO] = 0
        probs = torch.from_numpy(probabilities(stored)).to(device)
        own = 1.0 - self.alpha * probs.sum(1, keepdim=True)  # a row without a teacher learns from its token alone
        return Labels(torch.from_numpy(places).to(device), torch.cat([own, self.alpha * probs], 1), probs)
