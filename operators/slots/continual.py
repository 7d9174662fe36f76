"""New documents without forgetting old ones: only slots are trained that they fire far more than old text does.

Sparse memory finetuning (arXiv 2510.15103): slots are ranked by TF-IDF, their share in the use by new text times the
logarithm of how rare they are among sequences of old text. The first of that order are trained, all other rows and the
finders stay as they are. The paper ranks the slots of each batch; here those of all new documents are ranked once, so
that a training resumes from its last epoch alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from operators.slots.student import SlotStudent, TrainedSlots
    from operators.slots.training import SlotTraining


@dataclass(frozen=True)
class SlotUse:
    """Of a text in ``total`` sequences: ``uses`` of each slot, and how many ``sequences`` fire it; int64 [slots].

    All are sums, so those of two texts are added.
    """

    uses: Tensor
    sequences: Tensor
    total: int

    def __add__(self, other: SlotUse) -> SlotUse:
        return SlotUse(self.uses + other.uses, self.sequences + other.sequences, self.total + other.total)


@dataclass(frozen=True)
class Learnt:
    """A memory that was trained before: its ``tensors`` as `TrainedSlots.state_dict`, and the use by its text."""

    tensors: Mapping[str, Tensor]
    use: SlotUse


def slot_use(student: SlotStudent, chosen: NDArray[np.int64] | None = None) -> SlotUse:
    """Of the sequences ``chosen`` [n] of ``student``, or of all."""
    table = student.memory.table
    uses, sequences = torch.zeros_like(table.uses), torch.zeros_like(table.uses)
    every = np.arange(student.units) if chosen is None else chosen
    with torch.no_grad(), table.watched() as seen:
        for number in every:
            student.trunk(np.array([number]))
            slots, counts = torch.unique(torch.cat([one.flatten() for one in seen]), return_counts=True)
            uses[slots] += counts
            sequences[slots] += 1
            seen.clear()
    return SlotUse(uses.cpu(), sequences.cpu(), len(every))


def ranks(new: SlotUse, old: SlotUse) -> Tensor:
    """TF-IDF of each slot, float64 [slots]: 0 where new text does not fire it."""
    share = new.uses.double() / max(1, int(new.uses.sum()))
    rarity = math.log(old.total + 1) - torch.log(old.sequences.double() + 1)
    return share * rarity


def fired_more(new: SlotUse, old: SlotUse, most: int) -> Tensor:
    """The ``most`` slots of the highest rank above 0, the smaller of equal ones: bool [slots]."""
    score = ranks(new, old)
    best = torch.sort(score, descending=True, stable=True).indices[:most]
    chosen = torch.zeros(len(score), dtype=torch.bool)
    chosen[best[score[best] > 0]] = True
    return chosen


def begin_sparse(training: SlotTraining, states: Any, learnt: Learnt) -> SlotUse:
    """Let ``training`` on new documents go on from what was ``learnt``, with the slots that they fire far more.

    ``states`` are `FrozenModel.states` of the new sequences. Returns the use by old text.
    """
    training.memory.load_state(learnt.tensors)
    most = max(1, round(training.settings.update_share * training.memory.config.slots))
    train_rows_alone(training.memory, fired_more(slot_use(training.student(states)), learnt.use, most))
    return learnt.use


def train_rows_alone(memory: TrainedSlots, chosen: Tensor | None) -> None:
    """From now on a training moves the rows ``chosen``, bool [slots], and nothing else; None: all rows."""
    for weight in memory.parameters():
        weight.requires_grad_(False)
    memory.table.open = None if chosen is None else chosen.to(memory.table.uses.device)
