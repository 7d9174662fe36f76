"""Constants of the posterior chosen on all sets but one, and tested on that one.

A constant that was chosen on eight sets fits those eight. So the choice is made again without each set: of 24 sets of
constants that with the least mean Pk above the best other method of ours, over the seven others. Its Pk on the eighth
is what a text of an unseen kind has to expect. With ``valley`` 0 depth has no voice. The constants of version 3, which
were chosen on five of these sets, are printed beside.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from bench.report import Row
from bench.segment.agreement import pk
from bench.segment.quality import Encoded, Scores
from operators.segment import Segment
from operators.segment.boundaries import weights_of
from operators.segment.cost import costs
from operators.segment.posterior import CONSTANTS, Constants, at_its_own_granularity
from operators.segment.valleys import Valleys

OTHERS = ("changepoint, default", "texttiling, default", "divisive, default")
"""Our methods that no constant of the posterior changes."""

TOLERANCE = 0.5
"""Points of Pk above the best other method that still count as losing nowhere."""

GRID = tuple(
    Constants(sharpness, valley, usual, growth, pull)
    for sharpness, valley, (usual, growth), pull in itertools.product(
        (6.0, 8.0), (0.0, 1.0), ((0.9, 0.01), (1.0, 0.01), (1.1, 0.008)), (2.0, 5.0)
    )
)

EARLIER = Constants(sharpness=8.0, valley=0.0, usual=1.0, growth=0.01, pull=2.0)
"""The constants of version 3."""


def crossed_rows(sets: Mapping[str, list[Encoded]], default: Scores) -> list[Row]:
    """A row a set: Pk with the constants that the other sets chose, and the default's Pk beside our best other one."""
    names, pks = list(sets), {name: grid_pk(texts) for name, texts in sets.items()}
    others = {name: min((_mean(default[who][name].pk), who) for who in OTHERS) for name in names}
    above = np.array([pks[name] - others[name][0] for name in names]).T
    rows = []
    for place, name in enumerate(names):
        constants = int(np.delete(above, place, axis=1).mean(axis=1).argmin())
        value, who = float(pks[name][constants]), others[name][1]
        earlier = f"best other {others[name][0]:.1f}, version 3 {pks[name][GRID.index(EARLIER)]:.1f}"
        metric = f"Pk on {name}, left out of the choice: {_named(GRID[constants])}; {earlier}"
        rows.append(Row(f"pk_left_out_{name}", metric, value, "%", others[name][0] + TOLERANCE, None, False, who))
    chosen = GRID[int(above.mean(axis=1).argmin())]
    worst = max(_mean(default["ours"][name].pk) - others[name][0] for name in names)
    metric = f"the default's Pk above our best other method, worst of {len(names)} sets; all choose {_named(chosen)}"
    return [*rows, Row("pk_default_loses", metric, worst, "points", TOLERANCE, 0.0, False)]


def grid_pk(texts: list[Encoded]) -> npt.NDArray[np.float64]:
    """Mean Pk of a set in per cent, for each of `GRID`."""
    scores = np.array([list(_text_pk(text)) for text in texts])
    return np.asarray(100 * scores.mean(axis=0))


def _text_pk(text: Encoded) -> Iterator[float]:
    words = np.array([len(unit.split()) for unit in text.text.units], np.int64)
    weights = weights_of(words)
    table, depths = costs(text.vectors, weights / weights.mean(), Segment().max_units), Valleys(text.vectors)
    for constants in GRID:
        yield pk(at_its_own_granularity(table, depths, constants=constants).cuts, text.text.cuts)


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def _named(constants: Constants) -> str:
    ours = " (the default)" if constants == CONSTANTS else ""
    return (
        f"sharpness {constants.sharpness:g}, valley {constants.valley:g}, usual {constants.usual:g} + "
        f"{constants.growth:g} n, pull {constants.pull:g}{ours}"
    )
