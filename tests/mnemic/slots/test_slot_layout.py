"""The form of slots that bytes say they have: what cannot be is refused before anything is made of it."""

import json
import math

import pytest
import torch

from mnemic.errors import ModelError
from mnemic.memories.weights import pack
from mnemic.slots.finders import Finders
from mnemic.slots.layout import EXPERTS, LAYOUTS, NGRAMS, PRODUCT_KEYS, SlotLayout

PLAIN = {
    "layout": PRODUCT_KEYS,
    "layers": [1, 3],
    "width": 8,
    "slots": 64,
    "value": 8,
    "type": "float32",
    "heads": 2,
    "top": 4,
    "key": 6,
    "orders": [],
    "vocabulary": 0,
}
OWN = {
    PRODUCT_KEYS: PLAIN,
    EXPERTS: {**PLAIN, "layout": EXPERTS},
    NGRAMS: {**PLAIN, "layout": NGRAMS, "top": 1, "key": 0, "value": 5, "orders": [2, 3], "vocabulary": 20},
}


def layout(kind, **changes):
    return SlotLayout.of_config({**OWN[kind], **changes}, "slots")


def finders(kind):
    own = Finders(layout(kind), torch.arange(20) if kind == NGRAMS else None)
    own.start(3)
    return own


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_config_survives_json_and_says_the_shapes_of_its_tensors(kind):
    own = layout(kind)
    assert SlotLayout.of_config(json.loads(json.dumps(own.config())), "slots") == own
    state = finders(kind).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == own.shapes()
    assert own.numbers == own.parts * own.value and own.size == 4 * own.numbers
    assert own.fired == {PRODUCT_KEYS: 8, EXPERTS: 8, NGRAMS: 4}[kind]
    assert own.fetched == 2 * own.fired * own.numbers


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize(
    "fault",
    [
        {"layout": "pickle"},
        {"layers": []},
        {"layers": [3, 1]},
        {"layers": [-1]},
        {"layers": [True]},
        {"layers": "late"},
        {"width": 0},
        {"width": 1 << 60},
        {"slots": 0},
        {"slots": 1 << 60},
        {"slots": 64.0},
        {"type": "int4"},
        {"heads": 0},
        {"heads": True},
        {"top": None},
        {"value": -1},
        {"key": "6"},
        {"orders": [3, 2]},
        {"orders": [99]},
        {"vocabulary": -5},
    ],
)
def test_a_config_that_cannot_be_is_refused(kind, fault):
    with pytest.raises(ModelError, match=f"says {next(iter(fault))} .* which cannot be; build the memory again"):
        layout(kind, **fault)


def test_a_table_has_the_slots_that_its_layout_needs():
    for changes in ({"slots": 63}, {"slots": 2, "top": 1}, {"slots": 4, "top": 5}):
        with pytest.raises(ModelError, match="says slots"):
            layout(PRODUCT_KEYS, **changes)
    with pytest.raises(ModelError, match="says slots"):
        layout(NGRAMS, slots=7)
    assert layout(NGRAMS, slots=8).slots == 8


@pytest.mark.parametrize("kind", LAYOUTS)
def test_finders_are_their_bytes(kind):
    own = finders(kind)
    again = Finders.from_bytes(own.to_bytes(), layout(kind))
    assert again.to_bytes() == own.to_bytes() and not again.training
    hidden, contexts = torch.randn(3, 8), torch.randint(0, 20, (3, 3)) if kind == NGRAMS else None

    class Table:
        def fetch(self, slots):
            different, places = torch.unique(slots, return_inverse=True)
            return [different[:, None] * torch.ones(layout(kind).value) for _ in range(layout(kind).parts)], places

    for number in range(2):
        assert torch.equal(*(one.added(number, hidden, contexts, Table()) for one in (own, again)))


@pytest.mark.parametrize("kind", LAYOUTS)
def test_bytes_of_another_form_are_refused_before_they_are_loaded(kind):
    own, form = finders(kind), layout(kind)
    data = own.to_bytes()
    with pytest.raises(ModelError, match="of the form that their memory says"):
        Finders.from_bytes(data, layout(kind, heads=3))
    for damaged in (b"", data[:20], data[:-8], b"\0" * 64):
        with pytest.raises(ModelError):
            Finders.from_bytes(damaged, form)
    huge = SlotLayout.of_config(
        {**OWN[kind], "width": 1 << 30, **({} if kind == NGRAMS else {"value": 1 << 30})}, "slots"
    )
    tensors = {name: tensor.contiguous() for name, tensor in own.state_dict().items()}
    with pytest.raises(ModelError, match="does not have the shape"):
        Finders.from_bytes(pack(tensors, {"format": Finders.format, "config": huge.config()}), huge)
    for name, tensor in tensors.items():
        others = {**tensors, name: torch.full(tensor.shape, math.nan)}
        with pytest.raises(ModelError, match="damaged"):
            Finders.from_bytes(pack(others, {"format": Finders.format, "config": form.config()}), form)
    with pytest.raises(ModelError, match="damaged"):
        Finders.from_bytes(
            pack({**tensors, "more": torch.zeros(1)}, {"format": Finders.format, "config": form.config()}), form
        )


def test_tokens_that_no_model_has_are_refused():
    own = finders(NGRAMS)
    for wrong in (-1, 20):
        own.canonical[4] = wrong
        with pytest.raises(ModelError, match="canonical has numbers that cannot be"):
            Finders.from_bytes(own.to_bytes(), layout(NGRAMS))
