"""A recipe is checked whole before anything runs, and every mistake says what to write instead."""

import pytest

from mnemic.errors import RecipeError
from pipelines.recipe import SHIPPED, Recipe, load_recipe
from pipelines.steps import steps_of

FOLDER = {"kind": "folder", "path": "texts"}


def problems(**content) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe({"name": "r", "sources": [FOLDER], **content})
    return str(caught.value)


def test_a_typo_names_the_nearest_setting():
    assert "`dedupliate` is not a setting: did you mean `deduplicate`?" in problems(dedupliate={})
    assert "did you mean `threshold`?" in problems(deduplicate={"treshold": 0.7})
    assert "did you mean `path`?" in problems(sources=[{"kind": "folder", "pth": "texts"}])


def test_all_mistakes_come_at_once():
    told = problems(segmet={}, max_rejects=2, deduplicate={"method": "magic"})
    assert "segment" in told and "max_rejects" in told and "magic" in told


def test_a_source_must_be_known_named_once_and_there():
    assert "folder" in problems(sources=[{"kind": "foldr", "path": "x"}])
    assert "two sources are called" in problems(sources=[FOLDER, FOLDER])
    assert "sources" in problems(sources=[])
    assert "kind" in problems(sources=[{"path": "texts"}])


def test_settings_that_operators_share_are_said_once():
    assert "`datastore.model` is said by `language_model`" in problems(datastore={"model": "x"})
    recipe = load_recipe(
        {"name": "r", "sources": [FOLDER], "language_model": "some/model", "split": {"max_document_tokens": 77}}
    )
    assert recipe.datastore.model == recipe.imitate.model == "some/model"
    assert recipe.datastore.max_document_tokens == 77


def test_files_that_are_no_recipe(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [unclosed\n")
    with pytest.raises(RecipeError, match="not readable as YAML"):
        load_recipe(broken)
    broken.write_text("just words")
    with pytest.raises(RecipeError, match="mnemic init"):
        load_recipe(broken)
    with pytest.raises(RecipeError, match="one of: demo"):
        load_recipe("nothing-of-this-name")


def test_no_code_runs_from_a_recipe(tmp_path):
    hostile = tmp_path / "hostile.yaml"
    hostile.write_text("name: !!python/object/apply:os.system ['touch /tmp/owned']\n")
    with pytest.raises(RecipeError, match="not readable"):
        load_recipe(hostile)


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.yaml")))
def test_shipped_recipes_are_valid(name):
    assert isinstance(load_recipe(name), Recipe)


def test_a_folder_is_relative_to_its_recipe(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("text")
    (tmp_path / "r.yaml").write_text("name: r\nsources: [{kind: folder, path: texts}]\n")
    (source,) = load_recipe(tmp_path / "r.yaml").sources
    assert [item.locator for item in source.manifest()] == ["a.txt"]


def test_without_a_language_model_there_are_no_parametric_steps():
    names = [
        step.name for step in steps_of(load_recipe({"name": "r", "sources": [FOLDER], "embed": {"dtype": "float32"}}))
    ]
    assert names == ["read", "signature", "deduplicate", "units", "embed", "segment", "cluster"]
