"""A step is computed anew because somebody asked, and leaves the bank as it was."""

import pytest
from scripted_server import ScriptedServer
from whole_recipe import STEPS

import mnemic
from mnemic.errors import RecipeError
from mnemic.release import releases
from pipelines.options import BuildOptions
from pipelines.run import Building


@pytest.fixture(scope="module")
def recipe(whole, tmp_path_factory):
    with ScriptedServer() as server:
        written = {**whole.recipe["written"], "server": server.address}
        yield {**whole.copy(tmp_path_factory.mktemp("anew")), "written": written}


@pytest.fixture(scope="module")
def digest(recipe):
    return mnemic.open_bank(recipe["bank"]).digest()


SOME = [tuple(STEPS[::12]), *(pytest.param((step,), marks=pytest.mark.slow) for step in STEPS)]
"""Every twelfth step in one build by default, and each alone as slow tests, since each builds the bank twice."""


@pytest.mark.parametrize("steps", SOME, ids=" ".join)
def test_a_step_that_is_asked_for_writes_its_output_again(steps, recipe, digest, monkeypatch, tmp_path):
    log = tmp_path / "passings.log"
    log.write_text("")
    monkeypatch.setenv("MNEMIC_FAULT_LOG", str(log))
    result = mnemic.build(recipe, device="cpu", engine="inline", anew=steps)
    passings = log.read_text().splitlines()
    for step in steps:
        assert f"{step}:before-write" in passings and f"{step}:before-commit" in passings
    assert {*steps} <= {one.step for one in result.steps}
    assert mnemic.open_bank(recipe["bank"]).digest() == digest
    assert not mnemic.build(recipe, device="cpu", engine="inline").steps


def test_vectors_that_are_asked_for_are_encoded_and_not_taken_from_the_release(recipe):
    messages = []
    mnemic.build(recipe, device="cpu", engine="inline", anew=["embed"], sinks=[messages.append])
    assert not any("reused" in event.message for event in messages if event.step == "embed")


def test_a_step_that_is_unknown_names_the_nearest(recipe):
    with pytest.raises(RecipeError, match=r"There is no step 'techer' to compute anew. Did you mean 'teacher'\?"):
        mnemic.build(recipe, device="cpu", engine="inline", anew=["techer"])
    with pytest.raises(RecipeError, match=r"There is no step 'embd' to stop after. Did you mean 'embed'\?"):
        mnemic.build(recipe, device="cpu", engine="inline", until="embd")
    with pytest.raises(RecipeError, match="give a list of steps"):
        mnemic.build(recipe, anew="teacher")


def test_rebalance_and_recluster_are_names_for_two_of_them():
    assert BuildOptions(rebalance=True, recluster=True, anew=("cluster", "embed")).computed_anew == (
        "cluster",
        "embed",
        "deduplicate",
    )


def test_options_may_be_given_whole_or_by_name(recipe):
    options = BuildOptions(device="cpu", engine="inline")
    assert not mnemic.build(recipe, options).steps
    assert not mnemic.build(recipe, options, until="embed").steps
    with pytest.raises(TypeError, match="rebalanced"):
        mnemic.build(recipe, rebalanced=True)


def test_a_try_that_was_broken_off_is_carried_on_and_not_begun_again(recipe, digest):
    options = BuildOptions(device="cpu", engine="inline", anew=("units",))
    before = len(releases(mnemic.open_bank(recipe["bank"]).store))
    with Building(recipe, options) as building:
        step = next(step for step in building.steps if step.name == "units")
        assert not step.state(building.store).done
        assert building.run(step) is not None
        assert building.run(step) is None
        for later in building.steps:
            building.run(later)
        building.release()
    bank = mnemic.open_bank(recipe["bank"])
    assert bank.digest() == digest and len(bank.releases()) == before + 1
