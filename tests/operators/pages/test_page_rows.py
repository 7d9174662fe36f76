"""Which rows of a page stay: scores against loops in float64 that follow the papers, and the choice by them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import SENTENCES, save_tiny_model

from mnemic import languagemodel
from mnemic.pages.page import page_of
from mnemic.pages.reading import PageReader, page_ids, sink_ids
from operators.pages.scores import REPEAT, drawn, latest, received, repeated
from operators.pages.shrink import Shrink, chosen, shrunk, with_ends


@pytest.fixture(scope="module", params=["llama", "gpt_neox"])
def loaded(request, tmp_path_factory):
    model, tokenizer = languagemodel.load(save_tiny_model(tmp_path_factory.mktemp("model"), request.param), "float32")
    return model.double(), tokenizer


def softmax(row):
    powers = np.exp(row - row.max())
    return powers / powers.sum()


def test_memory3_sums_attention_without_mask_and_positions(loaded):
    model, tokenizer = loaded
    (ids,) = page_ids(tokenizer, [SENTENCES[1]])
    reading = PageReader(model).read(ids, queries=True)
    scores = received(model, reading)
    for layer, queries in enumerate(reading.queries):
        keys = reading.page.keys[layer].numpy()
        expected = np.zeros(keys.shape[:2])
        for head, of_head in enumerate(queries.numpy()):
            own = head // (len(queries) // len(keys))
            for query in of_head:
                expected[own] += softmax(keys[own] @ query / keys.shape[2] ** 0.5)
        np.testing.assert_allclose(scores[layer], expected, rtol=1e-5)


def test_kvzip_takes_the_largest_share_while_the_text_is_read_once_more(loaded):
    model, tokenizer = loaded
    sink = sink_ids(tokenizer, "I remember.\n")
    first, ids = page_ids(tokenizer, [SENTENCES[0], SENTENCES[1]])
    request = tokenizer(REPEAT, add_special_tokens=False)["input_ids"]
    reader = PageReader(model)
    before = reader.read(sink).page
    earlier = reader.read(first, [before]).page
    page = reader.read(ids, [before, earlier]).page
    scores = repeated(reader, ids, page, [before, earlier], request)
    eager = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            whole = torch.tensor([sink + first + ids + request + ids])
            attentions = model(input_ids=whole, output_attentions=True).attentions
    finally:
        model.set_attn_implementation(eager)
    begin = len(sink) + len(first)
    end = begin + len(ids)
    for layer, weights in enumerate(attentions):
        of_keys = weights[0, :, end:, begin:end].numpy()
        groups = of_keys.reshape(scores.shape[1], -1, *of_keys.shape[1:])
        np.testing.assert_allclose(scores[layer], groups.max((1, 2)), rtol=1e-4, atol=1e-7)


@given(st.integers(1, 80), st.integers(0, 1 << 30), st.data())
def test_the_best_rows_stay_and_earlier_ones_of_equals(tokens, seed, data):
    rows = data.draw(st.integers(1, tokens))
    scores = np.random.default_rng(seed).integers(0, 5, (2, 3, tokens)).astype(np.float32)
    first, last = min(4, rows // 4), min(16, rows // 4)
    ends = [*range(first), *range(tokens - last, tokens)]
    for always, ranked in (([], scores), (ends, with_ends(scores, rows))):
        places = chosen(ranked, rows)
        assert places.shape == (2, 3, rows) and (np.diff(places, axis=2) > 0).all()
        for layer, head in np.ndindex(2, 3):
            rest = sorted(set(range(tokens)) - set(always), key=lambda at: (-scores[layer, head, at], at))
            assert places[layer, head].tolist() == sorted([*always, *rest][:rows])


@given(st.integers(1, 300), st.floats(0.01, 1.0), st.integers(0, 60000), st.sampled_from([4, 8, 16]))
def test_a_page_keeps_its_share_and_its_bytes(tokens, keep, largest, bits):
    shrink = Shrink(bits, "float16" if bits == 16 else "", keep, largest)
    rows = shrink.rows(tokens, (2, 2, 8))
    assert 1 <= rows <= max(1, int(np.ceil(keep * tokens)))
    size = shrink.bytes_of(tokens, rows, (2, 2, 8))
    assert rows == 1 or not largest or size <= largest
    if largest and rows < min(tokens, int(np.ceil(keep * tokens))):
        assert shrink.bytes_of(tokens, min(tokens, 2 * rows + 8), (2, 2, 8)) > largest


def test_a_shrunk_page_has_the_chosen_rows_and_no_others(loaded):
    model, tokenizer = loaded
    (ids,) = page_ids(tokenizer, [SENTENCES[1]])
    page = PageReader(model).read(ids).page
    scores = drawn("0123456789abcdef", tuple(page.keys.shape[:3]))
    columns = shrunk(page, 9, scores, Shrink(32, "float32", 1.0))
    stored = page_of({"id": "page", **columns})
    assert len(columns["kv"]) + len(columns["places"]) == Shrink(32, "float32", 1.0).bytes_of(
        page.tokens, 9, page.sizes
    )
    for layer, head in np.ndindex(*stored.places.shape[:2]):
        at = stored.places[layer, head]
        assert torch.equal(stored.keys[layer, head].double(), page.keys[layer, head, at].float().double())
        assert torch.equal(stored.values[layer, head].double(), page.values[layer, head, at].float().double())


def test_random_rows_are_of_the_text_alone_and_ends_are_the_latest():
    shape = (2, 2, 30)
    assert np.array_equal(drawn("a" * 32, shape), drawn("a" * 32, shape))
    assert not np.array_equal(drawn("a" * 32, shape), drawn("b" * 32, shape))
    assert chosen(with_ends(latest(shape), 8), 8)[0, 0].tolist() == [0, 1, 24, 25, 26, 27, 28, 29]
