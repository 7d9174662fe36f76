"""The linear model: features and training against their definitions, and how well kinds of text are parted."""

import json
import math
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import RecipeError
from operators.quality.features import BITS, BYTES, features_of
from operators.quality.linear import LinearModel, separation
from operators.quality.operator import Quality
from operators.quality.texts import example_files, examples_in

MASK = (1 << 64) - 1
WORD = re.compile(rb"[\xe3-\xe9][\x00-\xff]{2}|(?:(?![\xe3-\xe9])[a-z0-9\x80-\xff])+", re.DOTALL)


def mixed(value):
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK
    return value ^ value >> 31


def defined(text):
    """Words and pairs of a text by a pattern, hashed in whole numbers of Python."""
    features, before = [], None
    lowered = bytes(code + 32 if 65 <= code <= 90 else code for code in text.encode())
    for match in WORD.finditer(lowered):
        word = 0xCBF29CE484222325
        for code in match[0]:
            word = (word ^ code) * 0x100000001B3 & MASK
        features.append(mixed(word) % (1 << BITS))
        if before is not None:
            features.append(mixed(word ^ before * 0x100000001B3 & MASK) % (1 << BITS))
        before = word
    return features


def column(texts):
    return pa.array(texts, pa.large_string())


letters = st.characters(codec="utf-8", exclude_categories=["Cs"])
short = st.text(letters, max_size=40) | st.sampled_from(
    ["The cat, the CAT 9", "\u8a18\u61b6\u3068word", "\u00e9t\u00e9 \u0411", ""]
)


@settings(max_examples=200)
@given(st.lists(short, max_size=5))
def test_features_are_words_and_pairs(texts):
    features, ends = features_of(column(texts))
    starts = [0, *ends.tolist()]
    assert [features[a:b].tolist() for a, b in zip(starts, ends.tolist(), strict=False)] == [defined(t) for t in texts]


def test_no_more_than_the_first_bytes_are_looked_at():
    begun = ("word other " * 3000)[:BYTES]
    assert features_of(column([begun]))[0].tolist() == features_of(column([begun + " and more"]))[0].tolist()


def trained_plainly(texts, good, epochs, rate):
    """The same training, one number after the other, as the equations have it; weights by feature, and the bias."""
    weights, squares, bias = {}, {}, 0.0
    counts = [good.count(False), good.count(True)]
    for _ in range(epochs):
        for text, label in zip(texts, good, strict=True):
            features = defined(text)
            if not features:
                continue
            odds = bias + sum(weights.get(one, 0.0) for one in features) / len(features)
            slope = (1 / (1 + math.exp(-odds)) - label) * len(good) / (2 * counts[label])
            bias -= 0.05 * slope
            slope /= math.sqrt(len(features))
            for one in features:
                squares[one] = squares.get(one, 0.0) + slope * slope
                weights[one] = weights.get(one, 0.0) - rate * slope / math.sqrt(squares[one] + 1e-8)
    return weights, bias


PROSE_WORDS = "the lease of a bank is held by one writer and it expires when nobody renews it in time"
LIST_WORDS = "home login next previous index contact menu search page click share tweet cart"
PROSE, LISTS = PROSE_WORDS.split(), LIST_WORDS.split()


def two_kinds(count, seed=0):
    draw = np.random.default_rng(seed)
    pairs = [(" ".join(draw.choice(PROSE if place % 2 else LISTS, 12)), place % 2 == 1) for place in range(count)]
    return [text for text, _ in pairs], [good for _, good in pairs]


def test_training_is_that_of_the_equations():
    texts, good = two_kinds(40)
    texts[3] = ""
    ours = LinearModel.train(column(texts), np.array(good), 3, 0.3)
    weights, bias = trained_plainly(texts, good, 3, 0.3)
    assert ours.bias == pytest.approx(bias, rel=1e-12)
    expected = np.zeros(1 << BITS)
    expected[list(weights)] = list(weights.values())
    assert np.allclose(ours.weights, expected, rtol=1e-6, atol=1e-9) and np.count_nonzero(ours.weights) == len(weights)
    scores = ours.scores(column(texts))
    for text, score in zip(texts, scores, strict=True):
        features = defined(text)
        if not features:
            assert math.isnan(score)
            continue
        odds = bias + sum(float(ours.weights[one]) for one in features) / len(features)
        assert score == pytest.approx(1 / (1 + math.exp(-odds)), rel=1e-9)


def test_scores_do_not_depend_on_the_batch():
    texts, good = two_kinds(60)
    ours = LinearModel.train(column(texts), np.array(good), 5, 0.3)
    whole = ours.scores(column(texts))
    parts = [ours.scores(column(texts).slice(first, 7)) for first in range(0, 60, 7)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_two_kinds_of_text_are_parted_and_chance_is_not():
    texts, good = two_kinds(400)
    others, truth = two_kinds(200, seed=1)
    ours = LinearModel.train(column(texts), np.array(good), 5, 0.3)
    assert separation(ours.scores(column(others)), np.array(truth)) > 0.99
    by_chance = np.random.default_rng(2).random(200) < 0.5
    assert 0.35 < separation(ours.scores(column(others)), by_chance) < 0.65


def test_few_bad_ones_count_as_much_as_many_good():
    texts, good = two_kinds(400)
    few = [place for place, one in enumerate(good) if one or place < 40]
    ours = LinearModel.train(column([texts[one] for one in few]), np.array([good[one] for one in few]), 5, 0.3)
    others, truth = two_kinds(200, seed=1)
    scores = ours.scores(column(others))
    assert np.mean((scores > 0.5) == np.array(truth)) > 0.95


@settings(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, math.nan]), st.booleans()), max_size=20))
def test_separation_is_the_share_of_pairs_in_the_right_order(rows):
    scores, good = np.array([one for one, _ in rows], float), np.array([one for _, one in rows], bool)
    ups = [one for one, label in rows if label and not math.isnan(one)]
    downs = [one for one, label in rows if not label and not math.isnan(one)]
    pairs = [1.0 if up > down else 0.5 if up == down else 0.0 for up in ups for down in downs]
    result = separation(scores, good)
    assert result == pytest.approx(sum(pairs) / len(pairs)) if pairs else math.isnan(result)


def test_without_a_compiler_weights_and_scores_are_the_same():
    code = """
import json, sys
import mnemic.compiled
mnemic.compiled.can_compile = lambda: False
import numpy as np, pyarrow as pa
from operators.quality.linear import LinearModel
texts, good = json.loads(sys.argv[1])
ours = LinearModel.train(pa.array(texts, pa.large_string()), np.array(good), 2, 0.3)
assert "numba" not in sys.modules
print(json.dumps([ours.bias, ours.weights[ours.weights != 0].tolist()]))
"""
    texts, good = two_kinds(20)
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps([texts, good])], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    ours = LinearModel.train(column(texts), np.array(good), 2, 0.3)
    bias, weights = json.loads(done.stdout)
    assert ours.bias == pytest.approx(bias, rel=1e-12) and ours.weights[ours.weights != 0].tolist() == pytest.approx(
        weights
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "names no example"),
        ({"positives": "books"}, "no list of texts"),
        ({"positives": ["books"], "negatives": [5]}, "no list of texts"),
        ({"positives": ["books"], "min": 2}, "between 0 and 1"),
        ({"positives": ["books"], "epochs": 0}, "from 1 to 100"),
        ({"positives": ["books"], "rate": "fast"}, "above 0"),
        ({"positive": ["books"]}, "no setting 'positive'"),
    ],
)
def test_settings_that_cannot_be_are_told(fields, sentence):
    with pytest.raises(RecipeError) as error:
        Quality.of(fields)
    assert sentence in str(error.value) and str(error.value).endswith(".")


def test_examples_are_sources_conditions_and_files(tmp_path):
    named = ["books", "length > 500", "good.jsonl", "more/*.txt"]
    assert Quality.conditions(named) == ["source = 'books'", "length > 500"]
    assert Quality.files(named) == ["good.jsonl", "more/*.txt"]
    (tmp_path / "good.jsonl").write_text('{"text": "one"}\n\n{"text": "two \\ud800"}\n{"text": 3}\n')
    (file,) = example_files(["good.jsonl"], str(tmp_path))
    assert list(examples_in(file, 2)) == ["one", "two ?"]
    with pytest.raises(RecipeError, match="line 4 has no `text`; write"):
        list(examples_in(file, 3))
    (tmp_path / "bad.jsonl").write_text("{" * 100_000)
    with pytest.raises(RecipeError, match="line 1 is no JSON; mend"):
        list(examples_in(tmp_path / "bad.jsonl", 3))
    with pytest.raises(RecipeError, match="name no file below"):
        example_files(["none.txt"], str(tmp_path))
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(RecipeError, match="is not UTF-8"):
        list(examples_in(tmp_path / "latin.txt", 3))
