"""Frozen causal language models and their tokenizers, from files on this machine.

Weights read from GGUF are de-quantised to float32 and only the parameters are cast afterwards: casting buffers too
would round the rotary frequencies to eight bits.
"""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Iterator
from typing import Any

from mnemic.errors import ModelError
from mnemic.hardware import resolve_dtype
from mnemic.languagemodel.describe import describe
from mnemic.model_files import check_model, check_sizes
from mnemic.models import locate, weights_hash

_TOKENIZER = "_mnemic_tokenizer"


def load(address: str, dtype: str = "auto", device: str = "cpu") -> tuple[Any, Any]:
    """(model, tokenizer), frozen and in evaluation mode; never downloads, never runs a model's own code.

    ``address`` is a folder, the Hugging Face id of a cached model, a ``.gguf`` file, or ``package:NAME/path``;
    ``dtype`` is "auto", "bfloat16" or "float32". Raises `ModelError` where it cannot be loaded.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    place = locate(address)
    if place.is_dir():
        check_sizes(place)
    else:
        describe(address)
    read = tokenizer(address)
    folder, options = _files(address)
    weights = {} if "gguf_file" in options else {"use_safetensors": True}
    with _quiet(), _readable(address):
        config = AutoConfig.from_pretrained(folder, **options)
        with torch.device("meta"):
            check_model(AutoModelForCausalLM.from_config(config, trust_remote_code=False), place)
    with _quiet(), _readable(address):
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options, **weights)
    target = getattr(torch, resolve_dtype(dtype, device))
    for parameter in model.parameters():
        parameter.data = parameter.data.to(target)
        parameter.requires_grad_(False)
    model.__dict__[_TOKENIZER] = read
    return model.to(device).eval(), read


def tokenizer_of(model: Any) -> Any | None:
    """The tokenizer that a model was loaded with by `load`; None for other models."""
    return getattr(model, "__dict__", {}).get(_TOKENIZER)


def config(address: str) -> Any:
    """The configuration of a model's text part alone. Raises `ModelError` where it cannot be loaded."""
    from transformers import AutoConfig

    folder, options = _files(address)
    with _quiet(), _readable(address):
        return AutoConfig.from_pretrained(folder, **options).get_text_config()


def tokenizer(address: str) -> Any:
    """The tokenizer of a model alone. Raises `ModelError` where it cannot be loaded."""
    from transformers import AutoTokenizer

    folder, options = _files(address)
    with _quiet(), _readable(address):
        return AutoTokenizer.from_pretrained(folder, **options)


def _files(address: str) -> tuple[str, dict[str, Any]]:
    """The folder to load from, and the options of loading."""
    path = locate(address)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if path.suffix == ".gguf":
        return str(path.parent), {**options, "gguf_file": path.name}
    return str(path), options


@contextlib.contextmanager
def _readable(address: str) -> Iterator[None]:
    try:
        yield
    except ModelError:
        raise
    except BaseException as error:
        # Files that somebody made up end in any error of transformers, and in panics of its parts in Rust.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        cause = " ".join(str(error).split())[:300]
        raise ModelError(
            f"The language model {address!r} could not be loaded ({cause}); give a causal model with its tokenizer "
            "in safetensors or GGUF format (GGUF needs the packages gguf and accelerate)."
        ) from error


def shared(address: str, dtype: str = "auto", device: str = "cpu") -> tuple[Any, Any]:
    """Like `load`, but the steps of one build share the model: reading a GGUF file of 98 MB takes 16 s.

    Nobody may change it or attach to it. The cache has room for one model.
    """
    return _shared(address, weights_hash(address), dtype, device)


@functools.lru_cache(maxsize=1)
def _shared(address: str, _weights: str, dtype: str, device: str) -> tuple[Any, Any]:
    return load(address, dtype, device)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the progress bars and warnings of transformers while the block runs.

    Standard error is swallowed too: the bar of the GGUF reader is drawn past the library's own switch.
    """
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
