"""Banks of every format that there has been stay readable."""

import shutil
from pathlib import Path

import pytest
import torch
from tiny_bank import tiny_recipe, write_corpus
from tiny_models import save_tiny_model

import mnemic
from mnemic.languagemodel import load
from mnemic.schema import FORMAT_VERSION

BANKS = Path(__file__).parent.parent / "fixtures" / "banks"
DIGESTS = {1: "7b84b0393f971f1a23721a87139102d9"}
"""Format -> digest of its bank, as it was when the bank was made."""


def test_there_is_a_bank_of_every_format():
    assert set(DIGESTS) == set(range(1, FORMAT_VERSION + 1))


@pytest.mark.parametrize("version", DIGESTS)
def test_an_old_bank_is_read(version, tmp_path):
    shutil.unpack_archive(BANKS / f"format-{version}.tar.gz", tmp_path)
    bank = mnemic.open_bank(tmp_path / "bank")
    assert bank.digest()["bank"] == DIGESTS[version]
    assert bank.release.counts["documents"] == bank.table("documents", ["id"]).num_rows > 10
    events = bank.table("events", ["id", "text", "vector"])
    assert bank.find(events["id"][0].as_py())[0] == "event"
    memory = bank.memory()
    assert memory.info.lock["weights"] and sum(parameter.numel() for parameter in memory.module.parameters()) > 0
    assert [(info.name, info.owner) for info in bank.memories()] == [("mlp", "imitate"), ("knn", "teacher")]


@pytest.mark.parametrize("version", DIGESTS)
def test_an_old_bank_is_searched(version, tmp_path):
    shutil.unpack_archive(BANKS / f"format-{version}.tar.gz", tmp_path)
    bank = mnemic.open_bank(tmp_path / "bank")
    event = bank.table("events", ["id", "text", "vector"]).slice(3, 1).to_pylist()[0]
    hits = bank.search(event["text"], words=None, k=5, vector=event["vector"])
    best = max(hits, key=lambda one: one.score)
    assert best.id == event["id"] and best.similarity == pytest.approx(1.0, abs=1e-3) and best.bm25 > 0
    assert best.source == "folder" and best.level == "event"


@pytest.mark.parametrize("version", DIGESTS)
def test_the_memories_of_an_old_bank_are_attached(version, tmp_path):
    shutil.unpack_archive(BANKS / f"format-{version}.tar.gz", tmp_path)
    bank = mnemic.open_bank(tmp_path / "bank")
    model, tokenizer = load(save_tiny_model(tmp_path / "model"), "float32")
    inputs = tokenizer("The table of a column", return_tensors="pt")
    with torch.inference_mode():
        base = model(**inputs).logits
        for memory in ("mlp", "knn", ["mlp", "knn"]):
            mixed = bank.attach(model, memory, tokenizer=tokenizer)(**inputs).logits
            assert torch.allclose(mixed.exp().sum(-1), torch.ones(mixed.shape[:2]), atol=1e-4)
            assert not torch.allclose(mixed, torch.log_softmax(base, -1), atol=0.1)


def test_a_build_carries_an_old_bank_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.unpack_archive(BANKS / "format-1.tar.gz", tmp_path)
    recipe = tiny_recipe(Path(), write_corpus(Path("corpus"), documents=12))
    mnemic.build(recipe, device="cpu", engine="inline")
    mnemic.build({**recipe, "bank": "fresh"}, device="cpu", engine="inline")
    assert mnemic.open_bank("bank").digest() == mnemic.open_bank("fresh").digest()
    assert not mnemic.build(recipe, device="cpu", engine="inline").steps
