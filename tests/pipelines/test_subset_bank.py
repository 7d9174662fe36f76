"""A subset in a whole bank: a column, and what memories are trained on; nothing is deleted."""

from collections import Counter

import pytest
from tiny_bank import tiny_recipe, write_corpus

import mnemic
from mnemic.command import main
from mnemic.dataset import Store
from mnemic.funnel import funnel


def recipe_of(root, **changes):
    recipe = tiny_recipe(root, write_corpus(root / "corpus", documents=60), cluster={"depth": 1, "branching": 2})
    subset = {"share": 0.4, "alpha": 1.0, **changes}
    return {**recipe, "imitate": False, "split": {**recipe["split"], "tokens": 4000}, "curate": {"subset": subset}}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    recipe = recipe_of(tmp_path_factory.mktemp("subset"))
    mnemic.build(recipe, device="cpu", engine="inline")
    return recipe


def documents(recipe):
    rows = Store(recipe["bank"])["documents"].require().table(["id", "source", "split", "subset", "duplicate_of"])
    return {row["id"]: row for row in rows.to_pylist()}


def trained(recipe):
    rows = Store(recipe["bank"])["datastore"].require().table(["document", "split"]).to_pylist()
    return {row["document"] for row in rows if row["split"] == "store"}, {
        row["document"] for row in rows if row["split"] != "store"
    }


def test_only_chosen_documents_are_stored_and_all_that_are_held_out_stay(built):
    rows = documents(built)
    stored, held_out = trained(built)
    parts = {part: {one for one, row in rows.items() if row["split"] == part} for part in ("store",)}
    assert stored == {one for one in parts["store"] if rows[one]["subset"]["leaves"]} < parts["store"]
    assert held_out == {one for one, row in rows.items() if row["split"] not in ("", "store")}
    assert any(not rows[one]["subset"]["trained"] for one in held_out)
    distinct = [row for row in rows.values() if not row["duplicate_of"]]
    sizes = [sum(row["subset"][method] for row in distinct) for method in ("leaves", "random")]
    assert sizes[0] == sizes[1] < len(distinct)
    assert not any(row["subset"]["leaves"] for row in rows.values() if row["duplicate_of"])
    counts = funnel(mnemic.open_bank(built["bank"]))
    assert [counts["taken of leaves"], counts["taken at random"]] == sizes


def test_a_person_is_told_whether_a_document_was_taken(built, capsys):
    rows = documents(built).values()
    left_out = next(row for row in rows if not row["duplicate_of"] and not any(row["subset"].values()))
    assert main(["why", built["bank"], left_out["id"]]) == 0
    assert "taken neither of its leaf nor at random; nothing is trained on it" in capsys.readouterr().out


@pytest.mark.slow
def test_any_fragments_give_the_same_subset_and_a_later_build_has_nothing_to_do(built, tmp_path):
    assert mnemic.plan(built, device="cpu").nothing_to_do
    other = {**built, "bank": str(tmp_path / "bank"), "fragment_characters": 1500}
    mnemic.build(other, device="cpu", engine="inline", until="subset")
    mine, theirs = (
        documents(built),
        {
            row["id"]: row["subset"]
            for row in Store(other["bank"])["documents"].require().table(["id", "subset"]).to_pylist()
        },
    )
    assert theirs == {one: row["subset"] for one, row in mine.items()}


def test_the_other_subset_is_one_setting_away_and_without_one_everything_is_stored(built):
    split = {one: row["split"] for one, row in documents(built).items()}
    other = {**built, "curate": {"subset": {**built["curate"]["subset"], "train": "random"}}}
    steps = [step.step for step in mnemic.build(other, device="cpu", engine="inline", until="datastore").steps]
    assert steps == ["subset", "datastore"]
    rows = documents(other)
    assert {one: row["split"] for one, row in rows.items()} == split, "the same documents are held out"
    stored, _ = trained(other)
    assert stored == {one for one, row in rows.items() if row["split"] == "store" and row["subset"]["random"]}
    without = {**built, "curate": {}}
    mnemic.build(without, device="cpu", engine="inline", until="datastore")
    assert "subset" not in Store(built["bank"])["documents"].require().schema.names
    stored, _ = trained(without)
    assert stored == {one for one, part in split.items() if part == "store"}
    assert Counter(split.values())["store"] == len(stored)
