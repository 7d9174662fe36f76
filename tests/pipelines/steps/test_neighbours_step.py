"""The steps `neighbours` and `teacher`: one search for all that is asked of it, in any number of parts."""

import shutil

import numpy as np
import pytest
from datastore_rows import oracle, parts
from tiny_bank import tiny_recipe, write_corpus

from mnemic.catalogue import CATALOGUE
from mnemic.dataset import Store
from mnemic.dataset.digest import digest_datasets
from pipelines.plan import plan
from pipelines.run import build
from pipelines.steps.neighbours import NearCopies

ROW = 6 * 32 + 64
"""Bytes of a row of the store in memory."""


@pytest.fixture(scope="module")
def scored(nursery, tmp_path_factory):
    """A recipe whose bank has its datastore, of several lists and fragments, and documents that are nearly alike."""
    root = tmp_path_factory.mktemp("retriever")
    corpus = write_corpus(root / "corpus", documents=90)
    for text in sorted(corpus.glob("*/0[12]?.txt")):
        words = text.read_text().split()
        for place in (1, 2, 3):
            words[place * len(words) // 4] = f"exchanged{place}"
        text.with_suffix(".md").write_text(" ".join(words))
    recipe = tiny_recipe(
        root,
        corpus,
        split={"tokens": 3200, "held_out_tokens": 500, "min_characters": 100, "max_document_tokens": 64},
        neighbours={"k": 16, "search": "lists", "recall": 0.8},
    )
    assert nursery.build(recipe, until="datastore", commit_every=16)[0] == 0
    return recipe


@pytest.fixture(scope="module")
def copied(scored):
    """Makes a copy of that bank by a name, with other settings of its neighbours."""

    def copy(name, **neighbours):
        bank = shutil.copytree(scored["bank"], f"{scored['bank']}-{name}")
        return {**scored, "bank": str(bank), "neighbours": {**scored["neighbours"], **neighbours}}

    return copy


@pytest.fixture(scope="module")
def whole(nursery, copied):
    """The bank whose store one worker holds."""
    recipe = copied("whole")
    assert nursery.build(recipe, until="teacher", commit_every=16)[0] == 0
    return recipe


def retrieved(recipe):
    store = Store(recipe["bank"])
    return digest_datasets({name: store[name].require() for name in ("datastore", "lists")})


def in_parts(count):
    """The memory that a store of 3,200 tokens does with in so many parts."""
    return {"memory_gb": 3200 * ROW / count / 1e9}


def test_the_bank_knows_its_lists_and_how_it_was_searched(whole):
    store = Store(whole["bank"])
    lists, datastore = store["lists"].require(), store["datastore"].require()
    results = datastore.column_record("neighbours")["found"]
    rows = lists.table(["list", "rows", "centroid"])
    assert results["lists"] == len(rows) > 4 and 1 <= results["probes"] <= len(rows) and results["recall"] >= 0.8
    assert sum(rows["rows"].to_pylist()) == results["keys"] == datastore.count("split = 'store'")
    assert rows["centroid"].type.list_size == 32
    summary = datastore.column_record("teacher_ids")["found"]
    assert summary["temperature"] > 0 and summary["geometry"] > 0 and summary["validation_rows"] > 0
    assert summary["perplexity"] <= summary["base_perplexity"]


def test_neighbours_are_near_those_of_brute_force(whole):
    rows = Store(whole["bank"])["datastore"].require()
    names = ["document", "position", "split", "key", "token", "neighbours", "distances"]
    every = rows.table(names).sort_by([("document", "ascending"), ("position", "ascending")]).combine_chunks()
    stored = every.filter(np.array(every["split"]) == "store").combine_chunks().to_batches()[0]
    queries = every.slice(0, 300).combine_chunks().to_batches()[0]
    distances, nearest = oracle(stored, queries, 16)
    columns = parts(queries.select(["neighbours", "distances"]))
    shares = [len(np.intersect1d(*pair)) / 16 for pair in zip(columns["neighbours"], nearest, strict=True)]
    assert np.mean(shares) > 0.7 and (columns["distances"] >= distances * (1 - 1e-5)).all()


@pytest.mark.parametrize("count", [pytest.param(2, marks=pytest.mark.slow), 5])
def test_any_number_of_parts_makes_the_same_bank(nursery, copied, whole, count):
    recipe = copied(f"parts-{count}", **in_parts(count))
    assert nursery.build(recipe, until="teacher", commit_every=3)[0] == 0
    assert retrieved(recipe) == retrieved(whole)
    partials = Store(recipe["bank"])["partials"].require()
    assert 1 < len(partials.record["found"]["parts"]) <= count and partials.count() == 0
    for other in (recipe, whole):  # the memory of a worker is not what is found with it
        assert {step.step: step.kind for step in plan({**other, "neighbours": whole["neighbours"]}).steps}[
            "neighbours"
        ] == "done"


@pytest.mark.slow
def test_workers_of_ray_make_the_same_bank(nursery, copied, whole):
    recipe = copied("ray", **in_parts(4))
    assert nursery.build(recipe, until="teacher", engine="ray", workers=2)[0] == 0
    assert retrieved(recipe) == retrieved(whole)


@pytest.mark.slow
def test_a_search_in_parts_that_is_killed_carries_on(nursery, copied, whole):
    """One bank is killed again and again: in the lists, in the parts, between their commits, and while it merges."""
    recipe = copied("killed", **in_parts(3))
    kills = 0
    for fault in (
        *("before-write:1", "before-commit:1", "after-commit:1", "before-commit:3", "after-write:3"),
        *("after-commit:2", "before-commit:2", "after-commit:3", "before-write:4", "after-commit:5"),
    ):
        kills += nursery.build(recipe, fault=f"neighbours:{fault}", until="teacher")[0] == -9
    assert kills >= 8
    assert nursery.build(recipe, until="teacher")[0] == 0
    assert retrieved(recipe) == retrieved(whole)
    store = Store(recipe["bank"])
    assert sum(store[name].remove_orphans() for name in CATALOGUE if name != "leases") == 0


def test_answers_that_say_nothing_of_a_fragment_are_not_taken(nursery, copied, whole):
    """As after a kill, when documents that no store row changes for have come since."""
    recipe = copied("older", **in_parts(3))
    assert nursery.build(recipe, fault="neighbours:after-commit:5", until="teacher")[0] == -9
    partials = Store(recipe["bank"])["partials"]
    record = partials.require().record
    assert partials.require().count() > 0 and len(record["found"]["fragments"]) > 2
    partials.annotate({**record, "found": {**record["found"], "fragments": record["found"]["fragments"][1:]}})
    assert nursery.build(recipe, until="teacher")[0] == 0
    assert retrieved(recipe) == retrieved(whole)


def test_another_temperature_support_or_mask_needs_no_new_search(copied, nursery):
    recipe = copied("asked-again")
    assert nursery.build(recipe, until="teacher", commit_every=16)[0] == 0
    before = Store(recipe["bank"])["datastore"].require().field_ids("neighbours")
    for setting, reason in (
        ({"temperature": 2.5}, "teacher.temperature: nothing -> 2.5"),
        ({"temperature": 2.5, "support": 4}, "teacher.support: 8 -> 4"),
        ({"temperature": 2.5, "support": 4, "mask_similarity": None}, "teacher.mask_similarity: 0.5 -> nothing"),
    ):
        changed = {**recipe, "teacher": {"support": 8, **setting}}
        steps = {step.step: step for step in plan(changed).steps}
        assert steps["neighbours"].kind == "done" and steps["teacher"].reasons == (reason,)
        assert [step.step for step in build(changed, until="teacher", device="cpu").steps] == ["teacher"]
    datastore = Store(recipe["bank"])["datastore"].require()
    assert datastore.field_ids("neighbours") == before
    summary = datastore.column_record("teacher_ids")["found"]
    assert summary["temperature"] == 2.5 and summary["masked"] == 0
    changed = {**changed, "neighbours": {**recipe["neighbours"], "k": 12}}
    steps = {step.step: step for step in plan(changed).steps}
    assert steps["neighbours"].reasons == ("neighbours.k: 16 -> 12",)
    assert steps["teacher"].reasons == ("neighbours changed",)


def test_documents_that_are_nearly_alike_are_masked_and_other_pairs_are_noticed(copied, nursery):
    recipe = copied("alike")
    assert nursery.build(recipe, until="teacher", commit_every=16)[0] == 0
    store = Store(recipe["bank"])
    pairs = NearCopies(0.5)(store)
    assert len(pairs) > 0 and len(NearCopies(1.0)(store)) == 0
    summary = store["datastore"].require().column_record("teacher_ids")["found"]
    assert len(pairs) < summary["alike"] <= 2 * len(pairs) and summary["masked"] > 0
    states = {step.step: step.kind for step in plan(recipe).steps}
    assert states["teacher"] == "done"
    store["pairs"].delete("verdict = 'distinct'")
    states = {step.step: step for step in plan(recipe).steps}
    assert states["neighbours"].kind == "done"
    assert states["teacher"].kind == "due" and states["teacher"].reasons == ("the rows that it looks at changed",)
