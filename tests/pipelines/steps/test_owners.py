"""Rows of `memories` belong to the step whose record they carry, and to nobody else."""

import json

import pyarrow as pa
import pytest

import mnemic
from mnemic.dataset import Store
from mnemic.dataset.write import append_rows
from mnemic.schema import MEMORIES
from pipelines.recipe import load_recipe
from pipelines.steps import steps_of
from pipelines.steps.owners import owned_rows, ownerless


@pytest.fixture
def recipe(tiny, tmp_path):
    return tiny.copy(tmp_path)


def row(name, step, identity):
    return {
        "id": identity,
        "name": name,
        "kind": "blocks",
        "record": json.dumps({"step": step}, sort_keys=True),
        "state": "x",
        "epoch": 1,
        "final": True,
        "config": "{}",
        "lock": "{}",
        "metrics": "{}",
        "weights": b"",
    }


def add(store, *rows):
    append_rows(store["memories"], pa.Table.from_pylist(list(rows), schema=MEMORIES), MEMORIES, {})


def owners(store):
    rows = store["memories"].require().table(["name", "record"]).to_pylist()
    return {(row["name"], json.loads(row["record"])["step"]) for row in rows}


def test_a_step_deletes_its_own_rows_only(recipe):
    store = Store(recipe["bank"])
    steps = steps_of(load_recipe(recipe), "cpu")
    add(store, row("facts", "blocks", "1"), row("mlp", "imitate-more", "2"))
    memories = store["memories"].require()
    assert memories.count(owned_rows(memories, "imitate", "mlp")) == 1
    assert memories.count(owned_rows(memories, "imitate-more", "mlp")) == 1
    assert set(ownerless(store, steps)) == {"facts", "mlp"}
    changed = {**recipe, "imitate": {**recipe["imitate"], "alpha": 0.7}}
    mnemic.build(changed, device="cpu", engine="inline", until="imitate")
    assert owners(store) == {("mlp", "imitate"), ("facts", "blocks"), ("mlp", "imitate-more")}
    mnemic.build(changed, device="cpu", engine="inline")
    assert owners(store) == {("mlp", "imitate")}


def test_rows_without_a_record_belong_to_the_step_that_trains_a_memory_of_their_name(recipe):
    store = Store(recipe["bank"])
    store["memories"].require().native.drop_columns(["record"])
    steps = steps_of(load_recipe(recipe), "cpu")
    assert ownerless(store, steps) == ()
    others = steps_of(load_recipe({**recipe, "imitate": False, "decoder": {}}), "cpu")
    assert ownerless(store, others) == ("mlp",)


def test_memories_stay_where_no_step_makes_any(recipe):
    """They are no part of a release then, and are there again when the memory comes back."""
    without = {**recipe, "imitate": False}
    mnemic.build(without, device="cpu", engine="inline")
    assert "memories" not in mnemic.open_bank(recipe["bank"]).release.versions
    steps = [step.step for step in mnemic.build(recipe, device="cpu", engine="inline").steps]
    assert steps == ["release"]
    assert mnemic.open_bank(recipe["bank"]).table("memories", ["name"])["name"].to_pylist() == ["mlp"]
