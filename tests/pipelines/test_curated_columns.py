"""Columns beside the statistics: rules read them, `plan` and `why` tell them, and only banks that ask have them."""

import contextlib
import io
import json
import shutil

import pytest

import mnemic
from mnemic.command import main
from mnemic.errors import RecipeError
from mnemic.rules.values import OF_COLUMNS

TEXTS = {
    "english": "The lease of a bank is held by one writer, and it expires when nobody renews it in time. ",
    "german": "Die Bank wird von einem Schreiber gehalten, und der Vertrag endet, wenn ihn niemand erneuert. ",
    "french": "Le bail de la banque est tenu par un seul auteur, et il expire si personne ne le renouvelle. ",
}


def recipe_of(folder, **curate):
    corpus = folder / "corpus"
    if not corpus.exists():
        corpus.mkdir()
        for name, text in TEXTS.items():
            for number in range(3):
                (corpus / f"{name}{number}.txt").write_text(f"{text}{text}{number}")
    sources = [{"kind": "folder", "path": str(corpus)}]
    return {"name": "columns", "bank": str(folder / "bank"), "sources": sources, "units": False, "curate": curate}


def rows_of(recipe, *columns):
    return mnemic.open_bank(recipe["bank"]).table("documents", ["id", "locator", *columns]).sort_by("id").to_pylist()


def why(recipe, document, *options):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["why", recipe["bank"], document, *options]) == 0
    return printed.getvalue()


@pytest.fixture(scope="module")
def languages(tmp_path_factory):
    pytest.importorskip("fasttext")
    recipe = recipe_of(tmp_path_factory.mktemp("languages"), language={"keep": ["en", "de"], "score": 0.5})
    mnemic.build(recipe, device="cpu", engine="inline")
    return recipe


def test_documents_in_other_languages_are_dropped_by_a_rule(languages):
    rows = rows_of(languages, "language", "decision")
    by_rule = {row["locator"][:-5]: row["decision"]["rule"] for row in rows}
    assert by_rule == {"english": "", "german": "", "french": "language"}
    french = next(row for row in rows if row["locator"].startswith("french"))
    assert french["decision"] == {"rule": "language", "value": 0.0, "threshold": 0.5, "rules": ["language"]}
    story = why(languages, french["id"])
    assert f"language fr ({french['language']['score']:.3f};" in story
    assert "drops   language: language_score * (language_en + language_de) 0, at least 0.5" in story
    facts = json.loads(why(languages, rows[0]["id"], "--json"))
    assert facts["document"]["language"] == rows[0]["language"] and facts["rules"][0]["threshold"] == 0.5


def test_plan_says_what_a_language_rule_drops_before_and_after(languages, tmp_path):
    (rule,) = mnemic.plan(languages, device="cpu").effects.rules
    assert (rule.rule, rule.alone, rule.interval) == ("language", 3, None)
    fresh = {**languages, "bank": str(tmp_path / "bank")}
    mnemic.build(fresh, device="cpu", engine="inline", until="read")
    (rule,) = mnemic.plan(fresh, device="cpu").effects.rules
    assert (rule.rule, rule.alone) == ("language", 3)


def test_another_score_tells_no_language_anew_and_rules_name_them(languages, tmp_path):
    recipe = {**languages, "bank": str(shutil.copytree(languages["bank"], tmp_path / "bank"))}
    recipe["curate"] = {
        "language": {"keep": ["en", "de", "fr"], "score": 0.6},
        "rules": {"language": {"min": 0.4}, "no_german": {"value": "language_de", "max": 0.5}},
    }
    result = mnemic.build(recipe, device="cpu", engine="inline")
    assert "curate" in (steps := [step.step for step in result.steps]) and "language" not in steps
    dropped = {row["locator"][:-5]: row["decision"]["rule"] for row in rows_of(recipe, "decision")}
    assert dropped == {"english": "", "german": "no_german", "french": ""}
    recipe["curate"] = {"rules": {"few_words": {"value": "words", "min": 1}}}
    mnemic.build(recipe, device="cpu", engine="inline")
    schema = mnemic.open_bank(recipe["bank"]).dataset("documents").schema
    assert not set(OF_COLUMNS) & set(schema.names), "a recipe that asks for none has none"
    fresh = {**recipe, "bank": str(tmp_path / "fresh")}
    mnemic.build(fresh, device="cpu", engine="inline")
    assert mnemic.open_bank(fresh["bank"]).digest() == mnemic.open_bank(recipe["bank"]).digest()


def test_a_rule_over_a_column_that_is_not_asked_for_says_what_to_write(tmp_path):
    rules = {"mine": {"value": "language_en", "min": 1}}
    with pytest.raises(RecipeError, match="which `language` gives; write that below `curate`"):
        mnemic.plan(recipe_of(tmp_path, rules=rules))
    with pytest.raises(RecipeError, match="no language 'xx'"):
        mnemic.plan(recipe_of(tmp_path, language={"keep": ["xx"]}))
    with pytest.raises(RecipeError, match="write it below `curate`"):
        mnemic.plan({**recipe_of(tmp_path), "language": {"keep": ["en"]}})
    with pytest.raises(RecipeError, match="keeps"):
        mnemic.plan(recipe_of(tmp_path, language={"keeps": ["en"]}))
