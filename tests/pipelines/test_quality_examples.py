"""Quality by examples over a whole bank: a classifier is a memory, its scores are a column, and rules may read them."""

import json
import random
import shutil

import numpy as np
import pyarrow as pa
import pytest
from test_curated_columns import why
from tiny_bank import tiny_recipe

import mnemic
from mnemic.dataset import Store
from mnemic.errors import ModelError, RecipeError, StepError
from operators.quality.linear import LinearModel

PROSE_WORDS = "the lease of a bank is held by one writer and it expires when nobody renews it in time"
LIST_WORDS = "home login next previous index contact menu search page click share tweet cart"
PROSE, LISTS = PROSE_WORDS.split(), LIST_WORDS.split()


def corpus_of(folder):
    """Two sources of 40 texts of a kind each, and one of both kinds."""
    draw = random.Random(0)
    for name, words in (("prose", [PROSE]), ("lists", [LISTS]), ("mixed", [PROSE, LISTS])):
        (folder / name).mkdir(parents=True)
        for number in range(40):
            text = " ".join(draw.choices(words[number % len(words)], k=30))
            (folder / name / f"{number}.txt").write_text(f"{text} {number}")
    return folder


def recipe_of(root, **curate):
    corpus = root / "corpus"
    if not corpus.exists():
        corpus_of(corpus)
    sources = [{"kind": "folder", "path": str(corpus / name), "name": name} for name in ("prose", "lists", "mixed")]
    return {
        **{"name": "quality", "bank": str(root / "bank"), "sources": sources, "fragment_characters": 2000},
        **{"units": False, "curate": curate},
    }


NAMED = {"positives": ["prose"], "negatives": ["lists"], "min": 0.5}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    recipe = recipe_of(tmp_path_factory.mktemp("quality"), quality=NAMED)
    mnemic.build(recipe, device="cpu", engine="inline")
    return recipe


def rows_of(recipe):
    columns = ["id", "source", "locator", "text", "quality", "decision"]
    return mnemic.open_bank(recipe["bank"]).table("documents", columns).sort_by("id").to_pylist()


def of_prose(row):
    return row["source"] == "prose" or (row["source"] == "mixed" and int(row["locator"].split(".")[0]) % 2 == 0)


def test_documents_like_the_good_ones_are_kept(built):
    rows = rows_of(built)
    right = [(row["quality"] > 0.5) == of_prose(row) for row in rows]
    assert np.mean(right) > 0.97
    assert all((row["decision"]["rule"] == "quality") == (row["quality"] < 0.5) for row in rows)
    assert mnemic.plan(built, device="cpu").nothing_to_do


def test_the_classifier_is_a_memory_with_its_weights_and_is_for_no_language_model(built):
    bank = mnemic.open_bank(built["bank"])
    (info,) = bank.memories()
    assert (info.name, info.kind, info.owner, dict(info.lock)) == ("quality", "classifier", "quality", {})
    assert info.metrics["positives"] == info.metrics["negatives"] == 40 and info.metrics["auc"] > 0.95
    with pytest.raises(ModelError, match="judges documents and has no place in a language model; attach another"):
        bank.memory("quality").enter(None, 1.0)
    assert bank.memory("quality").scores(None) is None
    assert mnemic.evaluate(built["bank"]).weights == {}


def test_scores_are_those_of_the_stored_weights(built):
    from safetensors.numpy import load

    (weights,) = Store(built["bank"])["memories"].require().table(["weights"])["weights"].to_pylist()
    tensors = load(weights)
    ours = LinearModel(tensors["weights"], float(tensors["bias"][0]))
    rows = rows_of(built)
    scores = ours.scores(pa.array([row["text"] for row in rows], pa.large_string()))
    assert scores.tolist() == [row["quality"] for row in rows]


@pytest.mark.parametrize("size", [pytest.param(300, marks=pytest.mark.slow), 1_000_000])
def test_any_fragments_give_the_same_bank(built, size, tmp_path):
    other = {**built, "bank": str(tmp_path / "bank"), "fragment_characters": size}
    mnemic.build(other, device="cpu", engine="inline")
    assert mnemic.open_bank(other["bank"]).digest() == mnemic.open_bank(built["bank"]).digest()


def test_why_and_plan_tell_the_score(built, tmp_path):
    dropped = next(row for row in rows_of(built) if row["decision"]["rule"])
    story = why(built, dropped["id"])
    assert f"quality {dropped['quality']:.3f}" in story and "dropped by the rule quality" in story
    facts = json.loads(why(built, dropped["id"], "--json"))
    assert facts["rules"][0]["value"] == dropped["quality"]
    (rule,) = mnemic.plan(built, device="cpu").effects.rules
    assert rule.alone == sum(row["quality"] < 0.5 for row in rows_of(built)) and rule.sources["lists"] == 1.0
    fresh = {**built, "bank": str(tmp_path / "bank")}
    mnemic.build(fresh, device="cpu", engine="inline", until="read")
    (rule,) = mnemic.plan(fresh, device="cpu").effects.rules
    assert rule.alone == 0 and rule.unjudged == 120, "nothing is learnt yet"


def test_another_threshold_trains_nothing_and_another_example_does(built, tmp_path):
    recipe = {**built, "bank": str(shutil.copytree(built["bank"], tmp_path / "bank"))}
    recipe["curate"] = {"quality": {**NAMED, "min": 0.6}}
    steps = [step.step for step in mnemic.build(recipe, device="cpu", engine="inline").steps]
    assert "curate" in steps and "quality" not in steps
    before = mnemic.open_bank(recipe["bank"]).memories()[0].id
    recipe["curate"] = {"quality": {**NAMED, "positives": ["prose", "source = 'mixed' AND length < 1"]}}
    assert "quality" in [step.step for step in mnemic.build(recipe, device="cpu", engine="inline").steps]
    (info,) = mnemic.open_bank(recipe["bank"]).memories()
    assert info.id != before
    recipe["curate"] = {"rules": {"few": {"value": "words", "min": 1}}}
    mnemic.build(recipe, device="cpu", engine="inline")
    assert "quality" not in mnemic.open_bank(recipe["bank"]).dataset("documents").schema.names


def test_without_negatives_they_are_what_the_rules_drop(tmp_path):
    rules = {"menus": {"value": "stop_word_uses", "min": 1}}
    recipe = recipe_of(tmp_path, quality={"positives": ["source <> 'lists'"]}, rules=rules)
    mnemic.build(recipe, device="cpu", engine="inline")
    rows = rows_of(recipe)
    (info,) = mnemic.open_bank(recipe["bank"]).memories()
    dropped = [row for row in rows if row["decision"]["rule"] == "menus"]
    assert info.metrics["negatives"] == len(dropped) >= 60, "negatives first: what is both is bad"
    assert info.metrics["positives"] == sum(row["source"] != "lists" for row in rows if row not in dropped)
    assert np.mean([(row["quality"] > 0.5) == of_prose(row) for row in rows]) > 0.97


def test_examples_may_be_files(tmp_path):
    recipe = recipe_of(tmp_path)
    draw = random.Random(1)
    for name, words in (("good.jsonl", PROSE), ("bad.txt", LISTS)):
        lines = [" ".join(draw.choices(words, k=30)) for _ in range(50)]
        shown = [json.dumps({"text": line}) for line in lines] if name.endswith("jsonl") else lines
        (tmp_path / name).write_text("\n".join(shown))
    named = {"positives": ["good.jsonl"], "negatives": ["bad.txt"], "root": str(tmp_path)}
    recipe["curate"] = {"quality": named}
    mnemic.build(recipe, device="cpu", engine="inline")
    assert np.mean([(row["quality"] > 0.5) == of_prose(row) for row in rows_of(recipe)]) > 0.97
    (tmp_path / "bad.txt").write_text("another text\n" * 30)
    assert not mnemic.plan(recipe, device="cpu").nothing_to_do, "edited examples train anew"


def test_what_cannot_be_is_told(tmp_path):
    few = recipe_of(tmp_path, quality={"positives": ["prose"], "negatives": ["nobody"]})
    with pytest.raises(StepError, match="0 negatives, and nothing is learnt from fewer than 10; name more examples"):
        mnemic.build(few, device="cpu", engine="inline")
    with pytest.raises(RecipeError, match="names no example"):
        mnemic.plan(recipe_of(tmp_path, quality={}))
    with pytest.raises(RecipeError, match="which `quality` gives; write that below `curate`"):
        mnemic.plan(recipe_of(tmp_path, rules={"mine": {"value": "quality", "min": 0.5}}))
    with pytest.raises(RecipeError, match="write it below `curate`"):
        mnemic.plan({**recipe_of(tmp_path), "quality": NAMED})


def test_a_memory_of_a_language_model_stands_beside_it(tmp_path):
    tiny = tiny_recipe(tmp_path, corpus_of(tmp_path / "corpus"))
    recipe = {**tiny, "curate": {"quality": {"positives": ["length > 150"], "negatives": ["length <= 150"]}}}
    mnemic.build(recipe, device="cpu", engine="inline")
    bank = mnemic.open_bank(recipe["bank"])
    assert {"quality", "mlp"} <= {info.name for info in bank.memories()}
    assert "quality" not in mnemic.evaluate(recipe["bank"]).weights
    assert mnemic.plan(recipe, device="cpu").nothing_to_do
