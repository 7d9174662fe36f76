"""Quality by examples: what a linear model learns from texts that people call good, and from bad ones.

Negatives come first (Oasis, arXiv 2311.12537): where none are named they are what the other rules drop, and a document
that is both is a bad one.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa

from mnemic.rules import Rule
from operators.contracts import Resources, bounds, refuse, unknown_settings
from operators.quality.texts import SUFFIXES, digest_of_files, example_files
from operators.sections import Driven, Section, shared_field

MEMORY = "quality"
"""The row of `memories` that holds the weights."""

_SOURCE = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)


@dataclass(frozen=True)
class Quality:
    """Adds `quality` to documents: the probability that a text is one of the good, float64, NaN without words.

    ``positives``, ``negatives``: examples, each the name of a source, a condition over columns of documents
    ("length > 500"), or a file of texts (`.txt`, `.jsonl`). Without negatives they are what the ``rules`` drop, which
    `curate` tells. ``min``: the least probability of a document that is kept, default none. ``epochs`` over the
    examples, default 5; ``rate`` of AdaGrad, default 0.3. Documents of the source ``planted`` are no examples.
    """

    positives: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    min: float | None = field(default=None, metadata={"identity": False})
    epochs: int = 5
    rate: float = 0.3
    root: str = field(default="", metadata={"identity": False})
    rules: tuple[dict[str, Any], ...] = ()
    digest: str = ""  # of the files, filled in when a recipe is read
    planted: str = shared_field("", said_by="curate.planted", identity=False)
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(memory=2 << 30)

    def __post_init__(self) -> None:
        for name in ("positives", "negatives"):
            value = getattr(self, name)
            listed = isinstance(value, list | tuple) and all(isinstance(one, str) and one.strip() for one in value)
            refuse(
                ["" if listed else f"`{name}` of quality is no list of texts; write `{name}: [my-source, good.jsonl]`."]
            )
            object.__setattr__(self, name, tuple(value))
        numbers = (
            ("min", self.min is None or _within(self.min, 0, 1), "a probability between 0 and 1, such as 0.5"),
            (
                "epochs",
                isinstance(self.epochs, int) and 1 <= self.epochs <= 100,
                "a number from 1 to 100, such as 5",
            ),
            ("rate", _within(self.rate, 1e-6, 10), "a number above 0, at most 10, such as 0.3"),
        )
        named = "" if self.positives else "`positives` of quality names no example; write `positives: [my-source]`."
        refuse([named, *bounds(self, "`{name}` of quality is {value!r}; give {bound}.", numbers)])

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Quality:
        """From settings below `curate`. Raises ``RecipeError`` for a name that is none."""
        refuse(unknown_settings(cls, settings, "quality"))
        return cls(**settings)

    @property
    def decided_by(self) -> tuple[Rule, ...]:
        """The rule that keeps documents of a probability, if one is named."""
        return () if self.min is None else (Rule("quality", "quality", "min", float(self.min)),)

    def resolved(self) -> Quality:
        """With the hash of the files, so that edited examples train anew."""
        good, bad = (example_files(self.files(one), self.root) for one in (self.positives, self.negatives))
        digests = [digest_of_files(good), digest_of_files(bad)]
        return dataclasses.replace(self, digest=" ".join(digests) if good or bad else "")

    @staticmethod
    def files(examples: Sequence[str]) -> list[str]:
        return [one for one in examples if one.endswith(SUFFIXES)]

    @staticmethod
    def conditions(examples: Sequence[str]) -> list[str]:
        """The conditions of the examples that are documents; a name alone is that of a source."""
        others = [one for one in examples if not one.endswith(SUFFIXES)]
        return [f"source = '{one}'" if _SOURCE.fullmatch(one) else one for one in others]

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field("quality", pa.float64(), nullable=False)])


def _within(value: Any, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _as_curated(settings: dict[str, Any] | None, sections: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings stand below `curate`, and so do the rules whose victims are negatives where none are named."""
    if settings is not None:
        raise ValueError("write it below `curate`: `curate: {quality: {positives: [my-source]}}`")
    curate = sections.get("curate")
    if curate is None or curate.quality is None:
        return None
    rules = () if curate.quality.get("negatives") else tuple(rule.as_json() for rule in curate.early)
    return {**curate.quality, "rules": rules}


SECTION = Section(
    "quality",
    Quality,
    Driven("pipelines.steps.quality:QualityStep", after=("measure",), optional=("contamination", "language", "pii")),
    complete=_as_curated,
)
