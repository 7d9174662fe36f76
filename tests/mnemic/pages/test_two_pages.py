"""Two pages that were read apart, against a Llama written out by hand in float64: which states they are made of."""

import pytest
import torch
from tiny_models import SENTENCES, save_tiny_model

from mnemic import languagemodel
from mnemic.attach import Host
from mnemic.pages.reading import PageReader, page_ids, sink_ids
from mnemic.pages.standing import standing


def rotated(states, places, base=10000.0):
    """States [heads, n, width] at ``places`` [n], half of the numbers beside the other half."""
    width = states.shape[2]
    rates = base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.cat([places[:, None].double() * rates] * 2, dim=1)
    turned = torch.cat([-states[..., width // 2 :], states[..., : width // 2]], dim=2)
    return states * angles.cos() + turned * angles.sin()


def normed(hidden, weight, epsilon):
    return hidden / (hidden.pow(2).mean(-1, keepdim=True) + epsilon).sqrt() * weight


def forward(model, ids, places, past):
    """(logits [n, vocabulary], keys before rotation and values by layer) of ``ids`` at ``places`` behind ``past``.

    ``past`` is by layer: (keys rotated to where they stand, values), or None for nothing.
    """
    config, weights = model.config, dict(model.named_parameters())
    hidden, layers = weights["model.embed_tokens.weight"][ids], []
    heads, shared, width = config.num_attention_heads, config.num_key_value_heads, config.head_dim
    for layer in range(config.num_hidden_layers):
        name = f"model.layers.{layer}."
        x = normed(hidden, weights[f"{name}input_layernorm.weight"], config.rms_norm_eps)
        q, k, v = (
            (x @ weights[f"{name}self_attn.{one}_proj.weight"].T).view(len(ids), -1, width).transpose(0, 1)
            for one in "qkv"
        )
        layers.append((k, v))
        keys, values = (
            (rotated(k, places), v)
            if past is None
            else (
                torch.cat([past[layer][0], rotated(k, places)], 1),
                torch.cat([past[layer][1], v], 1),
            )
        )
        outputs = []
        for head in range(heads):
            own = head // (heads // shared)
            products = rotated(q, places)[head] @ keys[own].T / width**0.5
            before = keys.shape[1] - len(ids)
            products[:, before:] += torch.full((len(ids), len(ids)), -torch.inf, dtype=torch.float64).triu(1)
            outputs.append(products.softmax(-1) @ values[own])
        hidden = hidden + torch.cat(outputs, 1) @ weights[f"{name}self_attn.o_proj.weight"].T
        x = normed(hidden, weights[f"{name}post_attention_layernorm.weight"], config.rms_norm_eps)
        gate, up, down = (weights[f"{name}mlp.{one}_proj.weight"] for one in ("gate", "up", "down"))
        hidden = hidden + (torch.nn.functional.silu(x @ gate.T) * (x @ up.T)) @ down.T
    return normed(hidden, weights["model.norm.weight"], config.rms_norm_eps) @ weights["lm_head.weight"].T, layers


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    loaded, tokenizer = languagemodel.load(save_tiny_model(tmp_path_factory.mktemp("model")), "float32")
    return loaded.double(), tokenizer


def placed(parts):
    """By layer, keys rotated and values of ``parts``: (layers of `forward`, places)."""
    return [
        (
            torch.cat([rotated(layers[layer][0], places) for layers, places in parts], 1),
            torch.cat([layers[layer][1] for layers, _ in parts], 1),
        )
        for layer in range(len(parts[0][0]))
    ]


def test_two_pages_read_apart_are_the_second_ones_states_behind_the_sink_moved_behind_the_first(model):
    loaded, tokenizer = model
    sink = sink_ids(tokenizer, "I remember.\n")
    first, second, prompt = (ids[:18] for ids in page_ids(tokenizer, [SENTENCES[2], SENTENCES[0], SENTENCES[1]]))
    at = [torch.arange(len(sink))]
    for part in (first, second, prompt):
        at.append(torch.arange(len(part)) + int(at[-1][-1]) + 1)
    with torch.no_grad():
        _, of_sink = forward(loaded, sink, at[0], None)
        behind = placed([(of_sink, at[0])])
        _, of_first = forward(loaded, first, at[1], behind)
        _, of_second = forward(loaded, second, torch.arange(len(second)) + len(sink), behind)
        past = placed([(of_sink, at[0]), (of_first, at[1]), (of_second, at[2])])
        expected, _ = forward(loaded, prompt, at[3], past)
        reader = PageReader(loaded)
        before = reader.read(sink).page
        pages = [before, *(reader.read(part, [before]).page for part in (first, second))]
        prefix = standing([pages], loaded.dtype)
        with Host.of(loaded).prefix(prefix.keys, prefix.values, places=prefix.places, length=prefix.length):
            logits = loaded(input_ids=torch.tensor([prompt])).logits[0]
        joined, _ = forward(loaded, sink + first + second + prompt, torch.arange(int(at[3][-1]) + 1), None)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0.0)
    assert (joined[-len(prompt) :] - expected).abs().max() > 1e-3  # and no more than that
