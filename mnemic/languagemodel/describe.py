"""The description of a language model that a plan needs, from the headers of its files alone."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypedDict

from mnemic.errors import ModelError
from mnemic.model_files import read_object, whole
from mnemic.models import locate
from mnemic.opening import open_regular

# The GGUF header (github.com/ggml-org/ggml, docs/gguf.md): magic, version, counts, then key-value pairs. The gguf
# package maps every tensor and decodes every token, 2.4 s for a 49,152 token vocabulary; skipping takes 0.02 s.

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

_STRING, _ARRAY = 8, 9

_DEEPEST = 4
_SIZE_OF_A_LENGTH = 8
"""Bytes that a string or an array takes at least."""


class ModelDescription(TypedDict):
    """The sizes of a model that a plan needs before anything loads it."""

    hidden: int
    layers: int
    vocabulary: int
    architecture: str


def describe(address: str) -> ModelDescription:
    """Hidden width, layers, vocabulary size and architecture, from ``config.json`` or a GGUF file's header alone.

    Imports neither torch nor transformers. Raises `ModelError` where the file does not state them.
    """
    path = locate(address)
    if path.suffix == ".gguf":
        return _describe_gguf(path)
    try:
        config = read_object(path / "config.json")
        text = config.get("text_config", config)
        return _checked(
            text["hidden_size"] if "hidden_size" in text else text["n_embd"],
            text["num_hidden_layers"] if "num_hidden_layers" in text else text["n_layer"],
            text["vocab_size"],
            text.get("model_type", config.get("model_type", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path / 'config.json'} does not state hidden size, layers and vocabulary of a causal language model; "
            "give the folder of a transformers model or a .gguf file."
        ) from error


def _checked(hidden: Any, layers: Any, vocabulary: Any, architecture: Any) -> ModelDescription:
    """Raises `ValueError` for sizes that no model has."""
    if not isinstance(architecture, str):
        raise ValueError("the architecture is no text")
    return ModelDescription(
        hidden=whole(hidden, most=1 << 20),
        layers=whole(layers, most=1 << 16),
        vocabulary=whole(vocabulary, most=1 << 28),
        architecture=architecture,
    )


def _describe_gguf(path: Path) -> ModelDescription:
    fields: dict[str, Any] = {}
    with open_gguf(path) as (stream, pairs):
        for _ in range(pairs):
            key = read_text(stream)
            fields[key] = skip_value(stream, *struct.unpack("<I", stream.read(4)))
            name = fields.get("general.architecture")
            vocabulary = fields.get(f"{name}.vocab_size") or fields.get("tokenizer.ggml.tokens")
            hidden, layers = fields.get(f"{name}.embedding_length"), fields.get(f"{name}.block_count")
            if name and hidden and layers and vocabulary:
                return _checked(hidden, layers, vocabulary, name)
        raise ValueError("fields missing")


@contextmanager
def open_gguf(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """The file at its first field, and the number of its fields. Raises `ModelError` where reading them fails."""
    try:
        with open_regular(str(path)) as stream:
            if stream.read(4) != b"GGUF":
                raise ValueError("no GGUF magic")
            _version, _tensors, pairs = struct.unpack("<IQQ", stream.read(20))
            yield stream, pairs
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise ModelError(
            f"{path} does not have the header of a GGUF language model ({error}); fetch the file again or give the "
            "folder of a transformers model."
        ) from error


def read_text(stream: IO[bytes]) -> str:
    (length,) = struct.unpack("<Q", stream.read(8))
    if length > 1 << 24:
        raise ValueError("a string of more than 16 MB")
    return stream.read(length).decode("utf-8", "replace")


def skip_value(stream: IO[bytes], kind: int, depth: int = 0) -> Any:
    """The value; of an array its length alone."""
    if depth > _DEEPEST:
        raise ValueError("arrays nested too deeply")
    if kind == _STRING:
        return read_text(stream)
    if kind != _ARRAY:
        form = "<" + _SCALARS[kind]
        return struct.unpack(form, stream.read(struct.calcsize(form)))[0]
    item, length = struct.unpack("<IQ", stream.read(12))
    size = struct.calcsize("<" + _SCALARS[item]) if item in _SCALARS else _SIZE_OF_A_LENGTH
    if length * size > os.fstat(stream.fileno()).st_size - stream.tell():
        raise ValueError("an array longer than the file")
    if item in _SCALARS:
        stream.seek(length * size, 1)
    else:
        for _ in range(length):
            skip_value(stream, item, depth + 1)
    return length
