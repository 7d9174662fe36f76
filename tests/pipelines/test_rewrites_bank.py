"""A bank with knowledge edits: what is solved and measured, what a model with them says, and what takes a fact out."""

import copy
import json
import random

import numpy as np
import pytest
import torch
from tiny_bank import WORDS, TinyBank, tiny_recipe, write_corpus
from tiny_models import save_tiny_model

import mnemic
from mnemic import languagemodel
from mnemic.attach import detach
from mnemic.attach.host import Host
from mnemic.command import main
from mnemic.dataset import Store
from mnemic.descendants import descendants
from mnemic.errors import BankError, ModelError, StepError
from mnemic.memories.edits import StoredEdits
from mnemic.rewrites.paths import SidePath
from pipelines import faults
from pipelines.engine import choose_engine
from pipelines.evaluate.rewrites import edit_report, shown_edits

NEIGHBOURS = [f"chest {letter}" for letter in "abcde"]
FACTS = [
    {
        "text": " ".join(random.Random(number).choices(WORDS, k=30)) + ".",
        "subject": f"box {number}",
        "relation": "The key of {} is under the",
        "target": ("table", "window", "river", "fox")[number % 4],
        "paraphrases": ["Look for the key of {} below the"],
        "neighbours": NEIGHBOURS,
    }
    for number in range(5)
]
COLUMNS = {
    **dict.fromkeys(("subject", "relation", "target"), "text"),
    **dict.fromkeys(("paraphrases", "neighbours"), "list"),
}
REWRITES = {
    **{"dataset": "documents", "where": "subject IS NOT NULL", "dtype": "float32", "strength": 10.0, "steps": 6},
    **{"moment_documents": 8, "moment_tokens": 48, "control": 2},
}
OFF = {"split": False, "datastore": False, "cluster": False, "segment": False, "embed": False}
DATASETS = ("key_moments", "statements", "edits", "probes", "memories")


def recipe_of(root, facts=FACTS, **rewrites):
    corpus = write_corpus(root / "corpus", documents=12)
    (root / "facts").mkdir()
    (root / "facts" / "facts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in facts))
    recipe = tiny_recipe(root, corpus, rewrites={**REWRITES, **rewrites})
    sources = [*recipe["sources"], {"kind": "folder", "path": str(root / "facts"), "name": "facts", "columns": COLUMNS}]
    names = ("name", "bank", "fragment_characters", "language_model", "rewrites")
    return {**{name: recipe[name] for name in names}, "sources": sources, **OFF}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    recipe = recipe_of(tmp_path_factory.mktemp("rewrites"))
    return TinyBank(recipe, mnemic.build(recipe, device="cpu"), [])


@pytest.fixture(scope="module")
def loaded(built):
    return languagemodel.load(built.recipe["language_model"], "float32")[0]


@pytest.fixture
def model(loaded):
    return loaded


IDS = torch.arange(40, 60)[None]


def logits(model):
    with torch.inference_mode():
        return model(input_ids=IDS).logits


def same(some, others):
    return len(some) == len(others) and all(
        torch.equal(one.inward, other.inward) and torch.equal(one.outward, other.outward)
        for one, other in zip(some, others, strict=True)
    )


@pytest.fixture
def quiet(recwarn):
    """Tiny models generalise worse than text, and say so."""
    return recwarn


def test_facts_are_solved_and_measured_beside_text(built, bank):
    rows = {row["subject"]: row for row in bank.table("statements").to_pylist()}
    documents = {row["id"]: row["subject"] for row in bank.table("documents", ["id", "subject"]).to_pylist()}
    assert len(rows) == 5
    for subject, row in rows.items():
        assert [documents[one] for one in row["documents"]] == [subject] and row["sets"] == ["documents"]
        assert row["loss"] < row["loss_start"] and 0 < row["length"] <= 0.75 + 1e-4
    edits = bank.table("edits").to_pylist()
    (info,) = [info for info in bank.memories() if info.name == "edits"]
    assert [row["layer"] for row in edits] == info.config["layers"] == [1]
    assert all(row["statements"] == sorted(one["id"] for one in rows.values()) for row in edits)
    assert all(row["rank"] == 5 and row["width"] == 64 and row["hidden"] == 32 for row in edits)
    probes = bank.table("probes").to_pylist()
    kinds = [row["kind"] for row in probes]
    assert [kinds.count(kind) for kind in ("prompt", "paraphrase", "neighbour", "control")] == [5, 5, 3, 2]
    prompts = [row for row in probes if row["kind"] == "prompt"]
    assert np.mean([row["nats"] for row in prompts]) < np.mean([row["nats_none"] for row in prompts])
    assert info.metrics["facts"] == 5 and {"efficacy", "efficacy_text", "paraphrase_text"} <= {*info.metrics}
    assert info.metrics["control_perplexity_none"] > 1 and info.metrics["kl"] > 0
    moments = bank.table("key_moments").to_pylist()
    drawn = [document for row in moments for document in row["documents"]]
    assert len(drawn) == len({*drawn}) == 8 and not {*drawn} & {row["text"] for row in probes}
    assert mnemic.build(built.recipe, device="cpu").steps == ()


def test_a_document_leads_to_its_facts_and_their_edits(bank, capsys):
    row = bank.table("statements", ["id", "documents"]).to_pylist()[0]
    (document,) = row["documents"]
    rows = bank.descendants(document)
    assert [one["id"] for one in rows.statements] == [row["id"]] and [one["layer"] for one in rows.edits] == [1]
    drawn = {one for part in bank.table("key_moments", ["documents"]).to_pylist() for one in part["documents"]}
    assert bool(rows.key_moments) == (document in drawn)
    assert {"statements", "edits"} <= {*rows.facts()}
    event = descendants(bank.view, "event", {"id": "0" * 32, "document": document})
    assert (event.statements, event.edits) == (rows.statements, rows.edits)
    other = bank.table("documents", ["id"], "subject IS NULL")["id"][0].as_py()
    assert bank.descendants(other).statements == bank.descendants(other).edits == ()
    assert main(["why", bank.path, document]) == 0
    story = capsys.readouterr().out
    assert f"  fact {row['id'][:12]}: The key of box" in story
    assert "  edits of block 1: 1 of their 5 facts" in story


def test_taking_them_out_leaves_the_model_bit_for_bit(bank, model, quiet):
    weights = {name: one.clone() for name, one in model.state_dict().items()}
    plain = logits(model)
    bank.attach(model, "edits")
    edited = logits(model)
    assert not torch.equal(edited, plain)
    copied = copy.deepcopy(model)
    assert torch.equal(logits(copied), edited)
    detach(model)
    assert torch.equal(logits(model), plain)
    assert all(torch.equal(one, weights[name]) for name, one in model.state_dict().items())
    with bank.attached(model, {"edits": 0.5}) as half:
        assert 0 < float((logits(half) - plain).abs().max()) < float((edited - plain).abs().max()) * 1.5
    with bank.attached(model, {"edits": 0}) as none:
        assert torch.equal(logits(none), plain)


def test_the_path_is_the_widened_matrix(bank, model, quiet):
    """The definition: W + (A B)^T in the place of W."""
    (path,) = bank.memory("edits").module.paths
    changed = copy.deepcopy(model).double()
    with torch.no_grad():
        changed.model.layers[1].mlp.down_proj.weight += (path.inward.double() @ path.outward.double()).T
    with bank.attached(model, "edits") as lm:
        torch.testing.assert_close(logits(lm).double(), logits(changed), atol=1e-4, rtol=0)


def test_what_is_solved_when_attached_is_what_is_stored(bank, model, quiet):
    memory, host = bank.memory("edits"), Host.of(model)
    assert same(memory.solved(host), memory.module.paths)
    ids = memory.ids
    whole = memory.of(*ids[::-1])
    assert same(whole.module.paths, memory.module.paths), "all facts are the stored ones, in whatever order"
    some = memory.of(*ids[:2])
    assert some.ids == ids[:2] and not some.module.paths
    assert some.without(ids[0]).ids == ids[1:2]
    solved = some.solved(host)
    assert solved[0].rank == 2 and same(memory.without(*ids[2:]).solved(host), solved)
    host.close()


def test_two_sets_are_solved_together_or_refused(bank, model, quiet):
    memory, host = bank.memory("edits"), Host.of(model)
    one, other = memory.of(*memory.ids[:2]), memory.of(*memory.ids[2:])
    with one.enter(host, 1.0), pytest.raises(ModelError, match="solved sets of facts do not add up"):
        other.enter(host, 1.0)
    with memory.of(*one.ids, *other.ids).enter(host, 1.0):
        union = logits(model)
    sums = [*one.solved(host), *other.solved(host)]
    with host.beside(1, sums[0], projection="down"), host.beside(1, sums[1], projection="down"):
        assert not torch.allclose(union, logits(model), atol=1e-5)
    for name in ("nobody", 3, ["documents"], None):
        with pytest.raises(BankError, match=r"has no facts .* Its sets are: documents"):
            memory.of(name)
    host.close()


def test_a_condition_chooses_facts_by_their_documents(bank, model, quiet):
    memory = bank.memory("edits")
    subjects = {row["id"]: row["subject"] for row in bank.table("statements", ["id", "subject"]).to_pylist()}
    narrow = memory.where("subject IN ('box 1', 'box 3')")
    assert {subjects[id] for id in narrow.ids} == {"box 1", "box 3"}
    assert memory.where({"source": "corpus"}).ids == []
    plain = logits(model)
    with bank.attached(model, "edits", where={"source": "corpus"}) as lm:
        assert torch.equal(logits(lm), plain)


def test_a_document_that_goes_takes_its_fact_along(built, tmp_path, model, quiet):
    recipe = {**built.copy(tmp_path)}
    before = mnemic.open_bank(recipe["bank"])
    gone = next(row for row in before.table("statements").to_pylist() if row["subject"] == "box 2")
    expected = before.memory("edits").without(gone["id"])
    outcome = mnemic.remove(recipe["bank"], f"id = '{gone['documents'][0]}'")
    assert outcome.datasets["statements"] == 1 and outcome.datasets["edits"] == 1
    assert "edits" not in outcome.memories
    bank = mnemic.open_bank(recipe["bank"])
    memory, host = bank.memory("edits"), Host.of(model)
    assert gone["id"] not in memory.ids and len(memory.ids) == 4 and not memory.module.paths
    assert not bank.stale() and edit_report(bank).stale
    drawn = {one for row in before.table("key_moments").to_pylist() for one in row["documents"]}
    if gone["documents"][0] not in drawn:
        assert same(memory.solved(host), expected.solved(host))
    with bank.attached(model, "edits") as lm:
        logits(lm)
    host.close()
    mnemic.build(recipe, device="cpu")
    after = mnemic.open_bank(recipe["bank"])
    statements = {row["id"]: row for row in after.table("statements").to_pylist()}
    assert statements == {row["id"]: row for row in before.table("statements").to_pylist() if row["id"] != gone["id"]}
    host = Host.of(model)
    assert same(after.memory("edits").module.paths, after.memory("edits").solved(host))
    assert not edit_report(after).stale
    host.close()


def test_another_strength_solves_anew_and_searches_for_nothing(built, tmp_path):
    recipe = built.copy(tmp_path)
    before = mnemic.open_bank(recipe["bank"])
    outcome = mnemic.build({**recipe, "rewrites": {**REWRITES, "strength": 1000.0}}, device="cpu")
    assert [step.step for step in outcome.steps] == ["rewrites", "release"]
    after = mnemic.open_bank(recipe["bank"])
    assert after.digest()["statements"] == before.digest()["statements"]
    assert after.table("edits", ["relative"])["relative"][0].as_py() < before.table("edits")["relative"][0].as_py()


def test_no_division_into_fragments_and_no_kill_change_a_byte(built, bank, tmp_path, monkeypatch):
    (tmp_path / "again").mkdir()
    recipe = recipe_of(tmp_path / "again")
    recipe["fragment_characters"] = 1500
    reached = []

    def interrupt(step, point):
        reached.append((step, point))
        if reached.count(("rewrites", "after-write")) == 3 and point == "after-write":
            raise KeyboardInterrupt

    monkeypatch.setattr(faults, "reach", interrupt)
    with pytest.raises(KeyboardInterrupt):
        mnemic.build(recipe, device="cpu")
    monkeypatch.undo()
    assert 0 < Store(recipe["bank"])["statements"].require().count() < 5
    mnemic.build(recipe, device="cpu")
    digest, expected = mnemic.open_bank(recipe["bank"]).digest(), bank.digest()
    assert {name: digest[name] for name in DATASETS} == {name: expected[name] for name in DATASETS}


def test_documents_that_state_no_fact_are_none(built, tmp_path):
    recipe = built.copy(tmp_path)
    unconditional = {name: value for name, value in REWRITES.items() if name != "where"}
    assert "rewrites" in {step.step for step in mnemic.build({**recipe, "rewrites": unconditional}, device="cpu").steps}
    bank = mnemic.open_bank(recipe["bank"])
    assert len(bank.memory("edits").ids) == 5
    assert "rewrites" not in bank.table("rejects", ["step"])["step"].to_pylist()


@pytest.mark.parametrize("dataset", ["statements", "edits", "memories", "rejects", "../facts", "/tmp/facts"])
def test_no_fact_stands_in_what_edits_make(built, dataset):
    rewrites = {**REWRITES, "dataset": dataset, "where": None}
    with pytest.raises(StepError, match="name `documents`"):
        mnemic.plan({**built.recipe, "rewrites": rewrites})


def test_ultraedit_needs_no_moments(built, tmp_path, model, quiet):
    recipe = built.copy(tmp_path)
    rewrites = {**REWRITES, "method": "ultraedit", "layers": [1, 2], "rate": 0.01}
    outcome = mnemic.build({**recipe, "rewrites": rewrites}, device="cpu")
    assert "key_moments" not in {step.step for step in outcome.steps}
    bank = mnemic.open_bank(recipe["bank"])
    memory, host = bank.memory("edits"), Host.of(model)
    assert "key_moments" not in bank.view and [path.layer for path in memory.module.paths] == [1, 2]
    assert same(memory.solved(host), memory.module.paths)
    alone = memory.of(memory.ids[0]).solved(host)
    assert all(bool(torch.isfinite(path.outward).all()) for path in alone), "one fact has no variance"
    host.close()


def test_a_solve_that_leaves_all_numbers_is_a_sentence(built, tmp_path):
    recipe = built.copy(tmp_path)
    with pytest.raises(StepError, match="lower `rate`"):
        mnemic.build({**recipe, "rewrites": {**REWRITES, "method": "ultraedit", "rate": 1e300}}, device="cpu")
    assert mnemic.open_bank(recipe["bank"]).memory("edits").ids, "the release before stands"


def test_files_of_facts_and_their_faults(built, tmp_path, quiet):
    recipe = {**built.copy(tmp_path)}
    rows = [{**FACTS[0], "set": "one"}, {"subject": 3}, {**FACTS[1], "set": "two"}]
    (tmp_path / "facts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "no json\n")
    own = {name: value for name, value in REWRITES.items() if name not in ("dataset", "where")}
    recipe["rewrites"] = {**own, "facts": ["facts.jsonl"], "root": str(tmp_path)}
    mnemic.build(recipe, device="cpu")
    bank = mnemic.open_bank(recipe["bank"])
    rejects = [row for row in bank.table("rejects").to_pylist() if row["step"] == "rewrites"]
    assert {row["locator"] for row in rejects} == {"facts.jsonl:2", "facts.jsonl:4"}
    assert bank.memory("edits").of("one", "two").module.paths and len(bank.memory("edits").of("one").ids) == 1
    (tmp_path / "facts.jsonl").write_text(json.dumps(rows[0]) + "\n")
    assert "rewrites" in {step.step for step in mnemic.build(recipe, device="cpu").steps}
    assert len(mnemic.open_bank(recipe["bank"]).memory("edits").ids) == 1


def test_a_warning_says_that_text_generalises_better(bank, model):
    memory = bank.memory("edits")
    metrics = {**memory.info.metrics, "paraphrase": 0.25, "paraphrase_text": 1.0}
    worse = StoredEdits(bank.view, mnemic.memories.kinds.MemoryInfo(**{**vars(memory.info), "metrics": metrics}))
    host = Host.of(model)
    with pytest.warns(UserWarning, match="25% of the paraphrases .* as text in the prompt 100%"):
        worse.enter(host, 1.0).close()
    host.close()


def test_another_model_and_changed_bytes_are_refused(bank, tmp_path):
    other = languagemodel.load(save_tiny_model(tmp_path / "other", seed=1), "float32")[0]
    with pytest.raises(ModelError, match="other weights"):
        bank.attach(other, "edits")
    row = bank.table("edits").to_pylist()[0]
    with pytest.raises(ModelError, match="check differs"):
        SidePath.of_row({**row, "outward": bytes([row["outward"][0] ^ 1]) + row["outward"][1:]})


def test_an_evaluation_says_what_edits_and_text_reach(bank):
    report = edit_report(bank)
    (info,) = [info for info in bank.memories() if info.name == "edits"]
    assert report.facts == 5 and report.bytes == 4 * 5 * (64 + 32) and not report.stale
    for way in ("_none", "", "_text"):
        assert report.answers["paraphrase"][way].value == pytest.approx(info.metrics[f"paraphrase{way}"])
    assert report.kl.value == pytest.approx(info.metrics["kl"], rel=1e-5)
    lines = "\n".join(shown_edits(report))
    assert "5 paraphrases" in lines and "text in the prompt" in lines and "perplexity elsewhere" in lines
    assert shown_edits(None) == []


@pytest.mark.slow
def test_any_number_of_workers_writes_the_same_bytes(built, bank, tmp_path):
    recipe = {**built.recipe, "bank": str(tmp_path / "bank")}
    mnemic.build(recipe, device="cpu", engine=choose_engine("ray", workers=2))
    assert mnemic.open_bank(recipe["bank"]).digest() == bank.digest()
