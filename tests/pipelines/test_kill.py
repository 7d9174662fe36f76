"""A build that is killed at any point, and begun again, ends with the digest of one that was never disturbed.

Every kill is on this host, where the next build has proof of it: what was written and not committed goes at once. What
stays where there is no proof, `test_two_builders` shows.
"""

import random
import shutil
from pathlib import Path

import pytest
from scripted_server import ScriptedServer
from whole_recipe import STEPS

import mnemic
from mnemic.catalogue import CATALOGUE
from mnemic.dataset import Store
from mnemic.dataset.digest import digest_datasets
from pipelines.faults import POINTS
from pipelines.recipe import load_recipe
from pipelines.steps import steps_of

TURNS = ("before-write", "after-commit", "after-write", "before-commit")
"""Of each step one point, in turn, where all four would take too long."""

SEED = 20261121
KILLS = 20


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("kill")


@pytest.fixture(scope="module")
def recipe(tiny):
    """Of a bank that stays as it is: every test has another."""
    return tiny.recipe


@pytest.fixture(scope="module")
def undisturbed(tiny):
    return tiny.open().digest()


@pytest.fixture(scope="module")
def everything(whole):
    """A recipe of all sections, and the digest of its bank."""
    with ScriptedServer() as server:
        written = {**whole.recipe["written"], "server": server.address}
        yield {**whole.recipe, "written": written}, whole.open().digest()


def steps_in(recipe):
    return [step.name for step in steps_of(load_recipe(recipe), "cpu")]


def killed_at(nursery, recipe, digest, bank, points):
    """One bank goes through all of them: each build carries on from where the one before was killed."""
    disturbed = {**recipe, "bank": str(bank)}
    for number, step in enumerate(steps_in(recipe)):
        for point in points(number):
            code, _ = nursery.build(disturbed, fault=f"{step}:{point}")
            assert code == -9, f"{step}:{point} was not passed"
    for point in ("before-commit", "after-commit"):
        assert nursery.build(disturbed, fault=f"release:{point}")[0] == -9
    assert nursery.build(disturbed)[0] == 0
    assert mnemic.open_bank(disturbed["bank"]).digest() == digest
    assert orphans(disturbed["bank"]) == 0


def test_killed_in_a_worker_or_at_a_commit_of_every_step(nursery, recipe, undisturbed, place):
    """Of a bank of a language model; `test_written_bank` kills the steps that ask a server."""
    killed_at(nursery, recipe, undisturbed, place / "turns", lambda number: TURNS[number % 4 :][:1])


@pytest.mark.slow
def test_killed_at_every_fault_point_of_every_step_that_there_is(nursery, everything, place):
    recipe, digest = everything
    assert set(steps_in(recipe)) == set(STEPS)
    killed_at(nursery, recipe, digest, place / "points", lambda number: POINTS)


@pytest.mark.slow
def test_killed_at_any_commit_and_write_of_deduplication(nursery, recipe, place):
    """Runs, filters, pairs and the column are commits of their own; shards, packs and fragments are written apart."""
    shape = {"memory_gb": 1e-5, "bands": 20, "rows": 6}
    signed = {**recipe, "bank": str(place / "signed"), "deduplicate": shape}
    assert nursery.build(signed, until="signature")[0] == 0

    def copied(name: str) -> dict:
        return {**signed, "bank": str(shutil.copytree(signed["bank"], place / name))}

    def decided(recipe) -> dict[str, str]:
        store = Store(recipe["bank"])
        return digest_datasets({name: store[name].require() for name in ("documents", "pairs")})

    whole = copied("deduplicated")
    assert nursery.build(whole, until="deduplicate")[0] == 0
    for point in ("before-write", "after-write", "before-commit", "after-commit"):
        for passing in (2, 5, 9):
            killed = copied(f"{point}-{passing}")
            assert nursery.build(killed, fault=f"deduplicate:{point}:{passing}", until="deduplicate")[0] == -9
            assert nursery.build(killed, until="deduplicate")[0] == 0
            assert decided(killed) == decided(whole), (point, passing)
            assert orphans(killed["bank"]) == 0


@pytest.mark.slow
def test_killed_while_it_carries_a_changed_corpus_into_a_bank(nursery, recipe, place):
    """Edited, added and deleted documents and other settings: every step has rows to drop, to keep and to make."""
    corpus = Path(shutil.copytree(recipe["sources"][0]["path"], place / "changing", copy_function=shutil.copy2))
    before = {**recipe, "bank": str(place / "before"), "sources": [{**recipe["sources"][0], "path": str(corpus)}]}
    assert nursery.build(before)[0] == 0
    (corpus / "alpha" / "000.txt").unlink()
    (corpus / "gamma" / "near.rst").unlink()
    (corpus / "beta" / "new.txt").write_text(
        "Glaciers scrape valleys into shapes of letters. They melt in summer. " * 4
    )
    (corpus / "notes.jsonl").write_text(
        '{"text": "The lease of a bank is held by one writer."}\n{"text": 5}\n{"text": 6}'
    )
    after = {
        **before,
        "segment": {**before["segment"], "mean_units": 3},
        "deduplicate": {"threshold": 0.9},
        "neighbours": {"k": 12},
    }
    fresh = {**after, "bank": str(place / "fresh")}
    assert nursery.build(fresh)[0] == 0
    digest = mnemic.open_bank(fresh["bank"]).digest()
    kills = 0
    for number, step in enumerate(steps_in(before)):
        shutil.rmtree(place / "changed", ignore_errors=True)
        changed = {**after, "bank": str(shutil.copytree(before["bank"], place / "changed"))}
        for point, passing in (
            ("before-commit", 1 + number % 2),
            ("after-commit", 2 - number % 2),
            ("after-commit", 3),
        ):
            kills += nursery.build(changed, fault=f"{step}:{point}:{passing}")[0] == -9
        assert nursery.build(changed)[0] == 0
        assert mnemic.open_bank(changed["bank"]).digest() == digest, step
        assert orphans(changed["bank"]) == 0
    assert kills > 15


@pytest.mark.slow
def test_killed_between_the_memory_and_its_cleaning_leaves_no_checkpoints(nursery, recipe, undisturbed, place):
    disturbed = {**recipe, "bank": str(place / "checkpoints")}
    store = Store(disturbed["bank"])
    for passing in range(9, 16):  # past the three epochs, their curves and the deletions between them
        nursery.build(disturbed, fault=f"imitate:after-commit:{passing}")
        snapshot = store["memories"].snapshot()
        if snapshot and snapshot.count("final"):
            break
        shutil.rmtree(disturbed["bank"])
    assert snapshot.count("final = false") > 0, "killed too late to show anything"
    assert nursery.build(disturbed)[0] == 0
    assert store["memories"].require().count() == 1
    assert mnemic.open_bank(disturbed["bank"]).digest() == undisturbed


def test_killed_between_a_curve_and_its_checkpoint_has_each_point_once(nursery, recipe, undisturbed, place):
    disturbed = {**recipe, "bank": str(place / "curves")}
    assert nursery.build(disturbed, fault="imitate:after-commit:3")[0] == -9
    store = Store(disturbed["bank"])
    assert store["metrics"].require().count() > 0 == store["memories"].require().count()
    assert nursery.build(disturbed)[0] == 0
    assert mnemic.open_bank(disturbed["bank"]).digest() == undisturbed


@pytest.mark.slow
def test_killed_while_a_second_memory_is_trained(nursery, recipe, place):
    decoder = {"epochs": 3, "blocks": 1, "batch": 128, "dtype": "float32"}
    whole = {**recipe, "bank": str(place / "decoded"), "decoder": decoder}
    assert nursery.build(whole)[0] == 0
    disturbed = {**whole, "bank": str(place / "killed-decoding")}
    for fault in ("decode:after-write", "decode:after-commit", "decode:before-commit:2", "decode:after-commit:4"):
        assert nursery.build(disturbed, fault=fault)[0] == -9
    assert nursery.build(disturbed)[0] == 0
    assert mnemic.open_bank(disturbed["bank"]).digest() == mnemic.open_bank(whole["bank"]).digest()
    assert orphans(disturbed["bank"]) == 0


@pytest.mark.slow
def test_killed_at_random_moments(nursery, recipe, undisturbed, place):
    """Twenty kills spread over the whole build; the seed is fixed and stands above."""
    code, seconds = nursery.build({**recipe, "bank": str(place / "again")})
    assert code == 0
    draw = random.Random(SEED)
    kills = banks = 0
    while kills < KILLS:
        disturbed = {**recipe, "bank": str(place / f"random-{banks}")}
        banks += 1
        while True:
            if kills < KILLS:
                code, _ = nursery.build(disturbed, kill_after=draw.uniform(0.1, 0.8) * seconds)
                kills += code == -9
            else:
                code, _ = nursery.build(disturbed)
            assert code in (0, -9)
            if code == 0:
                break
        assert mnemic.open_bank(disturbed["bank"]).digest() == undisturbed
    assert kills == KILLS


def orphans(bank: str) -> int:
    """Bytes of files that no version names."""
    store = Store(bank)
    return sum(store[name].remove_orphans() for name in CATALOGUE if name != "leases")
