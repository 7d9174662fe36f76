"""Several memories, weights that change from token to token, the skip rule, a decoder beside the model's cache."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import SENTENCES

from mnemic import languagemodel
from mnemic.attach import Constant, Host, Unrolling, attach, detach
from mnemic.errors import ModelError
from mnemic.memories.decoder import DecoderConfig, MemoryDecoder
from mnemic.memories.knn import KNNMemory
from mnemic.memories.mlp import MemoryConfig, MLPMemory
from mnemic.mixture import GRID, mixture_nll

VOCABULARY, WIDTH, LAYER = 320, 32, 2
KNOWN = torch.tensor([3, 17, 60, 61, 200, 319])
READ = torch.tensor([0, 5, 17, 61, 100, 101, 250])
GREEDY = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}


def mlp() -> MLPMemory:
    torch.manual_seed(7)
    module = MLPMemory(MemoryConfig(WIDTH, WIDTH, len(KNOWN), blocks=2), KNOWN)
    for block in module.blocks:
        torch.nn.init.normal_(block.down.weight, std=0.2)
    return module.eval()


def knn() -> KNNMemory:
    draw = torch.Generator().manual_seed(3)
    keys = torch.randn(500, WIDTH, generator=draw).half()
    token = torch.randint(0, VOCABULARY, (500,), generator=draw)
    return KNNMemory(keys, token, torch.zeros(500, dtype=torch.int64), temperature=8.0, k=32)


def decoder() -> MemoryDecoder:
    torch.manual_seed(5)
    config = DecoderConfig(VOCABULARY, WIDTH, len(READ), blocks=2, inner=48, heads=4, key_value_heads=2)
    module = MemoryDecoder(config, READ)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return module.eval()


MEMORIES: dict[str, tuple[Callable[[], Any], int | None]] = {
    "mlp": (mlp, LAYER),
    "knn": (knn, None),
    "decoder": (decoder, None),
}
ALL = ("mlp", "knn", "decoder")


def put(model: Any, names: tuple[str, ...], weights: Any, skip: float | None = None) -> Any:
    memories = [MEMORIES[name][0]() for name in names]
    return attach(model, memories, weights, languagemodel.lock(model), [MEMORIES[name][1] for name in names], skip=skip)


def said(model: Any, name: str, ids: torch.Tensor) -> torch.Tensor:
    """Dense probabilities of a memory in float64, from a model without one."""
    memory, layer = MEMORIES[name][0](), MEMORIES[name][1]
    last = len(languagemodel.blocks(model)) - 1
    with torch.inference_mode(), languagemodel.capture(model, [LAYER, last]) as taps:
        model(input_ids=ids)
        log_probs = memory(ids) if name == "decoder" else memory.log_probs(taps[last if layer is None else layer])
    dense = torch.zeros(*ids.shape, VOCABULARY, dtype=torch.float64)
    dense[..., memory.tokens] = log_probs.double().exp()
    return dense


def mixture(model: Any, weights: dict[str, float], ids: torch.Tensor) -> torch.Tensor:
    """The definition, dense and in float64."""
    with torch.inference_mode():
        base = model(input_ids=ids).logits.double().softmax(-1)
    mixed = (1.0 - sum(weights.values())) * base
    for name, weight in weights.items():
        mixed = mixed + weight * said(model, name, ids)
    return mixed.log()


def followed(step: Callable[[torch.Tensor], torch.Tensor], ids: torch.Tensor, tokens: int) -> torch.Tensor:
    """What greedy generation by the definition writes."""
    for _ in range(tokens):
        ids = torch.cat([ids, step(ids)[:, -1].argmax(-1, keepdim=True)], 1)
    return ids


@pytest.mark.parametrize(
    "weights", [{"mlp": 0.2, "knn": 0.3, "decoder": 0.1}, {"knn": 0.4}, {"decoder": 0.7}, {"mlp": 0.5, "decoder": 0.5}]
)
def test_several_memories_share_the_mixture(model: Any, ids: torch.Tensor, weights: dict[str, float]) -> None:
    expected = mixture(model, weights, ids)
    with torch.inference_mode():
        logits = put(model, tuple(weights), list(weights.values()))(input_ids=ids).logits
    assert logits.dtype == torch.float32
    np.testing.assert_allclose(logits.double().exp(), expected.exp(), atol=1e-6)
    assert torch.allclose(logits.exp().sum(-1), torch.ones(ids.shape), atol=1e-5)


def test_weights_of_zero_are_the_base_bit_for_bit_and_ask_no_memory(model: Any, ids: torch.Tensor) -> None:
    with torch.inference_mode():
        base = model(input_ids=ids).logits
        assert torch.equal(put(model, ALL, [0.0, 0.0, 0.0])(input_ids=ids).logits, base)
        assert not model._forward_hooks and all(not b.mlp._forward_pre_hooks for b in languagemodel.blocks(model))
        never = put(model, ("mlp",), lambda positions: 0.0)
        assert torch.equal(never(input_ids=ids).logits, base)


@pytest.mark.parametrize("name", ALL)
def test_interpolation_is_the_base_at_0_the_memory_at_1_and_convex_between(
    model: Any, ids: torch.Tensor, name: str
) -> None:
    def losses(weight: float) -> tuple[float, torch.Tensor]:
        with torch.inference_mode():
            logits = put(model, (name,), weight)(input_ids=ids).logits
        detach(model)
        true = torch.log_softmax(logits.double(), -1)[:, :-1].gather(2, ids[:, 1:, None])
        return float(-true.mean()), logits

    with torch.inference_mode():
        assert torch.equal(losses(0.0)[1], model(input_ids=ids).logits)
    assert np.allclose(losses(1.0)[1].double().exp(), said(model, name, ids), atol=1e-6)
    line = np.array([losses(weight)[0] for weight in GRID])
    assert (line[:-2] - 2 * line[1:-1] + line[2:] > -1e-6).all()
    base = torch.log_softmax(model(input_ids=ids).logits.double(), -1)[:, :-1].gather(2, ids[:, 1:, None])
    memory = said(model, name, ids)[:, :-1].gather(2, ids[:, 1:, None]).log()
    expected = [mixture_nll(base.detach().flatten(), memory.flatten(), weight).mean() for weight in GRID]
    assert np.allclose(line, expected, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"use_cache": False}, {"cache_implementation": "static"}], ids=str)
def test_greedy_generation_follows_the_mixture(model: Any, ids: torch.Tensor, options: dict[str, Any]) -> None:
    weights = {"mlp": 0.2, "knn": 0.2, "decoder": 0.4}
    expected = followed(lambda text: mixture(model, weights, text), ids, 7)
    put(model, ALL, list(weights.values()))
    tokens = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=7, **GREEDY, **options)
    assert torch.equal(tokens, expected)


def test_assisted_generation_takes_back_what_it_tried(model: Any, ids: torch.Tensor) -> None:
    put(model, ALL, [Unrolling(0.4, 0.1, 5), 0.1, 0.3])
    options = {"attention_mask": torch.ones_like(ids[:1]), "max_new_tokens": 12, **GREEDY}
    expected = model.generate(ids[:1], **options)
    assert torch.equal(
        model.generate(ids[:1], prompt_lookup_num_tokens=4, max_matching_ngram_size=1, **options), expected
    )


def test_a_decoder_follows_beams(model: Any, ids: torch.Tensor) -> None:
    """With the cache, beams are reordered in it; without, everything is read anew: both find the same."""
    put(model, ("decoder", "mlp"), [0.5, 0.2])
    options = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 8, "num_beams": 4, **GREEDY}
    with_cache = model.generate(ids, use_cache=True, num_return_sequences=2, **options)
    assert torch.equal(with_cache, model.generate(ids, use_cache=False, num_return_sequences=2, **options))


def test_a_decoder_follows_a_cache_that_is_kept_copied_and_cropped(model: Any, ids: torch.Tensor) -> None:
    put(model, ("decoder",), 0.6)
    with torch.inference_mode():
        whole = model(input_ids=ids).logits
        cache = model(input_ids=ids[:, :6]).past_key_values
        other = copy.deepcopy(cache)
        logits = model(input_ids=ids[:, 6:], past_key_values=cache).logits
        assert torch.allclose(logits, whole[:, 6:], atol=1e-5)
        cache.crop(-3)
        assert torch.allclose(model(input_ids=ids[:, -3:], past_key_values=cache).logits, whole[:, -3:], atol=1e-5)
        other.batch_select_indices(torch.tensor([1]))
        assert torch.allclose(model(input_ids=ids[1:, 6:], past_key_values=other).logits, whole[1:, 6:], atol=1e-5)


def test_a_decoder_refuses_what_it_has_not_read(model: Any, ids: torch.Tensor) -> None:
    with torch.inference_mode():
        cache = model(input_ids=ids[:, :6]).past_key_values
        put(model, ("decoder",), 0.6)
        with pytest.raises(ModelError, match=r"holds 6 positions of which the memory has read 0.*begin with the whole"):
            model(input_ids=ids[:, 6:], past_key_values=cache)
        with pytest.raises(ModelError, match="needs the model's `input_ids`"):
            model(inputs_embeds=model.get_input_embeddings()(ids))


@pytest.mark.parametrize("weights", [[0.3, 0.2, 0.4], [Unrolling(0.3, 0.0, 4), Constant(0.2), Unrolling(0.5, 0.1, 3)]])
def test_left_padded_batches_generate_what_each_prompt_generates_alone(
    model: Any, ids: torch.Tensor, weights: Any
) -> None:
    put(model, ALL, weights)
    prompts = [ids[0, :3], ids[0, :6]]
    settings = {"max_new_tokens": 6, **GREEDY}
    alone = [model.generate(input_ids=prompt[None], **settings)[0, len(prompt) :] for prompt in prompts]
    padded = torch.stack([torch.nn.functional.pad(prompt, (6 - len(prompt), 0)) for prompt in prompts])
    mask = torch.tensor([[0] * 3 + [1] * 3, [1] * 6])
    for cache in (True, False):
        together = model.generate(input_ids=padded, attention_mask=mask, use_cache=cache, **settings)[:, 6:]
        assert torch.equal(torch.stack(alone), together)


def test_a_schedule_counts_generated_tokens_with_and_without_a_cache(model: Any, ids: torch.Tensor) -> None:
    schedule = Unrolling(0.9, 0.1, tokens=4)
    expected = ids
    for position in range(7):
        weight = 0.9 - 0.8 * min(position / 4, 1.0)
        expected = followed(lambda text, weight=weight: mixture(model, {"decoder": weight}, text), expected, 1)
    put(model, ("decoder",), schedule)
    options = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 7, **GREEDY}
    for cache in (True, False):
        assert torch.equal(model.generate(ids, use_cache=cache, **options), expected)
    detach(model)
    assert "generate" not in vars(model)


def test_outside_of_generation_a_schedule_counts_the_tokens_of_a_row(model: Any, ids: torch.Tensor) -> None:
    counts: list[list[int]] = []

    def schedule(positions: torch.Tensor) -> torch.Tensor:
        counts.append(positions.tolist())
        return 0.3 * (positions % 2)

    even, odd = mixture(model, {"mlp": 0.0}, ids), mixture(model, {"mlp": 0.3}, ids)
    put(model, ("mlp",), schedule)
    with torch.inference_mode():
        logits = model(input_ids=ids).logits
        assert counts == [[*range(12)] * 2]
        assert torch.allclose(logits[:, 1::2].double(), odd[:, 1::2], atol=1e-4)
        assert torch.allclose(logits[:, ::2].double(), even[:, ::2], atol=1e-4)
        mask = torch.ones_like(ids)
        mask[0, :4] = 0
        cache = model(input_ids=ids[:, :6], attention_mask=mask[:, :6]).past_key_values
        model(input_ids=ids[:, 6:], attention_mask=mask, past_key_values=cache, logits_to_keep=2)
    assert counts[1:] == [[0, 0, 0, 0, 0, 1, *range(6)], [6, 7, 10, 11]]


def test_the_skip_rule_leaves_sure_tokens_to_the_model_and_the_memory_out(
    model: Any, ids: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    original = MLPMemory.log_probs

    def counted(self: MLPMemory, hidden: torch.Tensor) -> torch.Tensor:
        rows.append(hidden.shape[0])
        return original(self, hidden)

    with torch.inference_mode():
        base = torch.log_softmax(model(input_ids=ids).logits, -1)
        sure = base.amax(-1).exp()
        skip = float(sure.flatten().sort().values[11:13].mean())  # half of them
        mixed = put(model, ("mlp", "decoder"), [0.3, 0.3])(input_ids=ids).logits
        monkeypatch.setattr(MLPMemory, "log_probs", counted)
        logits = put(model, ("mlp", "decoder"), [0.3, 0.3], skip)(input_ids=ids).logits
        expected = torch.where((sure >= skip)[..., None], base, mixed)
        assert torch.allclose(logits, expected, atol=1e-5) and rows == [12]
        put(model, ("mlp", "decoder"), [0.3, 0.3], 1e-3)
        assert torch.allclose(model(input_ids=ids).logits, base, atol=1e-6) and rows == [12]
        cache = model(input_ids=ids[:, :6]).past_key_values
        Host.of(model).skip = None  # a decoder has read on all the same
        assert torch.allclose(
            model(input_ids=ids[:, 6:], past_key_values=cache).logits, mixed[:, 6:], atol=1e-5
        ) and rows == [12, 12]
    with pytest.raises(ModelError, match=r"such as 0\.9"):
        put(model, ("mlp",), 0.3, 1.5)


def test_threads_share_a_model_with_a_decoder_and_a_schedule(model: Any, ids: torch.Tensor) -> None:
    put(model, ("decoder", "mlp"), [Unrolling(0.5, 0.0, 5), 0.2])
    inputs = [ids[:, : 2 + number % 5] for number in range(12)]

    def answer(part: torch.Tensor) -> torch.Tensor:
        return model.generate(part, attention_mask=torch.ones_like(part), max_new_tokens=4, **GREEDY)

    expected = [answer(part) for part in inputs]
    with ThreadPoolExecutor(3) as pool:
        assert all(map(torch.equal, pool.map(answer, inputs), expected))


def test_sampling_with_several_sequences(model: Any, ids: torch.Tensor) -> None:
    put(model, ("decoder", "mlp"), [0.6, 0.4])
    torch.manual_seed(0)
    options = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 6, "eos_token_id": None, "pad_token_id": 0}
    tokens = model.generate(ids, do_sample=True, num_return_sequences=3, **options)[:, ids.shape[1] :]
    assert tokens.shape == (6, 6) and torch.isin(tokens, torch.cat([KNOWN, READ])).all()


def test_weights_that_cannot_be_are_told(model: Any, ids: torch.Tensor) -> None:
    with pytest.raises(ModelError, match=r"sum to more than 1 \(0.6 \+ 0.6\)"):
        put(model, ("mlp", "knn"), [0.6, 0.6])
    with pytest.raises(ModelError, match="2 memories, 1 weights"):
        put(model, ("mlp", "knn"), [0.6])
    with pytest.raises(ModelError, match="at least 1 token"):
        Unrolling(tokens=0)
    for wrong, sentence in (
        (lambda positions: 1.5, "not between 0 and 1"),
        (lambda positions: torch.ones(3), "for 24 positions"),
        (lambda positions: float("nan"), "not between 0 and 1"),
    ):
        with pytest.raises(ModelError, match=sentence):
            put(model, ("mlp",), wrong)(input_ids=ids)
    with pytest.raises(ModelError, match="by their schedules"):
        put(model, ("mlp", "knn"), [Unrolling(0.9, 0.5), Unrolling(0.9, 0.5)])(input_ids=ids)


def test_what_is_saved_is_the_bare_model(model: Any, ids: torch.Tensor, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    put(model, ALL, [0.3, Unrolling(0.3), 0.3]).save_pretrained(tmp_path)
    saved = type(model).from_pretrained(tmp_path, dtype=torch.float32).eval()
    assert {*saved.state_dict()} == {*before}
    assert all(torch.equal(value, before[name]) for name, value in saved.state_dict().items())
    with torch.inference_mode():
        assert torch.equal(saved(input_ids=ids).logits, detach(model)(input_ids=ids).logits)


def test_a_copy_of_the_model_mixes_on_its_own(model: Any, ids: torch.Tensor) -> None:
    put(model, ALL, [0.2, Unrolling(0.3, 0.1), 0.2])
    options = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 5, **GREEDY}
    expected = model.generate(ids, **options)
    other = copy.deepcopy(model)
    bare = detach(model).generate(ids, **options)
    assert torch.equal(other.generate(ids, **options), expected)
    with torch.no_grad():
        assert not torch.equal(model(input_ids=ids).logits, other(input_ids=ids).logits)
    assert torch.equal(detach(other).generate(ids, **options), bare) and not other._forward_hooks


def test_memories_follow_the_model_to_another_dtype_and_back(loaded: tuple[Any, Any], ids: torch.Tensor) -> None:
    model = copy.deepcopy(loaded[0])
    memory, text = mlp(), decoder()
    attach(model, [memory, text], [0.4, 0.2], languagemodel.lock(model), [LAYER, None])
    options = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 3, **GREEDY}
    with torch.inference_mode():
        exact = model(input_ids=ids).logits
        rough = model.to(torch.bfloat16)(input_ids=ids).logits
        model.generate(ids, **options)
        assert rough.dtype == torch.float32 and torch.allclose(rough.exp(), exact.exp(), atol=0.05)
        fitted = [entry.reader._placed[2] for entry in Host.of(model).mixture.entries]
        assert {parameter.dtype for one in fitted for parameter in one.parameters()} == {torch.bfloat16}
        assert fitted[1].body.rotary_emb.inv_freq.dtype == torch.float32
        again = model.to(torch.float32)(input_ids=ids).logits
    assert memory.head.weight.dtype == text.head.weight.dtype == torch.float32
    assert torch.allclose(again.exp(), exact.exp(), atol=0.05)


def test_a_pipeline_of_transformers_generates_with_memories(loaded: tuple[Any, Any], model: Any) -> None:
    import transformers

    put(model, ("decoder", "mlp"), [Unrolling(0.6, 0.2, 8), 0.3])
    tokenizer = loaded[1]
    pipeline = transformers.pipeline("text-generation", model=model, tokenizer=tokenizer, device="cpu")
    options = {"max_new_tokens": 6, "do_sample": False}
    (entry,) = pipeline(SENTENCES[0], **options)
    inputs = tokenizer(SENTENCES[0], return_tensors="pt")
    expected = model.generate(**inputs, **options, pad_token_id=0)
    assert entry["generated_text"] == tokenizer.decode(expected[0], skip_special_tokens=True)
    bare = detach(model).generate(**inputs, **options, pad_token_id=0)
    assert not torch.equal(bare, expected)
