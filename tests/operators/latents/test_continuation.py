"""Continuations sampled abreast: against the model that reads each sequence alone behind the text."""

import pytest
import torch
from tiny_models import save_tiny_model

from mnemic import languagemodel
from operators.latents import continuation
from operators.latents.continuation import continued
from operators.latents.reader import BehindRows
from operators.latents.study import targeted

TEXT = torch.arange(20, 60)
BEGINS = [[70], [71, 72, 73], [74, 75], [76] * 9, [77]]
LENGTH, TOP = 7, 5


@pytest.fixture(scope="module", params=["llama", "qwen3", "gpt_neox"])
def reader(request, tmp_path_factory):
    model, _ = languagemodel.load(save_tiny_model(tmp_path_factory.mktemp("model"), request.param), "float32")
    return BehindRows(model)


@pytest.fixture(scope="module")
def teacher(reader):
    return reader.standing(reader.rows_of(TEXT))


def sampled(reader, teacher, begins, seed=3):
    return continued(reader, teacher, begins, LENGTH, TOP, torch.Generator().manual_seed(seed))


def live(model, ids):
    """Log-probabilities of what follows each of ``ids`` [t] behind the text, by one pass over both."""
    with torch.inference_mode():
        logits = model(input_ids=torch.cat([TEXT, ids])[None]).logits[0, len(TEXT) :]
    return torch.log_softmax(logits.float(), -1)


def test_each_sequence_begins_as_it_was_asked_to(reader, teacher):
    tokens = sampled(reader, teacher, BEGINS).tokens
    assert tokens.shape == (len(BEGINS), LENGTH) and int(tokens.min()) >= 0
    for row, begin in zip(tokens.tolist(), BEGINS, strict=True):
        assert row[: len(begin)] == begin[:LENGTH]


def test_targets_are_those_of_the_model_that_reads_the_sequence_alone(reader, teacher):
    study = sampled(reader, teacher, BEGINS)
    for row, tokens in enumerate(study.tokens):
        values, ids = live(reader.model, tokens[:-1]).topk(TOP, -1)
        probs = values.exp() / values.exp().sum(-1, keepdim=True)
        assert torch.equal(study.top[row], ids)
        torch.testing.assert_close(study.probs[row], probs, atol=1e-4, rtol=0)
    again = targeted(reader, teacher, study.tokens, TOP)
    torch.testing.assert_close(study.probs, again.probs, atol=1e-4, rtol=0)


def test_tokens_are_drawn_from_the_distribution_of_the_model_that_has_the_text(reader, teacher):
    draw, tokens = torch.Generator().manual_seed(11), [70]
    for _ in range(LENGTH - 1):
        expected = live(reader.model, torch.tensor(tokens))[-1].exp()
        tokens.append(int(torch.multinomial(expected, 1, generator=draw)))
    assert sampled(reader, teacher, [[70]], seed=11).tokens[0].tolist() == tokens


def test_few_sequences_stand_abreast_and_all_are_read_behind_the_text(reader, teacher, monkeypatch):
    monkeypatch.setattr(continuation, "_ABREAST", 2)
    widths, abreast = [], reader.abreast
    monkeypatch.setattr(reader, "abreast", lambda ids, *rest: widths.append(len(ids)) or abreast(ids, *rest))
    study = sampled(reader, teacher, BEGINS)
    assert widths == [2] * 12 + [1] * 6
    again = targeted(reader, teacher, study.tokens, TOP)
    assert torch.equal(study.top, again.top)


def test_the_same_seed_draws_the_same(reader, teacher):
    one, other, third = (sampled(reader, teacher, BEGINS, seed) for seed in (1, 1, 2))
    assert torch.equal(one.tokens, other.tokens) and not torch.equal(one.tokens, third.tokens)
