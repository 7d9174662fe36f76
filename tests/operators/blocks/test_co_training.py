"""Matrices of the model that learn with the shared block, and blocks that are trained beside their change."""

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_block_training import JOBS, LAYERS, LENGTH, loaded, one_for_all, settings, text

from mnemic import languagemodel
from mnemic.attach.feedforward import PARTS, Projections
from mnemic.blocks.layout import MODEL, SHARED
from operators.blocks.frozen import FrozenModel
from operators.blocks.packing import packed
from operators.blocks.student import BlockStudent
from operators.blocks.training import BlockTraining, ModelShape

RATE = 0.25


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return loaded(tmp_path_factory.mktemp("model"))


def together():
    """The text of all topics, for the shared block."""
    tokens = [one.tokens[one.part >= 0] for one in map(text, JOBS)]
    return packed({(SHARED,): tokens}, LENGTH)


def shared(model, own, state=None, epochs=None, rate=RATE):
    """The last checkpoint of the shared block and of the change, and their training."""
    frozen, sequences = FrozenModel(model, LAYERS), together()
    training = BlockTraining(own, frozen, {SHARED: 4}, sequences, state, rate)
    with frozen.states(sequences) as states:
        *_, last = itertools.islice(training.epochs(states, lambda done, total: None), epochs)
    return last, training


def drawn(model, spread=0.05):
    """A change of all parts, [layers, parts, inner, hidden]."""
    shape = ModelShape.of(model, LAYERS)
    size = (len(LAYERS), 3 if shape.gated else 2, shape.inner, shape.width)
    return spread * torch.randn(size, generator=torch.Generator().manual_seed(3))


def changed_by_hand(model, change):
    """A copy whose own weights have the change."""
    other = copy.deepcopy(model)
    for layer, parts in zip(LAYERS, change, strict=True):
        projections = Projections.of(languagemodel.blocks(other)[layer])
        for name, part in zip(PARTS[projections.gate is not None], parts, strict=True):
            module = getattr(projections, name)
            turned = (name == "down") != (type(module).__name__ == "Conv1D")
            module.weight.data += part.T if turned else part
    return other


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_a_changed_model_is_the_one_whose_weights_have_the_change(tmp_path, family):
    model = loaded(tmp_path, family).double()
    frozen, sequences, change = FrozenModel(model, LAYERS), text("0"), drawn(model).double()
    hand, every = FrozenModel(changed_by_hand(model, change), LAYERS), np.arange(len(text("0")))
    ids = torch.from_numpy(sequences.tokens.astype(np.int64))
    with torch.no_grad():
        entering = ids if frozen.first == 0 else frozen.below(sequences, every).clone()
        plain = frozen.above(entering, sequences, every)
        changed = frozen.changed(change).above(entering, sequences, every)
        assert torch.allclose(changed, hand.above(entering, sequences, every), atol=1e-10)
        assert (changed - plain).abs().max() > 1e-2
        assert torch.equal(frozen.above(entering, sequences, every), plain), "the model itself stays"
        nothing = frozen.changed(torch.zeros_like(change)).above(entering, sequences, every)
    assert torch.equal(nothing, plain)


def test_the_change_begins_at_nothing_and_learns_while_the_model_stays(model):
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    own = settings(epochs=6, learning_rate=0.02)
    untrained = BlockTraining(own, FrozenModel(model, LAYERS), {SHARED: 4}, together(), None, RATE)
    assert not untrained.memory.block(MODEL).any()
    last, training = shared(model, own)
    alone, _ = shared(model, own, rate=0.0)
    assert training.memory.block(MODEL).abs().amax((2, 3)).min() > 0
    assert last.metrics["train_loss"] < alone.metrics["train_loss"], "more weights fit the text better"
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert training.stored == [MODEL] and training.tokens(MODEL) == training.tokens(SHARED)
    assert training.memory.steps_of(MODEL) == training.memory.steps_of(SHARED) > 6


def test_the_first_step_moves_the_model_by_its_share_of_the_rate(model):
    own = settings(epochs=1, batch=10_000, warmup=0, learning_rate=0.01, weight_decay=0.0)
    for rate in (0.5, 0.01):
        _, training = shared(model, own, rate=rate)
        moved = training.memory.block(MODEL).abs()
        assert moved.max() == pytest.approx(0.01 * rate, rel=1e-2), "Adam's first step is its rate"


def test_the_shared_block_of_a_changed_model_is_what_others_begin_with(model):
    last, training = shared(model, settings(learning_rate=0.02))
    frozen = FrozenModel(model, LAYERS).changed(training.memory.block(MODEL))
    topic = BlockTraining(settings(), frozen, JOBS["0"], text("0"))
    topic.begin_with(last.state)
    assert torch.equal(topic.memory.block("0"), training.memory.block(SHARED))
    sequences = together()
    hung = replace(sequences, paths=(("0",),) * len(sequences))
    plain = training.model
    with plain.states(sequences) as states, torch.no_grad():
        beside = BlockStudent(settings(), topic.memory, frozen, hung, states)
        learning = BlockStudent(settings(), training.memory, plain, sequences, states)
        for number in np.arange(len(sequences))[:, None]:
            assert torch.allclose(beside.trunk(number), learning.trunk(number), atol=1e-6)
        exact = settings(stored="float32", model_rate=1.0, shared_epochs=1)
        layout = ModelShape.of(model, LAYERS).layout(exact, (4, 2))
        assert training.rounding_loss(states, layout) == pytest.approx(0.0, abs=1e-6)
        numbers = layout.numbers(layout.inner)
        assert learning.flops - beside.flops == pytest.approx(2.0 * learning.rows * numbers), (
            "it learns, and there stays"
        )


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_a_training_of_the_model_that_was_broken_off_ends_with_the_same_bytes(model, optimiser):
    own = settings(optimiser=optimiser, epochs=3)
    whole, _ = shared(model, own)
    first, _ = shared(model, own, epochs=1)
    second, _ = shared(model, own, state=first.state, epochs=1)
    last, _ = shared(model, own, state=second.state)
    assert last.epoch == whole.epoch == 3
    assert last.state == whole.state


def test_jobs_apart_beside_a_changed_model_are_one_job_bit_for_bit(model):
    own, frozen = settings(learning_rate=0.01), FrozenModel(model, LAYERS).changed(drawn(model))
    whole, _ = one_for_all(frozen, own)
    plain, _ = one_for_all(FrozenModel(model, LAYERS), own)
    for job, blocks in JOBS.items():
        sequences = text(job)
        training = BlockTraining(own, frozen, blocks, sequences)
        with frozen.states(sequences) as states:
            for _ in training.epochs(states, lambda done, total: None):
                pass
        for path in blocks:
            assert torch.equal(training.memory.block(path), whole.block(path)), path
            assert not torch.equal(training.memory.block(path), plain.block(path))
