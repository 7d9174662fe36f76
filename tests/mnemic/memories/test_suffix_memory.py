"""The suffix index as a memory: what a model says with it, in every way in which a model is asked."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from tiny_bank import TinyBank
from tiny_models import save_tiny_model

import mnemic
from mnemic import languagemodel
from mnemic.attach import detach
from mnemic.errors import ModelError, QueryError
from mnemic.memories.continuations import SuffixMemory
from mnemic.memories.held_out import HeldOutRows
from mnemic.mixture import mixture_nll, perplexity
from mnemic.splits import HELD_OUT, VALIDATION
from mnemic.suffixes import stored
from mnemic.suffixes.contexts import Contexts
from mnemic.suffixes.index import SuffixIndex
from mnemic.suffixes.shard import Shard
from mnemic.suffixes.stored import evaluated_index, index_of

GREEDY = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "max_new_tokens": 8}


@pytest.fixture(scope="module")
def indexed(tiny, tmp_path_factory):
    """The tiny bank with a suffix index in the place of the trained memory."""
    recipe = tiny.copy(tmp_path_factory.mktemp("suffix"))
    recipe |= {"suffixes": {"shard_tokens": 2000}, "imitate": False}
    mnemic.build(recipe, device="cpu")
    return TinyBank(recipe)


@pytest.fixture(scope="module")
def bank(indexed):
    return indexed.open()


@pytest.fixture(scope="module")
def loaded(indexed):
    return languagemodel.load(indexed.recipe["language_model"], "float32")


@pytest.fixture
def model(loaded):
    yield loaded[0]
    detach(loaded[0])


@pytest.fixture(scope="module")
def ids(bank, loaded):
    text = bank.table("documents", ["id", "text"]).sort_by("id")["text"][5].as_py()
    return loaded[1](text, return_tensors="pt")["input_ids"][:, :60]


@torch.inference_mode()
def log_probs(model, ids, **options):
    return torch.log_softmax(model(ids, **options).logits.double(), -1)


def by_hand(index: SuffixIndex, context: list[int], base: torch.Tensor, weight: float) -> torch.Tensor:
    """The mixture's probabilities after ``context``, float64 [vocabulary]."""
    following = index.continuations(index.matches(Contexts.of([context])))
    if not len(following.tokens):
        return base
    mixed = base * (1.0 - weight)
    for token, share in zip(following.tokens.tolist(), following.shares.tolist(), strict=True):
        mixed[token] += weight * share
    return mixed


def test_it_is_listed_with_its_tokenizer_alone(bank, loaded):
    info = bank.memory_info("suffix")
    assert info.kind == "suffix" and info.owner == "suffixes"
    assert info.lock == {"tokenizer": languagemodel.tokenizer_hash(loaded[1])}
    assert info.config["tokens"] == index_of(bank.view).places + len(bank.table("tokens", ["document"]))


def test_a_forward_pass_says_the_mixture_of_every_position(bank, model, ids):
    base = log_probs(model, ids).exp()
    bank.attach(model, "suffix", 0.4)
    with torch.inference_mode():
        mixed = model(ids).logits.double().exp()
    assert (mixed.sum(-1) - 1.0).abs().max() < 1e-5
    index = index_of(bank.view)
    for place in (0, 1, 7, 59):
        expected = by_hand(index, ids[0, : place + 1].tolist(), base[0, place].clone(), 0.4)
        assert torch.allclose(mixed[0, place], expected, atol=1e-6)


def test_the_mixture_sums_to_one_in_double_precision(bank, ids):
    answers = SuffixMemory(index_of(bank.view)).answers(ids.repeat(1, 2)[:, -64:].numpy(), 3)
    base = np.full(320, 1.0 / 320)
    for order in range(3):
        mixed = 0.25 * base
        first = answers.log_probs[0, order] > -np.inf
        assert first.all() or not first.any()
        tokens, place = np.unique(answers.tokens[0, order], return_index=True)
        np.add.at(mixed, tokens, 0.75 * np.exp(answers.log_probs[0, order].astype(np.float64))[place])
        assert abs(mixed.sum() - (1.0 if first.all() else 0.25)) < 1e-6


def test_weight_nothing_and_detaching_leave_the_model_bit_for_bit(bank, model, ids):
    before = model(ids).logits
    bank.attach(model, "suffix", 0.0)
    assert torch.equal(model(ids).logits, before)
    bank.attach(model, "suffix", 0.7)
    assert not torch.equal(model(ids).logits, before)
    detach(model)
    assert torch.equal(model(ids).logits, before)


def test_a_token_that_stands_nowhere_leaves_the_answer_to_the_model(bank, model, ids):
    strange = next(token for token in range(1, 320) if not index_of(bank.view).counts(Contexts.of([[token]]))[0])
    text = torch.cat([ids[:, :5], torch.tensor([[strange]])], 1)
    before = log_probs(model, text)
    bank.attach(model, "suffix", 0.9)
    assert torch.allclose(log_probs(model, text)[0, 5], before[0, 5], atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"num_beams": 2, "num_return_sequences": 2}])
def test_generation_is_the_same_with_a_cache_and_without(bank, model, ids, options):
    bank.attach(model, "suffix", 0.6)
    cached = model.generate(ids[:, :20], **GREEDY, **options)
    assert torch.equal(cached, model.generate(ids[:, :20], use_cache=False, **GREEDY, **options))
    detach(model)
    assert not torch.equal(cached, model.generate(ids[:, :20], **GREEDY, **options))


def test_rows_of_a_batch_are_apart_whatever_their_padding(bank, model, ids):
    bank.attach(model, "suffix", 0.6)
    batch, mask = torch.zeros(3, 30, dtype=torch.long), torch.zeros(3, 30, dtype=torch.long)
    lengths = (30, 11, 1)
    for row, length in enumerate(lengths):
        batch[row, 30 - length :], mask[row, 30 - length :] = ids[0, :length], 1
    together = model.generate(batch, attention_mask=mask, **GREEDY)
    for row, length in enumerate(lengths):
        assert torch.equal(together[row, 30:], model.generate(ids[:, :length], **GREEDY)[0, length:])


def test_a_text_read_in_pieces_is_read_as_a_whole(bank, model, ids):
    bank.attach(model, "suffix", 0.5)
    whole, first = log_probs(model, ids), model(ids[:, :25], use_cache=True)
    with torch.inference_mode():
        second = model(ids[:, 25:], past_key_values=first.past_key_values, use_cache=True, logits_to_keep=4)
    assert torch.allclose(torch.log_softmax(second.logits.double(), -1), whole[:, -4:], atol=1e-5)


def test_gradients_are_those_of_the_mixture_by_hand(bank, model, ids):
    bank.attach(model, "suffix", 0.5)
    embeddings = model.get_input_embeddings().weight
    embeddings.requires_grad_(True)
    try:
        model(ids, labels=ids).loss.backward()
        gradient = embeddings.grad.clone()
        embeddings.grad = None
        memory = bank.memory("suffix").module
        padded = torch.nn.functional.pad(ids, (63, 0), value=-1).unfold(1, 64, 1)[0]
        logs, tokens = memory.log_probs(padded)
        detach(model)
        base = torch.log_softmax(model(ids).logits[0].double(), -1).exp()
        dense = torch.zeros_like(base).scatter_(1, tokens, logs.double().exp())
        says = dense.sum(1, keepdim=True) > 0
        mixed = torch.where(says, 0.5 * base + 0.5 * dense, base)
        (-mixed[:-1].gather(1, ids[0, 1:, None]).log().mean()).backward()
        assert torch.allclose(gradient, embeddings.grad, atol=1e-5)
    finally:
        embeddings.requires_grad_(False)
        embeddings.grad = None


def test_it_is_attached_beside_another_and_tuned_with_it(bank, model, ids):
    weights = bank.tune(["suffix", "knn"])
    assert set(weights) == {"suffix", "knn"} and 0.0 < sum(weights.values()) <= 1.0
    bank.attach(model, ["suffix", "knn"])
    with torch.inference_mode():
        assert (model(ids).logits.double().exp().sum(-1) - 1.0).abs().max() < 1e-5
    bank.attach(model, "suffix", 0.5, skip=0.9)
    assert torch.isfinite(model(ids).logits).all()


def test_any_model_with_the_tokenizer_has_it_and_no_other(bank, loaded, ids, tmp_path):
    other = languagemodel.load(save_tiny_model(tmp_path / "gpt2", "gpt2", seed=9), "float32")[0]
    bank.attach(other, "suffix", 0.5)
    with torch.inference_mode():
        assert (other(ids).logits.exp().sum(-1) - 1.0).abs().max() < 1e-5
    bare = copy.deepcopy(other)
    detach(bare)
    del bare.__dict__["_mnemic_tokenizer"]
    with pytest.raises(ModelError, match="give `tokenizer=`"):
        bank.attach(bare, "suffix", 0.5)
    bank.attach(bare, "suffix", 0.5, tokenizer=loaded[1])
    changed = copy.deepcopy(loaded[1])
    changed.add_tokens(["<|new|>"])
    with pytest.raises(ModelError, match="another tokenizer"):
        bank.attach(bare, "suffix", 0.5, tokenizer=changed)


def test_documents_are_chosen_by_a_condition(bank, model, ids):
    alpha = {row["id"] for row in bank.table("documents", ["id"], {"collection": "alpha"}).to_pylist()}
    narrow = bank.memory("suffix").where({"collection": "alpha"}).module.index
    indexed = bank.table("tokens", ["document", "length"]).to_pylist()
    assert narrow.places == sum(row["length"] for row in indexed if row["document"] in alpha) > 0
    base = log_probs(model, ids).exp()
    bank.attach(model, "suffix", 0.4, where={"collection": "alpha"})
    with torch.inference_mode():
        mixed = model(ids).logits.double().exp()
    assert torch.allclose(mixed[0, 30], by_hand(narrow, ids[0, :31].tolist(), base[0, 30].clone(), 0.4), atol=1e-6)
    sql = bank.memory("suffix").where("length > 100").where({"collection": "alpha"}).module.index
    assert 0 < sql.places <= narrow.places
    with pytest.raises(QueryError, match="speaker"):
        index_of(bank.view, {"speaker": "Ada"})
    with pytest.raises(ModelError, match="cannot be narrowed"):
        bank.attach(model, "knn", 0.5, where={"collection": "alpha"})


def test_held_out_rows_are_scored_without_their_documents_and_what_holds_half_of_one(bank):
    rows = HeldOutRows.read(bank.view)
    index = evaluated_index(bank.view)
    inside = {name.as_py() for shard in index.shards for name in shard.documents.take(shard.document_of(shard.places))}
    documents = bank.table("documents", ["id", "split", "contained", "collection"]).to_pylist()
    held_out = [row for row in documents if row["split"] in HELD_OUT]
    collections = {row["collection"] for row in held_out if row["split"].endswith("collection")}
    left_out = {row["id"] for row in documents if row["collection"] in collections}
    left_out |= {row["id"] for row in documents if row["contained"] >= 0.5}
    assert held_out and collections and {row["id"] for row in held_out} < left_out and not inside & left_out
    assert inside == {row["document"] for row in bank.table("tokens", ["document"]).to_pylist()} - left_out
    evidence = bank.memory("suffix").evidence(rows, 3)
    text = {row["document"]: row["tokens"] for row in bank.table("tokens", ["document", "tokens"]).to_pylist()}
    scores = bank.memory("suffix").scores(rows)
    for number in range(0, len(rows), 37):
        row = rows.table.slice(number, 1).to_pylist()[0]
        context = text[row["document"]][: row["position"]]
        matches = index.matches(Contexts.of([context]), 3)
        assert matches.lengths[0].tolist() == evidence.lengths[number].tolist()
        assert matches.counts[0].tolist() == evidence.counts[number].tolist()
        following = index.continuations(index.matches(Contexts.of([context])))
        share = dict(zip(following.tokens.tolist(), following.shares.tolist(), strict=True)).get(row["token"], 0.0)
        expected = (math.log(share) if share else -math.inf) if len(following.tokens) else row["base_logprob"]
        assert scores[number] == pytest.approx(expected)
        assert evidence.single[number, 0] == (len(following.tokens) == 1)
        assert evidence.largest[number, 0] == pytest.approx(max(following.shares, default=0.0))
    assert perplexity(mixture_nll(rows.base, scores, 0.5)) < perplexity(-rows.base)


def test_a_document_that_holds_a_held_out_one_is_attached_and_not_evaluated(indexed, tmp_path):
    """Its Jaccard similarity is below the threshold of every other check."""
    settings, corpus = indexed.copy_with_corpus(tmp_path)
    before = mnemic.open_bank(settings["bank"])
    held_out = before.table("documents", ["text"], f"split IN {HELD_OUT}")["text"][0].as_py()
    others = " ".join(f"Sentence {number} of another text." for number in range(200))
    (corpus / "alpha" / "container.txt").write_text(f"{others} {held_out} {others}")
    mnemic.build(settings, device="cpu", engine="inline")
    bank = mnemic.open_bank(settings["bank"])
    (container,) = bank.table(
        "documents", ["id", "contained", "duplicate_of"], "locator LIKE '%container.txt'"
    ).to_pylist()
    assert container["duplicate_of"] == "" and container["contained"] >= 0.9

    def holds(index: SuffixIndex) -> bool:
        documents = {
            one.as_py() for shard in index.shards for one in shard.documents.take(shard.document_of(shard.places))
        }
        return container["id"] in documents

    assert holds(index_of(bank.view)) and not holds(evaluated_index(bank.view))


def test_rows_of_some_documents_have_the_contexts_that_all_rows_have(bank):
    whole = HeldOutRows.read(bank.view)
    document = whole.table["document"][len(whole) // 2].as_py()
    some = HeldOutRows.read(bank.view, f"{VALIDATION} AND document = '{document}'")
    mine = np.array(whole.table["document"].to_pylist()) == document
    memory = bank.memory("suffix")
    assert np.array_equal(memory.scores(some), memory.scores(whole)[mine])


def test_an_index_too_large_for_memory_is_mapped_and_answers_the_same(indexed, tmp_path, monkeypatch, ids):
    settings = indexed.copy(tmp_path)
    expected = index_of(indexed.open().view).counts(Contexts.up_to_each(ids[0].numpy(), 4))
    monkeypatch.setattr(stored, "IN_MEMORY", 0)
    moved = mnemic.open_bank(settings["bank"])
    assert np.array_equal(index_of(moved.view).counts(Contexts.up_to_each(ids[0].numpy(), 4)), expected)
    assert isinstance(index_of(moved.view).shards[0].places, np.memmap)


def test_a_memory_is_copied_without_its_index(bank):
    memory = bank.memory("suffix").where({"collection": "alpha"})
    assert memory.module.index.places
    again = pickle.loads(pickle.dumps(memory))
    assert "module" not in vars(again) and again.module.index.places == memory.module.index.places


def test_a_vocabulary_that_the_model_does_not_have_is_refused(loaded):
    from mnemic.attach import Host

    index = SuffixIndex([Shard.of([np.array([1, 500])], ["a"], 600)])
    with pytest.raises(ModelError, match="says tokens from 0 to 500"):
        Host.of(loaded[0]).mix(SuffixMemory(index), 0.5)
    detach(loaded[0])
