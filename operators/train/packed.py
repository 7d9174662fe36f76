"""What trainings on packed sequences have in common: documents alone, without a teacher or validation."""

from __future__ import annotations

import itertools
import math
from dataclasses import fields
from typing import Any, ClassVar

from mnemic.hardware import resolve_dtype
from operators.sections import says_nothing


class PackedTraining:
    """A frozen dataclass of settings for `operators.train.loop`, of which the fields below are some."""

    version: ClassVar[int]
    sequence: int
    epochs: int
    batch: int | None
    optimiser: str
    learning_rate: float
    matrix_rate: float
    warmup: int
    weight_decay: float
    seed: int
    dtype: str
    max_document_tokens: int
    pass_tokens: int

    @property
    def patience(self) -> int:
        """Epochs without a better validation: there is none, and all epochs run."""
        return self.epochs

    @property
    def alpha(self) -> float:
        """The teacher's weight in the loss: there is no teacher."""
        return 0.0

    def half(self, device: str) -> bool:
        return resolve_dtype(self.dtype, device) == "bfloat16"

    def identity(self) -> dict[str, Any]:
        """Settings that a checkpoint must share."""
        every = {field: getattr(self, field.name) for field in fields(self) if field.name != "model"}  # type: ignore[arg-type]
        own = {field.name: value for field, value in every.items() if not says_nothing(field, value)}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in own.items()}
        return plain | {"version": self.version}

    def rules(self) -> tuple[tuple[str, bool, str], ...]:
        """Of the fields here, for `operators.contracts.bounds`."""
        return (
            ("sequence", 2 <= self.sequence <= 1 << 16, "a number of tokens from 2 to 65,536"),
            ("epochs", self.epochs >= 1, "a number of at least 1"),
            ("batch", self.batch is None or self.batch >= 1, "a number of tokens of at least 1"),
            ("optimiser", self.optimiser in ("muon", "adamw"), "muon or adamw"),
            ("learning_rate", 0 <= self.learning_rate < math.inf, "a number of at least 0, such as 0.001"),
            ("matrix_rate", 0 <= self.matrix_rate < math.inf, "a number of at least 0, such as 0.02"),
            ("warmup", self.warmup >= 0, "a number of steps of at least 0"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "a number of at least 0"),
            ("seed", 0 <= self.seed < 2**64, "a number between 0 and 18446744073709551615"),
            ("max_document_tokens", self.max_document_tokens >= 1, "a number of at least 1"),
            ("pass_tokens", self.pass_tokens >= 1, "a number such as 2048"),
        )


def ascending(numbers: tuple[int, ...], least: int = 0) -> bool:
    """Whether ``numbers``, at least one, are different, in order and from ``least`` on."""
    return numbers[0] >= least and all(one < other for one, other in itertools.pairwise(numbers))
