"""Presets: settings that a recipe would write itself, and what they cannot say."""

from pathlib import Path

import pytest
from written_bank import WRITTEN, written_recipe

import mnemic
from mnemic.errors import RecipeError
from operators.written.presets import NOT_EXPRESSED, PRESETS
from pipelines.command.plan import shown
from pipelines.recipe import load_recipe
from pipelines.steps import steps_of

PAGE = (Path(__file__).parents[3] / "docs" / "writing.md").read_text()


def recipe_of(root, **changes):
    recipe = written_recipe(root, "http://127.0.0.1:9/v1")
    bare = {name: recipe[name] for name in ("name", "bank", "sources", "embed", "cluster")}
    return {**bare, **changes}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_the_recipe_that_it_stands_for(tmp_path, name):
    written = {**WRITTEN["written"], "preset": name}
    long = recipe_of(tmp_path, written=WRITTEN["written"], **PRESETS[name].sections)
    short = recipe_of(tmp_path, written=written)
    steps = [
        [(step.name, step.record.fingerprint) for step in steps_of(load_recipe(one), "cpu")] for one in (short, long)
    ]
    assert steps[0] == steps[1]
    text = shown(mnemic.plan(short, device="cpu"))
    assert f"preset {name}: {PRESETS[name].title}" in text and f"left out: {PRESETS[name].lacks}" in text
    assert f"| `{name}` | {PRESETS[name].title} | {PRESETS[name].lacks} |" in PAGE


def test_settings_of_the_recipe_win(tmp_path):
    recipe = load_recipe(recipe_of(tmp_path, written={**WRITTEN["written"], "preset": "mem0"}, packs={"tokens": 333}))
    assert (recipe.packs.tokens, recipe.packs.context) == (333, 10)
    assert recipe.notes.functional == () and recipe.excerpts is None


def test_without_a_preset_notes_run_with_their_defaults_and_excerpts_where_they_are_named(tmp_path):
    recipe = load_recipe(recipe_of(tmp_path, written=WRITTEN["written"]))
    assert recipe.packs.tokens == 1500 and "home" in recipe.notes.functional and recipe.excerpts is None
    none = load_recipe(recipe_of(tmp_path, excerpts={}))
    assert none.packs is None and none.notes is None and none.excerpts.words == 60


@pytest.mark.parametrize(
    ("name", "sentence"), [("memo", "did you mean mem0"), *((n, "cannot express") for n in NOT_EXPRESSED)]
)
def test_a_system_without_a_preset_is_refused_with_the_reason(tmp_path, name, sentence):
    with pytest.raises(RecipeError, match=sentence):
        load_recipe(recipe_of(tmp_path, written={**WRITTEN["written"], "preset": name}))
    assert name == "memo" or name in PAGE
