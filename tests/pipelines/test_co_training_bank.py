"""A bank whose shared epochs change the model: what is stored, and what a model says with it and without it."""

import contextlib
import copy
import shutil
from types import SimpleNamespace

import pytest
import torch
import transformers
from test_blocks_bank import BLOCKS, OTHER, SECTIONS, SPLIT, TEXT, ids_of, leaves, logits
from tiny_bank import TinyBank

import mnemic
from mnemic import languagemodel
from mnemic.attach import detach
from mnemic.attach.feedforward import PARTS, Projections
from mnemic.attach.host import Host
from mnemic.blocks.layout import MODEL, above
from mnemic.blocks.wider import save_wider
from mnemic.errors import BankError, ModelError, QueryError
from mnemic.memories.blocks import StoredBlocks
from operators.blocks.operator import TrainBlocks
from pipelines.identity import resolved_fields
from pipelines.steps import blocks
from pipelines.steps.block_jobs import JobRunner

CHANGING = {**BLOCKS, "epochs": 3, "shared_epochs": 2, "shared_rate": 2.0, "model_rate": 0.25}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    place = tmp_path_factory.mktemp("changed")
    return TinyBank.build(place, SECTIONS, blocks=CHANGING, split=SPLIT, datastore=False)


def by_hand(bank, model, leaf):
    """A copy whose weights have the change, with the blocks of ``leaf`` entered alone."""
    memory, other = bank.memory("blocks"), copy.deepcopy(model)
    stack = languagemodel.blocks(other)
    for number, layer in enumerate(memory.module.layout.layers):
        projections = Projections.of(stack[layer])
        for name, change in zip(PARTS[True], memory.module.change[number], strict=True):
            getattr(projections, name).weight.data += change.T if name == "down" else change
    host = Host.of(other)
    for path in memory.path(leaf):
        for number, layer in enumerate(memory.module.layout.layers):
            host.widen(layer, *memory.module.block(path)[number])
    return other


def test_the_change_is_one_row_of_its_own_and_a_second_build_does_nothing(built, bank, model):
    rows = {row["path"]: row for row in bank.table("blocks").to_pylist()}
    assert rows[MODEL]["job"] == "shared" and rows[MODEL]["level"] == 0 and rows[MODEL]["steps"] > 2
    assert rows[MODEL]["rows"] == model.config.intermediate_size
    memory = bank.memory("blocks")
    assert memory.module.change.abs().amax((2, 3)).min() > 0
    assert MODEL not in memory.module.paths and MODEL not in memory.module
    with pytest.raises(BankError, match="no block 'model'"):
        memory.module.block(MODEL)
    with pytest.raises(QueryError, match="no node 'model'"):
        memory.at(MODEL)
    assert {"fallback", "control"} < rows.keys() and memory.info.metrics["blocks"] == len(rows) - 1
    assert mnemic.build(built.recipe, device="cpu").steps == ()


def test_the_attached_model_is_the_changed_one_with_its_blocks_and_detached_it_is_as_before(bank, model, tokenizer):
    ids, ways = ids_of(tokenizer, TEXT, OTHER, TEXT), leaves(bank)
    plain, host = logits(model, ids), Host.of(model)
    expected = torch.cat([logits(by_hand(bank, model, leaf), row[None]) for leaf, row in zip(ways, ids, strict=True)])
    with bank.memory("blocks").at(*ways).enter(host, 1.0):
        assert torch.allclose(logits(model, ids), expected, atol=1e-5)
    assert torch.equal(logits(model, ids), plain)
    host.close()
    bank.attach(model, {"blocks": 0}, tokenizer=tokenizer)
    assert torch.equal(logits(model, ids), plain)
    bank.attach(model, "blocks", tokenizer=tokenizer)
    assert (logits(model, ids) - plain).abs().max() > 1e-3
    detach(model)
    assert torch.equal(logits(model, ids), plain)


def test_a_text_of_a_blocked_subtree_is_read_by_the_model_as_it_was_beside_texts_that_are_not(bank, model, tokenizer):
    leaf, other = leaves(bank, 1)[0], "fallback"
    memory = bank.memory("blocks").without(above(leaf)[0])
    assert memory.path(leaf) == () and not memory.is_changed(leaf) and memory.is_changed(other)
    ids, host = ids_of(tokenizer, TEXT, TEXT), Host.of(model)
    plain = logits(model, ids)
    with memory.at(leaf).enter(host, 1.0):
        assert torch.equal(logits(model, ids), plain)
    with memory.at(leaf, other).enter(host, 1.0):
        both = logits(model, ids)
        beams = model.generate(ids, num_beams=2, max_new_tokens=4, do_sample=False, pad_token_id=0)
    host.close()
    assert torch.equal(both[0], plain[0])
    assert torch.allclose(both[1], logits(by_hand(bank, model, other), ids[1:])[0], atol=1e-5)
    alone = model.generate(ids[:1], num_beams=2, max_new_tokens=4, do_sample=False, pad_token_id=0)
    assert torch.equal(beams[:1], alone)


def test_a_merged_checkpoint_has_the_change(bank, model, tokenizer, tmp_path):
    ids, leaf = ids_of(tokenizer, TEXT, OTHER), leaves(bank, 1)[0]
    memory = bank.memory("blocks").at(leaf)
    for dtype, near in ((torch.float32, 1e-4), (torch.float64, 1e-10)):
        folder, host = tmp_path / str(dtype), Host.of(model.to(dtype))
        with memory.enter(host, 1.0):
            attached = logits(model, ids)
        save_wider(
            *(model, [memory.module.block(path) for path in memory.path(leaf)], memory.module.layout.layers, folder),
            change=memory.module.change,
        )
        merged = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        assert (logits(merged, ids) - attached).abs().max() < near
    merged = transformers.AutoModelForCausalLM.from_pretrained(
        bank.merge(model.float(), tmp_path / "merged", node=leaf), dtype=torch.float32
    )
    assert (logits(merged, ids) - attached).abs().max() < 1e-4


class WithoutChange:
    """A view whose dataset `blocks` has lost the row of the change."""

    def __init__(self, view):
        self.view = view

    def __getattr__(self, name):
        return getattr(self.view, name)

    def dataset(self, name):
        snapshot = self.view.dataset(name)
        return SimpleNamespace(table=lambda columns: snapshot.table(columns, f"path <> '{MODEL}'"))


def test_blocks_refuse_to_attach_without_the_change_that_they_were_trained_beside(bank, model, tokenizer):
    memory = StoredBlocks(WithoutChange(bank.view), bank.memory("blocks").info, ("fallback",))
    ids = ids_of(tokenizer, TEXT)
    plain = logits(model, ids)
    with pytest.raises(ModelError, match="trained beside changed layers, and the change is missing; bring"):
        memory.enter(Host.of(model), 1.0)
    assert torch.equal(logits(model, ids), plain)


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [16, 4])
def test_builds_in_another_order_and_after_any_break_end_with_the_same_bank(built, tmp_path, monkeypatch, epochs):
    """Of every so many epochs the second is broken off."""
    recipe = {**built.recipe, "bank": str(tmp_path / "bank")}
    shutil.copytree(built.recipe["bank"], recipe["bank"])
    mnemic.build({**recipe, "blocks": {**CHANGING, "seed": 1}}, device="cpu")
    monkeypatch.setattr(blocks, "sorted", lambda names: sorted(names, reverse=True), raising=False)
    epoch, commit, trained = JobRunner.epoch, blocks.append, []

    def broken(self, item, *states):
        trained.append(item.job.name)
        if len(trained) % epochs == 2:
            raise KeyboardInterrupt
        return epoch(self, item, *states)

    def parted(dataset, fragments, properties):
        """A kill between the commit of the change and that of the block that learnt with it."""
        if dataset.uri.endswith("memories.lance") and trained == ["shared", "shared", "shared"]:
            trained.append("parted")
            raise KeyboardInterrupt
        return commit(dataset, fragments, properties)

    monkeypatch.setattr(JobRunner, "epoch", broken)
    monkeypatch.setattr(blocks, "append", parted)
    for _ in range(50):
        with contextlib.suppress(KeyboardInterrupt):
            mnemic.build(recipe, device="cpu")
            break
    assert "parted" in trained and trained.count("shared") > 3
    assert mnemic.open_bank(recipe["bank"]).digest() == built.open().digest()


def test_banks_of_before_stay_done():
    fields = resolved_fields(TrainBlocks(shared_epochs=1), lambda address: "hash")
    assert "model_rate" not in {*fields, *TrainBlocks().identity()}
    assert resolved_fields(TrainBlocks(shared_epochs=1, model_rate=0.1), lambda address: "hash")["model_rate"] == 0.1
