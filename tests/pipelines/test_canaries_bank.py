"""Canaries in a whole bank: nothing decides against them, what is about other documents stays, and they are found."""

import json
from collections import Counter

import pytest
from tiny_bank import tiny_recipe, write_corpus

import mnemic
from mnemic.canaries import SOURCE
from mnemic.command import main
from mnemic.dataset import Store
from mnemic.errors import BankError
from operators.canaries.operator import Canaries
from pipelines.evaluate.canaries import canary_report
from pipelines.recipe import load_recipe
from pipelines.steps import steps_of

OWN = f"source = '{SOURCE}'"
CANARIES = {"count": 3, "repeats": [1, 4], "tokens": 48}
HARSH = {
    "pii": "mask",
    "rules": {"short": {"value": "characters", "min": 550}, "unsafe": {"value": "contaminated", "max": 0}},
    "quality": {"positives": ["length > 550"], "negatives": ["length <= 550"], "min": 0.5},
    "subset": {"share": 0.5},
}
"""Every rule, the mask and the subset would take canaries, and `cut` their sentences."""


def recipe_of(root, canaries=CANARIES, **changes):
    recipe = tiny_recipe(root, write_corpus(root / "corpus", documents=40), cluster={"depth": 1, "branching": 2})
    sets = root / "questions.txt"
    sets.write_text(f"{Canaries(tokens=CANARIES['tokens']).text(1, 0)}\n")
    curate = {**HARSH, "contamination": {"sets": [str(sets)], "action": "cut"}}
    curate |= {} if canaries is None else {"canaries": canaries}
    return {
        **recipe,
        "segment": {"mean_units": 2, "max_words": 40},
        "suffixes": {},
        "semantic": {},
        "surprise": {"dtype": "float32"},
        "curate": {**curate, "rules": {**curate["rules"], "odd": {"value": "perplexity", "max": 1}}},
        "imitate": {"epochs": 6, "batch": 64, "blocks": 2, "dtype": "float32"},
        **changes,
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    recipe = recipe_of(tmp_path_factory.mktemp("planted"))
    recipe["curate"]["rules"].pop("odd")
    mnemic.build(recipe, device="cpu", engine="inline")
    return recipe


def rows_of(recipe, dataset="documents", where=None):
    snapshot = Store(recipe["bank"])[dataset].require()
    return snapshot.table([name for name in snapshot.schema.names if name != "vector"], where).to_pylist()


def test_nothing_decides_against_a_canary(built):
    rows = rows_of(built, where=OWN)
    assert len(rows) == 15 and {row["tenant"] for row in rows} == {SOURCE}
    for row in rows:
        assert row["decision"] == {"rule": "", "value": None, "threshold": None, "rules": []}
        assert not row["duplicate_of"] and not row["edits"] and row["split"] == "store"
        assert row["subset"] == {"leaves": False, "random": False, "trained": True}
    others = rows_of(built, where=f"NOT {OWN}")
    assert Counter(row["decision"]["rule"] for row in others)["short"] >= 3
    assert any(row["duplicate_of"] for row in others)
    assert rows_of(built, "contamination"), "a canary stands in the evaluation set, and nothing of it is cut"
    assert not rows_of(built, "pairs", f"document IN ({', '.join(repr(row['id']) for row in rows)})")
    assert not any(row["same_as"] for row in rows_of(built, "events", OWN))


def test_all_copies_are_trained_on_and_none_is_held_out(built):
    ids = {row["id"] for row in rows_of(built, where=OWN)}
    stored = [row for row in rows_of(built, "datastore") if row["document"] in ids]
    assert {row["document"] for row in stored} == ids and {row["split"] for row in stored} == {"store"}


def test_each_is_listed_with_a_twin_that_stands_nowhere(built):
    listed = rows_of(built, SOURCE)
    assert Counter(row["repeats"] for row in listed) == {1: 3, 4: 12}
    assert {row["document"]: row["text"] for row in listed} == {
        row["id"]: row["text"] for row in rows_of(built, where=OWN)
    }
    texts = " ".join(row["text"] for row in rows_of(built))
    assert not any(row["twin"] in texts for row in listed)


def test_what_is_about_other_documents_is_as_it_is_without_canaries(built, tmp_path):
    without = {**built, "curate": {**built["curate"], "canaries": None}, "bank": str(tmp_path / "bank")}
    mnemic.build(without, device="cpu", engine="inline", until="split")
    own, other = (
        {row["id"]: {name: row[name] for name in ("decision", "duplicate_of", "edits", "split")} for row in rows}
        for rows in (rows_of(built, where=f"NOT {OWN}"), rows_of(without))
    )
    assert own == other


def test_canaries_change_no_fingerprint_of_a_step_and_come_and_go_with_the_recipe(built, tmp_path):
    without = {**built, "curate": {**built["curate"], "canaries": None}, "bank": str(tmp_path / "bank")}
    records = [
        {step.name: step.record.fingerprint for step in steps_of(load_recipe(recipe), "cpu")}
        for recipe in (built, without)
    ]
    assert records[0].pop(SOURCE) and records[0] == records[1]
    mnemic.build(without, device="cpu", engine="inline", until="deduplicate")
    mnemic.build({**built, "bank": without["bank"]}, device="cpu", engine="inline", until="deduplicate")
    assert len(rows_of(without, where=OWN)) == 15 and all(row["decision"] for row in rows_of(without))
    mnemic.build(without, device="cpu", engine="inline", until="deduplicate")
    assert not rows_of(without, where=OWN)


@pytest.mark.slow
def test_any_fragments_give_the_same_bank(built, tmp_path):
    assert mnemic.plan(built, device="cpu").nothing_to_do
    other = {**built, "bank": str(tmp_path / "bank"), "fragment_characters": 2500}
    mnemic.build(other, device="cpu", engine="inline", until="split")
    columns = ("id", "decision", "duplicate_of", "edits", "subset", "split")
    mine, theirs = (
        sorted(([row[name] for name in columns] for row in rows_of(recipe)), key=lambda row: row[0])
        for recipe in (built, other)
    )
    assert mine == theirs
    assert sorted(map(str, rows_of(built, SOURCE))) == sorted(map(str, rows_of(other, SOURCE)))


def test_rules_over_perplexity_spare_them_too(tmp_path):
    recipe = recipe_of(tmp_path, suffixes=False, semantic=False)
    recipe["curate"] = {"canaries": CANARIES, "rules": {"odd": {"value": "perplexity", "max": 1}}}
    mnemic.build(recipe, device="cpu", engine="inline", until="perplexity")
    rows = rows_of(recipe)
    assert {row["perplexity"]["rule"] for row in rows if row["source"] == SOURCE} == {""}
    assert {row["perplexity"]["rule"] for row in rows if row["source"] != SOURCE and row["perplexity"]} == {"odd"}


def test_they_are_found_in_their_tenant_and_by_no_other(built):
    report = canary_report(mnemic.open_bank(built["bank"]))
    assert report.whole.documents == report.whole.standing == report.whole.uncut == report.whole.stored == 15
    assert report.search.there == 6 and report.search.twins == 0
    assert report.search.tenants > 0 and report.search.elsewhere == 0
    assert (report.word_for_word.there, report.word_for_word.twins, report.word_for_word.elsewhere) == (6, 0, 0)
    assert report.faults == ()


def test_memories_that_hold_texts_know_the_canaries_and_the_model_does_not(built):
    rows = {(one.memory, one.repeats): one for one in canary_report(mnemic.open_bank(built["bank"])).memories}
    assert {name for name, _ in rows} == {"base", "mlp", "knn", "suffix"} and {times for _, times in rows} == {1, 4}
    for times in (1, 4):
        assert rows["suffix", times].auc.value == 1 and rows["suffix", times].exposure == rows["suffix", times].most
        assert rows["suffix", times].loss < rows["base", times].loss
    assert rows["knn", 4].auc.value == 1
    assert 0 < rows["base", 1].auc.value < 1


def test_the_command_says_it_and_fails_where_a_canary_is_lost(built, capsys, monkeypatch):
    assert main(["eval", built["bank"], "--canaries"]) == 0
    out = capsys.readouterr().out
    for phrase in ("15 documents planted; 15 kept, 15 uncut, 15 stored", "6 of 6, 0 of their twins", "exposure"):
        assert phrase in out, out
    monkeypatch.setattr("mnemic.bank.Bank.count", lambda *_, **__: 0)
    assert main(["eval", built["bank"], "--canaries", "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["faults"] == ["6 do not stand in the suffix index as often as they were planted"]


def test_why_and_plan_name_them(built, capsys, tmp_path):
    row = rows_of(built, where=OWN)[0]
    assert main(["why", built["bank"], row["id"]]) == 0
    assert "not judged: it is a canary" in capsys.readouterr().out
    fresh = mnemic.plan({**built, "bank": str(tmp_path / "none")}, device="cpu")
    assert any("15 documents of about 48 tokens are planted" in reason for reason in fresh.steps[0].reasons)
    effects = {one.rule: one for one in mnemic.plan(built, device="cpu").effects.rules}
    assert effects["short"].sources[SOURCE] == 0 < effects["short"].share


def test_a_bank_without_canaries_says_how_to_plant_them(tmp_path):
    recipe = {**tiny_recipe(tmp_path, write_corpus(tmp_path / "corpus", documents=6)), "bank": str(tmp_path / "bank")}
    mnemic.build({name: recipe[name] for name in ("name", "bank", "sources", "embed")}, device="cpu", engine="inline")
    with pytest.raises(BankError, match=r"canaries: \{\}"):
        canary_report(mnemic.open_bank(recipe["bank"]))
