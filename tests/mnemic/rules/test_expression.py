"""Expressions are read by mnemic, never by Python, and compute what Python would."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import RecipeError
from mnemic.rules import parsed

COLUMNS = {"words": np.array([10.0, 0.0, 3.0]), "lines": np.array([2.0, 5.0, 0.0])}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("words", [10, 0, 3]),
        ("words / lines", [5, 0, math.nan]),
        ("lines / words", [0.2, math.nan, 0]),
        ("words - lines - 1", [7, -6, 2]),
        ("2 * (words + lines) / 4", [6, 2.5, 1.5]),
        ("-words * -1.5", [15, 0, 4.5]),
    ],
)
def test_it_computes_from_left_to_right_and_products_first(text, values):
    assert np.array_equal(parsed(text)(COLUMNS), np.array(values, float), equal_nan=True)


trees = st.recursive(
    st.sampled_from(["words", "lines", "3", "0.5"]),
    lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda parts: f"({' '.join(parts)})"),
    max_leaves=8,
)


@settings(max_examples=200)
@given(trees)
def test_it_computes_what_python_would(text):
    expected = []
    for words, lines in zip(*COLUMNS.values(), strict=True):
        try:
            expected.append(eval(text, {"__builtins__": {}}, {"words": float(words), "lines": float(lines)}))
        except ZeroDivisionError:
            expected.append(math.nan)
    values = parsed(text)(COLUMNS)
    for value, python in zip(np.broadcast_to(values, 3), expected, strict=True):
        assert math.isnan(value) if math.isnan(python) else value == pytest.approx(python)


def test_a_sum_as_long_as_an_expression_may_be_is_added_up():
    text = "words * (" + " - ".join(["1"] * 700) + ")"
    assert len(text) > 2700 and parsed(text)(COLUMNS).tolist() == [-6980.0, 0.0, -2094.0]
    assert hash(parsed(text)) == hash(parsed(text)) and parsed(text).names == {"words"}


def test_it_names_what_it_reads():
    assert parsed("(words + 1) / lines").names == {"words", "lines"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("__import__('os').system('x')", "neither a name"),
        ("words.real", "neither a name"),
        ("words ** 2", "stands where"),
        ("words[0]", "neither a name"),
        ("lambda: 1", "neither a name"),
        ("words words", "left over"),
        ("(words", "not closed"),
        ("words +", "missing"),
        ("", "missing"),
        ("(" * 100 + "words" + ")" * 100, "nested"),
        ("-" * 100 + "1", "nested"),
        ("1+" * 2000 + "1", "more than 3000"),
        ("\u0661 + words", "neither a name"),
    ],
)
def test_all_else_is_refused_with_a_sentence(text, reason):
    with pytest.raises(RecipeError, match=reason):
        parsed(text)
