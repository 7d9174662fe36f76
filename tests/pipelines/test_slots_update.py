"""Documents that join a bank with slots: a sparse update trains the slots of the new ones alone."""

import random

import pytest
import torch
from test_slots_bank import OFF, SECTIONS, SLOTS, SPLIT, ids_of, logits
from tiny_bank import WORDS, TinyBank

import mnemic
from mnemic import languagemodel
from mnemic.dataset import Store
from mnemic.slots.layout import SlotLayout
from mnemic.slots.rows import unpacked
from pipelines import faults
from pipelines.recipe import load_recipe
from pipelines.steps import steps_of
from pipelines.steps.learnt_slots import learnt_before

UPDATE = {**SLOTS, "layout": "ngrams", "slots": 512, "update": "sparse", "update_share": 0.05}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    place = tmp_path_factory.mktemp("update")
    return TinyBank.build(place, SECTIONS, slots=UPDATE, split={**SPLIT, "tokens": 8000}, **OFF)


def grown(built, place, number=5):
    """The recipe of a copy whose corpus has documents more."""
    recipe, corpus = built.copy_with_corpus(place)
    draw = random.Random(7)
    for one in range(number):
        words = " ".join(draw.choices(WORDS, k=60))
        (corpus / "alpha" / f"more-{one}.txt").write_text(f"{words.capitalize()}.")
    return recipe, corpus


def table(bank):
    rows = bank.table("slots", ["slot", "uses", "sequences", "value"])
    (info,) = [info for info in bank.memories() if info.name == "slots"]
    values = unpacked(rows["value"].combine_chunks(), SlotLayout.of_config(info.config, "slots"))
    columns = (rows[name].to_pylist() for name in ("uses", "sequences"))
    return dict(zip(rows["slot"].to_pylist(), zip(values, *columns, strict=True), strict=True)), info


@pytest.fixture(scope="module")
def updated(built, tmp_path_factory):
    recipe, _ = grown(built, tmp_path_factory.mktemp("grown"))
    mnemic.build(recipe, device="cpu")
    return recipe


def test_new_documents_move_few_slots_and_uses_are_sums(built, updated):
    (before, old), (after, new) = table(built.open()), table(mnemic.open_bank(updated["bank"]))
    assert set(before) <= set(after)
    moved = {slot for slot in after if slot not in before or not torch.equal(before[slot][0], after[slot][0])}
    assert 0 < len(moved) <= round(0.05 * 512)
    assert all(after[slot][1] >= before[slot][1] and after[slot][2] >= before[slot][2] for slot in before)
    assert new.metrics["sequences"] > old.metrics["sequences"]
    store = mnemic.open_bank(updated["bank"])
    finders = [bank.memory("slots").module.state_dict() for bank in (built.open(), store)]
    assert all(torch.equal(finders[0][name], finders[1][name]) for name in finders[0])
    model, tokenizer = languagemodel.load(built.recipe["language_model"], "float32")
    ids = ids_of(tokenizer, "The table of a column is held by one writer, and the lease expires.")
    with store.attached(model, "slots", tokenizer=tokenizer) as lm:
        assert torch.isfinite(logits(lm, ids)).all()


def test_a_second_build_does_nothing(updated):
    assert all(one.state(Store(updated["bank"])).done for one in steps_of(load_recipe(updated), "cpu"))


POINTS = ("after-write", "after-commit:2")
SLOW_POINTS = ("before-commit:2", "before-commit:4")


@pytest.mark.parametrize("point", [*POINTS, *(pytest.param(point, marks=pytest.mark.slow) for point in SLOW_POINTS)])
def test_an_update_that_was_broken_off_ends_with_the_same_bank(built, updated, tmp_path, monkeypatch, point):
    recipe, _ = grown(built, tmp_path)
    name, _, count = point.partition(":")
    reached = [0]

    def reach(step, place):
        reached[0] += step == "slots" and place == name
        if reached[0] == int(count or 1) and step == "slots" and place == name:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(faults, "reach", reach)
        with pytest.raises(KeyboardInterrupt):
            mnemic.build(recipe, device="cpu")
    mnemic.build(recipe, device="cpu")
    assert mnemic.open_bank(recipe["bank"]).digest() == mnemic.open_bank(updated["bank"]).digest()


def test_where_a_document_went_all_are_trained_again(built, tmp_path):
    recipe, corpus = grown(built, tmp_path)
    rows = built.open().table("documents", ["locator"], "split = 'store'")["locator"].to_pylist()
    (corpus / next(row for row in sorted(rows) if row.endswith("7.txt"))).unlink()
    (step,) = [one for one in steps_of(load_recipe(recipe), "cpu") if one.name == "slots"]
    mnemic.build(recipe, device="cpu", until="split")
    store = Store(recipe["bank"])
    assert learnt_before(step, store, store["documents"].require()) is None
    mnemic.build(recipe, device="cpu")
    afresh = {**recipe, "bank": str(tmp_path / "afresh")}
    mnemic.build(afresh, device="cpu")
    digests = [mnemic.open_bank(one["bank"]).digest() for one in (recipe, afresh)]
    assert digests[0]["slots"] == digests[1]["slots"] and digests[0]["memories"] == digests[1]["memories"]


def test_a_removed_document_makes_the_table_stale_and_the_next_build_trains_all_again(built, tmp_path):
    recipe, _ = built.copy_with_corpus(tmp_path)
    rows = built.open().table("documents", ["locator"], "split = 'store'")["locator"].to_pylist()
    gone = next(row for row in sorted(rows) if row.endswith("7.txt"))
    mnemic.remove(recipe["bank"], f"locator = '{gone}'")
    bank = mnemic.open_bank(recipe["bank"])
    (stale,) = bank.stale().values()
    assert stale.documents == 1
    mnemic.build(recipe, device="cpu")
    bank = mnemic.open_bank(recipe["bank"])
    assert not bank.stale()
    total = [table(one)[1].metrics["sequences"] for one in (built.open(), bank)]
    assert total[1] <= total[0]
