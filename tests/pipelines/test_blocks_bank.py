"""A bank with feed-forward blocks: what the step trains, and what a model with them says."""

import contextlib
import copy
import json
import random

import numpy as np
import pytest
import torch
import transformers
from tiny_bank import WORDS, TinyBank
from tiny_models import save_tiny_model

import mnemic
from mnemic import languagemodel
from mnemic.attach import detach
from mnemic.attach.host import Host
from mnemic.blocks.layout import above
from mnemic.dataset import Store
from mnemic.errors import BankError, ModelError, QueryError
from operators.blocks.operator import TrainBlocks
from operators.blocks.plan import in_fallback
from operators.sentences import Sentences
from pipelines.evaluate.blocks import block_perplexities, routed_documents
from pipelines.evaluate.topics import shown_topics
from pipelines.identity import resolved_fields
from pipelines.recipe import load_recipe
from pipelines.steps import blocks, steps_of
from pipelines.steps.block_jobs import JobRunner

BLOCKS = {
    "min_tokens": 150,
    "rows": [4, 2],
    "layers": [1, 3],
    "stored": "float32",
    "control": True,
    "sequence": 48,
    "epochs": 2,
    "batch": 96,
    "learning_rate": 0.02,
    "dtype": "float32",
}
SECTIONS = (
    *("name", "bank", "fragment_characters", "sources", "embed", "segment", "cluster", "language_model"),
    *("split", "datastore", "blocks"),
)
"""Of the recipe: no other memory is trained."""

SPLIT = {"tokens": 6000, "held_out_tokens": 400, "min_characters": 100, "max_document_tokens": 64}
TEXT = "The table of a column is held by one writer, and the lease expires."
OTHER = "Token vector gradient of a layer. Window document sentence event boundary."


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    place = tmp_path_factory.mktemp("blocks")
    return TinyBank.build(place, SECTIONS, blocks=BLOCKS, split=SPLIT, datastore=False)


def ids_of(tokenizer, *texts):
    return torch.tensor([tokenizer(text)["input_ids"][:20] for text in texts])


def logits(model, ids):
    with torch.inference_mode():
        return model(input_ids=ids).logits


def leaves(bank, number=3):
    """Leaves with different blocks, the longest paths first."""
    memory = bank.memory("blocks")
    paths = {memory.path(leaf): leaf for leaf in sorted(memory.routes.paths)}
    return [paths[path] for path in sorted(paths, key=lambda path: (-len(path), path))][:number]


def by_hand(bank, model, leaf):
    """The model with the blocks of ``leaf`` as rows of its layers, each block entered alone."""
    memory, host = bank.memory("blocks"), Host.of(copy.deepcopy(model))
    for path in memory.path(leaf):
        block = memory.module.block(path)
        for number, layer in enumerate(memory.module.layout.layers):
            up, gate, down = block[number]
            host.widen(layer, up, gate, down)
    return host.model


def test_a_text_leads_where_a_document_of_it_went(bank, monkeypatch):
    """A topic is read of a document's units, not of its lines: hard line breaks stand in the middle of sentences."""
    documents = bank.table("documents", ["id", "text"]).to_pylist()
    sessions = bank.table("events", ["document", "cluster"], "level = 'session'").to_pylist()
    leaves = {row["document"]: row["cluster"] for row in sessions}
    texts = {one["id"]: one["text"] for one in documents if one["id"] in leaves}
    assert len(texts) == len(sessions) > 20
    routes = bank.memory("blocks").routes
    assert {name: routes.leaf(one) for name, one in texts.items()} == leaves
    encoder, pieces = routes._searcher.encoder, []
    encode = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda texts: (pieces.extend(texts), encode(texts))[1])
    text = f"Writer of a table\n-----------------\n{TEXT[:30]}\n{TEXT[30:]}\n\n:param lease: {OTHER}"
    routes.leaf(text)
    assert pieces == [text[start:end] for start, end in Sentences().ranges(text)]
    assert f"{TEXT[:30]}\n{TEXT[30:]}" in pieces


def test_every_node_with_enough_text_has_a_block_and_a_second_build_does_nothing(built, bank):
    rows = bank.table("blocks", ["path", "level", "rows", "job", "tokens", "steps", "layers"]).to_pylist()
    paths = {row["path"] for row in rows}
    assert {"fallback", "control"} < paths and {row["level"] for row in rows} == {0, 1, 2}
    assert all(row["rows"] == {0: 6, 1: 4, 2: 2}[row["level"]] for row in rows)
    assert all(row["job"] == (above(row["path"])[0] if row["level"] else row["path"]) for row in rows)
    assert all(set(above(path)[:-1]) <= paths for path in paths - {"fallback", "control"}), "no block without one above"
    assert all(row["layers"] == [1, 3] and row["steps"] >= 2 for row in rows)
    tokens = {row["path"]: row["tokens"] for row in rows}
    topics = sum(
        count for path, count in tokens.items() if path in {row["job"] for row in rows} - {"fallback", "control"}
    )
    assert tokens["control"] == topics > 10 * tokens["fallback"]
    assert mnemic.build(built.recipe, device="cpu").steps == ()
    info = bank.memory_info("blocks")
    assert (
        info.kind == info.owner == "blocks" and info.metrics["weight"] == 1.0 and info.metrics["rounding_loss"] == 0.0
    )
    curves = {row["metric"] for row in bank.table("metrics", ["metric"]).to_pylist()}
    assert {f"train_loss/{row['job']}" for row in rows} <= curves


@pytest.mark.slow
def test_jobs_in_another_order_make_the_same_bank(built, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "sorted", lambda names: sorted(names, reverse=True), raising=False)
    recipe = {**built.recipe, "bank": str(tmp_path / "bank")}
    mnemic.build(recipe, device="cpu")
    assert mnemic.open_bank(recipe["bank"]).digest() == built.open().digest()


def test_new_documents_train_the_jobs_that_they_are_of_and_no_other(built, tmp_path):
    recipe, corpus = built.copy_with_corpus(tmp_path)
    before, draw = built.open(), random.Random(7)
    for number in range(4):
        words = " ".join(draw.choices(WORDS, k=60))
        (corpus / "alpha" / f"more-{number}.txt").write_text(f"{words.capitalize()}.")
    mnemic.build(recipe, device="cpu")
    bank = mnemic.open_bank(recipe["bank"])
    states, after = (
        {row["path"]: row["state"] for row in one.table("blocks", ["path", "state"]).to_pylist()}
        for one in (before, bank)
    )
    stored, stored_after = (
        {row["id"] for row in one.table("documents", ["id"], "split = 'store'").to_pylist()} for one in (before, bank)
    )
    assert stored < stored_after, "some of the new documents are trained on"
    sessions = bank.table("events", ["document", "cluster"], "level = 'session'").to_pylist()
    leaf = {row["document"]: row["cluster"] for row in sessions}
    expected = set()
    for document in stored_after - stored:
        served = bank.memory("blocks").path(leaf[document])
        topics = {served[0], "control"} if served != ("fallback",) else set()
        expected |= {"fallback"} if in_fallback(0, document) else topics
    moved = {path for path in after if states.get(path) != after[path]}
    assert {above(path)[0] for path in moved} == expected
    assert moved < set(after)


@pytest.fixture(scope="module")
def begun(built, tmp_path_factory):
    """The recipe of the bank whose blocks begin with one of all topics."""
    recipe = built.copy(tmp_path_factory.mktemp("begun"))
    recipe["blocks"] = {**BLOCKS, "epochs": 3, "shared_epochs": 2, "shared_rate": 2.0}
    mnemic.build(recipe, device="cpu")
    return recipe


def test_blocks_begin_with_one_of_all_topics_at_the_cost_of_the_control(begun, bank):
    after = mnemic.open_bank(begun["bank"])
    rows = after.table("blocks", ["path", "job", "tokens", "metrics", "weights"]).to_pylist()
    before = {row["path"]: row["weights"] for row in bank.table("blocks", ["path", "weights"]).to_pylist()}
    assert {row["path"]: row["weights"] != before[row["path"]] for row in rows} == dict.fromkeys(before, True)
    costs = {row["job"]: json.loads(row["metrics"])["trained_tokens"] for row in rows}
    (control,) = (row["tokens"] for row in rows if row["path"] == "control")
    assert costs["control"] == sum(tokens for job, tokens in costs.items() if job.isdigit()) == 3 * control > 0
    points = after.table("metrics", ["metric", "epoch", "value"]).to_pylist()
    epochs = {job: max(one["epoch"] for one in points if one["metric"] == f"train_loss/{job}") for job in costs}
    assert epochs == {job: 3 if job == "fallback" else 1 for job in costs}
    rates = [(one["epoch"], one["value"]) for one in points if one["metric"] == "learning_rate/shared"]
    assert {epoch for epoch, _ in rates} == {1, 2} and max(rate for _, rate in rates) > 0.02
    assert after.table("memories", ["final"])["final"].to_pylist() == [True]


@pytest.mark.parametrize("epochs", [9, pytest.param(3, marks=pytest.mark.slow)])
def test_shared_blocks_in_any_order_and_after_any_break_end_with_the_same_bank(
    begun, built, tmp_path, monkeypatch, epochs
):
    """Of every so many epochs the second is broken off."""
    recipe = {**begun, "bank": built.copy(tmp_path)["bank"]}
    monkeypatch.setattr(blocks, "sorted", lambda names: sorted(names, reverse=True), raising=False)
    epoch, trained = JobRunner.epoch, []

    def broken(self, item, *states):
        trained.append(item.job.name)
        if len(trained) % epochs == 2:
            raise KeyboardInterrupt
        return epoch(self, item, *states)

    monkeypatch.setattr(JobRunner, "epoch", broken)
    for _ in range(50):
        with contextlib.suppress(KeyboardInterrupt):
            mnemic.build(recipe, device="cpu")
            break
    assert trained.count("shared") > 1 and len(trained) > 9
    assert mnemic.open_bank(recipe["bank"]).digest() == mnemic.open_bank(begun["bank"]).digest()


@pytest.mark.slow
def test_new_documents_train_all_that_began_with_the_shared_block(begun, built, tmp_path):
    recipe, corpus = built.copy_with_corpus(tmp_path)
    recipe["blocks"] = begun["blocks"]
    mnemic.build(recipe, device="cpu")
    before = {row["path"]: row["state"] for row in mnemic.open_bank(recipe["bank"]).table("blocks").to_pylist()}
    draw = random.Random(7)
    for number in range(4):
        (corpus / "alpha" / f"more-{number}.txt").write_text(f"{' '.join(draw.choices(WORDS, k=60)).capitalize()}.")
    mnemic.build(recipe, device="cpu")
    bank = mnemic.open_bank(recipe["bank"])
    moved = {row["path"] for row in bank.table("blocks").to_pylist() if before.get(row["path"]) != row["state"]}
    assert moved >= before.keys() - {"fallback"}
    mnemic.build({**recipe, "blocks": {**begun["blocks"], "seed": 1}}, device="cpu")
    mnemic.build(recipe, device="cpu")
    assert mnemic.open_bank(recipe["bank"]).digest() == bank.digest(), "trained from the start, they are the same"


def test_each_text_of_a_batch_has_its_own_blocks(bank, model, tokenizer):
    ids, ways = ids_of(tokenizer, TEXT, OTHER, TEXT), leaves(bank)
    assert len({bank.memory("blocks").path(leaf) for leaf in ways}) == 3
    expected = torch.cat([logits(by_hand(bank, model, leaf), row[None]) for leaf, row in zip(ways, ids, strict=True)])
    plain = logits(model, ids)
    host = Host.of(model)
    with bank.memory("blocks").at(*ways).enter(host, 1.0):
        together = logits(model, ids)
        with pytest.raises(ModelError, match="3 rows of a batch"):
            logits(model, ids[:2])
    assert torch.allclose(together, expected, atol=1e-5)
    assert (together - plain).abs().amax((1, 2)).min() > 1e-3
    host.close()
    assert torch.equal(logits(model, ids), plain)


def test_the_prompt_says_the_topic_and_a_caller_may(bank, model, tokenizer):
    memory, ids = bank.memory("blocks"), ids_of(tokenizer, TEXT, OTHER)
    own = [memory.routes.leaf(tokenizer.decode(row)) for row in ids]
    of_one = [memory.routes.leaf(OTHER)] * 2
    of_both = [memory.routes.leaf(text) for text in (OTHER, TEXT)]
    for topic, ways in ((None, own), (OTHER, of_one), ([OTHER, TEXT], of_both)):
        expected = [logits(by_hand(bank, model, leaf), row[None]) for leaf, row in zip(ways, ids, strict=True)]
        with bank.attached(model, "blocks", tokenizer=tokenizer, topic=topic) as lm:
            assert torch.allclose(logits(lm, ids), torch.cat(expected), atol=1e-5)
    with pytest.raises(ModelError, match="Only memories such as blocks have topics"):
        bank.attach(model, {}, topic=OTHER)


def test_weight_0_is_the_model_and_a_weight_scales(bank, model, tokenizer):
    ids = ids_of(tokenizer, TEXT)
    plain = logits(model, ids)
    bank.attach(model, {"blocks": 0}, tokenizer=tokenizer)
    assert torch.equal(logits(model, ids), plain)
    bank.attach(model, {"blocks": 0.5}, tokenizer=tokenizer)
    half = logits(model, ids)
    bank.attach(model, {"blocks": 1}, tokenizer=tokenizer)
    assert 0 < (half - plain).abs().max() < (logits(model, ids) - plain).abs().max()
    with pytest.raises(ModelError, match="from 0 to 1"):
        bank.attach(model, {"blocks": lambda places: places}, tokenizer=tokenizer)
    detach(model)
    assert torch.equal(logits(model, ids), plain)


def test_blocks_that_were_fetched_for_inference_serve_a_model_that_trains(bank, model, tokenizer):
    ids = ids_of(tokenizer, TEXT)
    with bank.attached(model, "blocks", tokenizer=tokenizer) as lm:
        inferred = logits(lm, ids)
        model.requires_grad_(True)
        trained = lm(input_ids=ids).logits
        trained.logsumexp(-1).sum().backward()
    assert torch.equal(trained, inferred)
    gradient = model.get_input_embeddings().weight.grad
    assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0


def test_generation_with_a_cache_and_beams_keeps_the_blocks_of_its_prompt(bank, model, tokenizer):
    ids, ways = ids_of(tokenizer, TEXT, OTHER), leaves(bank, 2)
    options = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    host = Host.of(model)
    for beams in (1, 3):
        with bank.memory("blocks").at(*ways).enter(host, 1.0):
            together = model.generate(ids, attention_mask=torch.ones_like(ids), num_beams=beams, **options)
        alone = [
            by_hand(bank, model, leaf).generate(
                row[None], attention_mask=torch.ones_like(row[None]), num_beams=beams, **options
            )
            for leaf, row in zip(ways, ids, strict=True)
        ]
        assert torch.equal(together, torch.cat(alone)), beams
    host.close()


def test_a_merged_checkpoint_says_what_the_attached_model_says(bank, model, tokenizer, tmp_path):
    ids, leaf = ids_of(tokenizer, TEXT, OTHER), leaves(bank, 1)[0]
    folder = bank.merge(model, tmp_path / "merged", node=leaf)
    for dtype, near in ((torch.float32, 1e-4), (torch.float64, 1e-10)):
        host = Host.of(model.to(dtype))
        with bank.memory("blocks").at(leaf).enter(host, 1.0):
            attached = logits(model, ids)
        merged = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        assert merged.config.intermediate_size == model.config.intermediate_size + 6
        assert (logits(merged, ids) - attached).abs().max() < near
    assert transformers.AutoTokenizer.from_pretrained(folder).get_vocab() == tokenizer.get_vocab()


def test_a_blocked_subtree_serves_no_text(bank, model, tokenizer):
    memory, leaf = bank.memory("blocks"), leaves(bank, 1)[0]
    first, second = memory.path(leaf)
    assert memory.without(second).path(leaf) == (first,)
    assert memory.without(first).path(leaf) == ()
    ids = ids_of(tokenizer, TEXT)
    plain = logits(model, ids)
    every = sorted({above(path)[0] for path in memory.module.paths if "." in path or path.isdigit()})
    bank.attach(model, "blocks", tokenizer=tokenizer, topic=TEXT, blocked=every)
    served = memory.path(memory.routes.leaf(TEXT))
    assert served == ("fallback",) or torch.equal(logits(model, ids), plain)
    detach(model)
    with pytest.raises(QueryError, match=r"no node '9\.9'"):
        memory.without("9.9")


def test_another_model_another_family_and_strange_numbers_are_refused(bank, built, tmp_path, tokenizer):
    memory = bank.memory("blocks")
    other = languagemodel.load(save_tiny_model(tmp_path / "other", seed=1), "float32")[0]
    with pytest.raises(ModelError, match="other weights"):
        bank.attach(other, "blocks")
    with pytest.raises(ModelError, match="other weights"):
        bank.merge(other, tmp_path / "merged", node="0")
    plain = languagemodel.load(save_tiny_model(tmp_path / "gpt2", "gpt2"), "float32")[0]
    with pytest.raises(ModelError, match="and the model's feed-forward layers have others"):
        memory.at("fallback").enter(Host.of(plain), 1.0)
    assert all(not one.mlp._forward_hooks for one in languagemodel.blocks(plain))
    with pytest.raises(BankError, match=r"no block '0\.0\.0\.0'"):
        memory.module.block("0.0.0.0")
    tables = bank.table("blocks", ["path", "weights"]).to_pylist()
    for row in tables:
        block = memory.module.block(row["path"])
        assert block.shape == (2, 3, memory.module.rows(row["path"]), 32)
        assert np.array_equal(np.frombuffer(row["weights"], "<f4"), block.numpy().ravel())


def test_the_step_says_why_it_is_to_run_again(built):
    store = Store(built.recipe["bank"])
    changed = {**built.recipe, "blocks": {**BLOCKS, "learning_rate": 0.01}}
    step = {one.name: one for one in steps_of(load_recipe(changed), "cpu")}["blocks"]
    status = step.state(store)
    assert status.kind == "stale" and status.reasons == ("blocks.learning_rate: 0.02 -> 0.01",)
    fields = resolved_fields(TrainBlocks(), lambda address: "hash")
    assert not {"shared_epochs", "shared_rate"} & {*fields, *TrainBlocks().identity()}, "banks of before stay done"
    assert resolved_fields(TrainBlocks(shared_epochs=1), lambda address: "hash")["shared_epochs"] == 1


def test_perplexity_is_of_what_stands_behind_the_prefix_that_routes(bank, model, tokenizer):
    memory = bank.memory("blocks")
    (one,) = [part for part in block_perplexities(bank, prefix=16) if part.part == "document"]
    documents = routed_documents(bank, memory, tokenizer, "split = 'test-document'", 16)
    losses = {"base": [], "fetched": [], "control": []}
    for document in documents:
        ids = torch.from_numpy(document.tokens.astype(np.int64))[None]
        assert document.leaf == memory.routes.leaf(tokenizer.decode(document.tokens[:16]))
        ways = {"fetched": document.leaf, "control": "control"}
        models = {"base": model} | {name: by_hand(bank, model, leaf) for name, leaf in ways.items()}
        for name, lm in models.items():
            logs = torch.log_softmax(logits(lm, ids)[0].double(), -1)
            losses[name] += (-logs[15:-1].gather(1, ids[0, 16:, None])[:, 0]).tolist()
    assert one.documents == len(documents) > 1 and one.tokens == len(losses["base"])
    assert one.base == pytest.approx(np.exp(np.mean(losses["base"])), rel=1e-4)
    for name in ("fetched", "control"):
        assert one.comparisons[name].perplexity.value == pytest.approx(np.exp(np.mean(losses[name])), rel=1e-4)
    ratio = np.exp(np.mean(losses["fetched"]) - np.mean(losses["control"]))
    assert one.generic.ratio.value == pytest.approx(ratio, rel=1e-4)
    assert sum(topic.tokens for topic in one.topics) == one.tokens
    text = "\n".join(shown_topics(one))
    assert "other topic" in text and "fetched, of control" in text
