"""A rule drops a document whose value is beyond a threshold; `judge` says of many documents which rules fire.

A rule does not judge a document of which its expression has no value, nor one whose words the word rule does not find,
if it counts words, nor a canary.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mnemic.arrays import Flags, Floats, Integers
from mnemic.canaries import PLANTED
from mnemic.rules.expression import Expression, parsed
from mnemic.statistics import OF_WORDS, SCRIPTS

Sense = Literal["min", "max"]


@dataclass(frozen=True)
class Rule:
    """Keeps documents whose ``expression`` is at least (``sense`` "min") or at most ("max") the ``threshold``."""

    name: str
    expression: str
    sense: Sense
    threshold: float

    @functools.cached_property
    def formula(self) -> Expression:
        return parsed(self.expression)

    @property
    def counts_words(self) -> bool:
        return bool(self.formula.names & OF_WORDS)

    def fires(self, values: Floats) -> Flags:
        """Whether each of ``values`` float64 [n] is beyond the threshold, bool [n]; one that is NaN is not."""
        return values < self.threshold if self.sense == "min" else values > self.threshold

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @property
    def sentence(self) -> str:
        return f"{self.expression} must be {'at least' if self.sense == 'min' else 'at most'} {self.threshold:g}"


@dataclass(frozen=True)
class Verdicts:
    """For documents and rules, in the order of the rules: values float64 [n, rules] and which fire, bool [n, rules].

    ``unjudged`` bool [n, rules] are those without a value and those that count words where none are found.
    """

    values: Floats
    fired: Flags
    unjudged: Flags

    @property
    def first(self) -> Integers:
        """The first rule that fires, int64 [n]; -1 where none does."""
        if self.fired.shape[1] == 0:
            return np.full(len(self.fired), -1, np.int64)
        return np.where(self.fired.any(axis=1), self.fired.argmax(axis=1), -1)


def judge(rules: Sequence[Rule], columns: Mapping[str, Floats]) -> Verdicts:
    """What ``rules`` say of the rows of ``columns``, each float64 [n]; nothing where `PLANTED` is above 0."""
    size = len(next(iter(columns.values())))
    shape = size, len(rules)
    values, fired, unjudged = np.empty(shape), np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    wordless = columns["script"] > 0 if "script" in columns else np.zeros(size, np.bool_)
    spared = columns[PLANTED] > 0 if PLANTED in columns else np.zeros(size, np.bool_)
    for place, rule in enumerate(rules):
        values[:, place] = rule.formula(columns)
        unjudged[:, place] = np.isnan(values[:, place]) | spared
        if rule.counts_words:
            unjudged[:, place] |= wordless
        fired[:, place] = rule.fires(values[:, place]) & ~unjudged[:, place]
    return Verdicts(values, fired, unjudged)


def reason_unjudged(rule: Rule, script: int) -> str:
    """Why a rule does not judge a document whose words are not found because of its script (0: for another reason)."""
    if rule.counts_words and 0 < script < len(SCRIPTS):
        return f"not judged: no word rule for {SCRIPTS[script]}"
    return "not judged: it has no value here"


def rules_of(stored: Sequence[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Rules as `Rule.as_json` gave them to a record."""
    return tuple(Rule(one["name"], one["expression"], one["sense"], float(one["threshold"])) for one in stored)
