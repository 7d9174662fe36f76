"""Drafts: generation with them says what it says without, and asks the model less often."""

import copy

import numpy as np
import pytest
import torch
from tiny_models import save_tiny_model

from mnemic import languagemodel
from mnemic.attach.host import Host
from mnemic.suffixes.drafts import SuffixDrafts
from mnemic.suffixes.index import SuffixIndex
from mnemic.suffixes.shard import Shard


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    model, _ = languagemodel.load(save_tiny_model(tmp_path_factory.mktemp("model")), "float32")
    return model


def prompt(seed, length=12):
    return torch.from_numpy(np.random.default_rng(seed).integers(1, 320, (1, length)))


def generated(model, ids, tokens=40, **settings):
    with torch.inference_mode():
        return model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, pad_token_id=0, **settings
        )


def passes(model, ids, **settings):
    """The output, and how often the model was often."""
    count = 0

    def counted(*_):
        nonlocal count
        count += 1

    hook = model.register_forward_pre_hook(counted)
    try:
        return generated(model, ids, do_sample=False, **settings), count
    finally:
        hook.remove()


def drafts_of(*texts):
    return SuffixDrafts(SuffixIndex([Shard.of([np.array(text) for text in texts], list("abcdef")[: len(texts)], 320)]))


@pytest.mark.parametrize("seed", range(4))
def test_greedy_output_is_the_one_without_drafts(model, seed):
    ids = prompt(seed)
    plain, often = passes(model, ids)
    other = np.random.default_rng(seed).integers(1, 320, 60)
    right = drafts_of(plain[0].tolist(), other)
    half = drafts_of(np.where(np.arange(plain.shape[1]) % 9 == 8, 5, plain[0].numpy()), other)
    for drafter in (right, half, drafts_of(other)):
        host = Host.of(model)
        with host.draft(drafter):
            output, fewer = passes(model, ids)
            assert torch.equal(output, plain)
            assert fewer <= often and (drafter is not right or fewer < often / 3)
            assert 0 <= host.drafts.accepted <= host.drafts.drafted
            if drafter is right:
                assert host.drafts.accepted + fewer == 40
    assert "_get_candidate_generator" not in model.__dict__ and "generate" not in model.__dict__


def test_what_is_not_assisted_is_generated_as_before(model):
    ids = prompt(9)
    pair = torch.cat([ids, prompt(10)])
    settings = ({"num_beams": 2}, {"do_sample": True}, {"use_cache": False}, {"cache_implementation": "static"})
    torch.manual_seed(0)
    before = [generated(model, ids, 8, **one) for one in settings] + [generated(model, pair, 8)]
    host = Host.of(model)
    with host.draft(drafts_of(before[0][0].tolist())):
        torch.manual_seed(0)
        after = [generated(model, ids, 8, **one) for one in settings] + [generated(model, pair, 8)]
        assert host.drafts.drafted == 0
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_limits_ends_and_copies_hold(model):
    ids = prompt(3)
    plain = generated(model, ids, 30)
    end = int(plain[0, ids.shape[1] + 9])
    drafter = drafts_of(plain[0].tolist())
    expected = [generated(model, ids, 30, eos_token_id=end), generated(model, ids, 7), generated(model, ids, 1)]
    host = Host.of(model)
    with host.draft(drafter):
        output = [generated(model, ids, 30, eos_token_id=end), generated(model, ids, 7), generated(model, ids, 1)]
        assert all(torch.equal(one, other) for one, other in zip(output, expected, strict=True))
        other = copy.deepcopy(model)
        assert torch.equal(generated(other, ids, 30), plain) and Host.of(other).drafts.accepted > 0
        assert Host.of(other) is not host
    assert torch.equal(generated(other, ids, 30), plain)


def test_a_draft_is_the_most_frequent_continuation():
    drafter = drafts_of([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 7], [1, 2, 3, 4, 8], [9, 2, 3, 9])
    assert drafter.draft(np.array([1, 2, 3]), 8).tolist() == [4, 5, 6]
    assert drafter.draft(np.array([7, 1, 2, 3]), 2).tolist() == [4, 5]
    assert drafter.draft(np.array([2, 3]), 8).tolist() == []  # too short a match
    assert drafter.draft(np.array([3, 4, 8]), 8).tolist() == []  # a document's end
    assert drafter.draft(np.array([]), 8).tolist() == [] and drafter.draft(np.array([300]), 8).tolist() == []


def test_tokens_that_a_model_lacks_are_not_proposed(model):
    ids = prompt(5)
    plain = generated(model, ids, 6)
    wide = Shard.of([np.array([*plain[0, : ids.shape[1]].tolist(), 999, 1000])], ["a"], 2000)
    with Host.of(model).draft(SuffixDrafts(SuffixIndex([wide]))):
        assert torch.equal(generated(model, ids, 6), plain)


@pytest.mark.parametrize("memories", [{}, "suffix", "mlp", ["mlp", "suffix"]], ids=str)
def test_a_bank_drafts_with_and_without_memories(tiny_full, memories):
    bank = tiny_full.open()
    model, tokenizer = languagemodel.load(bank.release.recipe["language_model"], "float32")
    text = bank.table("documents", ["text"])["text"][0].as_py()
    ids = tokenizer(text[:80], return_tensors="pt")["input_ids"]
    if memories == {}:
        plain = generated(model, ids, do_sample=False)
    else:
        with bank.attached(model, memories) as lm:
            plain = generated(lm, ids, do_sample=False)
    with bank.attached(model, memories, draft=True) as lm:
        assert torch.equal(generated(lm, ids, do_sample=False), plain)
        host = Host.of(lm)
        assert host.drafts.entries
    assert not Host.hosts(model) and "generate" not in model.__dict__
