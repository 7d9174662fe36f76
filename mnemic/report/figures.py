"""Figures of the report as SVG: bars, histograms, curves and a graph of steps, without a library and without a script.

A figure is 720 units wide and scales to the page. Colours are CSS variables of the page, so light, dark and paper are
one drawing. Every figure has a sentence for whoever does not see it; the numbers stand in a table below it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mnemic.report.escape import escaped

WIDTH = 720
_ROW = 24
_LABEL, _NUMBER = 215, 105
_LEFT, _BOTTOM, _TOP, _HEIGHT = 56, 34, 14, 190
Point = tuple[float, float]


def svg(height: float, content: str, sentence: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escaped(sentence, 300)}">'
        f"<title>{escaped(sentence, 300)}</title>{content}</svg>"
    )


def bars(rows: Sequence[tuple[str, float, str]], sentence: str) -> str:
    """Horizontal bars of (label, value from 0, the value in words), in their order."""
    most = max((value for _, value, _ in rows), default=0.0) or 1.0
    room = WIDTH - _LABEL - _NUMBER
    parts = []
    for number, (label, value, words) in enumerate(rows):
        y, length = number * _ROW, max(room * value / most, 1.5 if value else 0.0)
        parts.append(
            f'<text x="{_LABEL - 10}" y="{y + 16}" class="end">{escaped(label, 30)}</text>'
            f'<rect x="{_LABEL}" y="{y + 4}" width="{length:.1f}" height="15" rx="2" class="bar"/>'
            f'<text x="{_LABEL + length + 8:.1f}" y="{y + 16}" class="number">{escaped(words, 40)}</text>'
        )
    return svg(max(len(rows), 1) * _ROW + 4, "".join(parts), sentence)


def differences(rows: Sequence[tuple[str, float, str]], sentence: str) -> str:
    """Horizontal bars of (label, value of either sign, the value in words) from one line at 0, in their order."""
    least, most = (pick([0.0, *(value for _, value, _ in rows)]) for pick in (min, max))
    scale = (WIDTH - _LABEL - 2 * _NUMBER) / ((most - least) or 1.0)
    middle, height = _LABEL + _NUMBER - scale * least, max(len(rows), 1) * _ROW + 4
    parts = [f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="0" y2="{height}" class="axis"/>']
    for number, (label, value, words) in enumerate(rows):
        y, length = number * _ROW, max(scale * abs(value), 0.5)
        left, side = (middle, 8.0) if value >= 0 else (middle - length, -8.0)
        place, anchor = (left + length if value >= 0 else left) + side, "" if value >= 0 else " end"
        parts.append(
            f'<text x="{_LABEL - 10}" y="{y + 16}" class="end">{escaped(label, 30)}</text>'
            f'<rect x="{left:.1f}" y="{y + 4}" width="{length:.1f}" height="15" rx="2" class="bar"/>'
            f'<text x="{place:.1f}" y="{y + 16}" class="number{anchor}">{escaped(words, 40)}</text>'
        )
    return svg(height, "".join(parts), sentence)


def histogram(values: npt.NDArray[np.float64], unit: str, sentence: str, bins: int = 36) -> str:
    """How often values from 0 on occur; on a logarithmic axis where they spread over more than a hundredfold."""
    values = values[np.isfinite(values)]
    if not len(values):
        return ""
    low, high = float(values.min()), float(values.max())
    logarithmic = low >= 0 and high > 100 * max(float(np.quantile(values, 0.05)), 1.0)
    scaled = np.log10(np.maximum(values, 1.0)) if logarithmic else values
    counts, edges = np.histogram(scaled, bins=bins if high > low else 1)
    frame = _Frame((float(edges[0]), float(edges[-1])), (0.0, float(counts.max())), unit, logarithmic=logarithmic)
    parts = [frame.axes()]
    for count, left, right in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        x, top = frame.x(left), frame.y(count)
        if count:
            width = max(frame.x(right) - x - 1, 1)
            parts.append(
                f'<rect x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{frame.y(0) - top:.1f}" class="bar"/>'
            )
    return svg(frame.height, "".join(parts), sentence)


def curves(series: Mapping[str, Sequence[Point]], unit: str, sentence: str) -> str:
    """Lines through points, one for each name, over whole numbers such as steps; the names stand above."""
    points = [point for line in series.values() for point in line]
    if not points:
        return ""
    xs, ys = zip(*points, strict=True)
    low, high = min(ys), max(ys)
    floor = min(low, 0.0) if low < 0.5 * high else low
    frame = _Frame((min(xs), max(xs)), (floor, high), unit, names=len(series) > 1, whole=True)
    parts = [frame.axes()]
    x = float(_LEFT)
    for number, (name, line) in enumerate(series.items()):
        path = " ".join(f"{frame.x(px):.1f},{frame.y(py):.1f}" for px, py in thinned(line))
        if len(line) == 1:
            parts.append(
                f'<circle cx="{frame.x(line[0][0]):.1f}" cy="{frame.y(line[0][1]):.1f}" r="3" class="dot{number % 4}"/>'
            )
        parts.append(f'<polyline points="{path}" class="line{number % 4}"/>')
        if len(series) > 1:
            parts.append(f'<rect x="{x:.0f}" y="3" width="14" height="4" class="dot{number % 4}"/>')
            parts.append(f'<text x="{x + 20:.0f}" y="10">{escaped(name, 28)}</text>')
            x += 34 + 7 * min(len(name), 28)
    return svg(frame.height, "".join(parts), sentence)


def stems(points: Sequence[Point], end: float, unit: str, sentence: str, threshold: float | None = None) -> str:
    """A line up to each point, of an axis from 0 to ``end``, with a dashed ``threshold``."""
    high = max([*(y for _, y in points), threshold or 0.0], default=1.0)
    frame = _Frame((0.0, max(end, 1.0)), (min([0.0, *(y for _, y in points)]), high), unit)
    parts, floor = [frame.axes()], frame.y(0.0)
    for px, py in points:
        x, y = frame.x(px), frame.y(py)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{floor:.1f}" y2="{y:.1f}" class="stem"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" class="dot0"/>')
    if threshold is not None:
        y = frame.y(threshold)
        parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - 16}" y1="{y:.1f}" y2="{y:.1f}" class="cut"/>')
    return svg(frame.height, "".join(parts), sentence)


def thinned(line: Sequence[Point], most: int = 240) -> list[Point]:
    """At most ``most`` points of a line: the mean of each stretch of equal length."""
    if len(line) <= most:
        return list(line)
    parts = np.array_split(np.asarray(line, np.float64), most)
    return [(float(part[:, 0].mean()), float(part[:, 1].mean())) for part in parts]


def graph(reads: Mapping[str, Sequence[str]], sentence: str) -> str:
    """Boxes of steps, each to the right of those that it reads."""
    depth: dict[str, int] = {}
    for _ in reads:  # a longest way has no more steps than there are; a circle, which no bank has, ends here too
        for name, others in reads.items():
            depth[name] = min(1 + max((depth.get(one, 0) for one in others if one in reads), default=-1), len(reads))
    columns: dict[int, list[str]] = {}
    for name, column in depth.items():
        columns.setdefault(column, []).append(name)
    across, down = WIDTH / max(len(columns), 1), 30
    box = min(across - 14, 118)
    place = {
        name: (column * across + 4, 8 + row * down)
        for column, names in columns.items()
        for row, name in enumerate(names)
    }
    parts = []
    for name, (x, y) in place.items():
        for one in reads[name]:
            if one in place:
                fx, fy, ty = place[one][0] + box, place[one][1] + 11, y + 11
                half = (x - fx) / 2
                path = f"M{fx:.0f} {fy}C{fx + half:.0f} {fy} {x - half:.0f} {ty} {x:.0f} {ty}"
                parts.append(f'<path d="{path}" class="edge"/>')
    for name, (x, y) in place.items():
        letters = max(int(box / 6.4), 3)
        shown = name if len(name) <= letters else name[: letters - 1] + "…"
        parts.append(
            f'<rect x="{x:.0f}" y="{y}" width="{box:.0f}" height="22" rx="3" class="box"/>'
            f'<text x="{x + box / 2:.0f}" y="{y + 15}" class="middle">{escaped(shown, 40)}</text>'
        )
    return svg(16 + down * max(map(len, columns.values()), default=1), "".join(parts), sentence)


class _Frame:
    """Axes of a figure: ``x`` and ``y`` put a value where it is drawn."""

    def __init__(
        self, xs: Point, ys: Point, unit: str, *, logarithmic: bool = False, names: bool = False, whole: bool = False
    ) -> None:
        self.xs = xs if xs[1] > xs[0] else (xs[0] - 0.5, xs[0] + 0.5)
        self.ys = ys if ys[1] > ys[0] else (ys[0], ys[0] + 1.0)
        self.top = _TOP + (16 if names else 0)
        self.height = self.top + _HEIGHT + _BOTTOM
        self._unit, self._logarithmic, self._whole = unit, logarithmic, whole

    def x(self, value: float) -> float:
        return _LEFT + (WIDTH - _LEFT - 16) * (value - self.xs[0]) / (self.xs[1] - self.xs[0])

    def y(self, value: float) -> float:
        return self.top + _HEIGHT * (1 - (value - self.ys[0]) / (self.ys[1] - self.ys[0]))

    def axes(self) -> str:
        floor = self.y(self.ys[0])
        parts = [f'<line x1="{_LEFT}" x2="{WIDTH - 16}" y1="{floor:.1f}" y2="{floor:.1f}" class="axis"/>']
        for value in ticks(*self.ys):
            y = self.y(value)
            parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - 16}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
            parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" class="end number">{number(value)}</text>')
        places = _powers(*self.xs) if self._logarithmic else ticks(*self.xs)
        for value in (one for one in places if not self._whole or one == int(one)):
            words = number(10**value if self._logarithmic else value)
            parts.append(f'<text x="{self.x(value):.1f}" y="{floor + 15:.1f}" class="middle number">{words}</text>')
        parts.append(f'<text x="{WIDTH - 16}" y="{floor + 30:.1f}" class="end quiet">{escaped(self._unit, 60)}</text>')
        return "".join(parts)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values from ``low`` to ``high``, about so many."""
    if not high > low or not math.isfinite(high - low):
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * one for one in (1, 2, 5, 10) if power * one >= rough)
    first = math.ceil(low / step - 1e-9)
    return [one * step for one in range(first, first + 3 * about) if one * step <= high * (1 + 1e-9)]


def _powers(low: float, high: float) -> list[float]:
    whole = [float(one) for one in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)]
    return whole if len(whole) > 1 else [low, high]


def number(value: float) -> str:
    """A number of an axis: 1,200, 35 k, 1.2 M, 0.25."""
    size = abs(value)
    for least, divisor, unit in ((1e9, 1e9, " G"), (1e6, 1e6, " M"), (1e4, 1e3, " k")):
        if size >= least:
            return f"{value / divisor:.3g}{unit}"
    return f"{value:,.0f}" if size >= 100 or value == int(value) else f"{value:.3g}"
