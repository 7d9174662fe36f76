"""Which slots new documents train: against the definition of TF-IDF, and what stays."""

import math

import numpy as np
import pytest
import torch
from test_slot_training import loaded, opened, settings, text  # noqa: F401 - a fixture of pytest

from mnemic.slots.layout import LAYOUTS, NGRAMS
from operators.blocks.sequences import mean_loss
from operators.slots.continual import SlotUse, fired_more, ranks, slot_use, train_rows_alone


@pytest.mark.parametrize("layout", LAYOUTS)
def test_use_is_counted_by_slot_and_by_sequence(loaded, layout):  # noqa: F811
    training = opened(loaded, settings(layout))
    table = training.memory.table
    with training.model.states(training.sequences) as states:
        student = training.student(states)
        use = slot_use(student)
        parts = [slot_use(student, np.array(numbers)) for numbers in ([0, 2], [1], list(range(3, student.units)))]
        by_hand = torch.zeros_like(use.sequences)
        with torch.no_grad():
            for number in range(student.units):
                with table.watched() as seen:
                    student.trunk(np.array([number]))
                by_hand[sorted({int(slot) for one in seen for slot in one.flatten()})] += 1
    whole = parts[0] + parts[1] + parts[2]
    assert torch.equal(use.sequences, by_hand)
    assert torch.equal(use.uses, whole.uses) and torch.equal(use.sequences, whole.sequences)
    assert use.total == whole.total == student.units
    fired = len(training.memory.config.layers) * training.memory.config.fired
    assert int(use.uses.sum()) == fired * int((training.sequences.part >= 0).sum())
    assert not bool(table.touched.any()) and int(table.uses.sum()) == 0, "counting trains nothing"


def test_ranks_are_the_definition():
    draw = np.random.default_rng(0)
    new, old = (
        SlotUse(torch.from_numpy(draw.integers(0, 9, 50)), torch.from_numpy(draw.integers(0, 6, 50)), total)
        for total in (5, 7)
    )
    expected = [
        int(new.uses[slot]) / int(new.uses.sum()) * math.log((7 + 1) / (int(old.sequences[slot]) + 1))
        for slot in range(50)
    ]
    assert torch.allclose(ranks(new, old), torch.tensor(expected, dtype=torch.float64))
    chosen = fired_more(new, old, 12)
    best = sorted(range(50), key=lambda slot: (-expected[slot], slot))[:12]
    assert chosen.nonzero()[:, 0].tolist() == sorted(best)
    assert not bool(chosen[new.uses == 0].any())
    everywhere = SlotUse(old.uses, torch.full((50,), 7), 7)
    assert not bool(fired_more(new, everywhere, 50).any()), "slots of all old sequences stay"
    assert int(fired_more(new, old, 1000).sum()) == int((ranks(new, old) > 0).sum())


def test_new_text_is_learnt_in_its_own_slots_and_old_text_is_hardly_touched(loaded):  # noqa: F811
    """The rise of the loss of old text for what is learnt of new text, against training of all rows."""
    own = settings(NGRAMS, slots=512, epochs=16, learning_rate=0.05, value_rate=0.05)
    old, new = text(0, 1, 160), text(1, 160, 320)
    first = opened(loaded, own, old)
    with first.model.states(old) as states:
        list(first.epochs(states, lambda done, total: None))
        background = slot_use(first.student(states))
        state = first.memory.state_dict()
        before = mean_loss(first.student(states), np.arange(len(old)))
    rises, gains = {}, {}
    for name in ("sparse", "whole"):
        training = opened(loaded, own, new)
        training.memory.load_state(state)
        with training.model.states(new) as states:
            use = slot_use(training.student(states))
            chosen = fired_more(use, background, 60) if name == "sparse" else None
            train_rows_alone(training.memory, chosen)
            finders = training.memory.to_bytes()
            start = mean_loss(training.student(states), np.arange(len(new)))
            list(training.epochs(states, lambda done, total: None))
            gains[name] = start - mean_loss(training.student(states), np.arange(len(new)))
            assert training.memory.to_bytes() == finders
        if chosen is not None:
            later = training.memory.state_dict()
            there = {int(slot): value for slot, value in zip(later["slots"], later["values"], strict=True)}
            for slot, value in zip(state["slots"].tolist(), state["values"], strict=True):
                assert chosen[slot] or torch.equal(there[slot], value)
        training.sequences = old
        with training.model.states(old) as states:
            rises[name] = mean_loss(training.student(states), np.arange(len(old))) - before
    assert gains["sparse"] > 0.25 < gains["whole"]
    assert rises["sparse"] / gains["sparse"] < rises["whole"] / gains["whole"] / 3
