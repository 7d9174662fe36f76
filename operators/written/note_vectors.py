"""Vectors of notes: the column `vector`, by the encoder of the bank, so that a question is near to both."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import pyarrow as pa

from operators.embed import Embed
from operators.sections import Driven, Section


@dataclasses.dataclass(frozen=True)
class NoteVectors(Embed):
    """Adds ``vector`` (fixed-size list of float32, the model's width) to notes. Its settings are those of `embed`."""

    version: ClassVar[int] = 1
    added: ClassVar[pa.Field] = pa.field("vector", pa.float32(), nullable=False)


def _as_embedded(settings: dict[str, Any] | None, sections: Mapping[str, Any]) -> dict[str, Any] | None:
    """It runs wherever notes and `embed` do, as `embed` does."""
    embed = sections.get("embed")
    if settings:
        raise ValueError("notes have the encoder of the bank; leave its settings out, and write them below `embed`")
    if sections.get("notes") is None or embed is None:
        return settings
    return {field.name: getattr(embed, field.name) for field in dataclasses.fields(embed)}


SECTION = Section(
    "note_vectors",
    NoteVectors,
    Driven("pipelines.steps.embedding:note_vectors_step", after=("notes",)),
    complete=_as_embedded,
)
