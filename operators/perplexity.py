"""Rules over the perplexity of documents, which the step `surprise` has measured, unit by unit.

They judge after the other rules: a language model reads only what passes those. A document that one of these drops has
units, since they were scored, and nothing is made of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Floats, Integers
from mnemic.canaries import PLANTED
from mnemic.kept import JUDGED_UNIT, PERPLEXITY
from mnemic.rules import judge
from mnemic.rules.rule import rules_of
from mnemic.rules.values import values_of
from operators.contracts import NO_REJECTS, BatchFunction, Resources
from operators.curate.operator import decisions
from operators.sections import Driven, Section, shared_field

SCALE = 1 << 20
"""Surprisal is summed in whole parts of a nat, so no order of the units changes a sum."""


@dataclass(frozen=True)
class JudgedPerplexity:
    """Adds `perplexity` to documents: that of their text, and the decision of ``rules`` (`mnemic.kept.PERPLEXITY`).

    A batch has the column `perplexity` {perplexity} beside the statistics, null where no token was scored. ``rules``
    are records of rules, told by `curate`, which judge no document of the source ``planted``.
    """

    rules: tuple[dict[str, Any], ...] = ()
    planted: str = shared_field("", said_by="curate.planted", identity=False)
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field("perplexity", PERPLEXITY)])

    def open(self, device: str) -> BatchFunction:
        rules, added = rules_of(self.rules), self.output(pa.schema([]))
        names = {name for rule in rules for name in rule.formula.names} | ({PLANTED} if self.planted else set())

        def decide(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
            decided = decisions(rules, judge(rules, values_of(batch, names)))
            parts = [batch.column("perplexity").field("perplexity"), *decided.flatten()]
            column = pa.StructArray.from_arrays(parts, fields=list(PERPLEXITY))
            return pa.RecordBatch.from_arrays([column], schema=added), NO_REJECTS

        return decide


@dataclass(frozen=True)
class JudgedUnits:
    """Adds `perplexity` {rule} to units: the rule over perplexity that drops their document, "" for none.

    A batch has the column `rule` beside the document.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field("perplexity", JUDGED_UNIT, nullable=False)])

    def open(self, device: str) -> BatchFunction:
        added = self.output(pa.schema([]))

        def take(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
            column = pa.StructArray.from_arrays([batch.column("rule")], fields=list(JUDGED_UNIT))
            return pa.RecordBatch.from_arrays([column], schema=added), NO_REJECTS

        return take


class Sums:
    """Surprisal and characters of documents, added up from units that come in any order, whole or in parts."""

    def __init__(self) -> None:
        self._parts: list[tuple[Any, Integers]] = []
        self._loose = 0

    def add(self, units: pa.RecordBatch) -> None:
        """``units`` with their `document`, `start`, `end`, and `surprisal` in nats a token, null where none is."""
        scored = units.filter(pc.is_finite(units.column("surprisal")))
        encoded = scored.column("document").dictionary_encode()
        codes = np.asarray(encoded.indices)
        characters = np.asarray(scored.column("end")) - np.asarray(scored.column("start"))
        parts = np.rint(np.asarray(scored.column("surprisal")).astype(np.float64) * SCALE).astype(np.int64)
        sums = np.zeros((len(encoded.dictionary), 2), np.int64)
        np.add.at(sums, codes, np.stack([parts * characters, characters], axis=1))
        self._parts.append((np.asarray(encoded.dictionary.to_pylist(), np.bytes_), sums))
        self._loose += len(sums)
        if self._loose > 1 << 20:
            self._merge()

    def _merge(self) -> None:
        """The sums of each document in one place, in the order of ids."""
        keys, places = np.unique(np.concatenate([keys for keys, _ in self._parts]), return_inverse=True)
        sums = np.zeros((len(keys), 2), np.int64)
        np.add.at(sums, places, np.concatenate([sums for _, sums in self._parts]))
        self._parts, self._loose = [(keys, sums)], 0

    def perplexity(self, documents: pa.Array) -> Floats:
        """exp of the mean surprisal of each of ``documents`` (ids), units weighed by characters, float64 [n].

        NaN where no unit was scored.
        """
        if not self._parts:
            return np.full(len(documents), np.nan)
        if len(self._parts) > 1 or self._loose:
            self._merge()
        ((keys, sums),) = self._parts
        ids = np.asarray(documents.to_pylist(), np.bytes_)
        places = np.minimum(np.searchsorted(keys, ids), max(len(keys) - 1, 0))
        if not len(keys):
            return np.full(len(documents), np.nan)
        mine = np.where((keys[places] == ids)[:, None], sums[places], 0)
        with np.errstate(all="ignore"):
            return np.exp(np.where(mine[:, 1] > 0, mine[:, 0] / (mine[:, 1] * float(SCALE)), np.nan))


def _as_curated(settings: dict[str, Any] | None, sections: Mapping[str, Any]) -> dict[str, Any] | None:
    """It runs where a rule reads `perplexity`."""
    if settings is not None:
        raise ValueError("write a rule below `curate`: `rules: {odd: {value: perplexity, max: 1000}}`")
    curate, surprise = sections.get("curate"), sections.get("surprise")
    late = () if curate is None else curate.late
    if not late:
        return None
    if surprise is None or "surprisal" not in surprise.signals:
        raise ValueError(
            f"the rule `{late[0].name}` reads it, and the section `surprise` measures it; write `surprise: {{}}`, with "
            "`surprisal` among its signals, or leave the rule out"
        )
    return {"rules": tuple(rule.as_json() for rule in late)}


SECTION = Section(
    "perplexity",
    JudgedPerplexity,
    Driven(
        "pipelines.steps.perplexity:PerplexityStep",
        after=("surprise", "measure", "curate"),
        optional=("contamination", "language", "pii", "quality"),
    ),
    complete=_as_curated,
)
