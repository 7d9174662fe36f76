"""Classifiers of documents: rows of `memories` that judge texts, and have no place in a language model.

The weights are a linear model's, as safetensors: "weights" float32 [2^20] and "bias" float64 [1]. The builder scores
documents with them (`operators.quality`); here they are listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from mnemic.errors import ModelError
from mnemic.memories.kinds import Memory, MemoryInfo
from mnemic.memories.trained import stored_rows
from mnemic.view import View

if TYPE_CHECKING:
    from mnemic.attach.host import Entry, Host
    from mnemic.attach.output.schedules import Schedule
    from mnemic.memories.held_out import HeldOutRows

NAME = "classifier"


class ClassifierKind:
    name, title = NAME, "classifier of documents"
    in_models = False

    def described(self, view: View) -> Iterable[MemoryInfo]:
        return [info for info in stored_rows(view) if info.kind == NAME]

    def load(self, view: View, info: MemoryInfo) -> Memory:
        return Classifier(info)

    def lock(self, view: View, info: MemoryInfo) -> Mapping[str, str]:
        """None: it reads no model."""
        return {}


CLASSIFIER = ClassifierKind()


@dataclass(frozen=True)
class Classifier:
    """A classifier where a memory of a language model is expected: it says what it is."""

    info: MemoryInfo
    module: Any = None

    def enter(self, host: Host, weight: float | Schedule) -> Entry:
        self._refuse()

    def scores(self, rows: HeldOutRows) -> None:
        """It says nothing of tokens."""

    def _refuse(self) -> NoReturn:
        raise ModelError(
            f"The memory {self.info.name!r} judges documents and has no place in a language model; attach another one."
        )
