"""A build that is killed at any point, and begun again, ends with the digest of one that was never disturbed."""

import random

import pytest
from nursery import Nursery
from tiny_bank import tiny_recipe, write_corpus

import mnemic
from mnemic.release import PINNED
from pipelines.faults import POINTS

STEPS = (
    "read",
    "signature",
    "deduplicate",
    "units",
    "embed",
    "segment",
    "cluster",
    "split",
    "datastore",
    "teacher",
    "imitate",
)
SEED = 20261121
KILLS = 20


@pytest.fixture(scope="module")
def nursery():
    with Nursery() as made:
        yield made


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("kill")


@pytest.fixture(scope="module")
def recipe(place):
    return tiny_recipe(place, write_corpus(place / "corpus"))


@pytest.fixture(scope="module")
def undisturbed(nursery, recipe):
    """(digests, seconds) of a build that nothing disturbs."""
    code, seconds = nursery.build(recipe)
    assert code == 0
    return mnemic.open_bank(recipe["bank"]).digest(), seconds


def test_killed_at_every_fault_point_of_every_step(nursery, recipe, undisturbed, place):
    """One bank goes through all of them: each build carries on from where the one before was killed."""
    disturbed = {**recipe, "bank": str(place / "points")}
    reached = []
    for step in STEPS:
        for point in POINTS:
            code, _ = nursery.build(disturbed, fault=f"{step}:{point}")
            assert code == -9, f"{step}:{point} was not passed"
            reached.append(point)
    assert len(reached) == len(STEPS) * len(POINTS)
    for point in ("before-commit", "after-commit"):
        assert nursery.build(disturbed, fault=f"release:{point}")[0] == -9
    nursery.build(disturbed)
    assert mnemic.open_bank(disturbed["bank"]).digest() == undisturbed[0]
    assert orphans(disturbed["bank"]) == 0


def test_killed_at_random_moments(nursery, recipe, undisturbed, place):
    """Twenty kills spread over the whole build; the seed is fixed and stands above."""
    digests, seconds = undisturbed
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
        assert mnemic.open_bank(disturbed["bank"]).digest() == digests
    assert kills == KILLS


def orphans(bank: str) -> int:
    """Bytes of files that no version names."""
    store = mnemic.open_bank(bank).store
    return sum(store[name].remove_orphans() for name in (*PINNED, "rejects", "runs"))
