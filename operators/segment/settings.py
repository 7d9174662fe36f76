"""The settings of a segmenter, and which of them go together."""

from __future__ import annotations

import dataclasses
import math

from operators.contracts import refuse
from operators.reading.scoring import SIGNALS
from operators.segment.refine import OBJECTIVES

CURVES = ("texttiling", "cosine", *SIGNALS)
"""Methods that score every gap from its neighbourhood; a rule of selection then cuts."""

METHODS = ("posterior", "changepoint", "divisive", *CURVES, "fixed", "unit")

_RULES = {
    "posterior": ("mean_units",),
    "changepoint": ("penalty", "count", "mean_units"),
    "divisive": ("penalty", "count", "mean_units"),
    **dict.fromkeys(CURVES, ("deviations", "percentile", "count", "mean_units")),
    "fixed": (),
    "unit": (),
}
"""The settings by which a method may choose its cuts; the first is its default."""


@dataclasses.dataclass(frozen=True)
class SegmentSettings:
    """How units become events.

    ``method`` decides about gaps: "posterior" (change points weighted by their probability), "changepoint" (least
    squares by dynamic programming), "divisive" (greedy bisection), "texttiling" (similarity of ``window`` units on
    either side), "cosine" (of neighbours), "surprisal", "entropy" or "bayesian_surprise" (of a language model), "fixed"
    (blocks of ``size`` units that begin every ``stride`` units), "unit" (every unit an event).

    At most one of five settings chooses the cuts: ``mean_units`` (events of that many units on average), ``count``
    (that many events a document), ``penalty`` (the squared distance that one more event must save, in average units),
    ``percentile`` (of a document's scores) or ``deviations`` (standard deviations above their mean; with ``trailing``,
    above that of so many gaps before). Without any, the posterior finds its own granularity, and the others take a
    penalty of 1.2 or one standard deviation.

    ``refine`` moves boundaries afterwards: "modularity", "conductance", "similarity" or "least_squares". Events never
    cross the end of a document, a pause of more than ``max_pause`` seconds, or with ``by_speaker`` a change of speaker.
    They have at most ``max_units`` units, and at least ``min_units`` where there are so many; those of more than
    ``max_words`` words also come in passages of no more, except a single unit of more words.
    """

    method: str = "posterior"
    mean_units: float | None = None
    count: int | None = None
    penalty: float | None = None
    percentile: float | None = None
    deviations: float | None = None
    trailing: int | None = None
    window: int = 3
    size: int = 8
    stride: int | None = None
    refine: str | None = None
    max_pause: float | None = None
    by_speaker: bool = False
    min_units: int = 1
    max_units: int = 1024
    max_words: int = 200
    representatives: int = 4

    def __post_init__(self) -> None:
        refuse([*self._unknown(), *self._out_of_range(), *self._at_odds()])

    def _unknown(self) -> list[str]:
        problems = []
        if self.method not in METHODS:
            problems.append(f"There is no segmenter {self.method!r}; choose one of {', '.join(METHODS)}.")
        if self.refine is not None and self.refine not in OBJECTIVES:
            problems.append(f"There is no refinement {self.refine!r}; choose one of {', '.join(OBJECTIVES)}.")
        return problems

    def _out_of_range(self) -> list[str]:
        problems = []
        for name in ("mean_units", "penalty", "deviations", "max_pause", "percentile"):
            value = getattr(self, name)
            if value is not None and (not math.isfinite(value) or (value <= 0 and name != "deviations")):
                problems.append(f"The segmenter's {name} is {value}; give a finite number above 0, or leave it out.")
        if self.percentile is not None and self.percentile > 100:
            problems.append(f"The segmenter's percentile is {self.percentile}; give one of at most 100, such as 95.")
        whole = ("count", "trailing", "window", "size", "stride", "min_units", "max_words", "representatives")
        for name in whole:
            value = getattr(self, name)
            if value is not None and value < 1:
                problems.append(f"The segmenter's {name} is {value}; give a number of at least 1.")
        if self.max_units < max(self.min_units, 1):
            problems.append(
                f"Events cannot have at least {self.min_units} and at most {self.max_units} units; set max_units to no "
                "less than min_units."
            )
        if self.mean_units is not None and not self.min_units <= self.mean_units <= self.max_units:
            problems.append(
                f"Events of {self.mean_units:g} units on average cannot all have between min_units {self.min_units} "
                f"and max_units {self.max_units}; choose mean_units between them."
            )
        return problems

    def _at_odds(self) -> list[str]:
        if self.method not in METHODS:
            return []
        chosen = [name for name in ("mean_units", "count", "penalty", "percentile", "deviations") if self._has(name)]
        rules, problems = _RULES[self.method], []
        for name in chosen:
            if name not in rules:
                offered = f"it takes {', '.join(rules)}" if rules else "it takes no rule of selection"
                problems.append(f"The segmenter {self.method} has no use for `{name}`: {offered}.")
        if len(chosen) > 1:
            problems.append(f"A segmenter cannot follow {' and '.join(chosen)} at once; keep one of them.")
        if self.trailing is not None and (
            self.method not in (*SIGNALS, "cosine") or chosen not in ([], ["deviations"])
        ):
            problems.append(
                "`trailing` goes with `deviations` of the methods cosine, surprisal, entropy and bayesian_surprise, "
                "whose scores do not look ahead; leave it out, or choose one of them."
            )
        if self.stride is not None and self.method != "fixed":
            problems.append("`stride` goes with `method: fixed`; leave it out.")
        if self.stride is not None and self.stride > self.size:
            problems.append(
                f"Blocks of {self.size} units that begin every {self.stride} leave units out; lower stride."
            )
        if self.refine is not None and self.method in ("fixed", "unit"):
            problems.append(f"There is nothing to refine in `method: {self.method}`; leave `refine` out.")
        return problems

    def _has(self, name: str) -> bool:
        return getattr(self, name) is not None

    @property
    def signal(self) -> str | None:
        """The column of the units that it cuts by, beside their vectors."""
        return self.method if self.method in SIGNALS else None
