"""Rules come from a preset and its changes; decisions name the first rule, its value, and all that fired."""

import numpy as np
import pyarrow as pa
import pytest

from mnemic.errors import RecipeError
from mnemic.statistics import OF_WORDS, RAW, VIEW
from operators.curate.operator import Curate
from operators.curate.presets import ALIASES, PRESETS
from operators.measure.operator import Measure


def decided(curate, texts):
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})
    statistics, _ = Measure(**curate.measured).open("cpu")(batch)
    rows, rejects = curate.open("cpu")(statistics)
    assert rejects.num_rows == 0
    return rows["decision"].to_pylist()


@pytest.mark.parametrize("name", [*PRESETS, *ALIASES])
def test_every_preset_reads_counts_that_there_are_and_decides(name):
    curate = Curate(name)
    counts = {*RAW, *(VIEW if curate.measured["view"] else ())}
    assert all(rule.formula.names <= counts for rule in curate.decided_by)
    assert len({rule.name for rule in curate.decided_by}) == len(curate.decided_by)
    empty, prose = decided(curate, ["", "This is the end of the line, and that is what we have.\n" * 3])
    assert empty["rule"] == "empty" and empty["value"] == 0 and empty["threshold"] == 1
    assert prose["rules"] == [] or prose["rule"] == prose["rules"][0]


def test_presets_of_one_name_are_several():
    texts = ["word " * 30 + "the and"]
    assert decided(Curate("gopher@datatrove"), texts) != decided(Curate("conversation"), texts)


def test_a_rule_is_turned_off_moved_and_added():
    short = {"gopher_short_doc": {"min": 3}, "gopher_enough_stop_words": False, "top_2_gram": False}
    rules = {**short, "top_3_gram": None, "top_4_gram": "off", "mine": {"value": "(words + 1) / lines", "max": 5}}
    curate = Curate("gopher@datatrove", rules)
    names = [rule.name for rule in curate.decided_by]
    assert names[-1] == "mine" and not {"top_2_gram", "top_3_gram", "top_4_gram"} & set(names)
    (decision,) = decided(curate, ["alpha beta gamma delta epsilon"])
    assert decision == {"rule": "mine", "value": 6.0, "threshold": 5.0, "rules": ["mine"]}


def test_a_decision_names_all_rules_that_fired_and_a_kept_document_none():
    rules = {"a": {"value": "words", "min": 3}, "b": {"value": "letters", "min": 9}}
    dropped, passing = decided(Curate("", rules), ["x y", "one two three"])
    assert dropped == {"rule": "a", "value": 2.0, "threshold": 3.0, "rules": ["a", "b"]}
    assert passing == {"rule": "", "value": None, "threshold": None, "rules": []}


def test_contamination_drops_where_it_is_told_to():
    flag, drop = Curate(contamination={"action": "flag"}), Curate(contamination={"action": "drop"})
    assert flag.decided_by == ()
    (rule,) = drop.decided_by
    batch = pa.RecordBatch.from_pydict({"text": pa.array(["some words", "other words"], pa.large_string())})
    statistics, _ = Measure().open("cpu")(batch)
    with_matches = statistics.append_column("contaminated", pa.array(np.array([2.0, 0.0])))
    rows, _ = drop.open("cpu")(with_matches)
    assert [row["rule"] for row in rows["decision"].to_pylist()] == [rule.name, ""]


def test_a_document_in_a_script_without_spaces_is_not_judged_by_its_words():
    text = "\u8bb0\u5fc6\u77e5\u9053\u5b83\u6765\u81ea\u54ea\u91cc"
    assert decided(Curate("dclm", {"top_4_gram": {"max": 0.9}}), [text])[0]["rule"] == ""
    assert "words" in OF_WORDS


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"preset": "gopher"}, "Did you mean 'gopher@"),
        ({"preset": "zzz"}, "There are gopher@datatrove"),
        ({"rules": {"mine": {"value": "wrds", "max": 1}}}, "Did you mean 'words'"),
        ({"rules": {"mine": {"value": "__import__('os')", "max": 1}}}, "cannot be read"),
        ({"rules": {"mine": {"max": 1}}}, "needs a `value`"),
        ({"rules": {"mine": {"value": "words"}}}, "one of `min` and `max`"),
        ({"rules": {"mine": {"value": "words", "min": 1, "max": 2}}}, "one of `min` and `max`"),
        ({"rules": {"mine": {"value": "words", "max": "many"}}}, "give a number"),
        ({"rules": {"mine": {"value": "words", "max": float("nan")}}}, "give a number"),
        ({"rules": {"mine": {"value": "words", "most": 1}}}, "write `false` to turn it off"),
        ({"rules": {"mine": {"value": "c4_words", "max": 1}}}, "no count"),
        ({"rules": {"mine": True}}, "write `false` to turn it off"),
        ({"preset": "gopher@datatrove", "rules": {"gopher_short_doc": {"max": 1}}}, "has a `min` and no `max`"),
        ({"max_disparity": 1}, "factor above 1"),
    ],
)
def test_what_cannot_be_is_told_with_the_way_out(settings, sentence):
    with pytest.raises(RecipeError) as error:
        Curate(**settings)
    assert sentence in str(error.value) and str(error.value).endswith((".", "?"))
