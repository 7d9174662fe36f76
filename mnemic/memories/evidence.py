"""What a gate knows of held-out rows: how sure the model and each memory are, and what each says of the true token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mnemic.errors import ModelError
from mnemic.memories.gate import BASE, Evidence
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.kinds import CONFIDENCE, Answers, Memory


def evidence(rows: HeldOutRows, answers: Sequence[Answers]) -> Evidence:
    """Of the model and the memories that gave ``answers`` to ``rows``; no pass of the model is made again.

    The model's own confidence is among the features where the bank has it.
    """
    sure = rows.confidence
    base = Answers((BASE,), rows.base[:, None], (), np.zeros((len(rows), 0)))
    if sure is not None:
        base = Answers((BASE,), base.logs, tuple(f"{BASE}.{one}" for one in CONFIDENCE), sure)
    together = [base, *answers]
    return Evidence(
        tuple(component for one in together for component in one.components),
        tuple(name for one in together for name in one.names),
        np.concatenate([one.logs for one in together], axis=1),
        np.concatenate([one.features for one in together], axis=1),
        rows.table["document"].to_numpy(),
    )


def answers_of(memory: Memory, rows: HeldOutRows) -> Answers:
    """What ``memory`` says of the rows, without features where it cannot say how sure it is.

    Raises `ModelError` where only a pass of the model can score it.
    """
    name = memory.info.name
    if hasattr(memory, "answers"):
        answers: Answers = memory.answers(rows)
        return answers
    logs = memory.scores(rows)
    if logs is None:
        raise ModelError(
            f"The memory {name} acts inside the model, so its weight cannot be tuned on stored rows; give a weight for "
            "each memory."
        )
    return Answers((name,), logs[:, None], (), np.zeros((len(logs), 0)))
