"""Representative keys against their definition, token by token in float64."""

import pytest
import torch
from tiny_models import SENTENCES, save_tiny_model

from bench.pages.representatives import TOKENS, asking, layers_between, representative
from mnemic import languagemodel
from mnemic.pages.reading import PageReader, page_ids, sink_ids


@pytest.fixture(scope="module", params=["llama", "gpt_neox"])
def loaded(request, tmp_path_factory):
    return languagemodel.load(save_tiny_model(tmp_path_factory.mktemp("model"), request.param), "float32")


def test_a_head_stands_for_a_text_by_the_mean_key_of_what_it_attends_most(loaded):
    model, tokenizer = loaded
    reader = PageReader(model)
    sink = reader.read(sink_ids(tokenizer, "I remember.\n")).page
    (ids,) = page_ids(tokenizer, [SENTENCES[0]])
    reading = reader.read(ids[:24], [sink], queries=True)
    layers = layers_between(sink.sizes[0])
    own, question = representative(model, reading, layers), asking(reading, layers)
    assert own.shape == question.shape == (2, reading.queries[0].shape[0] * sink.sizes[2])
    for place, layer in enumerate(layers):
        queries, keys = reading.queries[layer].double(), reading.page.keys[layer].double()
        for head, query in enumerate(queries):
            key = keys[head * len(keys) // len(queries)]
            received = torch.zeros(len(key), dtype=torch.float64)
            for one in query:
                received += torch.softmax(key @ one / key.shape[1] ** 0.5, 0)
            best = sorted(range(len(key)), key=lambda token: (-float(received[token]), token))[:TOKENS]
            mine = slice(head * key.shape[1], (head + 1) * key.shape[1])
            assert torch.allclose(torch.from_numpy(own[place, mine]).double(), key[best].mean(0), atol=1e-5)
            assert torch.allclose(torch.from_numpy(question[place, mine]).double(), query.mean(0), atol=1e-5)
