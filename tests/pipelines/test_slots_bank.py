"""A bank with a table of slots: what the step trains, and what a model with it says."""

import copy
import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny_bank import TinyBank
from tiny_models import save_tiny_model

import mnemic
from mnemic import languagemodel
from mnemic.attach import detach
from mnemic.attach.host import Host
from mnemic.dataset import Store
from mnemic.dataset.write import write_whole
from mnemic.errors import ModelError
from mnemic.slots.finders import usage
from mnemic.slots.layout import EXPERTS, LAYOUTS, NGRAMS, PRODUCT_KEYS
from mnemic.slots.rows import SlotRows
from operators.blocks.frozen import FrozenModel
from operators.slots.continual import slot_use
from operators.slots.training import SlotTraining
from pipelines.recipe import load_recipe
from pipelines.steps import steps_of
from pipelines.steps.slots import training_sequences

SLOTS = {
    "slots": 256,
    "layers": [1, 3],
    "heads": 2,
    "top": 4,
    "key": 8,
    "value": 8,
    "stored": "float32",
    "sequence": 48,
    "epochs": 2,
    "batch": 96,
    "learning_rate": 0.02,
    "value_rate": 0.02,
    "dtype": "float32",
}
SECTIONS = ("name", "bank", "fragment_characters", "sources", "units", "language_model", "split", "datastore", "slots")
"""Of the recipe: neither events nor another memory are made."""

OFF = {"units": False, "datastore": False}
SPLIT = {"tokens": 3000, "held_out_tokens": 400, "min_characters": 100, "max_document_tokens": 64}
TEXT = "The table of a column is held by one writer, and the lease expires."
OTHER = "Token vector gradient of a layer. Window document sentence event boundary."


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("slots")


@pytest.fixture(scope="module")
def banks(root):
    """A bank of each layout, of one corpus."""
    first = TinyBank.build(root, SECTIONS, slots={**SLOTS, "layout": PRODUCT_KEYS}, split=SPLIT, **OFF)
    recipes = {PRODUCT_KEYS: first.recipe}
    for layout in (EXPERTS, NGRAMS):
        recipes[layout] = {**first.copy(root / layout), "slots": {**SLOTS, "layout": layout}}
        mnemic.build(recipes[layout], device="cpu")
    return recipes


def opened(banks, layout):
    return mnemic.open_bank(banks[layout]["bank"])


@pytest.fixture
def loaded(banks):
    return languagemodel.load(banks[PRODUCT_KEYS]["language_model"], "float32")


def ids_of(tokenizer, *texts):
    return torch.tensor([tokenizer(text)["input_ids"][:20] for text in texts])


def logits(model, ids, **more):
    with torch.inference_mode():
        return model(input_ids=ids, **more).logits


def trained(recipe):
    """The training's own memory, made again in this process from the text of the bank."""
    settings = load_recipe(recipe).slots
    model, tokenizer = languagemodel.load(recipe["language_model"], "float32")
    sequences = training_sequences(Store(recipe["bank"])["documents"].require(), tokenizer, settings)
    training = SlotTraining(settings, FrozenModel(model, (1, 3)), tokenizer, sequences)
    with training.model.states(sequences) as states:
        list(training.epochs(states, lambda done, total: None))
    return training


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_bank_has_the_slots_that_fired_and_their_values_and_uses(banks, layout):
    bank, training = opened(banks, layout), trained(banks[layout])
    table = training.memory.table
    rows = bank.table("slots", ["slot", "uses", "sequences", "value"])
    slots = table.rows()
    assert rows["slot"].to_pylist() == slots.tolist() and 0 < len(slots) <= 256
    values = np.array(rows["value"].to_pylist(), np.float32).reshape(table.values(slots).shape)
    assert np.array_equal(values, table.values(slots).numpy())
    (info,) = [info for info in bank.memories() if info.name == "slots"]
    with training.model.states(training.sequences) as states:
        use = slot_use(training.student(states))
    assert rows["uses"].to_pylist() == use.uses[slots].tolist()
    assert rows["sequences"].to_pylist() == use.sequences[slots].tolist()
    assert info.metrics.items() >= usage(use.uses).items()
    assert info.metrics["rounding_loss"] == 0 and info.metrics["weight"] == 1
    curve = {row["metric"] for row in bank.table("metrics", ["memory", "metric"]).to_pylist()}
    assert {"train_loss"} <= curve
    assert bank.digest().keys() >= {"slots", "memories"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_attached_model_says_what_the_training_said(banks, loaded, layout):
    model, tokenizer = loaded
    training, ids = trained(banks[layout]), ids_of(tokenizer, TEXT, OTHER)
    plain = logits(model, ids)
    opened(banks, layout).attach(model, "slots", tokenizer=tokenizer)
    attached = logits(model, ids)
    detach(model)
    assert torch.equal(logits(model, ids), plain)
    for row, expected in zip(ids, attached, strict=True):
        sequences = training.sequences.__class__(
            row[None].numpy().astype(np.int32), np.zeros((1, len(row)), np.int32), (("slots",),)
        )
        training.sequences = sequences
        with training.model.states(sequences) as states, torch.no_grad():
            hidden = training.student(states).trunk(np.array([0]))
        assert torch.allclose(hidden @ training.model.head.T, expected[:-1], atol=1e-4)
    assert (attached - plain).abs().max() > 1e-3


@pytest.mark.parametrize("layout", LAYOUTS)
def test_generation_with_a_cache_beams_and_padding_says_what_whole_passes_say(banks, loaded, layout):
    model, tokenizer = loaded
    ids = ids_of(tokenizer, TEXT, OTHER)
    ids[0, :6], mask = 0, torch.ones_like(ids)
    mask[0, :6] = 0
    options = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    with opened(banks, layout).attached(model, "slots", tokenizer=tokenizer) as lm:
        for beams in (1, 3):
            cached = lm.generate(ids, attention_mask=mask, num_beams=beams, **options)
            whole = lm.generate(ids, attention_mask=mask, num_beams=beams, use_cache=False, **options)
            assert torch.equal(cached, whole), beams
        alone = logits(lm, ids[:1, 6:])
        assert torch.allclose(logits(lm, ids, attention_mask=mask)[:1, 6:], alone, atol=2e-5)


def test_a_cache_that_the_memory_has_not_read_is_refused(banks, loaded):
    model, tokenizer = loaded
    ids = ids_of(tokenizer, TEXT)
    cache = model(input_ids=ids, use_cache=True).past_key_values
    with opened(banks, NGRAMS).attached(model, "slots", tokenizer=tokenizer) as lm:
        with pytest.raises(ModelError, match="positions that this memory has not read"):
            lm(input_ids=ids[:, :1], past_key_values=cache)
        with pytest.raises(ModelError, match="needs the model's `input_ids`"):
            lm(inputs_embeds=model.get_input_embeddings()(ids))
    assert not model._forward_pre_hooks and not model._forward_hooks


@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_say_the_same_wherever_they_are_and_a_copy_of_the_model_too(banks, loaded, layout):
    model, tokenizer = loaded
    ids, memory = ids_of(tokenizer, TEXT, OTHER), opened(banks, layout).memory("slots")
    answers = []
    for place in ("memory", "device", "mapped"):
        own = memory.at(place)
        with own.enter(Host.of(model), 1.0):
            answers.append(logits(model, ids))
            answers.append(logits(copy.deepcopy(model), ids))
            assert own.rows.place == place
    assert all(torch.equal(one, answers[0]) for one in answers)
    Host.of(model).close()
    with pytest.raises(ModelError, match="memory, device, mapped"):
        memory.at("disk")


def test_weight_0_is_the_model_and_other_memories_stand_beside(banks, loaded):
    model, tokenizer = loaded
    bank, ids = opened(banks, PRODUCT_KEYS), ids_of(tokenizer, TEXT)
    plain = logits(model, ids)
    bank.attach(model, {"slots": 0}, tokenizer=tokenizer)
    assert torch.equal(logits(model, ids), plain)
    bank.attach(model, {"slots": 0.5}, tokenizer=tokenizer)
    half = logits(model, ids)
    bank.attach(model, {"slots": 1}, tokenizer=tokenizer)
    assert 0 < (half - plain).abs().max() < (logits(model, ids) - plain).abs().max()
    with pytest.raises(ModelError, match="from 0 to 1"):
        bank.attach(model, {"slots": lambda places: places}, tokenizer=tokenizer)
    detach(model)


def test_another_model_is_refused(banks, root):
    other = languagemodel.load(save_tiny_model(root / "other", seed=1), "float32")[0]
    memory = opened(banks, PRODUCT_KEYS).memory("slots")
    with pytest.raises(ModelError, match="other weights"):
        opened(banks, PRODUCT_KEYS).attach(other, "slots")
    few = languagemodel.load(save_tiny_model(root / "few", "gpt2"), "float32")[0]
    few.transformer.h = few.transformer.h[:2]
    with pytest.raises(ModelError, match="up to the layer 3, and the model has 32 in 2"):
        memory.enter(Host.of(few), 1.0)
    assert all(not one.mlp._forward_hooks for one in languagemodel.blocks(few))


def rewritten(store, change):
    """The bank's slots with other columns, in a release of their own no more: the memory reads the head."""
    snapshot = store["slots"].require()
    table = change(snapshot.table(["slot", "uses", "sequences", "value"]))
    store["slots"].replace(table.schema, write_whole(store["slots"], table), {}, {})
    return store["slots"].require()


class Head:
    """A view whose slots are the head."""

    def __init__(self, bank, snapshot):
        self.path, self._view, self._snapshot = bank.path, bank.view, snapshot

    def __getattr__(self, name):
        return getattr(self._view, name)

    def dataset(self, name):
        return self._snapshot if name == "slots" else self._view.dataset(name)


def cut(table):
    shorter = pa.array([row[:-1] for row in table["value"].to_pylist()], pa.list_(pa.float32(), 31))
    return table.set_column(3, "value", shorter)


def twice(table):
    return pa.concat_tables([table.slice(0, 2), table])


def beyond(table):
    return table.set_column(0, "slot", pa.array(np.asarray(table["slot"]) + 10**12))


def broken(table):
    values = [[*row[:-1], np.inf] for row in table["value"].to_pylist()]
    return table.set_column(3, "value", pa.array(values, table.schema.field("value").type))


@pytest.mark.parametrize(
    ("change", "fault"),
    [(cut, "are of type"), (twice, "do not ascend"), (beyond, "do not ascend"), (broken, "numbers that are none")],
)
def test_damaged_slots_are_refused(banks, tmp_path, change, fault):
    shutil.copytree(banks[PRODUCT_KEYS]["bank"], tmp_path / "bank")
    bank = mnemic.open_bank(tmp_path / "bank")
    snapshot = rewritten(Store(tmp_path / "bank"), change)
    with pytest.raises(ModelError, match=fault):
        SlotRows(Head(bank, snapshot), bank.memory("slots").layout)


def test_the_step_says_why_it_is_to_run_again_and_a_second_build_does_nothing(banks):
    recipe = banks[PRODUCT_KEYS]
    changed = {**recipe, "slots": {**recipe["slots"], "value_rate": 0.01}}
    (status,) = [
        one.state(Store(recipe["bank"])) for one in steps_of(load_recipe(changed), "cpu") if one.name == "slots"
    ]
    assert status.kind == "stale" and status.reasons == ("slots.value_rate: 0.02 -> 0.01",)
    assert all(one.state(Store(recipe["bank"])).done for one in steps_of(load_recipe(recipe), "cpu"))
    metrics = json.loads(opened(banks, PRODUCT_KEYS).table("memories", ["metrics"])["metrics"][0].as_py())
    assert {"slot_usage", "slot_kl", "top_slot_share", "train_loss"} <= metrics.keys()
