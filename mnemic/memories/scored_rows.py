"""What a gate knows of held-out rows: how sure the model and each memory are, and what each says of the true token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mnemic.errors import ModelError
from mnemic.memories.gate import BASE, ScoredRows
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.kinds import CONFIDENCE, Memory, Scored


def scored_rows(rows: HeldOutRows, scored: Sequence[Scored]) -> ScoredRows:
    """Of the model and the memories that scored ``rows``; no pass of the model is made again.

    A memory beside another one has its first component alone. The model's own confidence is among the features where
    the bank has it.
    """
    sure = rows.confidence
    base = Scored((BASE,), rows.base[:, None], (), np.zeros((len(rows), 0)))
    if sure is not None:
        base = Scored((BASE,), base.logs, tuple(f"{BASE}.{one}" for one in CONFIDENCE), sure)
    together = [base, *(scored if len(scored) == 1 else (one.beside() for one in scored))]
    return ScoredRows(
        tuple(component for one in together for component in one.components),
        tuple(name for one in together for name in one.names),
        np.concatenate([one.logs for one in together], axis=1),
        np.concatenate([one.features for one in together], axis=1),
        rows.table["document"].to_numpy(),
    )


def scored_by(memory: Memory, rows: HeldOutRows) -> Scored:
    """What ``memory`` says of the rows, without features where it cannot say how sure it is.

    Raises `ModelError` where only a pass of the model can score it.
    """
    name = memory.info.name
    if hasattr(memory, "scored"):
        scored: Scored = memory.scored(rows)
        return scored
    logs = memory.scores(rows)
    if logs is None:
        raise ModelError(
            f"The memory {name} acts inside the model, so its weight cannot be tuned on stored rows; give a weight for "
            "each memory."
        )
    return Scored((name,), logs[:, None], (), np.zeros((len(logs), 0)))
