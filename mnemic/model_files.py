"""Files of a model's folder, which anybody may have written: what they say is checked before anything is made of it.

A few bytes of configuration can ask for a billion layers, or for a vocabulary that fits into no memory. The weights
cannot lie so cheaply: a large tensor takes a large file. So sizes that a configuration states are held against the
files of the weights, and the parameters of the whole model too, on torch's device without memory, before the first is
allocated.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mnemic.errors import ModelError
from mnemic.opening import open_regular

LARGEST = 64 << 20
"""Bytes of a JSON file; the tokenizer of 256,000 tokens is half of it."""

_SPARE = 64 << 20
"""Parameters that a model may have beyond its files: heads that are made anew, masks, tables of positions."""

_LAYERS = frozenset(
    {"num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"}
    | {"num_encoder_layers", "num_decoder_layers"}
)
"""Numbers of layers: no more than there are tensors."""

_ROWS = frozenset(
    {"vocab_size", "hidden_size", "n_embd", "d_model", "dim", "intermediate_size", "n_inner", "ffn_dim", "d_ff"}
    | {"num_labels", "num_attention_heads", "num_key_value_heads", "n_head", "head_dim", "type_vocab_size"}
    | {"num_local_experts", "num_experts", "n_routed_experts"}
)
"""Rows and columns of tensors: no more than there are bytes."""


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object that the file at ``path`` is, {} where there is none. Raises `ModelError`."""
    value = read_json(path)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ModelError(f"{path} is not a JSON object; get the model's files again.")
    return value


def read_json(path: Path) -> Any:
    """The JSON value of the file at ``path``, None where there is none. Raises `ModelError`."""
    if not os.path.lexists(path):
        return None
    try:
        with open_regular(os.path.realpath(path)) as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); get the model's files again.") from error
    if len(data) > LARGEST:
        raise ModelError(f"{path} is larger than such a file can be ({LARGEST:,} bytes); get the model's files again.")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        cause = str(error)[:100]
        raise ModelError(f"{path} is not JSON ({cause}); get the model's files again.") from error


def whole(value: Any, most: int = 1 << 31) -> int:
    """``value``, if it is a whole number from 1 to ``most``. Raises `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ValueError(f"no whole number from 1 to {most:,}")
    return value


def check_sizes(folder: Path) -> None:
    """Hold what ``config.json`` states against the files of the weights. Raises `ModelError`."""
    config = read_object(folder / "config.json")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return  # whoever loads the model says so
    size = sum(file.stat().st_size for file in files if file.is_file())
    tensors = _tensors(files)
    for name, value in _numbers(config):
        limit = tensors if name in _LAYERS else size
        if name in _LAYERS | _ROWS and value > limit:
            contents = f"{tensors:,} tensors" if name in _LAYERS else f"{size:,} bytes"
            raise ModelError(
                f"{folder / 'config.json'} states {name} {min(value, 1 << 62):,}, and the weights hold {contents}; "
                "get the model's files again."
            )


def check_model(model: Any, place: Path) -> None:
    """Hold a model without memory (torch's device "meta") against the weights at ``place``. Raises `ModelError`."""
    files = [place] if place.is_file() else list(place.glob("*.safetensors"))
    stored = 8 * sum(file.stat().st_size for file in files)
    parameters = sum(one.numel() for one in (*model.parameters(), *model.buffers()))
    if parameters > stored + _SPARE:
        raise ModelError(
            f"The configuration of the model at {place} asks for {parameters:,} parameters, far more than its weights "
            "hold; get the model's files again."
        )


def _tensors(files: list[Path]) -> int:
    """Tensors in safetensors files, by their headers. Raises `ModelError`."""
    from safetensors import SafetensorError, safe_open

    count = 0
    for file in files:
        try:
            with safe_open(str(file), "np") as opened:
                count += len(opened.keys())
        except (OSError, SafetensorError) as error:
            cause = str(error)[:200]
            raise ModelError(
                f"{file} is not readable as safetensors ({cause}); get the model's files again."
            ) from error
    return count


def _numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The whole numbers of a configuration and of the configurations in it. JSON bounds how deep they are."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _numbers(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            yield name, value
