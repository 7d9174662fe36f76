"""A gate: its mixture is one, it is trained the same each time, and it is used only where it is better."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise

import numpy as np
import pytest

from mnemic.errors import MnemicError
from mnemic.memories.gate import Gate, ScoredRows, fixed_losses, losses
from mnemic.memories.gate_training import GateSettings, best_fixed, cross_validated, loss_and_gradients, train, weigh
from mnemic.mixture import mixture_nll, perplexity

ROWS, DOCUMENTS = 600, 20


def drawn(telling: bool, seed: int = 0, rows: int = ROWS) -> ScoredRows:
    """A memory that is right on half of the rows and worthless on the others; a feature says which, or is noise."""
    draw = np.random.default_rng(seed)
    right = draw.random(rows) < 0.5
    base = np.log(draw.uniform(0.05, 0.4, rows))
    memory = np.where(right, np.log(draw.uniform(0.5, 0.95, rows)), np.log(1e-4))
    signal = right + draw.normal(0, 0.3, rows) if telling else draw.normal(size=rows)
    features = np.stack([signal, draw.normal(size=rows) * 100.0], axis=1)
    document = np.sort(draw.integers(0, DOCUMENTS, rows)).astype(str)
    return ScoredRows(
        ("base", "memory"), ("memory.largest", "noise"), np.stack([base, memory], axis=1), features, document
    )


@pytest.mark.parametrize("units", [0, 16])
def test_a_feature_that_tells_where_the_memory_is_right_is_worth_more_than_any_fixed_weight(units):
    weighing = weigh(drawn(True), GateSettings(units))
    assert weighing.gate is not None and weighing.gated < 0.9 * weighing.fixed
    other = drawn(True, seed=1)
    assert losses(weighing.gate, other).mean() < fixed_losses(weighing.weights, other.logs).mean() - 0.1
    assert (weighing.rows, weighing.documents) == (ROWS, DOCUMENTS) and "better" in weighing.reason


def test_features_that_say_nothing_leave_the_weights_fixed():
    """A gate with many units and no decay learns them by heart, and is worse on documents left out."""
    sample = drawn(False, rows=200)
    draw = np.random.default_rng(3)
    noise = dataclasses.replace(sample, features=draw.normal(size=(200, 30)), names=tuple(f"f{n}" for n in range(30)))
    settings = GateSettings(units=32, decay=0.0)
    weighing = weigh(noise, settings)
    assert weighing.gate is None and weighing.gated > weighing.fixed and "no better" in weighing.reason
    learnt = train(noise, weighing.weights, settings)
    assert losses(learnt, noise).mean() < fixed_losses(weighing.weights, noise.logs).mean(), "it knew the rows"
    np.testing.assert_array_equal(weighing.losses(noise), fixed_losses(weighing.weights, noise.logs))


@pytest.mark.parametrize("telling", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_what_is_chosen_is_never_worse_than_fixed_weights_in_cross_validation(telling):
    for seed in range(5):
        sample = drawn(telling, seed, 300)
        fixed, gated = cross_validated(sample, GateSettings())
        weighing = weigh(sample)
        assert weighing.fixed == perplexity(fixed) and weighing.gated == perplexity(gated)
        assert min(weighing.fixed, weighing.gated) == (weighing.fixed if weighing.gate is None else weighing.gated)


def test_cross_validation_leaves_out_whole_documents():
    """Against the definition: rows of a fold are scored by what was trained without any row of their documents."""
    sample, settings = drawn(True, rows=150), GateSettings(units=0, folds=3)
    fixed, gated = cross_validated(sample, settings)
    names = np.unique(sample.document)
    fold = dict(zip(np.random.default_rng(0).permutation(len(names)).tolist(), np.arange(len(names)) % 3, strict=True))
    number = np.array([fold[int(np.flatnonzero(names == name)[0])] for name in sample.document])
    for one in range(3):
        rest, out = sample.rows(number != one), sample.rows(number == one)
        assert not set(rest.document) & set(out.document)
        weights = best_fixed(rest)
        np.testing.assert_allclose(fixed[number == one], fixed_losses(weights, out.logs), rtol=1e-12)
        np.testing.assert_allclose(gated[number == one], losses(train(rest, weights, settings), out), rtol=1e-12)


def test_one_document_is_too_few_for_a_gate():
    sample = dataclasses.replace(drawn(True), document=np.full(ROWS, "a"))
    weighing = weigh(sample)
    assert weighing.gate is None and weighing.weights == best_fixed(sample) and "Too few" in weighing.reason


def test_equal_rows_give_equal_bytes_with_any_number_of_threads(two_threads):
    import torch

    sample = drawn(True)
    gate = train(sample, (0.3,))
    torch.set_num_threads(1)
    assert train(drawn(True), (0.3,)).as_json() == gate.as_json()
    assert train(sample, (0.3,), GateSettings(seed=1)).as_json() != gate.as_json()


def test_training_is_never_worse_on_its_rows_than_the_weights_that_it_begins_with():
    for seed in range(5):
        sample = drawn(bool(seed % 2), seed)
        weights = best_fixed(sample)
        assert losses(train(sample, weights), sample).mean() <= fixed_losses(weights, sample.logs).mean() + 1e-9


@pytest.mark.parametrize("units", [0, 4])
def test_the_gradient_is_that_of_the_loss(units):
    import torch

    sample = drawn(True, rows=50)
    draw = np.random.default_rng(0)
    sizes = [2, *([units] if units else []), 2]
    shapes = [shape for pair in pairwise(sizes) for shape in (pair, pair[1:])]
    layers = [torch.from_numpy(draw.normal(size=shape)).requires_grad_() for shape in shapes]
    inputs, logs = torch.from_numpy(draw.normal(size=(50, 2))), torch.from_numpy(sample.logs)
    *hidden, last, bias = layers
    state = torch.tanh(inputs @ hidden[0] + hidden[1]) if hidden else inputs
    loss = -torch.logsumexp(torch.log_softmax(state @ last + bias, 1) + logs, 1).mean()
    loss = loss + 0.01 * sum((layer**2).sum() for layer in layers[::2])
    loss.backward()
    value, gradients = loss_and_gradients([layer.detach() for layer in layers], inputs, logs.exp(), 0.01)
    torch.testing.assert_close(value, loss.detach())
    for layer, gradient in zip(layers, gradients, strict=True):
        torch.testing.assert_close(gradient, layer.grad)


def test_the_gradient_reached_a_minimum_of_the_definition():
    """No small change of a linear gate is better, computed in float64 by hand."""
    sample, settings = drawn(True, rows=200), GateSettings(units=0, steps=1000)
    gate = train(sample, (0.3,), settings)
    (weights, bias), state = gate.layers[0], (sample.features - sample.features.mean(0)) / sample.features.std(0)

    def loss(weights, bias):
        logits = state @ weights + bias
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        return -np.log((shares * np.exp(sample.logs)).sum(1)).mean() + settings.decay * (weights**2).sum()

    best, draw = loss(weights, bias), np.random.default_rng(0)
    for _ in range(50):
        assert loss(weights + draw.normal(0, 0.01, weights.shape), bias + draw.normal(0, 0.01, bias.shape)) > best


@pytest.mark.parametrize("units", [0, 16])
def test_the_mixture_sums_to_one_in_float64(units):
    sample = drawn(True)
    gate = train(sample, (0.3,), GateSettings(units))
    shares = gate.shares(sample.features)
    assert shares.dtype == np.float64 and (shares >= 0).all()
    draw = np.random.default_rng(0)
    distributions = draw.dirichlet(np.full(50, 0.1), size=(ROWS, 2))
    mixed = np.einsum("nc,ncv->nv", shares, distributions)
    np.testing.assert_allclose(mixed.sum(1), 1.0, rtol=0, atol=1e-12)
    token = draw.integers(0, 50, ROWS)
    with np.errstate(divide="ignore"):
        logs = np.log(distributions[np.arange(ROWS), :, token])
    np.testing.assert_allclose(
        losses(gate, dataclasses.replace(sample, logs=logs)), -np.log(mixed[np.arange(ROWS), token]), rtol=1e-9
    )


def test_fixed_losses_are_those_of_the_mixture_and_one_who_does_not_know_a_token_has_none_of_it():
    sample = drawn(True)
    logs = sample.logs.copy()
    logs[::7, 1] = -np.inf
    np.testing.assert_allclose(fixed_losses((0.4,), logs), mixture_nll(logs[:, 0], logs[:, 1], 0.4), rtol=1e-12)
    np.testing.assert_array_equal(fixed_losses((0.0,), logs), -logs[:, 0])


def test_a_stored_gate_is_the_gate_and_a_damaged_one_is_refused():
    gate = train(drawn(True), (0.3,))
    read = Gate.from_json(gate.as_json())
    np.testing.assert_array_equal(read.shares(drawn(True).features), gate.shares(drawn(True).features))
    facts = json.loads(gate.as_json())
    damages = (
        {"format": "other"},
        {"components": ["memory", "base"]},
        {"components": ["base"]},
        {"deviation": [0.0, 1.0]},
        {"mean": [float("nan"), 0.0]},
        {"mean": [0.0]},
        {"layers": []},
        {"layers": [{"weights": [[1.0]], "bias": [1.0]}]},
        {"layers": [{"weights": "x"}]},
        {"features": 3},
    )
    for damage in damages:
        with pytest.raises(MnemicError, match="gate"):
            Gate.from_json(json.dumps({**facts, **damage}))
