"""The tree of clusters over several builds: paths that stay, drift that is told, a new tree where one is asked for."""

import random
import shutil

import pytest
from nursery import Nursery
from tiny_bank import WORDS, TinyBank

import mnemic
from mnemic.dataset import Store
from mnemic.funnel import dues
from pipelines.plan import plan
from pipelines.run import build


@pytest.fixture(scope="module")
def clustered(tmp_path_factory):
    """A bank without a language model, whose tree is fitted."""
    sections = ("name", "bank", "sources", "fragment_characters", "embed", "segment", "cluster")
    return TinyBank.build(tmp_path_factory.mktemp("clustered"), sections)


@pytest.fixture
def copy(clustered, tmp_path):
    return clustered.copy_with_corpus(tmp_path)


@pytest.fixture
def recipe(copy):
    return copy[0]


@pytest.fixture
def corpus(copy):
    return copy[1]


def add_documents(corpus, numbers=range(4)) -> None:
    (corpus / "later").mkdir(exist_ok=True)
    for number in numbers:
        draw = random.Random(number + 1000)
        sentences = [" ".join(draw.choices(WORDS, k=draw.randint(5, 12))).capitalize() + "." for _ in range(10)]
        (corpus / "later" / f"{number:03}.txt").write_text(" ".join(sentences))


def paths(bank) -> dict[str, str]:
    table = bank.table("events", ["id", "cluster"])
    return dict(zip(table["id"].to_pylist(), table["cluster"].to_pylist(), strict=True))


def nodes(bank):
    return bank.table("clusters").sort_by("path")


def cluster_line(recipe):
    return next(step for step in plan(recipe).steps if step.step == "cluster")


def test_a_tree_stays_when_documents_come(recipe, corpus):
    before = mnemic.open_bank(recipe["bank"])
    first, tree = paths(before), nodes(before)
    assert set(tree["added"].to_pylist()) == {0}
    add_documents(corpus)
    planned = cluster_line(recipe)
    assert planned.kind == "after"
    build(recipe, device="cpu")
    bank = mnemic.open_bank(recipe["bank"])
    after, grown = paths(bank), nodes(bank)
    both = first.keys() & after.keys()
    assert both and all(after[name] == first[name] for name in both)
    assert len(after) > len(first)
    for column in ("path", "level", "parent", "label", "radius", "fitted", "centroid"):
        assert grown[column].equals(tree[column]), column
    root = grown.slice(0, 1).to_pylist()[0]
    assert root["size"] == bank.dataset("events").count("leaf") == root["fitted"] + root["added"] and root["added"] > 0
    results = bank.release.lineage["cluster"]["found"]
    assert (results["fitted"], results["added"], results["events"]) == (root["fitted"], root["added"], root["size"])
    assert results["drift"] > 0 and results["leaves"] == before.release.lineage["cluster"]["found"]["leaves"]
    assert plan(recipe).nothing_to_do


def test_any_way_to_add_the_same_documents_gives_one_bank(recipe, corpus, tmp_path):
    at_once = {**recipe, "bank": str(shutil.copytree(recipe["bank"], tmp_path / "at-once"))}
    add_documents(corpus, range(2))
    build(recipe, device="cpu", commit_every=1)
    add_documents(corpus, range(2, 5))
    build(recipe, device="cpu")
    build(at_once, device="cpu")
    assert mnemic.open_bank(recipe["bank"]).digest() == mnemic.open_bank(at_once["bank"]).digest()


def test_reclustering_gives_the_bank_that_a_fresh_build_gives(recipe, corpus, tmp_path):
    add_documents(corpus)
    build(recipe, device="cpu")
    fresh = {**recipe, "bank": str(tmp_path / "fresh")}
    build(fresh, device="cpu")
    digest = mnemic.open_bank(fresh["bank"]).digest()
    assert mnemic.open_bank(recipe["bank"]).digest()["clusters"] != digest["clusters"]
    result = build(recipe, device="cpu", recluster=True)
    assert [step.step for step in result.steps] == ["cluster", "release"]
    bank = mnemic.open_bank(recipe["bank"])
    assert bank.digest() == digest
    assert bank.release.lineage["cluster"]["found"]["added"] == 0
    assert plan(recipe).nothing_to_do


def test_what_goes_only_changes_sizes(recipe, corpus):
    before = nodes(mnemic.open_bank(recipe["bank"]))
    for file in sorted(corpus.glob("alpha/0*.txt"))[1:4]:
        file.unlink()
    build(recipe, device="cpu")
    bank = mnemic.open_bank(recipe["bank"])
    after = nodes(bank)
    assert after["path"].equals(before["path"]) and after["fitted"].equals(before["fitted"])
    assert after["size"][0].as_py() == bank.dataset("events").count("leaf") < before["size"][0].as_py()
    there = set(bank.table("events", ["id"])["id"].to_pylist())
    examples = {name for names in after["examples"].to_pylist() for name in names}
    assert examples <= there
    examples_after = dict(zip(after["path"].to_pylist(), after["examples"].to_pylist(), strict=True))
    for path, names in zip(before["path"].to_pylist(), before["examples"].to_pylist(), strict=True):
        assert examples_after[path] == [name for name in names if name in there]


def test_that_a_new_tree_is_due_is_told_until_there_is_one(recipe, corpus):
    assert dues(mnemic.open_bank(recipe["bank"]).release.lineage) == []
    add_documents(corpus, range(60))
    build(recipe, device="cpu")
    (sentence,) = dues(mnemic.open_bank(recipe["bank"]).release.lineage)
    assert sentence.startswith("Re-clustering is due: ") and "--recluster" in sentence
    assert cluster_line(recipe).kind == "done" and cluster_line(recipe).reasons == (sentence,)
    assert plan(recipe).nothing_to_do
    build(recipe, device="cpu", recluster=True)
    assert dues(mnemic.open_bank(recipe["bank"]).release.lineage) == []
    assert cluster_line(recipe).reasons == ()


def test_a_changed_setting_fits_anew(recipe):
    changed = {**recipe, "cluster": {**recipe["cluster"], "seed": 1}}
    planned = cluster_line(changed)
    assert planned.kind == "stale" and planned.reasons == ("cluster.seed: 0 -> 1",)
    build(changed, device="cpu")
    assert set(nodes(mnemic.open_bank(recipe["bank"]))["added"].to_pylist()) == {0}


@pytest.mark.parametrize("cluster", [{"method": "flat", "clusters": 7}, {"depth": 0}])
def test_other_shapes_of_trees(recipe, corpus, cluster):
    chosen = {**recipe, "cluster": cluster, "semantic": {}}
    build(chosen, device="cpu")
    bank = mnemic.open_bank(recipe["bank"])
    assert set(paths(bank).values()) == ({str(one) for one in range(7)} if "clusters" in cluster else {""})
    add_documents(corpus)
    build(chosen, device="cpu")
    assert set(nodes(mnemic.open_bank(recipe["bank"]))["path"].to_pylist()) == set(nodes(bank)["path"].to_pylist())
    assert plan(chosen).nothing_to_do


def test_events_that_say_the_same_are_looked_for_again_in_a_new_tree(recipe, corpus):
    chosen = {**recipe, "semantic": {"threshold": 0.9}}
    build(chosen, device="cpu")
    add_documents(corpus, range(20))
    build(chosen, device="cpu")
    result = build(chosen, device="cpu", recluster=True)
    assert [step.step for step in result.steps] == ["cluster", "semantic", "release"]


def test_a_corpus_that_shrinks_keeps_its_tree_until_another_is_asked_for(recipe, corpus):
    shutil.rmtree(corpus)
    corpus.mkdir()
    (corpus / "only.txt").write_text("Word.")
    build(recipe, device="cpu")
    bank = mnemic.open_bank(recipe["bank"])
    assert nodes(bank)["size"][0].as_py() == bank.dataset("events").count("leaf")
    assert dues(bank.release.lineage), "so few events make another tree"
    build(recipe, device="cpu", recluster=True)
    assert mnemic.open_bank(recipe["bank"]).dataset("clusters").count() == 1


@pytest.mark.slow
def test_killed_at_any_commit_and_write_it_carries_on(recipe, tmp_path):
    recipe = {**recipe, "bank": str(tmp_path / "whole")}
    with Nursery() as nursery:
        assert nursery.build(recipe, until="segment")[0] == 0
        start = shutil.copytree(recipe["bank"], tmp_path / "start")
        assert nursery.build(recipe, until="cluster")[0] == 0
        digest = of_cluster(recipe["bank"])
        kills = 0
        for point in ("before-write", "after-write", "before-commit", "after-commit"):
            for passing in (1, 2, 3, 4):
                killed = {**recipe, "bank": str(tmp_path / f"{point}-{passing}")}
                shutil.copytree(start, killed["bank"])
                kills += nursery.build(killed, fault=f"cluster:{point}:{passing}", until="cluster")[0] == -9
                assert nursery.build(killed, until="cluster")[0] == 0
                assert of_cluster(killed["bank"]) == digest, (point, passing)
        assert kills >= 12


def of_cluster(bank: str) -> tuple:
    store = Store(bank)
    events = store["events"].require().table(["id", "cluster"]).sort_by("id")
    clusters = store["clusters"].require()
    results = {name: value for name, value in clusters.record["found"].items() if name != "last"}
    return events.to_pylist(), clusters.table(clusters.schema.names).sort_by("path").to_pylist(), results
