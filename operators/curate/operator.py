"""Decide apart: rules over the statistics of documents, each on, off or moved, and the decision as a column.

Nothing is deleted by a rule. A decision is data: a threshold that moves drops and adds that column again, from counts
that are there, and no text is read.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from mnemic.canaries import PLANTED, SOURCE
from mnemic.errors import RecipeError
from mnemic.kept import DECISION
from mnemic.rules import Rule, Verdicts, judge
from mnemic.rules.values import CONTAMINATED, STATISTICS, column_of, names_of, values_of
from mnemic.statistics import RAW, VIEW
from operators.contracts import NO_REJECTS, BatchFunction, Resources
from operators.curate.presets import ALIASES, PRESETS, Preset
from operators.language import Language
from operators.pii.operator import PersonalData
from operators.quality.operator import Quality
from operators.sections import Driven, Section

_KEYS = {"value", "min", "max"}
LATE = "perplexity"
_ASKED = {"language": "`language`", "pii": "`pii: mark`", "quality": "`quality`"}


@dataclass(frozen=True)
class Curate:
    """Adds `decision` to documents: {rule, value, threshold, rules}; the rule "" keeps.

    ``preset``: a set of rules by whose it is (`operators.curate.presets`), default none. ``rules``: changes of it by
    name. `false` turns a rule off, `{max: 0.8}` or `{min: 3}` moves its threshold, and `{value: "hash_signs / words",
    max: 0.1}` adds one. ``cut_lines``: where the preset has C4's rules, the lines that these drop are left out of what
    is made of the text, default yes. ``max_disparity``: a rule that drops a source so many times as often as the mean
    is warned of, default 3. ``contamination``, ``canaries``, ``subset``, ``language``, ``pii`` and ``quality`` are
    sections of their own (in `operators` under their names), told here.
    """

    preset: str = ""
    rules: dict[str, Any] = field(default_factory=dict)
    cut_lines: bool = field(default=True, metadata={"identity": False})
    max_disparity: float = field(default=3.0, metadata={"identity": False})
    contamination: dict[str, Any] | None = None
    canaries: dict[str, Any] | None = field(default=None, metadata={"identity": False})
    subset: dict[str, Any] | None = field(default=None, metadata={"identity": False})
    language: dict[str, Any] | None = field(default=None, metadata={"identity": False})  # but its rule: `resolved`
    pii: str | dict[str, Any] | None = field(default=None, metadata={"identity": False})
    quality: dict[str, Any] | None = field(default=None, metadata={"identity": False})
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()

    def __post_init__(self) -> None:
        if not self.max_disparity > 1:
            raise RecipeError(f"`max_disparity` is {self.max_disparity}; give a factor above 1, such as 3.")
        self.decided_by  # noqa: B018  # which refuses what it cannot be

    def resolved(self) -> Curate:
        """With the rules of other columns written out, and of contamination only the action: the rest is theirs."""
        rules = {rule.name: rule for rule in self.decided_by if rule.name in self._of_columns}
        stated = {name: {"value": rule.expression, rule.sense: rule.threshold} for name, rule in rules.items()}
        action = None if self.contamination is None else {"action": self.contamination.get("action", "flag")}
        return replace(self, contamination=action, rules={**self.rules, **stated})

    @property
    def chosen(self) -> Preset:
        """The preset. Raises ``RecipeError`` where there is none of that name."""
        if not self.preset:
            return Preset((), "unicode")
        name = ALIASES.get(self.preset, self.preset)
        if name not in PRESETS:
            near = difflib.get_close_matches(self.preset, PRESETS, 1, 0.3)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise RecipeError(f"There is no preset {self.preset[:60]!r}. {hint}There are {', '.join(PRESETS)}.")
        return PRESETS[name]

    @property
    def measured(self) -> dict[str, Any]:
        """The settings of `measure` that the preset asks for."""
        return {"words": self.chosen.words, "view": self.chosen.view}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns beside the statistics that the recipe asks for, in the order of `OF_COLUMNS`."""
        marked = self.pii is not None and PersonalData.of(self.pii).action == "mark"
        named = {"language": self.language is not None, "pii": marked, "quality": self.quality is not None}
        return tuple(name for name, there in named.items() if there)

    @property
    def planted(self) -> str:
        """The source of the canaries, which no step decides against; "" where none are planted."""
        return "" if self.canaries is None else SOURCE

    @property
    def _of_columns(self) -> dict[str, Rule]:
        """The rules that follow from what is told of other columns, by name."""
        language = () if self.language is None else Language.of(self.language).rules
        quality = () if self.quality is None else Quality.of(self.quality).decided_by
        return {rule.name: rule for rule in (*language, *quality)}

    @property
    def decided_by(self) -> tuple[Rule, ...]:
        """The rules of the preset and of other columns with the changes, in their order; added rules come last."""
        preset = {rule.name: rule for rule in self.chosen.rules} | self._of_columns
        rules: dict[str, Rule | None] = dict(preset)
        for name, change in self.rules.items():
            rules[str(name)] = _changed(str(name), change, preset)
        decided = [rule for rule in rules.values() if rule is not None]
        if (self.contamination or {}).get("action") == "drop" and CONTAMINATED not in rules:
            decided.append(Rule(CONTAMINATED, CONTAMINATED, "max", 0.0))
        names = names_of((*self.columns, LATE), bool(self.chosen.view))
        for rule in decided:
            _refuse_unknown(rule, names)
        return tuple(decided)

    @property
    def columns_read(self) -> tuple[str, ...]:
        """The columns that the rules read: parts of `statistics`, with the script by which rules over words abstain."""
        names = {"script"}.union(*(rule.formula.names for rule in self.decided_by)) & {*RAW, *VIEW}
        return (*(f"{STATISTICS}.{name}" for name in sorted(names)), *self.columns)

    @property
    def early(self) -> tuple[Rule, ...]:
        """Those that read neither perplexity nor quality: where no negatives are named, these are what they drop."""
        return tuple(rule for rule in self.decided_by if not rule.formula.names & {LATE, "quality"})

    @property
    def late(self) -> tuple[Rule, ...]:
        """Those over perplexity, which judge after a language model has read what the others let pass."""
        return tuple(rule for rule in self.decided_by if LATE in rule.formula.names)

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field("decision", DECISION, nullable=False)])

    def open(self, device: str) -> BatchFunction:
        late, added = self.late, self.output(pa.schema([]))
        rules = tuple(rule for rule in self.decided_by if rule not in late)
        names = {name for rule in rules for name in rule.formula.names} | ({PLANTED} if self.planted else set())

        def decide(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
            verdicts = judge(rules, values_of(batch, names))
            return pa.RecordBatch.from_arrays([decisions(rules, verdicts)], schema=added), NO_REJECTS

        return decide


def decisions(rules: Sequence[Rule], verdicts: Verdicts) -> pa.Array:
    """The column `decision` (`mnemic.kept.DECISION`) of judged documents."""
    first = verdicts.first
    dropped = np.flatnonzero(first >= 0)
    names = pa.array(["", *(rule.name for rule in rules)])
    values = np.full(len(first), np.nan)
    values[dropped] = verdicts.values[dropped, first[dropped]]
    thresholds = np.array([np.nan, *(rule.threshold for rule in rules)])[first + 1]
    passing = first < 0
    documents, places = np.nonzero(verdicts.fired)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(documents, minlength=len(first)))])
    every = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), names.take(pa.array(places + 1)))
    return pa.StructArray.from_arrays(
        [names.take(pa.array(first + 1)), pa.array(values, mask=passing), pa.array(thresholds, mask=passing), every],
        fields=list(DECISION),
    )


def _changed(name: str, change: Any, preset: Mapping[str, Rule]) -> Rule | None:
    """The rule ``name`` after a recipe's ``change``; None where it is off."""
    if change is False or change is None or change == "off":
        return None
    if change is True and name in preset:
        return preset[name]
    if isinstance(change, Rule):
        return change
    if not isinstance(change, Mapping) or not change or not set(change) <= _KEYS:
        raise RecipeError(
            f"The rule `{name}` is {str(change)[:60]!r}; write `false` to turn it off, `{{max: 0.8}}` or `{{min: 3}}` "
            "to move it, or `{value: hash_signs / words, max: 0.1}` for one of your own."
        )
    bounds = [sense for sense in ("min", "max") if sense in change]
    standing = preset.get(name)
    expression = change.get("value", standing.expression if standing else None)
    if len(bounds) != 1 or not isinstance(expression, str):
        hint = f" Rules of the preset are {', '.join(preset)}." if preset and standing is None else ""
        raise RecipeError(
            f"The rule `{name}` needs {'a `value`' if not isinstance(expression, str) else 'one of `min` and `max`'}, "
            f"such as `{{value: hash_signs / words, max: 0.1}}`.{hint}"
        )
    threshold = change[bounds[0]]
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not np.isfinite(threshold):
        raise RecipeError(f"The rule `{name}` has {bounds[0]} {str(threshold)[:40]!r}; give a number.")
    if standing is not None and "value" not in change and bounds[0] != standing.sense:
        raise RecipeError(f"The rule `{name}` has a `{standing.sense}` and no `{bounds[0]}`: {standing.sentence}.")
    return Rule(name, expression, "min" if bounds[0] == "min" else "max", float(threshold))


def _refuse_unknown(rule: Rule, names: Iterable[str]) -> None:
    for name in sorted(rule.formula.names - set(names)):
        if column := column_of(name):
            raise RecipeError(
                f"The rule `{rule.name}` reads {name!r}, which {_ASKED[column]} gives; write that below `curate`."
            )
        near = difflib.get_close_matches(name, names, 1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise RecipeError(
            f"The rule `{rule.name}` reads {name!r}, which is no count. {hint}The counts stand in docs/curating.md."
        )


SECTION = Section(
    "curate",
    Curate,
    Driven(
        "pipelines.steps.curate:curate_step",
        after=("measure",),
        optional=("contamination", "language", "pii", "quality"),
    ),
)
