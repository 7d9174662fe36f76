"""The lock knows what a model computes: the same weights under another configuration are another model."""

from __future__ import annotations

import copy
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_models import save_tiny_model

from mnemic import languagemodel
from mnemic.attach import attach, detach
from mnemic.errors import ModelError
from mnemic.memories.mlp import MemoryConfig, MLPMemory

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "gpt2": {},
    "gpt_neox": {},
    "mistral": {"sliding_window": 8},
    "qwen2": {},
    "qwen3": {},
    "gemma": {},
    "gemma2": {"sliding_window": 8},
    "gemma3_text": {"sliding_window": 8},
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, dict[str, str]]:
    folder = save_tiny_model(tmp_path_factory.mktemp("model"), request.param, **FAMILIES[request.param])
    model, _ = languagemodel.load(folder, "float32")
    return folder, model, languagemodel.lock(model)


def memory() -> MLPMemory:
    return MLPMemory(MemoryConfig(32, 32, 3), torch.tensor([3, 17, 60])).eval()


def activation(model: Any) -> None:
    for block in languagemodel.blocks(model):
        setattr(block.mlp, "act_fn" if hasattr(block.mlp, "act_fn") else "act", torch.nn.ReLU())


def epsilon(model: Any) -> None:
    for module in model.modules():
        for name in ("eps", "variance_epsilon"):
            if hasattr(module, name):
                setattr(module, name, 10.0)


def last_epsilon(model: Any) -> None:
    norm = [module for module in model.modules() if hasattr(module, "eps") or hasattr(module, "variance_epsilon")][-1]
    setattr(norm, "eps" if hasattr(norm, "eps") else "variance_epsilon", 0.1)


def frequencies(model: Any) -> None:
    for module in model.modules():
        for name, value in list(module.named_buffers(recurse=False)):
            if name.endswith("inv_freq"):
                setattr(module, name, value * 50)
        if hasattr(module, "scale_attn_by_inverse_layer_idx"):  # GPT-2 has no rotation
            module.scale_attn_by_inverse_layer_idx = True


def scaling(model: Any) -> None:
    for module in model.modules():
        if hasattr(module, "scaling"):
            module.scaling = 0.0


def forward(model: Any) -> None:
    layer = languagemodel.blocks(model)[1].mlp
    layer.forward = types.MethodType(lambda self, hidden: hidden, layer)


CHANGES = [activation, epsilon, last_epsilon, frequencies, scaling, forward]


@pytest.mark.parametrize("change", CHANGES)
def test_modules_that_were_changed_in_place_are_seen(family: Any, change: Callable[[Any], None]) -> None:
    _, model, lock = family
    changed = copy.deepcopy(model)
    change(changed)
    with pytest.raises(ModelError, match=r"computes something else .* Load it with the configuration"):
        attach(changed, memory(), 0.5, lock)


def test_a_window_or_a_soft_cap_that_is_read_in_each_pass_is_seen(family: Any) -> None:
    _, model, lock = family
    config = model.config.get_text_config()
    names = [one for one in ("sliding_window", "final_logit_softcapping") if hasattr(config, one)]
    for name in names:
        changed = copy.deepcopy(model)
        setattr(changed.config.get_text_config(), name, 3 if name == "sliding_window" else 3.0)
        with pytest.raises(ModelError, match=name):
            attach(changed, memory(), 0.5, lock)


def test_the_same_weights_under_another_configuration_are_refused(family: Any) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    folder, _, lock = family
    for name, value in (
        ("rms_norm_eps", 10.0),
        ("layer_norm_eps", 10.0),
        ("layer_norm_epsilon", 10.0),
        ("hidden_act", "relu"),
        ("activation_function", "relu"),
        ("hidden_activation", "relu"),
        ("query_pre_attn_scalar", 3),
        ("attn_logit_softcapping", 2.0),
        ("use_parallel_residual", False),
        ("scale_attn_weights", False),
        ("rope_parameters", {"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0}),
        ("rope_parameters", {"rope_type": "default", "rope_theta": 500_000.0}),
    ):
        config = AutoConfig.from_pretrained(folder)
        layered = any(isinstance(one, dict) for one in (getattr(config, "rope_parameters", None) or {}).values())
        if not hasattr(config, name) or (layered and name == "rope_parameters"):
            continue
        if name == "rope_parameters":
            value = {**config.rope_parameters, **value}  # noqa: PLW2901
        setattr(config, name, value)
        other = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32).eval()
        assert languagemodel.lock(other)["weights"] == lock["weights"]
        with pytest.raises(ModelError, match="computes something else"):
            attach(other, memory(), 0.5, lock)


def test_what_computes_the_same_is_the_same(family: Any) -> None:
    folder, model, lock = family
    half, _ = languagemodel.load(folder, "bfloat16")
    cast = copy.deepcopy(model).to(torch.bfloat16)
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    trained = copy.deepcopy(model).train()
    compiled = copy.deepcopy(model)
    compiled.forward = torch.compile(compiled.forward)
    for other in (half, cast, eager, trained, compiled):
        assert languagemodel.difference(lock["function"], languagemodel.lock(other)["function"]) == ""
    attached = attach(copy.deepcopy(model), memory(), 0.5, lock)
    attach(attached, memory(), 0.5, lock)
    old = {name: value for name, value in lock.items() if name != "function"}
    changed = copy.deepcopy(model)
    epsilon(changed)
    detach(attach(changed, memory(), 0.5, old))


def test_a_model_whose_weights_cannot_be_told_is_refused_with_a_sentence(family: Any) -> None:
    import accelerate

    _, model, lock = family
    offloaded = copy.deepcopy(model)
    accelerate.cpu_offload(offloaded, execution_device="cpu")
    with pytest.raises(ModelError, match=r"not in memory .* without device_map or offloading"):
        attach(offloaded, memory(), 0.5, lock)
    half = copy.deepcopy(model)
    half.get_input_embeddings().weight.data = half.get_input_embeddings().weight.data.to(torch.float8_e4m3fn)
    with pytest.raises(ModelError, match="is quantised"):
        attach(half, memory(), 0.5, lock)
    if any(type(module) is torch.nn.Linear for module in languagemodel.blocks(model).modules()):
        quantised = torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {torch.nn.Linear}, dtype=torch.qint8)
        with pytest.raises(ModelError, match=r"is quantised .* load it in bfloat16 or float32"):
            attach(quantised, memory(), 0.5, lock)


def test_a_resized_vocabulary_is_told_as_one(family: Any) -> None:
    _, model, lock = family
    resized = copy.deepcopy(model)
    resized.resize_token_embeddings(321, mean_resizing=False)
    sentence = r"of 321 tokens .* of 320: its embeddings were resized .* set `tokenizer\.pad_token`"
    with pytest.raises(ModelError, match=sentence):
        attach(resized, memory(), 0.5, lock)


def test_a_model_from_a_gguf_file_is_not_taken_for_a_quantised_one(family: Any) -> None:
    """transformers calls it quantised, although its weights were unpacked when they were read."""
    _, model, lock = family
    read = copy.deepcopy(model)
    read.is_quantized, read.quantization_method = True, "gguf"
    attach(read, memory(), 0.5, lock)
    read.quantization_method = "gptq"
    with pytest.raises(ModelError, match="quantised"):
        attach(read, memory(), 0.5, lock)
