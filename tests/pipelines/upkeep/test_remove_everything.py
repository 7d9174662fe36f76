"""A bank of all sorts of steps, from which documents were removed, is after the next build one that never read them."""

import shutil

import pytest
from nursery import Nursery
from tiny_bank import CONTEXT, EVERYTHING, TinyBank

import mnemic
from mnemic.command import main
from mnemic.errors import ModelError
from mnemic.languagemodel import load
from mnemic.removals import Stale

GONE = ("alpha/copy.txt", "beta/025.txt", "gamma/near.rst")
"""One that two copies fell to; one of the store; one of the store that another fell to."""

WHERE = f"locator IN {GONE}"

SECTIONS = {name: EVERYTHING[name] for name in ("semantic", "suffixes", "times", "gate")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return TinyBank.build(tmp_path_factory.mktemp("whole"), **SECTIONS, **CONTEXT)


@pytest.fixture(scope="module")
def without(whole, tmp_path_factory):
    """The digest of the bank of the same recipe over the corpus without these files."""
    folder = tmp_path_factory.mktemp("without")
    recipe, corpus = whole.copy_with_corpus(folder)
    for name in GONE:
        (corpus / name).unlink()
    mnemic.build({**recipe, "bank": str(folder / "fresh")}, device="cpu")
    return mnemic.open_bank(folder / "fresh").digest()


@pytest.fixture
def removed(whole, tmp_path):
    recipe = whole.copy(tmp_path)
    return recipe, mnemic.remove(recipe["bank"], WHERE)


def differing(bank, digest):
    mine = bank.digest()
    return {name for name in {*mine, *digest} - {"bank", "rejects"} if mine.get(name) != digest.get(name)}


def test_every_dataset_and_memory_is_that_of_a_bank_built_without(removed, without):
    recipe, outcome = removed
    assert {"units", "events", "pairs", "datastore", "tokens"} <= set(outcome.datasets)
    mnemic.build(recipe, device="cpu", anew=["cluster", "suffixes"])
    bank = mnemic.open_bank(recipe["bank"])
    assert differing(bank, without) == set(), "the memories are trained again, and equal too"
    assert not bank.stale()


def test_what_needs_no_model_is_exact_at_once(removed, whole):
    """Suffixes, the search of the store and its teacher have their answers without a build."""
    recipe, _ = removed
    bank, before = mnemic.open_bank(recipe["bank"]), whole.open()
    ids = set(bank.table("removals", ["document"])["document"].to_pylist())
    listed = {one for some in bank.table("suffixes", ["documents"])["documents"].to_pylist() for one in some}
    assert listed == set(bank.table("tokens", ["document"])["document"].to_pylist()) and not listed & ids
    (text,) = before.table("documents", ["text"], f"locator = '{GONE[1]}'")["text"].to_pylist()
    longest = [max(span.tokens for span in one.trace(text)) for one in (before, bank)]
    assert longest[0] > longest[1], "the text itself stands nowhere"
    knn, module = bank.memory_info("knn"), bank.memory("knn").module
    assert len(module) == bank.dataset("datastore").count("split = 'store'") == knn.config["rows"]
    places = bank.table("datastore", ["neighbours"], "split = 'store'")["neighbours"].to_pylist()
    assert max(one for some in places for one in some if one < 2**32 - 1) < len(module)
    named = [row["same_as"] for row in bank.table("events", ["same_as"]).to_pylist() if row["same_as"]]
    assert set(named) <= set(bank.table("events", ["id"])["id"].to_pylist())


def test_memories_that_learnt_them_are_stale_until_they_are_trained_again(removed, whole, tmp_path, capsys):
    recipe, outcome = removed
    bank = mnemic.open_bank(recipe["bank"])
    rows = whole.open().table("datastore", ["document"], "split = 'store'")["document"].to_pylist()
    ids = set(bank.table("removals", ["document"])["document"].to_pylist())
    share = sum(one in ids for one in rows) / len(rows)
    documents = len(ids & set(rows))
    assert 0 < share < 1 and bank.stale() == {"mlp": Stale(documents, share)} and outcome.memories == {"mlp": share}
    learnt = next(one for one in rows if one in ids)
    assert bank.trained_on(learnt[:12]) == {"mlp": "removed", "knn": "", "suffix": ""}
    stays = next(one for one in rows if one not in ids)
    assert bank.trained_on(stays) == {"mlp": "store", "knn": "store", "suffix": "store"}
    assert whole.open().trained_on(learnt)["mlp"] == "store"
    validation = bank.table("datastore", ["document"], "split LIKE 'validation%'")["document"][0].as_py()
    assert bank.trained_on(validation)["mlp"] == "validation"
    assert main(["why", recipe["bank"], learnt[:12]]) == 0
    assert "memory mlp: was trained on it, and was not trained again" in capsys.readouterr().out
    assert main(["show", recipe["bank"]]) == 0
    assert f"stale: {documents} documents of its training" in capsys.readouterr().out
    model, tokenizer = load(recipe["language_model"])
    with pytest.warns(UserWarning, match="trained on .* documents that were removed since"):
        bank.attach(model, "mlp", tokenizer=tokenizer)
    with pytest.raises(ModelError, match="Build the bank again"):
        bank.attach(model, "mlp", tokenizer=tokenizer, strict=True)
    bank.attach(model, "knn", tokenizer=tokenizer, strict=True)


def test_an_erased_text_leaves_no_run_of_tokens_and_takes_the_memories_along(whole, without, tmp_path):
    recipe = whole.copy(tmp_path)
    outcome = mnemic.remove(recipe["bank"], WHERE, erase=True)
    assert outcome.proof.before == outcome.proof.pieces > 0 == outcome.proof.after
    bank = mnemic.open_bank(recipe["bank"])
    assert [one.name for one in bank.memories()] == ["knn", "suffix"]
    mnemic.build(recipe, device="cpu", anew=["cluster", "suffixes"])
    assert differing(mnemic.open_bank(recipe["bank"]), without) == set()


@pytest.mark.slow
def test_with_ray_too(removed, without):
    recipe, _ = removed
    with Nursery() as nursery:
        assert nursery.build(recipe, engine="ray", workers=2, anew=["cluster", "suffixes"])[0] == 0
    assert differing(mnemic.open_bank(recipe["bank"]), without) == set()


def test_a_copy_of_a_release_says_it_too(removed, tmp_path):
    recipe, _ = removed
    mnemic.copy(recipe["bank"], tmp_path / "copied", release=mnemic.open_bank(recipe["bank"]).release.name)
    assert mnemic.open_bank(tmp_path / "copied").stale() == mnemic.open_bank(recipe["bank"]).stale()
    shutil.rmtree(tmp_path / "copied")
