"""Training of slots: against the model itself, a dense Adam, a larger table, and an undisturbed training."""

import itertools

import numpy as np
import pytest
import torch
from tiny_models import save_tiny_model

from mnemic import languagemodel
from mnemic.attach.trail import NO_TOKEN
from mnemic.slots.finders import usage
from mnemic.slots.layout import EXPERTS, LAYOUTS, NGRAMS, PRODUCT_KEYS
from operators.blocks.frozen import FrozenModel
from operators.blocks.packing import packed
from operators.blocks.sequences import mean_loss
from operators.slots import table as table_module
from operators.slots.operator import TrainSlots
from operators.slots.row_adam import BETAS, EPSILON, RowAdam
from operators.slots.student import contexts_of
from operators.slots.table import TrainedTable
from operators.slots.training import PATH, SlotTraining, layout_of
from operators.train.group import SingleProcess
from operators.train.loop import make_optimisers, training_step

LENGTH = 24


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = save_tiny_model(tmp_path_factory.mktemp("model"))
    return languagemodel.load(folder, "float32")


def text(seed: int = 0, low: int = 1, high: int = 320):
    draw = np.random.default_rng(seed)
    sizes = (9, 31, 14, 5, 20, 24, 17, 12)
    return packed({PATH: [draw.integers(low, high, size).astype(np.int32) for size in sizes]}, LENGTH)


def settings(layout=PRODUCT_KEYS, **changes):
    own = {"slots": 64, "layers": (1, 3), "heads": 2, "top": 4, "key": 8, "value": 8, "sequence": LENGTH, "epochs": 2}
    return TrainSlots(**{**own, "batch": 48, "warmup": 2, "dtype": "float32", "layout": layout, **changes})


def opened(loaded, own, sequences=None, state=None):
    model, tokenizer = loaded
    frozen = FrozenModel(model, layout_of(own, model).layers)
    return SlotTraining(own, frozen, tokenizer, text() if sequences is None else sequences, state)


def trained(loaded, own, sequences=None, state=None, epochs=None):
    training = opened(loaded, own, sequences, state)
    with training.model.states(training.sequences) as states:
        *_, last = itertools.islice(training.epochs(states, lambda done, total: None), epochs)
    return last, training


@pytest.mark.parametrize("layout", LAYOUTS)
def test_untrained_slots_leave_the_model_as_it_is_bit_for_bit(loaded, layout):
    training = opened(loaded, settings(layout))
    sequences, frozen, every = training.sequences, training.model, np.arange(len(training.sequences))
    with frozen.states(sequences) as states, torch.no_grad():
        student = training.student(states)
        for inputs, labels in student.passes(every):
            hidden = frozen.above(states.of(inputs), sequences, inputs)
            assert torch.equal(student.trunk(inputs), hidden[torch.from_numpy(sequences.predicting[inputs])])
            assert len(labels.ids) == int(sequences.predicting[inputs].sum())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_slots_learn_their_text_and_say_how_they_are_used(loaded, layout):
    own = settings(layout, epochs=12, learning_rate=0.02, value_rate=0.02, stored="float16")
    training = opened(loaded, own)
    with training.model.states(training.sequences) as states:
        *checkpoints, last = list(training.epochs(states, lambda done, total: None))
        assert abs(training.rounding_loss(states)) < 0.05
    assert last.metrics["train_loss"] < checkpoints[0].metrics["train_loss"] - 0.3
    assert 0 < last.metrics["slot_usage"] <= 1 and 0 < last.metrics["top_slot_share"] < 1
    assert last.metrics["fetched_parameters"] < last.metrics["parameters"]
    assert last.metrics["training_flops"] > 0


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_a_training_that_was_broken_off_ends_with_the_same_bytes(loaded, layout, optimiser):
    own = settings(layout, optimiser=optimiser, epochs=3, learning_rate=0.01, value_rate=0.01)
    whole, training = trained(loaded, own)
    first, _ = trained(loaded, own, epochs=1)
    second, _ = trained(loaded, own, state=first.state, epochs=1)
    last, resumed = trained(loaded, own, state=second.state)
    assert last.epoch == whole.epoch == 3
    assert last.state == whole.state and last.weights == whole.weights and last.metrics == whole.metrics
    for one, other in zip(resumed.memory.table.parts, training.memory.table.parts, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_that_did_not_fire_keep_their_bytes(loaded, layout):
    training = opened(loaded, settings(layout, slots=4096, value_rate=0.05, learning_rate=0.05, weight_decay=0.1))
    table = training.memory.table
    before = [part.clone() for part in table.parts]
    with training.model.states(training.sequences) as states:
        list(training.epochs(states, lambda done, total: None))
    moved = torch.stack([(one != other).any(1) for one, other in zip(table.parts, before, strict=True)]).any(0)
    assert 0 < int(moved.sum()) < 4096
    assert not bool((moved & ~table.touched).any())
    state = training.memory.state_dict()
    assert len(state["values"]) == int(table.touched.sum()) < 4096, "a checkpoint has the rows that fired"


def test_a_row_moves_as_adam_moves_a_weight_in_the_steps_in_which_it_fires():
    layout = settings(EXPERTS).layout_for(8, 4, 320)
    table = TrainedTable(layout)
    table.start(0, 0.5)
    optimiser = RowAdam(table, 0.1)
    rows = [torch.nn.Parameter(table.values(torch.tensor([slot]))[0].clone()) for slot in range(6)]
    dense = [torch.optim.Adam([row], lr=0.1, betas=BETAS, eps=EPSILON) for row in rows]
    draw = np.random.default_rng(0)
    for _ in range(9):
        fired = [torch.from_numpy(draw.integers(0, 6, (4, 3))) for _ in range(2)]  # of two layers
        factors = [torch.from_numpy(draw.normal(size=(4, 3, 8)).astype(np.float32)) for _ in range(2)]
        optimiser.zero_grad()
        for one in dense:
            one.zero_grad()
        loss = dense_loss = torch.zeros(())
        for slots, factor in zip(fired, factors, strict=True):
            vectors, places = table.fetch(slots)
            loss = loss + (vectors[0][places] * factor).sum() + (vectors[1][places] * factor).square().sum()
            own = torch.stack([torch.stack([rows[slot] for slot in row]) for row in slots.tolist()])
            dense_loss = dense_loss + (own[..., 0, :] * factor).sum() + (own[..., 1, :] * factor).square().sum()
        loss.backward()
        dense_loss.backward()
        optimiser.step()
        for slot in {int(slot) for slots in fired for slot in slots.flatten()}:
            dense[slot].step()
    assert torch.allclose(table.values(torch.arange(6)), torch.stack([row.detach() for row in rows]), atol=1e-5)
    assert int(table.uses[:6].sum()) == 9 * 24


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_that_move_in_pieces_have_the_bits_of_rows_that_move_at_once(loaded, layout, monkeypatch):
    own, values = settings(layout, slots=256, heads=4, value_rate=0.05, weight_decay=0.1), []
    for numbers in (1 << 20, 1):
        monkeypatch.setattr(table_module, "_PIECE", numbers)
        training = opened(loaded, own)
        training.memory.table.open = torch.arange(256) % 7 != 0
        with training.model.states(training.sequences) as states:
            list(training.epochs(states, lambda done, total: None))
            student = training.student(states)
            student.memory.train()
            (inputs, _), *_ = student.passes(np.arange(4))
            student.trunk(inputs).square().sum().backward()
        pieces = list(training.memory.table.gradients())
        assert max(len(slots) for slots, _ in pieces) == 64 if numbers == 1 else len(pieces) == 1
        slots = torch.cat([slots for slots, _ in pieces])
        assert torch.equal(slots, slots.unique()) and bool((slots % 7 != 0).all())
        gradients = [torch.cat(parts) for parts in zip(*[parts for _, parts in pieces], strict=True)]
        values.append([*training.memory.table.parts, slots, *gradients])
    for one, other in zip(*values, strict=True):
        assert torch.equal(one, other)


def test_the_sum_of_passes_is_one_pass(loaded):
    """However a batch is divided into passes, its step is the same but for rounding."""
    values = []
    for tokens in (LENGTH, 4 * LENGTH):
        training = opened(loaded, settings(EXPERTS, pass_tokens=tokens, value_rate=0.05))
        with training.model.states(training.sequences) as states:
            student = training.student(states)
            optimisers = make_optimisers(training.settings, student, "cpu")
            training_step(student, optimisers, np.arange(4), False, "cpu", SingleProcess())
        values.append(training.memory.table.parts[1])
    assert torch.allclose(values[0], values[1], atol=2e-3)
    assert values[0].abs().max() > 0.01


def test_closed_slots_stay_and_the_others_move(loaded):
    training = opened(loaded, settings(EXPERTS, value_rate=0.05))
    table = training.memory.table
    table.open = torch.arange(64) % 2 == 0
    before = [part.clone() for part in table.parts]
    with training.model.states(training.sequences) as states:
        list(training.epochs(states, lambda done, total: None))
    for part, old in zip(table.parts, before, strict=True):
        assert torch.equal(part[1::2], old[1::2])
    assert not torch.equal(table.parts[1][::2], before[1][::2])


def test_a_context_ends_with_its_position_and_begins_with_its_document():
    sequences = text()
    contexts = contexts_of(sequences, np.arange(len(sequences)), 3)
    for number, row in enumerate(contexts.tolist()):
        for position, context in enumerate(row):
            place = int(sequences.places[number, position])
            own = sequences.tokens[number, max(0, position - min(place, 2)) : position + 1].tolist()
            assert context == [NO_TOKEN] * (3 - len(own)) + own


def test_use_is_even_or_not():
    even = usage(torch.full((8,), 5))
    assert even == {"slot_usage": 1.0, "slot_kl": pytest.approx(0.0), "top_slot_share": 0.125}
    one = usage(torch.tensor([0, 9, 0, 0]))
    assert one["slot_usage"] == 0.25 and one["top_slot_share"] == 1.0
    assert one["slot_kl"] == pytest.approx(np.log(4))
    half = torch.tensor([3, 1, 0, 0])
    expected = 0.75 * np.log(0.75 * 4) + 0.25 * np.log(0.25 * 4)
    assert usage(half)["slot_kl"] == pytest.approx(expected)


@pytest.mark.parametrize("family", ["gpt2", "qwen2", "gpt_neox", "gemma"])
@pytest.mark.parametrize("layout", [PRODUCT_KEYS, NGRAMS])
def test_other_families_train_too(tmp_path, family, layout):
    other = languagemodel.load(save_tiny_model(tmp_path, family), "float32")
    own = settings(layout, epochs=4, learning_rate=0.02, value_rate=0.02)
    training = opened(other, own)
    with training.model.states(training.sequences) as states:
        before = mean_loss(training.student(states), np.arange(len(training.sequences)))
        list(training.epochs(states, lambda done, total: None))
        after = mean_loss(training.student(states), np.arange(len(training.sequences)))
    assert after < before - 0.05
