"""The same bank from any engine: inline, Ray with any number of workers, and a cluster of which a node is killed."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from nursery import Nursery
from ray_cluster import RayCluster
from tiny_bank import tiny_recipe, write_corpus

import mnemic
from mnemic.dataset import Store
from pipelines.steps import corpus as corpus_step


@pytest.fixture(scope="module")
def nursery():
    with Nursery() as made:
        yield made


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("ray")


@pytest.fixture(scope="module")
def recipe(place):
    return tiny_recipe(place, write_corpus(place / "corpus"))


@pytest.fixture(scope="module")
def inline(nursery, recipe):
    """Digests of the bank that one process builds."""
    assert nursery.build(recipe)[0] == 0
    return mnemic.open_bank(recipe["bank"]).digest()


@pytest.mark.parametrize("workers", [2, pytest.param(1, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)])
def test_ray_builds_the_bank_that_one_process_builds(nursery, recipe, inline, place, workers):
    bank = str(place / f"workers-{workers}")
    assert nursery.build({**recipe, "bank": bank}, engine="ray", workers=workers)[0] == 0
    assert mnemic.open_bank(bank).digest() == inline


def test_a_decision_that_is_too_large_to_travel_goes_through_a_dataset(recipe, inline, place, monkeypatch):
    """On the inline engine every worker restores the decision here, as one in another process does."""
    monkeypatch.setattr(corpus_step, "LARGEST_STATE", 0)
    monkeypatch.setattr(corpus_step, "_decided_here", Forgetful())
    bank = str(place / "partials")
    mnemic.build({**recipe, "bank": bank}, device="cpu")
    assert mnemic.open_bank(bank).digest() == inline
    partials = Store(bank)["partials"]
    assert partials.require().count() == 0
    assert len(list((place / "partials" / "partials.lance" / "data").glob("*"))) == 0


class Forgetful(dict):
    def pop(self, key, default=None):
        return default


@pytest.mark.slow
def test_a_cluster_of_two_nodes_of_which_one_is_killed_builds_the_same_bank(nursery, recipe, inline, place):
    log = place / "passings"
    with RayCluster(place) as cluster, ThreadPoolExecutor(1) as pool:
        bank = str(place / "whole-cluster")
        code, _ = nursery.build(
            {**recipe, "bank": bank}, engine="ray", address=cluster.address, environment=cluster.environment
        )
        assert code == 0
        assert mnemic.open_bank(bank).digest() == inline
    with RayCluster(place, environment={"MNEMIC_FAULT_LOG": str(log)}) as cluster, ThreadPoolExecutor(1) as pool:
        bank = str(place / "killed-node")
        building = pool.submit(
            nursery.build,
            {**recipe, "bank": bank},
            engine="ray",
            address=cluster.address,
            environment=cluster.environment,
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (log.exists() and "embed:after-write" in log.read_text()):
            time.sleep(0.02)
        cluster.kill_node(2)
        assert not building.done(), "killed too late to show anything"
        assert building.result(timeout=180)[0] == 0
        assert mnemic.open_bank(bank).digest() == inline
