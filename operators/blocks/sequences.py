"""Packed sequences as the general trainer reads them, with a memory beside layers of a model that stays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mnemic import languagemodel
from operators.blocks.frozen import FrozenModel, LowerStates
from operators.blocks.packing import PackedSequences, Path
from operators.train.cost import frozen_flops
from operators.train.labels import Labels
from operators.train.loss import head_loss


class PassSettings(Protocol):
    """What sequences ask of the settings of a training."""

    @property
    def pass_tokens(self) -> int: ...


@dataclass(frozen=True)
class FrozenHead:
    """The head of the model, [vocabulary, hidden]."""

    weight: Tensor


class SequenceStudent(ABC):
    """Sequences that train a ``memory`` which hangs beside layers of ``model``; nothing is validated."""

    def __init__(
        self,
        settings: PassSettings,
        memory: Any,
        model: FrozenModel,
        sequences: PackedSequences,
        states: LowerStates,
    ) -> None:
        self.memory, self._settings, self._model = memory, settings, model
        self._sequences, self._states = sequences, states
        self._predicting = sequences.predicting
        self._counts = self._predicting.sum(1)
        self.rows = int(self._counts.sum())
        self.base_logprob = np.zeros(0, np.float32)
        memory.frozen_head = (model.head,)

    @property
    def units(self) -> int:
        return len(self._sequences)

    @property
    @abstractmethod
    def matrices(self) -> Sequence[nn.Parameter]:
        """See `operators.train.loop.Learner`."""

    @abstractmethod
    def hung(self, inputs: NDArray[np.int64]) -> AbstractContextManager[None]:
        """The memory beside its layers, for a pass over the sequences ``inputs`` [b], while the block runs."""

    @property
    def frozen_flops(self) -> float:
        """Operations of an epoch through the layers above, which stay."""
        return frozen_flops(languagemodel.blocks(self._model.model)[self._model.first :], self._model.head, self.rows)

    def batches(self, order: NDArray[np.int64], rows: int) -> list[NDArray[np.int64]]:
        steps = min(len(order), max(1, round(self.rows / rows)))
        return [np.sort(part) for part in np.array_split(order, steps)]

    def rows_in(self, batch: NDArray[np.int64]) -> int:
        return int(self._counts[batch].sum())

    def passes(self, batch: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Labels]]:
        """One for sequences of one path, as many as `pass_tokens` allows."""
        together = max(1, self._settings.pass_tokens // self._sequences.tokens.shape[1])
        by_path: dict[Path, list[int]] = {}
        for number in batch.tolist():
            by_path.setdefault(self._sequences.paths[number], []).append(number)
        self.begin_batch({name for path in by_path for name in path})
        for path in sorted(by_path):
            numbers = by_path[path]
            for begin in range(0, len(numbers), together):
                chosen = np.array(numbers[begin : begin + together])
                yield chosen, self._labels(chosen)

    def begin_batch(self, paths: set[str]) -> None:
        """A batch with texts of ``paths`` begins."""
        return

    def _labels(self, chosen: NDArray[np.int64]) -> Labels:
        following = np.roll(self._sequences.tokens[chosen], -1, axis=1)[self._predicting[chosen]]
        ids = torch.from_numpy(following.astype(np.int64))[:, None].to(self._model.device)
        ones = torch.ones(ids.shape, device=self._model.device)
        return Labels(ids, ones, ones[:, :0])

    def trunk(self, inputs: NDArray[np.int64]) -> Tensor:
        """What the head reads for the positions of the sequences ``inputs`` [b] that predict a token."""
        entering = self._states.of(inputs)
        with self.hung(inputs), torch.autocast(self._model.device.type, enabled=False):
            hidden = self._model.above(entering, self._sequences, inputs)
        reading = torch.from_numpy(self._predicting[inputs]).to(hidden.device)
        return hidden[reading]

    def held_out(self) -> NDArray[np.float32]:
        return self.base_logprob


def mean_loss(student: SequenceStudent, chosen: NDArray[np.int64]) -> float:
    """Mean loss in nats of the tokens of the sequences ``chosen`` [b] of ``student``, whose memory is evaluated."""
    total, count = 0.0, 0
    student.memory.train(False)
    with torch.no_grad():
        for inputs, labels in student.passes(chosen):
            loss, _ = head_loss(student.trunk(inputs), student.memory.head.weight, labels.ids, labels.target)
            total, count = total + float(loss) * len(labels.ids), count + len(labels.ids)
    return total / max(count, 1)
