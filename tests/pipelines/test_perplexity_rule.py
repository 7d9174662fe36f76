"""Rules over perplexity: they read what the step `surprise` has measured, and what they drop is in no later dataset."""

import json
import math
import shutil
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_curated_columns import why
from tiny_bank import READING, tiny_recipe, write_corpus

import mnemic
from mnemic.errors import RecipeError
from mnemic.funnel import funnel
from mnemic.kept import KEPT
from operators.perplexity import SCALE, Sums

SECTIONS = ("name", "bank", "fragment_characters", "sources", "embed", "segment", "cluster")


def recipe_of(root, corpus, most, **rules):
    tiny = tiny_recipe(root, corpus)
    named = {"few_words": {"value": "words", "min": 60}, "odd": {"value": "perplexity", "max": most}, **rules}
    surprise = {**READING, "model": tiny["language_model"]}
    return {**{name: tiny[name] for name in SECTIONS}, "surprise": surprise, "curate": {"rules": named}}


@pytest.fixture(scope="module")
def lenient(tmp_path_factory):
    root = tmp_path_factory.mktemp("perplexity")
    recipe = recipe_of(root, write_corpus(root / "corpus"), 1e9)
    mnemic.build(recipe, device="cpu", engine="inline")
    return recipe


def expected_of(bank):
    """Document -> exp of the mean surprisal of its units, weighed by characters, added up one by one in float64."""
    sums = defaultdict(lambda: [0.0, 0])
    for unit in bank.table("units", ["document", "start", "end", "surprisal"]).to_pylist():
        if unit["surprisal"] is not None:
            size = unit["end"] - unit["start"]
            sums[unit["document"]][0] += unit["surprisal"] * size
            sums[unit["document"]][1] += size
    return {document: math.exp(total / size) for document, (total, size) in sums.items()}


@pytest.fixture(scope="module")
def strict(lenient, tmp_path_factory):
    """The same bank with a threshold between the two values in the middle, carried on."""
    values = sorted(expected_of(mnemic.open_bank(lenient["bank"])).values())
    place = tmp_path_factory.mktemp("strict")
    recipe = {**lenient, "bank": str(shutil.copytree(lenient["bank"], place / "bank"))}
    recipe["curate"] = {
        "rules": {
            **recipe["curate"]["rules"],
            "odd": {"value": "perplexity", "max": sum(values[len(values) // 2 - 1 :][:2]) / 2},
        }
    }
    result = mnemic.build(recipe, device="cpu", engine="inline")
    return recipe, [step.step for step in result.steps]


def test_the_value_is_the_mean_surprise_of_the_units_of_a_document(lenient):
    bank = mnemic.open_bank(lenient["bank"])
    rows = bank.table("documents", ["id", "perplexity", "decision", "duplicate_of"]).to_pylist()
    expected = expected_of(bank)
    passing = {row["id"] for row in rows if not row["decision"]["rule"] and not row["duplicate_of"]}
    assert {row["id"] for row in rows if row["perplexity"] is not None} == passing == set(expected)
    values = {row["id"]: row["perplexity"]["perplexity"] for row in rows if row["perplexity"]}
    assert values == pytest.approx(expected, rel=1e-5)


def test_a_document_that_it_drops_has_units_and_is_in_no_later_dataset(strict, lenient):
    recipe, steps = strict
    assert "perplexity" in steps and not {"units", "surprise", "embed"} & set(steps), "nothing is read again"
    bank, before = mnemic.open_bank(recipe["bank"]), mnemic.open_bank(lenient["bank"])
    rows = bank.table("documents", ["id", "perplexity", "decision"]).to_pylist()
    dropped = {row["id"] for row in rows if row["perplexity"] and row["perplexity"]["rule"] == "odd"}
    threshold = recipe["curate"]["rules"]["odd"]["max"]
    assert dropped == {document for document, value in expected_of(before).items() if value > threshold}
    assert len(dropped) > 5 and not any(row["decision"]["rule"] for row in rows if row["id"] in dropped)
    events = set(bank.table("events", ["document"])["document"].to_pylist())
    units = set(bank.table("units", ["document"])["document"].to_pylist())
    assert dropped < units and events == units - dropped
    assert events == set(bank.table("documents", ["id"], KEPT)["id"].to_pylist())
    assert funnel(bank)["dropped by perplexity"] == len(dropped) and funnel(bank)["kept"] == len(events)
    assert mnemic.plan(recipe, device="cpu").nothing_to_do


def test_a_bank_that_is_carried_on_is_that_of_a_fresh_build(strict, tmp_path):
    recipe, _ = strict
    fresh = {**recipe, "bank": str(tmp_path / "bank"), "fragment_characters": 2000}
    mnemic.build(fresh, device="cpu", engine="inline")
    at_once, carried = mnemic.open_bank(fresh["bank"]).digest(), mnemic.open_bank(recipe["bank"]).digest()
    for dataset in ("documents", "units"):
        assert at_once[dataset] == carried[dataset], dataset
    columns = ["id", "document", "ordinal", "level", "text", "surprise"]  # clusters keep the tree of the first build
    tables = [mnemic.open_bank(one["bank"]).table("events", columns).sort_by("id") for one in (fresh, recipe)]
    assert tables[0].to_pylist() == tables[1].to_pylist()


def test_plan_and_why_tell_it(strict):
    recipe, _ = strict
    bank = mnemic.open_bank(recipe["bank"])
    rows = bank.table("documents", ["id", "perplexity"]).to_pylist()
    (first, *others) = [row for row in rows if row["perplexity"] and row["perplexity"]["rule"] == "odd"]
    story = why(recipe, first["id"])
    assert "dropped by the rule odd:" in story and "perplexity " in story and "  kept" not in story.splitlines()
    facts = json.loads(why(recipe, first["id"], "--json"))
    assert facts["decision"]["rule"] == "odd" and [rule["note"] for rule in facts["rules"]] == ["passes", "drops"]
    effects = {rule.rule: rule for rule in mnemic.plan(recipe, device="cpu").effects.rules}
    assert effects["odd"].alone == len(others) + 1 and effects["odd"].unjudged > 0


def test_without_the_rule_nothing_of_it_is_left(strict, tmp_path):
    recipe = {**strict[0], "bank": str(shutil.copytree(strict[0]["bank"], tmp_path / "bank"))}
    recipe["curate"] = {"rules": {"few_words": {"value": "words", "min": 60}}}
    mnemic.build(recipe, device="cpu", engine="inline")
    bank, fresh = mnemic.open_bank(recipe["bank"]), {**recipe, "bank": str(tmp_path / "fresh")}
    assert all("perplexity" not in bank.dataset(name).schema.names for name in ("documents", "units"))
    mnemic.build(fresh, device="cpu", engine="inline")
    assert bank.digest()["units"] == mnemic.open_bank(fresh["bank"]).digest()["units"]
    ids = [set(mnemic.open_bank(one["bank"]).table("events", ["id"])["id"].to_pylist()) for one in (fresh, recipe)]
    assert ids[0] == ids[1]


def test_a_rule_without_the_section_that_measures_is_told(lenient):
    without = {name: value for name, value in lenient.items() if name != "surprise"}
    with pytest.raises(RecipeError, match="rule `odd` reads it, and the section `surprise` measures it"):
        mnemic.plan(without)
    with pytest.raises(RecipeError, match="with `surprisal` among its signals"):
        mnemic.plan({**lenient, "surprise": {**lenient["surprise"], "signals": ["entropy"]}})
    with pytest.raises(RecipeError, match="write a rule below `curate`"):
        mnemic.plan({**lenient, "perplexity": {}})


units = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 50), st.integers(1, 40), st.none() | st.floats(0, 30, width=32)),
    max_size=30,
)


@settings(max_examples=100)
@given(units, st.lists(st.integers(1, 7), min_size=1, max_size=5), st.randoms())
def test_no_order_and_division_of_units_changes_a_sum(rows, sizes, draw):
    def summed(rows, sizes):
        sums, first, place = Sums(), 0, 0
        while first < len(rows):
            part = rows[first : first + sizes[place % len(sizes)]]
            names = ("document", "start", "end", "surprisal")
            columns = [[row[0] for row in part], [row[1] for row in part], [row[1] + row[2] for row in part]]
            types = (pa.string(), pa.int64(), pa.int64(), pa.float32())
            values = [*columns, [row[3] for row in part]]
            sums.add(pa.RecordBatch.from_arrays([pa.array(*one) for one in zip(values, types, strict=True)], names))
            first, place = first + len(part), place + 1
        return sums.perplexity(pa.array(["a", "b", "c", "d", "none"]))

    shuffled = draw.sample(rows, len(rows))
    whole, parts = summed(rows, [1000]), summed(shuffled, sizes)
    assert np.array_equal(whole, parts, equal_nan=True)
    for place, document in enumerate("abcd"):
        mine = [(round(row[3] * SCALE), row[2]) for row in rows if row[0] == document and row[3] is not None]
        if mine:
            mean = sum(value * size for value, size in mine) / SCALE / sum(size for _, size in mine)
            assert whole[place] == pytest.approx(math.exp(mean), rel=1e-12)
        else:
            assert math.isnan(whole[place])
    assert math.isnan(whole[4])
