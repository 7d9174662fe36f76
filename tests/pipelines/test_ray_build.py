"""The same bank from any engine: inline, Ray with any number of workers, and a cluster of which a node is killed."""

import ctypes
import dataclasses
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
from ray_cluster import RayCluster
from tiny_bank import tiny_recipe, write_corpus

import mnemic
from mnemic.command import main
from mnemic.dataset import Store
from mnemic.dataset.growth import pending
from mnemic.errors import StepError
from operators.embed import Embed
from pipelines.engine import choose_engine
from pipelines.recipe import load_recipe
from pipelines.run import build
from pipelines.steps import fit as corpus_step

cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("ray")


@pytest.fixture(scope="module")
def recipe(place):
    return tiny_recipe(place, write_corpus(place / "corpus"), suffixes={"shard_tokens": 3000})


@pytest.fixture(scope="module")
def inline(nursery, recipe):
    """Digests of the bank that one process builds."""
    assert nursery.build(recipe)[0] == 0
    return mnemic.open_bank(recipe["bank"]).digest()


def test_two_workers_of_ray_build_the_bank_that_one_process_builds(nursery, recipe, place):
    """Without a language model, whose bank the slow tests build: texts, vectors, events and their tree."""
    shorter = {name: value for name, value in recipe.items() if name not in ("language_model", "suffixes")}
    one, two = ({**shorter, "bank": str(place / name)} for name in ("one-process", "two-workers"))
    assert nursery.build(one)[0] == nursery.build(two, engine="ray", workers=2)[0] == 0
    assert mnemic.open_bank(one["bank"]).digest() == mnemic.open_bank(two["bank"]).digest()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4, 8])
def test_ray_builds_a_language_models_bank_too(nursery, recipe, inline, place, workers):
    bank = str(place / f"workers-{workers}")
    assert nursery.build({**recipe, "bank": bank}, engine="ray", workers=workers)[0] == 0
    assert mnemic.open_bank(bank).digest() == inline


@pytest.mark.slow
def test_a_training_of_two_processes_survives_the_death_of_one(nursery, recipe, place):
    """The engine inline does the shards of both in one process: the same memory but for rounding."""
    two = {**recipe, "imitate": {**recipe["imitate"], "processes": 2}}
    assert nursery.build({**two, "bank": str(place / "shards")})[0] == 0
    once = place / "died-in-training"
    environment = {"MNEMIC_FAULT": "imitate:after-write:2", "MNEMIC_FAULT_ONCE": str(once)}
    group = {**two, "bank": str(place / "group")}
    assert nursery.build(group, engine="ray", workers=2, environment=environment)[0] == 0
    assert once.exists()
    banks = [mnemic.open_bank(place / name) for name in ("shards", "group")]
    one, other = (bank.memories()[0].metrics for bank in banks)
    assert one == pytest.approx(other, rel=1e-3)
    key = [(name, "ascending") for name in ("step", "metric")]
    curves = [bank.table("metrics", ["epoch", "step", "rows", "metric"]).sort_by(key) for bank in banks]
    assert curves[0] == curves[1]


@pytest.mark.slow
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


WHERE = """
import mnemic, operators, sys
from pipelines.engine import Job, choose_engine
with choose_engine("ray", sys.argv[1]) as engine:
    where = lambda item: [__import__(name).__file__ for name in ("mnemic", "operators", "pipelines")]
    print(list(engine.map(Job("where", lambda: where), [0]))[0])
"""


@pytest.mark.slow
def test_the_code_of_a_checkout_is_shipped_to_a_cluster(place):
    with RayCluster(place, workers=1) as cluster:
        done = subprocess.run(
            [sys.executable, "-c", WHERE, cluster.address],
            env={**os.environ, **cluster.environment},
            cwd=place,  # not the checkout: workers on this machine would find it there
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout.count("/py_modules_files/") == 3, done.stdout + done.stderr


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


@dataclass(frozen=True)
class Poisoned(Embed):
    """The embedding step, whose native code crashes on the text of one unit; its identity is that of `Embed`."""

    def open(self, device):
        embed = super().open(device)

        def crashing(batch):
            if any("one writer" in text for text in batch.column("text").to_pylist()):
                ctypes.string_at(0)
            return embed(batch)

        return crashing


@dataclass(frozen=True)
class Starved(Embed):
    """The embedding step in a worker whose memory the system takes away."""

    def open(self, device):
        embed = super().open(device)

        def starving(batch):
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            limits = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (used + (32 << 20), limits[1]))
            try:
                np.ones(1 << 28)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, limits)
            return embed(batch)

        return starving


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operator", "sentence", "last_words", "left"),
    [
        (Poisoned, "lost 3 workers on fragment .* of units: Fatal Python error: Segmentation fault", "string_at", 1),
        (Starved, "its worker ran out of memory .* fewer workers", "np.ones", None),
    ],
)
def test_a_step_that_workers_do_not_survive_is_told_and_the_next_build_carries_on(
    recipe, inline, tmp_path, capsys, operator, sentence, last_words, left
):
    healthy = load_recipe({**recipe, "bank": str(tmp_path / "bank")})
    sick = healthy.model_copy(update={"embed": operator(**dataclasses.asdict(healthy.embed))})
    with pytest.raises(StepError, match=sentence):
        build(sick, engine=choose_engine("ray", workers=2), device="cpu", commit_every=1)
    units = Store(tmp_path / "bank")["units"].require()
    undone = pending(units, ["embedding"])
    assert len(undone) == (left or len(units.fragments))
    assert main(["show", str(tmp_path / "bank"), "--failures"]) == 0
    output = capsys.readouterr().out
    assert "embed failed at" in output
    assert last_words in output
    build(healthy, engine=choose_engine("inline"), device="cpu")
    assert mnemic.open_bank(tmp_path / "bank").digest() == inline


@pytest.mark.slow
def test_an_interruption_finishes_and_commits_what_is_under_way(recipe, inline, tmp_path):
    """As Ctrl-C does it, or a scheduler that cancels a run."""
    events = []

    def sink(event):
        events.append(event)
        if event.kind == "fragment" and event.step == "embed":
            raise KeyboardInterrupt

    other = {**recipe, "bank": str(tmp_path / "bank")}
    with pytest.raises(KeyboardInterrupt):
        build(other, engine=choose_engine("ray", workers=2), device="cpu", sinks=[sink])
    units = Store(tmp_path / "bank")["units"].require()
    done = len(units.fragments) - len(pending(units, ["embedding"]))
    assert 1 <= done <= 1 + 2 * 2
    build(other, engine=choose_engine("inline"), device="cpu")
    assert mnemic.open_bank(tmp_path / "bank").digest() == inline


@pytest.mark.slow
def test_a_reader_never_sees_half_a_bank(nursery, recipe, place, tmp_path):
    """A build with Ray is killed in the middle of taking in another corpus: the release is what it was."""
    corpus = write_corpus(tmp_path / "corpus")
    first = {**recipe, "bank": str(tmp_path / "bank"), "sources": [{**recipe["sources"][0], "path": str(corpus)}]}
    assert nursery.build(first)[0] == 0
    before = mnemic.open_bank(first["bank"]).digest()
    (corpus / "alpha" / "000.txt").unlink()
    (corpus / "beta" / "new.txt").write_text("Glaciers scrape valleys into shapes of letters. They melt. " * 5)
    for fault in ("units:after-commit", "teacher:after-commit"):
        assert nursery.build(first, fault, engine="ray", workers=2)[0] == -9
        assert mnemic.open_bank(first["bank"]).digest() == before
    assert nursery.build(first, engine="ray", workers=2)[0] == 0
    assert mnemic.open_bank(first["bank"]).digest() != before
