"""Step control: from one on, one alone, up to one; and never on ground that has work left."""

from pathlib import Path

import pytest
from tiny_bank import TinyBank

import mnemic
from mnemic.errors import RecipeError


def ran(result) -> list[str]:
    return [step.step for step in result.steps]


def test_one_step_alone_is_done_and_the_next_build_carries_on(tiny: TinyBank, tmp_path: Path) -> None:
    recipe = tiny.copy(tmp_path)
    before = mnemic.open_bank(recipe["bank"]).digest()
    changed = {**recipe, "segment": {"mean_units": 3, "max_words": 15}, "cluster": {"min_leaf": 6, "branching": 4}}
    with pytest.raises(RecipeError, match=r"cluster cannot be first: segment before it has work left \(segment\.mean"):
        mnemic.build(changed, only="cluster")
    result = mnemic.build(changed, only="segment")
    assert ran(result) == ["segment"] and len(mnemic.open_bank(recipe["bank"]).releases()) == 1
    assert ran(mnemic.build(changed, only="segment")) == []
    rest = ran(mnemic.build(changed, begin="segment"))
    assert rest[0] == "cluster" and rest[-1] == "release" and "segment" not in rest
    assert mnemic.open_bank(recipe["bank"]).digest() != before
    mnemic.build(recipe)
    assert mnemic.open_bank(recipe["bank"]).digest() == before


@pytest.mark.slow
def test_a_step_alone_stands_on_those_that_reach_it_and_on_no_other(tiny: TinyBank, tmp_path: Path) -> None:
    """The memory does not read the vectors of events, so stale ones do not stop it; a release needs them all."""
    recipe = {**tiny.copy(tmp_path), "cluster": {"min_leaf": 6, "branching": 4}}
    assert ran(mnemic.build(recipe, only="imitate", anew=["imitate"])) == ["imitate"]
    with pytest.raises(RecipeError, match=r"datastore cannot be first: cluster before it has work left"):
        mnemic.build(recipe, begin="datastore")


@pytest.mark.slow
def test_from_and_until_are_a_stretch(tiny: TinyBank, tmp_path: Path) -> None:
    recipe = tiny.copy(tmp_path)
    result = mnemic.build(recipe, begin="cluster", until="split", anew=["cluster", "split", "units"])
    assert ran(result) == ["cluster", "split"]
    with pytest.raises(RecipeError, match="split comes after cluster; begin with cluster or"):
        mnemic.build(recipe, begin="split", until="cluster")
    with pytest.raises(RecipeError, match="`only` is one step"):
        mnemic.build(recipe, only="split", until="cluster")


@pytest.mark.parametrize(("option", "wish"), [("begin", "to begin with"), ("only", "to run alone")])
def test_an_unknown_step_gets_the_nearest_word(tiny: TinyBank, tmp_path: Path, option: str, wish: str) -> None:
    with pytest.raises(RecipeError, match=rf"no step 'clutser' {wish}. Did you mean 'cluster'"):
        mnemic.build(tiny.copy(tmp_path), **{option: "clutser"})


def test_a_new_bank_begins_at_the_beginning(tiny: TinyBank, tmp_path: Path) -> None:
    recipe = {**tiny.recipe, "bank": str(tmp_path / "new")}
    with pytest.raises(RecipeError, match="units cannot be first: read before it has work left"):
        mnemic.build(recipe, only="units")
    assert ran(mnemic.build(recipe, only="read")) == ["read"]
