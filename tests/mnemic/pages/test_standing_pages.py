"""Pages in a model's cache, against the model that reads the text, and against attention written out in float64."""

import copy

import pytest
import torch
from tiny_models import SENTENCES, save_tiny_model
from transformers import DynamicCache

from mnemic import languagemodel
from mnemic.attach import Host
from mnemic.errors import ModelError
from mnemic.pages.checked import check_page, check_positions
from mnemic.pages.page import Page, page_of
from mnemic.pages.reading import PageReader, page_ids, sink_ids
from mnemic.pages.standing import standing
from operators.pages.shrink import Shrink, shrunk

GREEDY = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "max_new_tokens": 8}
FAMILIES = ["llama", "qwen3", "gemma", "gpt_neox", "gpt2"]


@pytest.fixture(scope="module", params=FAMILIES)
def loaded(request, tmp_path_factory):
    return languagemodel.load(save_tiny_model(tmp_path_factory.mktemp("model"), request.param), "float32")


@pytest.fixture
def model(loaded):
    yield loaded[0]
    if Host.hosts(loaded[0]):
        Host.of(loaded[0]).close()


@pytest.fixture(scope="module")
def texts(loaded):
    """Tokens of a sink, two texts and a prompt."""
    tokenizer = loaded[1]
    first, second, prompt = page_ids(tokenizer, [SENTENCES[2], SENTENCES[0], SENTENCES[1]])
    return sink_ids(tokenizer, "I remember.\n"), first[:20], second[:24], prompt[:9]


def stored(page, bits, numbers="", rows=None, scores=None):
    """The page after its bytes."""
    columns = shrunk(page, rows or page.tokens, scores, Shrink(bits, numbers, 1.0))
    return page_of({"id": "page", **columns})


def entered(model, *rows, dtype=None):
    prefix = standing(rows, dtype or model.dtype)
    return Host.of(model).prefix(
        prefix.keys, prefix.values, mask=prefix.mask, places=prefix.places, length=prefix.length
    )


def live(model, *parts):
    """Logits of the last of ``parts``, each read in a call of its own behind those before it."""
    cache = DynamicCache(config=model.config)
    with torch.no_grad():
        for part in parts:
            logits = model(input_ids=torch.tensor([part]), past_key_values=cache).logits
    return logits[0]


def logits(model, ids, **more):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), **more).logits[0]


@pytest.mark.parametrize(
    ("dtype", "bits", "numbers"), [(torch.float32, 32, "float32"), (torch.bfloat16, 16, "bfloat16")]
)
def test_a_page_is_the_text_bit_for_bit_in_what_is_said_and_generated(model, texts, dtype, bits, numbers):
    sink, text, _, prompt = texts
    model = copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    reader = PageReader(model)
    before = reader.read(sink).page
    page = stored(reader.read(text, [before]).page, bits, numbers)
    expected = live(model, sink, text, prompt)
    whole = torch.tensor([sink + text + prompt])
    continued = model.generate(whole, attention_mask=torch.ones_like(whole), **GREEDY)[:, whole.shape[1] :]
    entered(model, [before, page])
    assert torch.equal(logits(model, prompt), expected)
    ids = torch.tensor([prompt])
    generated = model.generate(ids, attention_mask=torch.ones_like(ids), **GREEDY)[:, len(prompt) :]
    if dtype == torch.float32:  # in bfloat16 one pass over all is not the passes one by one
        assert torch.equal(generated, continued)


def test_a_chain_of_pages_is_the_texts_one_behind_the_other_bit_for_bit(model, texts):
    sink, first, second, prompt = texts
    reader = PageReader(model)
    before = reader.read(sink).page
    one = reader.read(first, [before]).page
    two = reader.read(second, [before, one]).page
    expected = live(model, sink, first, second, prompt)
    entered(model, [before, *(stored(page, 32, "float32") for page in (one, two))])
    assert torch.equal(logits(model, prompt), expected)


def test_rounding_moves_what_is_said_by_little(model, texts):
    sink, text, _, prompt = texts
    reader = PageReader(model)
    before = reader.read(sink).page
    whole = reader.read(text, [before]).page
    expected, without = live(model, sink, text, prompt), live(model, sink, prompt)
    distances = []
    for bits in (8, 4):
        with entered(model, [before, stored(whole, bits)]):
            distances.append(float((logits(model, prompt) - expected).norm() / (without - expected).norm()))
    assert distances[0] < 0.1 and distances[0] < distances[1] < 1


def test_rows_of_a_batch_have_their_own_pages_as_each_alone(model, texts):
    sink, first, second, prompt = texts
    reader = PageReader(model)
    before = reader.read(sink).page
    pages = [reader.read(text, [before]).page for text in (first, second)]
    rows = [[before, pages[0]], [before, *pages], []]
    beams = {"num_beams": 2, "num_return_sequences": 2, **GREEDY}
    alone = []
    prompts = torch.tensor([prompt])
    for row in rows[:2]:
        with entered(model, row):
            alone.append((logits(model, prompt), model.generate(prompts, **beams)))
    alone.append((logits(model, prompt), model.generate(prompts, **beams)))
    batch = torch.tensor([prompt] * 3)
    with entered(model, *rows), torch.no_grad():
        together = model(input_ids=batch).logits
        mask = torch.ones_like(batch)
        generated = model.generate(batch, attention_mask=mask, **beams)
        left, none = torch.full((3, 2), 5), torch.zeros(3, 2, dtype=torch.int64)
        padded = model.generate(torch.cat([left, batch], 1), attention_mask=torch.cat([none, mask], 1), **beams)
    for row, (expected, continued) in enumerate(alone):
        torch.testing.assert_close(together[row], expected, atol=1e-4, rtol=0.0)
        own = slice(2 * row, 2 * row + 2)
        assert torch.equal(generated[own], continued) and torch.equal(padded[own, 2:], continued)


def test_generation_behind_a_sparse_page_is_a_loop_at_the_true_places(model, texts):
    sink, text, second, prompt = texts
    reader = PageReader(model)
    before = reader.read(sink).page
    whole, behind = reader.read(text, [before]).page, reader.read(second, [before]).page
    scores = torch.rand(whole.keys.shape[:3], generator=torch.Generator().manual_seed(2)).numpy()
    pages = [before, stored(whole, 32, "float32", 10, scores), behind]
    with entered(model, pages), torch.no_grad():
        generated = model.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.int64), **GREEDY
        )
    cache, place = reader.cache(pages)
    assert place == sum(page.tokens for page in pages) > cache.get_seq_length()
    written, step = list(prompt), list(prompt)
    for _ in range(GREEDY["max_new_tokens"]):
        places = torch.arange(place, place + len(step))[None]
        with torch.no_grad():
            output = model.forward(input_ids=torch.tensor([step]), past_key_values=cache, position_ids=places)
        place, step = place + len(step), [int(output.logits[0, -1].argmax())]
        written += step
    assert generated[0].tolist() == written


def test_a_sparse_page_is_the_whole_one_with_the_other_rows_masked(model, texts):
    sink, text, second, prompt = texts
    reader = PageReader(model)
    before = reader.read(sink).page
    whole, behind = reader.read(text, [before]).page, reader.read(second, [before]).page
    scores = torch.rand(whole.keys.shape[:3], generator=torch.Generator().manual_seed(1)).numpy()
    scores[:] = scores[:1, :1]  # the same rows in all heads, since a mask knows no heads
    sparse = stored(whole, 32, "float32", 10, scores)
    assert sparse.rows == 10 and sparse.tokens == len(text)
    full = standing([[before, whole, behind]], model.dtype)
    full.mask[0, len(sink) : len(sink) + len(text)] = False
    full.mask[0, len(sink) + sparse.places[0, 0]] = True
    host = Host.of(model)
    with host.prefix(full.keys, full.values, mask=full.mask, places=full.places, length=full.length):
        expected = logits(model, prompt)
    with entered(model, [before, sparse, behind]):
        torch.testing.assert_close(logits(model, prompt), expected, atol=1e-5, rtol=0.0)
    every = stored(whole, 32, "float32", whole.tokens, scores)
    assert every.places is None and torch.equal(every.keys, whole.keys)


def test_keys_moved_there_and_back_are_the_same_and_the_first_layer_is_as_read_there(model, texts):
    reader, text = PageReader(model), texts[1]
    page = check_positions(reader, text)
    keys = page.keys.clone()
    for first in (1, 37, 300):
        read = reader.read(text, first=first)
        places = torch.arange(first, first + len(text))[None]
        if reader.rotation.limit is None:
            assert torch.equal(reader.rotation(page.keys[:1], places), read.cached[0])
    assert torch.equal(page.keys, keys)


def test_a_page_of_another_model_or_of_other_layers_is_refused(model, texts):
    reader = PageReader(model)
    page = reader.read(texts[1]).page
    check_page(page, 32, page)
    for bits in (4, 8):
        check_page(stored(page, bits), bits, page)
    turned = Page(page.keys.flip(0), page.values, page.tokens)
    swapped = Page(page.values, page.keys, page.tokens)
    for other in (turned, swapped, Page(page.keys * 1.6, page.values, page.tokens)):
        with pytest.raises(ModelError, match="is not what this model has"):
            check_page(other, 4, page)


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("llama", {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}),
        ("mistral", {"sliding_window": 8}),
    ],
)
def test_models_whose_positions_depend_on_more_are_refused(tmp_path, family, options):
    model, _ = languagemodel.load(save_tiny_model(tmp_path, family, **options), "float32")
    with pytest.raises(ModelError, match=r"sliding windows|depend on the length"):
        PageReader(model)


def test_a_model_that_rotates_otherwise_than_it_says_is_found_out(loaded, texts, monkeypatch):
    reader = PageReader(loaded[0])
    if reader.rotation.limit is not None:
        pytest.skip("its positions are learnt")
    rotate = reader.rotation._apply
    monkeypatch.setattr(reader.rotation, "_apply", lambda q, k, cos, sin: rotate(q, k, cos * 0.9, sin))
    with pytest.raises(ModelError, match="do not stand where they are put"):
        check_positions(reader, texts[1])
