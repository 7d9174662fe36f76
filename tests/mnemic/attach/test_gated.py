"""A gate at a model's output: the mixture of the definition, in whatever way the model is called."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from mnemic import languagemodel
from mnemic.attach import Host, Unrolling, detach
from mnemic.attach.output.gating import Gated, Gating
from mnemic.errors import ModelError
from mnemic.memories.decoder import DecoderConfig, MemoryDecoder
from mnemic.memories.gate import Gate
from mnemic.memories.mlp import MemoryConfig, MLPMemory

VOCABULARY, WIDTH, LAYER = 320, 32, 2
GREEDY = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
FEATURES = ("base.largest", "base.entropy", "mlp.largest", "mlp.entropy", "decoder.largest", "decoder.entropy")


def mlp() -> MLPMemory:
    torch.manual_seed(7)
    tokens = torch.tensor([3, 17, 60, 61, 200, 319])
    memory = MLPMemory(MemoryConfig(WIDTH, WIDTH, len(tokens), blocks=2), tokens)
    for block in memory.blocks:
        torch.nn.init.normal_(block.down.weight, std=0.2)
    return memory.eval()


def decoder() -> MemoryDecoder:
    torch.manual_seed(5)
    tokens = torch.tensor([0, 5, 17, 61, 100, 101, 250])
    config = DecoderConfig(VOCABULARY, WIDTH, len(tokens), blocks=2, inner=48, heads=4, key_value_heads=2)
    memory = MemoryDecoder(config, tokens)
    with torch.no_grad():
        for parameter in memory.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return memory.eval()


def gate(seen: Seen, units: int = 5) -> Gate:
    """Random, standardised by what was ``seen``, with shares that differ from row to row."""
    draw, rows = np.random.default_rng(2), seen.features.reshape(-1, len(FEATURES))
    sizes = [len(FEATURES), *([units] if units else []), 3]
    layers = tuple((draw.normal(0, 1.5, shape), draw.normal(0, 0.5, shape[1])) for shape in pairwise(sizes))
    return Gate(("base", "mlp", "decoder"), FEATURES, rows.mean(0), rows.std(0), layers)


def put(model: Any, one: Gate, skip: float | None = None) -> Any:
    gating, host = Gating(one), Host.of(model)
    host.mix(mlp(), Gated(gating, ("mlp",)), layer=LAYER)
    host.mix(decoder(), Gated(gating, ("decoder",)))
    host.skip = skip
    return model


def run(model: Any, **inputs: Any) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(**inputs).logits
    return logits


def spread(probabilities: np.ndarray) -> list[np.ndarray]:
    """Largest log-probability and entropy of rows [n, m], by the definition."""
    logs = np.log(np.maximum(probabilities, 1e-300))
    return [logs.max(-1), -(probabilities * logs).sum(-1)]


@dataclass(frozen=True)
class Seen:
    """What the bare model and the bare memories say of ids, in float64: distributions [rows, positions, vocabulary]."""

    distributions: list[np.ndarray]
    features: np.ndarray

    def mixed(self, one: Gate) -> np.ndarray:
        """The mixture by the definition."""
        rows = self.features.reshape(-1, len(FEATURES))
        shares = one.shares(rows).reshape(*self.features.shape[:-1], -1)
        assert shares.std(axis=(0, 1)).min() > 0.05, "the shares differ"
        mixed = sum(shares[..., at, None] * part for at, part in enumerate(self.distributions))
        np.testing.assert_allclose(mixed.sum(-1), 1.0, atol=1e-6)
        return np.asarray(mixed)


@pytest.fixture
def seen(model: Any, ids: torch.Tensor) -> Seen:
    with torch.inference_mode(), languagemodel.capture(model, [LAYER]) as taps:
        base = torch.softmax(model(input_ids=ids).logits.double(), -1).numpy()
        parts = [(mlp(), mlp().log_probs(taps[LAYER])), (decoder(), decoder()(ids))]
    distributions, features = [base], spread(base)
    for memory, logs in parts:
        own = logs.double().exp().numpy()
        features += spread(own)
        whole = np.zeros_like(base)
        whole[..., memory.tokens.numpy()] = own
        distributions.append(whole)
    return Seen(distributions, np.stack(features, axis=-1))


@pytest.mark.parametrize("units", [0, 5])
def test_the_logits_are_the_logarithm_of_the_mixture_in_float64(model, ids, seen, units):
    mixed = run(put(model, gate(seen, units)), input_ids=ids)
    np.testing.assert_allclose(mixed.exp().numpy(), seen.mixed(gate(seen, units)), atol=1e-4)
    assert mixed.dtype == torch.float32 and (mixed.exp().sum(-1) - 1).abs().max() < 1e-5


def test_padding_on_the_left_a_cache_and_a_batch_change_nothing(model, ids, seen):
    put(model, gate(seen))
    alone = [run(model, input_ids=row[None]) for row in ids]
    both = run(model, input_ids=ids)
    torch.testing.assert_close(both, torch.cat(alone), atol=3e-4, rtol=1e-4)
    padded = torch.nn.functional.pad(ids, (3, 0))
    mask = (torch.arange(padded.shape[1]) >= 3).long().expand_as(padded)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    shifted = run(model, input_ids=padded, attention_mask=mask, position_ids=positions)[:, 3:]
    torch.testing.assert_close(shifted, both, atol=3e-4, rtol=1e-4)
    with torch.inference_mode():
        first = model(input_ids=ids[:, :7], use_cache=True)
        second = model(input_ids=ids[:, 7:], past_key_values=first.past_key_values, use_cache=True)
    torch.testing.assert_close(torch.cat([first.logits, second.logits], 1), both, atol=3e-4, rtol=1e-4)
    torch.testing.assert_close(run(model, input_ids=ids, logits_to_keep=2), both[:, -2:], atol=3e-4, rtol=1e-4)


def test_it_generates_what_its_own_forward_passes_say(model, ids, seen):
    put(model, gate(seen))
    whole = model.generate(ids, max_new_tokens=8, **GREEDY)
    for length in range(ids.shape[1], whole.shape[1]):
        assert torch.equal(run(model, input_ids=whole[:, :length])[:, -1].argmax(-1), whole[:, length])
    beams = model.generate(ids, max_new_tokens=6, num_beams=3, **GREEDY)
    uncached = model.generate(ids, max_new_tokens=6, num_beams=3, use_cache=False, **GREEDY)
    assert torch.equal(beams, uncached)


def test_the_model_is_itself_again_and_a_share_of_all_for_the_model_is_the_model(model, ids, seen):
    base = run(model, input_ids=ids)
    put(model, gate(seen))
    assert not torch.equal(run(model, input_ids=ids), base)
    detach(model)
    assert torch.equal(run(model, input_ids=ids), base) and not Host.hosts(model)
    shut = gate(seen, 0)
    ((weights, _),) = shut.layers
    shut = Gate(shut.components, shut.features, shut.mean, shut.deviation, ((weights * 0, np.array([200.0, 0, 0])),))
    mixed = run(put(model, shut), input_ids=ids)
    torch.testing.assert_close(mixed, torch.log_softmax(base, -1), atol=1e-6, rtol=0)


def test_rows_that_are_skipped_are_the_models_own(model, ids, seen):
    base = torch.log_softmax(run(model, input_ids=ids), -1)
    sure = base.amax(-1).exp()
    skip = float(sure.flatten().sort().values[10:12].mean())
    mixed = run(put(model, gate(seen), skip), input_ids=ids)
    detach(model)
    every = run(put(model, gate(seen)), input_ids=ids)
    skipped = sure >= skip
    assert skipped.any() and not skipped.all()
    torch.testing.assert_close(mixed[skipped], base[skipped], atol=1e-6, rtol=0)
    torch.testing.assert_close(mixed[~skipped], every[~skipped], atol=1e-6, rtol=0)


def test_a_weight_of_its_own_comes_first_and_the_gate_divides_the_rest(model, ids, seen):
    one = gate(seen)
    gated = seen.mixed(one)
    torch.manual_seed(1)
    other = mlp()
    torch.nn.init.normal_(other.head.weight)
    with torch.inference_mode(), languagemodel.capture(model, [LAYER]) as taps:
        model(input_ids=ids)
        own = np.zeros_like(gated)
        own[..., other.tokens.numpy()] = other.log_probs(taps[LAYER]).double().exp().numpy()
    Host.of(model).mix(other, 0.3, layer=LAYER)
    np.testing.assert_allclose(run(put(model, one), input_ids=ids).exp().numpy(), 0.7 * gated + 0.3 * own, atol=1e-4)
    detach(model)
    Host.of(model).mix(other, Unrolling(0.8, 0.0, 4), layer=LAYER)
    mixed = run(put(model, one), input_ids=ids).exp().numpy()
    fading = np.clip(0.8 * (1 - np.arange(ids.shape[1]) / 4), 0, None)[None, :, None]
    np.testing.assert_allclose(mixed, (1 - fading) * gated + fading * own, atol=1e-4)


def test_a_memory_that_was_taken_out_leaves_its_share_to_the_model(model, ids, seen):
    one = gate(seen)
    gating, host = Gating(one), Host.of(model)
    host.mix(mlp(), Gated(gating, ("mlp",)), layer=LAYER)
    entry = host.mix(decoder(), Gated(gating, ("decoder",)))
    both = run(model, input_ids=ids)
    entry.close()
    alone = run(model, input_ids=ids)
    assert not torch.equal(alone, both) and (alone.exp().sum(-1) - 1).abs().max() < 1e-5


def test_two_gates_do_not_divide_one_mixture(model, seen):
    put(model, gate(seen))
    with pytest.raises(ModelError, match="share one gate"):
        Host.of(model).mix(mlp(), Gated(Gating(gate(seen)), ("mlp",)), layer=LAYER)


def test_a_copy_of_the_model_has_the_gate_too(model, ids, seen):
    put(model, gate(seen))
    mixed = run(model, input_ids=ids)
    copied = copy.deepcopy(model)
    detach(model)
    torch.testing.assert_close(run(copied, input_ids=ids), mixed, atol=1e-6, rtol=0)
    assert not Host.hosts(model) and Host.hosts(copied)


def test_a_gradient_reaches_the_model_through_the_mixture(model, ids, seen):
    trained = put(copy.deepcopy(model).requires_grad_(True), gate(seen))
    trained(input_ids=ids, labels=ids).loss.backward()
    gradient = trained.get_input_embeddings().weight.grad
    assert gradient is not None and torch.isfinite(gradient).all() and gradient.abs().sum() > 0
