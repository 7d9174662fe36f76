"""Model folders that somebody made up: each is a `ModelError` soon, and nothing of it runs or takes much memory."""

from __future__ import annotations

import json
import os
import resource
import shutil
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_encoder import save_tiny_encoder
from tiny_models import save_tiny_model

from mnemic import languagemodel, models
from mnemic.encoder import TextEncoder, resolve_settings, vector_size
from mnemic.errors import ModelError
from mnemic.model_files import LARGEST, read_object


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    save_tiny_model(root / "decoder")
    save_tiny_encoder(root / "encoder")
    languagemodel.load(str(root / "decoder"), "float32")  # what transformers imports at first takes time and memory
    TextEncoder.load(str(root / "encoder"), "float32")
    return root


@pytest.fixture
def decoder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved / "decoder", tmp_path / "decoder"))


@pytest.fixture
def encoder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved / "encoder", tmp_path / "encoder"))


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """A test may take twenty seconds, and 300 MB more than there were."""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.monotonic() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


def change(folder: Path, **fields: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))


def refused(load: Callable[[], object]) -> str:
    with pytest.raises(ModelError) as caught:
        load()
    message = str(caught.value)
    assert message.endswith((".", ")")) and len(message) < 1500
    return message


SIZES: tuple[dict[str, Any], ...] = (
    {"hidden_size": 10**15},
    {"hidden_size": -5},
    {"hidden_size": 0},
    {"hidden_size": float("inf")},
    {"hidden_size": float("nan")},
    {"hidden_size": "9" * 5000},
    {"hidden_size": True},
    {"hidden_size": [8]},
    {"num_hidden_layers": 10**9},
    {"num_hidden_layers": {"a": 1}},
    {"vocab_size": 10**12},
    {"vocab_size": None},
    {"intermediate_size": 10**12},
    {"num_labels": 10**9},
    {"num_attention_heads": 10**9},
    {"text_config": {"num_hidden_layers": 10**9}},
    {"model_type": ["llama"]},
    {"model_type": "no-model-of-this-type"},
    {"text_config": 5},
)


@pytest.mark.parametrize("fields", SIZES, ids=lambda fields: str(fields)[:40])
def test_a_configuration_that_asks_for_too_much_or_for_nonsense(decoder: Path, encoder: Path, fields: dict) -> None:
    change(decoder, **fields)
    if "text_config" not in fields:  # the encoder's configuration has no inner one, and what is there is ignored
        change(encoder, **fields)
        refused(lambda: TextEncoder.load(str(encoder), "float32"))
    refused(lambda: languagemodel.load(str(decoder), "float32"))
    for reading in (languagemodel.describe, models.hidden_size, vector_size):
        try:
            reading(str(decoder))
        except ModelError as error:
            assert len(str(error)) < 1500


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"{", b"\xff", b"5", b"[]", b'{"hidden_size": 1' + b"0" * 5000 + b"}", b"\0" * 100]
)
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "modules.json", "tokenizer.json"])
def test_files_that_are_no_json_of_theirs(decoder: Path, encoder: Path, name: str, content: bytes) -> None:
    if (name, content) == ("modules.json", b"[]"):
        pytest.skip("no modules are none")
    for folder in (decoder, encoder):
        (folder / name).write_bytes(content)
    refused(lambda: TextEncoder.load(str(encoder), "float32"))
    if name != "modules.json":
        refused(lambda: languagemodel.load(str(decoder), "float32"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("modules.json", [{"idx": 0, "path": "../../../etc", "type": "os.system"}]),
        ("modules.json", [{"path": "../../../etc", "type": "sentence_transformers.models.Pooling"}]),
        ("modules.json", [1]),
        ("config_sentence_transformers.json", {"prompts": 5}),
        ("config_sentence_transformers.json", {"prompts": {"query": 5}}),
        ("sentence_bert_config.json", {"max_seq_length": "x"}),
        ("sentence_bert_config.json", {"max_seq_length": -3}),
        ("sentence_bert_config.json", {"max_seq_length": float("nan")}),
        ("1_Pooling/config.json", ["mean"]),
    ],
)
def test_settings_of_an_encoder_that_are_none(encoder: Path, name: str, content: Any) -> None:
    if name.startswith("1_"):
        pooling = [{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
        (encoder / "modules.json").write_text(json.dumps(pooling))
        (encoder / "1_Pooling").mkdir(exist_ok=True)
    (encoder / name).write_text(json.dumps(content))
    refused(lambda: resolve_settings(str(encoder)))


def test_code_of_a_model_is_never_run(decoder: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    for folder, kind in ((decoder, "AutoModelForCausalLM"), (encoder, "AutoModel")):
        code = f"open({str(folder / 'ran')!r}, 'w')\n"
        (folder / "evil.py").write_text(code + "class Evil: pass\nclass EvilConfig: pass\n")
        change(folder, model_type="evil", auto_map={"AutoConfig": "evil.EvilConfig", kind: "evil.Evil"})
        tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
        tokenizer |= {"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}, "tokenizer_class": "Evil"}
        (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    refused(lambda: languagemodel.load(str(decoder), "float32"))
    refused(lambda: TextEncoder.load(str(encoder), "float32"))
    assert not (decoder / "ran").exists() and not (encoder / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"x", struct.pack("<Q", 1 << 60) + b"{}", struct.pack("<Q", 2) + b"{}"])
def test_weights_that_are_none(decoder: Path, encoder: Path, content: bytes) -> None:
    for folder in (decoder, encoder):
        (folder / "model.safetensors").write_bytes(content)
    refused(lambda: languagemodel.load(str(decoder), "float32"))
    refused(lambda: TextEncoder.load(str(encoder), "float32"))


def test_weights_that_are_a_pickle_or_a_pipe(decoder: Path) -> None:
    (decoder / "model.safetensors").rename(decoder / "pytorch_model.bin")
    assert "a pickle, which can run code" in refused(lambda: models.weights_hash(str(decoder)))
    refused(lambda: languagemodel.load(str(decoder), "float32"))
    os.mkfifo(decoder / "model.safetensors")
    refused(lambda: models.weights_hash(str(decoder)))
    (decoder / "config.json").unlink()
    os.mkfifo(decoder / "config.json")
    for reading in (languagemodel.describe, models.hidden_size, vector_size):
        assert "cannot be read" in refused(lambda reading=reading: reading(str(decoder)))


@pytest.mark.parametrize("address", ["\0", "a" * 5000, "~nobody-of-this-name/x", "package:json/\0", "package:", ""])
def test_addresses_that_are_none(address: str) -> None:
    refused(lambda: models.weights_hash(address))


def text(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


def pair(key: bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


NUMBERS = b"".join(
    pair(f"x.{name}".encode(), 4, struct.pack("<I", size))
    for name, size in (("embedding_length", 4_000_000_000), ("block_count", 2), ("vocab_size", 5))
)


@pytest.mark.parametrize(
    ("pairs", "body"),
    [
        (1, pair(b"k", 9, struct.pack("<IQ", 9, 1) * 20_000)),
        (1 << 60, b""),
        (1, pair(b"k", 9, struct.pack("<IQ", 8, 1 << 60))),
        (1, pair(b"k", 9, struct.pack("<IQ", 10, 1 << 62))),
        (1, pair(b"k", 9, struct.pack("<IQ", 99, 5))),
        (1, struct.pack("<Q", 1 << 40)),
        (1, pair(b"k", 99, b"")),
        (4, pair(b"general.architecture", 8, text(b"x")) + NUMBERS),
        (4, pair(b"general.architecture", 4, struct.pack("<I", 7)) + NUMBERS),
    ],
)
def test_headers_of_gguf_that_are_none(tmp_path: Path, pairs: int, body: bytes) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, pairs) + body)
    refused(lambda: languagemodel.describe(str(path)))
    refused(lambda: languagemodel.load(str(path), "float32"))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.touch()
    os.truncate(path, LARGEST + 1)
    assert "larger than such a file can be" in refused(lambda: read_object(path))
