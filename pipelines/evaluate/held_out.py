"""Held-out tokens of a bank, and the probability that the model, the retriever and each memory give to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mnemic.bank import Bank
from mnemic.memories.datastore import NAME as RETRIEVER
from mnemic.memories.gate_training import Weighing
from mnemic.memories.gates import has_gates
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.kinds import Memory, Scored, of_models
from mnemic.memories.scored_rows import scored_by, scored_rows
from mnemic.mixture import best_weight, mixture_nll


@dataclass(frozen=True)
class HeldOut:
    """Held-out tokens in (document, position) order, and the log-probability of each: by the model, by each memory.

    ``memories`` has the retriever first. A memory that only a pass of the model can score is not among them.
    ``answers`` are what a gate is asked with, where the bank has gates; else there are none.
    """

    rows: HeldOutRows
    document: npt.NDArray[np.object_]  # [n]
    token: npt.NDArray[np.int32]  # [n]
    base: npt.NDArray[np.float64]  # [n]
    memories: dict[str, npt.NDArray[np.float64]]  # [n] each
    answers: dict[str, Scored]

    def __len__(self) -> int:
        return len(self.token)

    @classmethod
    def read(cls, bank: Bank, where: str, memories: Mapping[str, Memory]) -> HeldOut:
        """Those that satisfy ``where``; each memory scores them itself."""
        rows, answers = HeldOutRows.read(bank.view, where), dict[str, Scored]()
        if has_gates(bank.view) and len(rows):
            every = {name: scored_by(memory, rows) for name, memory in memories.items()}
            answers = {name: one for name, one in every.items() if one is not None}
        scores: dict[str, npt.NDArray[np.float64] | None] = {name: one.logs[:, 0] for name, one in answers.items()}
        if not answers:
            scores = {name: memory.scores(rows) if len(rows) else np.zeros(0) for name, memory in memories.items()}
        return cls(
            rows,
            rows.table["document"].to_numpy(),
            rows.token.astype(np.int32),
            rows.base,
            {name: logs for name, logs in scores.items() if logs is not None},
            answers,
        )

    def gated(self, weighings: Mapping[str, Weighing]) -> dict[str, npt.NDArray[np.float64]]:
        """The loss of each token in nats, [n], under each of ``weighings``, by its name: sets of memories."""
        names = {name: name.split("+") for name in weighings}
        return {
            name: weighings[name].losses(scored_rows(self.rows, [self.answers[one] for one in members]))
            for name, members in names.items()
            if all(one in self.answers for one in members)
        }

    def weights(self) -> dict[str, float]:
        """The best mixing weight of each memory on these tokens."""
        return {name: best_weight(self.base, scores)[0] for name, scores in self.memories.items()}

    def losses(self, weights: Mapping[str, float]) -> dict[str, npt.NDArray[np.float64]]:
        """The loss of each token in nats, float64 [n]: of the model alone as "base", and mixed with each memory."""
        mixed = {name: mixture_nll(self.base, scores, weights[name]) for name, scores in self.memories.items()}
        return {"base": -self.base, **mixed}


def loaded(bank: Bank) -> dict[str, Memory]:
    """The memories of a bank by name, the retriever first: the others are measured by its gain."""
    names = [info.name for info in of_models(bank.memories())]
    return {name: bank.memory(name) for name in sorted(names, key=lambda name: name != RETRIEVER)}
