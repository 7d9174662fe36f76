"""Figures against their definitions: lengths of bars, ticks that are round, lines that keep their mean."""

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mnemic.report.figures import bars, curves, graph, histogram, number, stems, thinned, ticks
from mnemic.report.page import in_words, table

NUMBERS = st.floats(-1e9, 1e9, allow_nan=False)


def test_bars_are_as_long_as_their_values() -> None:
    drawn = bars([("one", 10.0, "10"), ("two", 5.0, "5"), ("none", 0.0, "0")], "three")
    widths = [float(width) for width in re.findall(r'<rect x="\d+" y="\d+" width="([\d.]+)"', drawn)]
    assert widths[0] == 2 * widths[1] and widths[2] == 0 and "<title>three</title>" in drawn


def test_a_histogram_counts_every_value_once() -> None:
    values = np.concatenate([np.full(30, 1.0), np.full(10, 2.0), [np.nan]])
    drawn = histogram(values, "unit", "words", bins=2)
    tall, small = (float(height) for height in re.findall(r'height="([\d.]+)" class="bar"', drawn))
    assert abs(tall - 3 * small) < 0.3
    assert histogram(np.array([]), "unit", "words") == ""
    assert 'class="bar"' in histogram(np.array([7.0, 7.0]), "unit", "words")
    assert "10 k" in histogram(np.geomspace(1, 99_999, 200), "unit", "words")


@given(NUMBERS, NUMBERS)
def test_ticks_are_few_rise_and_lie_between(low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)
    values = ticks(low, high)
    assert len(values) <= 12 and values == sorted(values)
    slack = 1e-6 * max(abs(low), abs(high), 1.0)
    assert all(low - slack <= value <= high + slack for value in values)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=900))
def test_a_thinned_line_is_short_and_keeps_its_range(line: list[tuple[float, float]]) -> None:
    short = thinned(line)
    assert len(short) == min(len(line), 240)
    assert min(y for _, y in line) - 1e-3 <= min(y for _, y in short)
    assert max(y for _, y in short) <= max(y for _, y in line) + 1e-3


def test_lines_have_names_and_ticks_of_whole_numbers() -> None:
    drawn = curves({"a": [(1.0, 2.0), (2.0, 3.0)], "<b>": [(1.0, 1.0)]}, "release", "words")
    assert "&lt;b&gt;" in drawn and ">1.2<" not in drawn and drawn.count("<polyline") == 2
    assert curves({}, "release", "words") == ""
    assert stems([(3.0, 0.5)], 10.0, "character", "words", 0.3).count('class="cut"') == 1


def test_a_step_stands_right_of_what_it_reads_whatever_the_order() -> None:
    drawn = graph({"c": ["b"], "a": [], "b": ["a"], "round": ["round"]}, "words")
    place = {name: float(x) for x, name in re.findall(r'<text x="([\d.]+)" y="\d+" class="middle">(\w+)<', drawn)}
    assert place["a"] < place["b"] < place["c"] and drawn.count('class="edge"') == 3


def test_numbers_are_short_and_stand_on_the_right() -> None:
    assert [number(one) for one in (0.25, 3, 1200, 35_000, 1.2e6)] == ["0.25", "3", "1,200", "35 k", "1.2 M"]
    html = table(["name", "rows", "share"], [("<a>", 1200, in_words("5 %"))])
    assert '<td class="n">1,200</td><td class="n">5 %</td>' in html and "&lt;a&gt;" in html
    assert table(["name"], []) == ""
