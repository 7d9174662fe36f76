"""Training of cartridges: against the model that has the text, the definition in float64, and one without a break."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import save_tiny_model

from mnemic import languagemodel
from mnemic.attach import Host
from mnemic.errors import RecipeError, StepError
from mnemic.pages.page import Page, page_of
from mnemic.pages.reading import PageReader
from mnemic.pages.standing import standing
from operators.latents.cartridge_student import CartridgeStudent
from operators.latents.cartridge_training import passes_gate
from operators.latents.cartridges import TrainCartridges
from operators.latents.picking import LAST, attention_received, first_rows, picked_rows, rows_of_pages
from operators.latents.settings import LatentText
from operators.latents.study import studied
from operators.pages.scores import drawn
from operators.pages.shrink import Shrink, shrunk
from operators.train.loss import head_loss

TEXT = LatentText("text", tuple(range(20, 80)), "hash of the text")
OTHER = LatentText("other", tuple(range(100, 140)), "hash of another")
IDS = torch.arange(200, 224).reshape(2, 12)


@pytest.fixture(scope="module", params=["llama", "qwen3", "gpt_neox"])
def loaded(request, tmp_path_factory):
    return languagemodel.load(save_tiny_model(tmp_path_factory.mktemp("model"), request.param), "float32")


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return languagemodel.load(save_tiny_model(tmp_path_factory.mktemp("model")), "float32")


def settings(**changes):
    own = {"min_tokens": 16, "max_tokens": 200, "rows": 8, "sequence": 12, "sampled": 4, "quoted": 2, "reread": 6}
    own |= {"held_out": 3, "batch": 44, "epochs": 3, "warmup": 2, "learning_rate": 0.02}
    return TrainCartridges(**{**own, "dtype": "float32", "stored": "float32", **changes})


def trained(loaded, own, text=TEXT, state=None, epochs=None):
    """The epochs of a text from ``state`` on, each by a trainer of its own, as workers do it."""
    results = []
    for _ in range(own.epochs if epochs is None else epochs):
        results.append(own.trainer(*loaded).epoch(text, state, lambda done, total: None))
        state = results[-1].checkpoint.state
    return results


def live(model, before, ids):
    """Logits of ``ids`` [b, t] behind tokens that the model itself has read into its cache."""
    with torch.inference_mode():
        cache = model(input_ids=torch.tensor([before]).expand(len(ids), -1), use_cache=True).past_key_values
        return model(input_ids=ids, past_key_values=cache).logits


def test_all_rows_of_a_text_untrained_are_the_model_that_has_the_text(loaded):
    trainer = settings(rows=200, epochs=0).trainer(*loaded)
    rows = trainer.start(TEXT)
    assert rows.rows == len(TEXT.ids) and torch.equal(rows.stood()[0, 0], torch.arange(rows.rows))
    with torch.inference_mode():
        hidden = trainer.reader.hidden(IDS, trainer.standing(trainer.rounded(rows)))
        logits = hidden @ trainer.reader.head.T
    assert torch.allclose(logits, live(loaded[0], [*trainer.sink_ids, *TEXT.ids], IDS), atol=1e-5)
    (result,) = trained(loaded, settings(rows=200, epochs=0), epochs=1)
    assert result.row["kl"] == pytest.approx(0, abs=1e-6) and result.row["ok"] and result.row["steps"] == 0
    assert result.row["loss"] == pytest.approx(result.row["loss_text"], abs=1e-6)


def test_loss_and_divergence_are_those_of_the_definition(llama):
    model, tokenizer = llama
    own = settings(top=320, rows=24)
    trainer = own.trainer(model, tokenizer)
    memory = trainer.opened(TEXT)
    student = CartridgeStudent(trainer.reader, trainer.sink, memory)
    ((inputs, labels),) = student.passes(np.array([0, 5, 9]))
    loss, scores = head_loss(student.trunk(inputs), memory.head.weight, labels.ids, labels.target)
    double, whole = model.double(), [*trainer.sink_ids, *TEXT.ids]
    try:
        teacher = torch.log_softmax(live(double, whole, inputs)[:, :-1], -1).flatten(0, 1)
        reader = own.trainer(double, tokenizer)
        rows = trainer.start(TEXT)
        doubled = Page(rows.keys.double(), rows.values.double(), rows.tokens, rows.places)
        with torch.inference_mode():
            logits = reader.reader.hidden(inputs, reader.standing(doubled)) @ reader.reader.head.T
        student_log = torch.log_softmax(logits[:, :-1], -1).flatten(0, 1)
    finally:
        model.float()
    expected = -(teacher.exp() * student_log).sum(1).mean()
    divergence = (teacher.exp() * (teacher - student_log)).sum(1)
    assert loss.item() == pytest.approx(float(expected), abs=1e-4)
    assert float(labels.losses(scores)[0] / len(labels.ids)) == pytest.approx(float(divergence.mean()), abs=1e-4)
    (of_text, of_rows) = trainer.reader.compared(inputs, trainer.teacher(TEXT), trainer.standing(rows))
    assert of_text[1] == 0 and of_rows[1] == pytest.approx(float(divergence.mean()), abs=1e-4)
    token = inputs[:, 1:].reshape(-1, 1)
    assert of_text[0] == pytest.approx(-float(teacher.gather(1, token).mean()), abs=1e-4)


def test_rows_are_picked_by_the_attention_of_the_whole_text(loaded):
    model = loaded[0]
    trainer = settings().trainer(*loaded)
    ids = torch.tensor(TEXT.ids)
    rows = trainer.reader.rows_of(ids)
    scores = attention_received(model, ids, rows.keys)
    assert torch.allclose(scores.sum(-1), torch.full(scores.shape[:2], scores.sum(-1)[0, 0].item()), rtol=1e-4)
    layer, attention = 1, languagemodel.blocks(model)[1]
    attention = getattr(attention, "self_attn", None) or attention.attention
    heads, count, width = rows.keys.shape[1:]
    seen = []
    name = next(name for name in ("q_norm", "q_proj", "query_key_value") if hasattr(attention, name))
    hook = getattr(attention, name).register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        model(input_ids=ids[None])
    hook.remove()
    query = seen[0][0].reshape(count, -1, width if name != "query_key_value" else 3 * width)[..., :width].double()
    group = query.shape[1] // heads
    naive = torch.zeros(heads, count, dtype=torch.float64)
    for head in range(query.shape[1]):
        for place in range(count):
            products = rows.keys[layer, head // group].double() @ query[place, head] * width**-0.5
            naive[head // group] += torch.softmax(products, 0)
    assert torch.allclose(scores[layer].double(), naive, atol=1e-4)
    picked = picked_rows(rows, scores, 10)
    for one in range(heads):
        order = sorted(range(count - LAST), key=lambda place: (-float(scores[layer, one, place]), place))
        expected = sorted([*order[: 10 - LAST], *range(count - LAST, count)])
        assert picked.places[layer, one].tolist() == expected
        assert torch.equal(picked.keys[layer, one], rows.keys[layer, one, expected])
    assert picked.tokens == count and first_rows(rows, 10).tokens == 10


def paged(loaded, trainer, text, rows=None):
    """``text`` with two pages of it that were read behind the sink of ``trainer``; of each ``rows`` by chance."""
    reader = PageReader(loaded[0])
    sink = reader.read(trainer.sink_ids).page
    pages, stored = [], []
    for part in (text.ids[:25], text.ids[25:]):
        pages.append(reader.read(part, [sink, *pages]).page)
        scores = None if rows is None else drawn(f"{len(part):032x}", pages[-1].keys.shape[:3])
        columns = shrunk(pages[-1], rows or len(part), scores, Shrink(32, "float32", 1.0))
        stored.append(page_of({"id": "page", **columns}))
    return replace(text, pages=("one", "two"), stored=tuple(stored))


def test_pages_of_a_whole_text_are_where_its_rows_are_picked_from(loaded):
    own = settings(start="page")
    trainer = own.trainer(*loaded)
    text = paged(loaded, trainer, TEXT)
    start, picked = trainer.start(text), trainer.start(TEXT)
    assert torch.equal(start.places, picked.places) and start.tokens == picked.tokens
    torch.testing.assert_close(start.keys, picked.keys, atol=1e-4, rtol=0.0)
    torch.testing.assert_close(start.values, picked.values, atol=1e-4, rtol=0.0)


def test_a_cartridge_starts_from_the_rows_that_a_sparse_page_has(llama):
    own = settings(start="page", epochs=1)
    trainer = own.trainer(*llama)
    text = paged(llama, trainer, TEXT, rows=7)
    whole, start = rows_of_pages(text.stored), trainer.start(text)
    assert whole.rows == 14 and whole.tokens == len(TEXT.ids) and int(whole.places[..., 7:].min()) >= 25
    scores = attention_received(
        llama[0], torch.tensor([*trainer.sink_ids, *TEXT.ids]), torch.cat([trainer.sink.keys, whole.keys], 2)
    )[..., len(trainer.sink_ids) :]
    assert torch.equal(start.places, picked_rows(whole, scores, 8).places)
    (result,) = trained(llama, own, text)
    assert (result.row["start"], result.row["pages"], result.row["rows"]) == ("page", ["one", "two"], 8)
    (without,) = trained(llama, own, TEXT)
    assert (without.row["start"], without.row["pages"]) == ("picked", [])
    assert "pages" not in trained(llama, settings(epochs=1))[0].row


def test_equal_scores_keep_the_first_places():
    keys = torch.arange(24.0).reshape(1, 1, 12, 2)
    rows = Page(keys, keys, 12)
    assert picked_rows(rows, torch.ones(1, 1, 12), 6).places[0, 0].tolist() == [0, 1, 8, 9, 10, 11]
    assert picked_rows(rows, torch.ones(1, 1, 12), 2).places[0, 0].tolist() == [10, 11]
    assert picked_rows(rows, torch.ones(1, 1, 12), 99) is rows


def test_some_sequences_train_and_others_of_the_same_kinds_measure(llama):
    own = settings(sampled=3, quoted=5, reread=4, held_out=2)
    trainer = own.trainer(*llama)
    study = studied(trainer.reader, TEXT, trainer.teacher(TEXT), [[1, 2], [3]], own)
    assert study.tokens.shape == (12, 12) and study.top.shape == (12, 11, 64)
    starts = [row[:2].tolist() for row in study.tokens[:8]]
    assert [starts[0], starts[1][:1], starts[2]] == [[1, 2], [3], [1, 2]]
    pairs = set(itertools.pairwise(TEXT.ids))
    assert all(tuple(start) in pairs for start in starts[3:])
    assert study.sampled[:, 0].tolist() == [3, 1] and study.sampled.shape == (2, 12)
    for piece in (*study.tokens[8:].tolist(), *study.reread.tolist()):
        assert pairs.issuperset(itertools.pairwise(piece))


def test_a_cartridge_learns_what_the_text_says_and_its_row_says_so(llama):
    results = trained(llama, settings(epochs=6, sampled=16, quoted=8, reread=24, bound=1.0, top=320))
    losses = [one.checkpoint.metrics["train_kl"] for one in results]
    assert losses[-1] < 0.5 * losses[0] and all(one.row is None for one in results[:-1])
    row = results[-1].row
    assert row["kl"] < 0.6 * row["kl_start"] and row["kl"] < row["kl_none"] and row["ok"]
    assert row["rows"] == 8 and row["steps"] == 6 * 12


@pytest.mark.parametrize("start", ["picked", "first"])
def test_a_training_that_was_broken_off_ends_with_the_same_bytes(llama, start):
    own = settings(start=start)
    whole = trained(llama, own)
    again = trained(llama, own, state=whole[0].checkpoint.state, epochs=2)
    assert [one.checkpoint.state for one in again] == [one.checkpoint.state for one in whole[1:]]
    assert again[-1].row == whole[-1].row


def test_texts_do_not_move_each_other(llama):
    own = settings(epochs=1)
    together = own.trainer(*llama)
    rows = [together.epoch(text, None, lambda done, total: None).row for text in (TEXT, OTHER, TEXT)]
    assert rows[0] == rows[2] != rows[1]
    assert rows[1] == trained(llama, own, OTHER)[-1].row


def test_rows_that_training_has_made_worse_stay_as_they_were(llama):
    (*_, result) = trained(llama, settings(epochs=1, learning_rate=30.0, warmup=0, bound=1.0))
    assert result.row["kl"] == result.row["kl_start"] and result.row["steps"] == 0


def test_cartridges_stand_one_behind_the_other_and_a_batch_says_what_its_rows_say_alone(loaded):
    trainer = settings(rows=200).trainer(*loaded)
    first, second = trainer.start(TEXT), trainer.start(OTHER)
    short = picked_rows(second, attention_received(loaded[0], torch.tensor(OTHER.ids), second.keys), 8)
    with torch.inference_mode():
        rotated = trainer.reader.standing(trainer.sink, first, short)
        hidden = trainer.reader.hidden(IDS[:1], rotated)
    begin = len(trainer.sink_ids)
    assert rotated.first == begin + len(TEXT.ids) + len(OTHER.ids)
    places = short.places[0][None] + begin + len(TEXT.ids)
    expected = trainer.reader.rotation(short.keys[0][None], places)
    assert torch.equal(rotated.keys[0][:, :, -8:], expected)
    batch = standing([[trainer.sink, *row] for row in ([first, short], [], [short])], trainer.sink.keys.dtype)
    assert batch.rows == 3 and batch.length.tolist() == [rotated.first, begin, begin + len(OTHER.ids)]
    assert batch.mask.sum(1).tolist() == [begin + len(TEXT.ids) + 8, begin, begin + 8]
    host = Host.of(loaded[0])
    ids = IDS[:1].expand(3, -1)
    before = host.prefix(batch.keys, batch.values, mask=batch.mask, places=batch.places, length=batch.length)
    with before, torch.inference_mode():
        logits = loaded[0](input_ids=ids).logits
    host.close()
    alone = [trainer.standing(), trainer.standing(short)]
    with torch.inference_mode():
        parts = [hidden, *(trainer.reader.hidden(IDS[:1], one) for one in alone)]
    for one, own in zip(logits, parts, strict=True):
        assert torch.allclose(one, own[0] @ trainer.reader.head.T, atol=1e-4)


@given(none=st.floats(0, 20), own=st.floats(0, 20), bound=st.floats(0.01, 1))
def test_the_gate_wants_a_gain_and_a_loss_within_its_bound(none, own, bound):
    assert passes_gate(none, own, bound) == (own < none and own <= bound * none)
    assert not passes_gate(own, own, 1.0)
    assert passes_gate(none, 0.0, bound) == (none > 0)


def test_models_whose_keys_have_one_place_are_refused(tmp_path):
    learnt = languagemodel.load(save_tiny_model(tmp_path / "learnt", "gpt2"), "float32")
    with pytest.raises(StepError, match="learnt positions"):
        settings().trainer(*learnt)
    long = languagemodel.load(save_tiny_model(tmp_path / "long"), "float32")
    long[0].config.max_position_embeddings = 64
    with pytest.raises(StepError, match="lower `max_tokens`"):
        settings().trainer(*long)
    dynamic = languagemodel.load(save_tiny_model(tmp_path / "dynamic"), "float32")
    dynamic[0].model.rotary_emb.rope_type = "dynamic"
    with pytest.raises(StepError, match="depend on the length of a text"):
        settings().trainer(*dynamic)


def test_settings_that_cannot_be_are_sentences():
    faults = {
        "rows": 0, "sequence": 2, "min_tokens": 3, "max_tokens": 1 << 16, "start": "best", "sink": " ", "seeds": ("",),
        "held_out": 0, "bound": 0.0, "stored": "int8", "level": "page", "where": 5, "most": 0, "batch": 0, "top": 0,
    }  # fmt: skip
    for name, value in faults.items():
        with pytest.raises(RecipeError, match=f"cartridges' {name} is .*give"):
            settings(**{name: value})
    assert replace(settings(), where="id = 'a'").identity() == settings().identity()
    assert all(one != other for one, other in itertools.pairwise(settings(seed=seed).identity() for seed in range(3)))
