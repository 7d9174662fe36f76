"""Frozen causal language models: load one, say what it is, and tap what its feed-forward layers read.

kNN-LM (Khandelwal et al., arXiv 1911.00172, section 5) compared the places of a Transformer where a context vector can
be taken from: the input of the last block's feed-forward layer, after its norm, is the best retrieval key
(WikiText-103 dev perplexity 17.96 -> 16.06; the model's output gives 17.07). MLP Memory (arXiv 2508.01832, figure 6b)
finds that the student does best when it reads the same place at 70 % of the depth. Both are inputs of a block's
``mlp`` module in every decoder family handled here, so one forward pre-hook serves all. Weights read from GGUF are
de-quantised to float32 and only the parameters are cast afterwards: casting buffers too would round the rotary
frequencies to eight bits.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, TypedDict

from mnemic.errors import ModelError
from mnemic.hardware import resolve_dtype
from mnemic.ids import hash_bytes
from mnemic.models import locate, weights_hash

if TYPE_CHECKING:
    import torch

_FAMILIES = frozenset(  # by config.model_type
    {"gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gemma3_text", "gpt_neox"}
)
_OFFSET_NORMS = ("gemma",)  # their RMSNorm multiplies by 1 + weight


class ModelDescription(TypedDict):
    """What a plan must know about a model before anything loads it."""

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
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        text = config.get("text_config", config)
        return ModelDescription(
            hidden=int(text["hidden_size"] if "hidden_size" in text else text["n_embd"]),
            layers=int(text["num_hidden_layers"] if "num_hidden_layers" in text else text["n_layer"]),
            vocabulary=int(text["vocab_size"]),
            architecture=str(text.get("model_type", config.get("model_type", ""))),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path / 'config.json'} does not state hidden size, layers and vocabulary of a causal language model; "
            "give the folder of a transformers model or a .gguf file."
        ) from error


def load(address: str, dtype: str = "auto", device: str = "cpu") -> tuple[Any, Any]:
    """(model, tokenizer), frozen and in evaluation mode; never downloads, never runs a model's own code.

    ``address`` is a folder, the Hugging Face id of a cached model, a ``.gguf`` file, or ``package:NAME/path``;
    ``dtype`` is "auto", "bfloat16" or "float32". Raises `ModelError` where it cannot be loaded.
    """
    import torch
    from transformers import AutoModelForCausalLM

    read = tokenizer(address)
    folder, options = _files(address)
    weights = {} if "gguf_file" in options else {"use_safetensors": True}
    with _quiet(), _readable(address):
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options, **weights)
    target = getattr(torch, resolve_dtype(dtype, device))
    for parameter in model.parameters():
        parameter.data = parameter.data.to(target)
        parameter.requires_grad_(False)
    return model.to(device).eval(), read


def tokenizer(address: str) -> Any:
    """The tokenizer of a model alone. Raises `ModelError` where it cannot be loaded."""
    from transformers import AutoTokenizer

    folder, options = _files(address)
    with _quiet(), _readable(address):
        return AutoTokenizer.from_pretrained(folder, **options)


def _files(address: str) -> tuple[str, dict[str, Any]]:
    """The folder to load from, and with which options."""
    path = locate(address)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if path.suffix == ".gguf":
        return str(path.parent), {**options, "gguf_file": path.name}
    return str(path), options


@contextlib.contextmanager
def _readable(address: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, TypeError) as error:
        cause = " ".join(str(error).split())[:300]
        raise ModelError(
            f"The language model {address!r} could not be loaded ({cause}); give a causal model with its tokenizer "
            "in safetensors or GGUF format (GGUF needs the packages gguf and accelerate)."
        ) from error


def shared(address: str, dtype: str = "auto", device: str = "cpu") -> tuple[Any, Any]:
    """Like `load`, but the steps of one build get the same model: reading a GGUF file of 98 MB takes 16 s.

    Not for attaching to, and not to be changed. One model is held at a time.
    """
    return _shared(address, weights_hash(address), dtype, device)


@functools.lru_cache(maxsize=1)
def _shared(address: str, _weights: str, dtype: str, device: str) -> tuple[Any, Any]:
    return load(address, dtype, device)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """transformers without progress bars and warnings; what was set before comes back afterwards.

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


def blocks(model: Any) -> Any:
    """The decoder blocks, in order; each has its feed-forward layer as ``mlp``, whose input is already normed.

    Raises `ModelError` for a family whose blocks are laid out otherwise.
    """
    kind = getattr(model.config, "model_type", type(model).__name__)
    if kind not in _FAMILIES:
        raise ModelError(
            f"Models of type {kind!r} have no known place to tap; use one of {', '.join(sorted(_FAMILIES))}."
        )
    decoder = _decoder(model)
    return decoder.h if hasattr(decoder, "h") else decoder.layers


def _decoder(model: Any) -> Any:
    base = model.base_model
    return getattr(base, "language_model", base)


def student_layer(layers: int, depth: float) -> int:
    """Index (from 0) of the block that the student reads at this share of the depth: 0.7 of 30 blocks is block 21."""
    return min(layers - 1, round(depth * layers))


@contextlib.contextmanager
def capture(model: Any, layers: Iterable[int]) -> Iterator[dict[int, torch.Tensor]]:
    """Within the block, every forward pass stores the feed-forward input of these layers in the yielded dictionary.

    Each is [batch, positions, hidden] in the model's dtype; a later forward pass replaces it.
    """
    taps: dict[int, torch.Tensor] = {}
    stack = blocks(model)
    with contextlib.ExitStack() as hooks:
        for layer in set(layers):
            hooks.callback(tap(stack[layer], taps, layer).remove)
        yield taps


class Taps(Protocol):
    def __setitem__(self, layer: int, hidden: torch.Tensor, /) -> None: ...


def tap(block: Any, taps: Taps, layer: int) -> Any:
    """Store the input of ``block.mlp`` in ``taps[layer]`` at every forward pass; returns the hook's handle."""

    def keep(_module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        taps[layer] = inputs[0]

    return block.mlp.register_forward_pre_hook(keep)


def final_norm(model: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Scale and, for a LayerNorm, bias of the norm before the output embedding; float32 [hidden]."""
    decoder = _decoder(model)
    norm = next(getattr(decoder, n) for n in ("norm", "ln_f", "final_layer_norm") if hasattr(decoder, n))
    scale = norm.weight.detach().float()
    if model.config.model_type.startswith(_OFFSET_NORMS):
        scale = scale + 1.0
    bias = getattr(norm, "bias", None)
    return scale, None if bias is None else bias.detach().float()


def output_embedding(model: Any) -> torch.Tensor:
    """Weight of the language-model head, [vocabulary, hidden]."""
    weight: torch.Tensor = model.get_output_embeddings().weight.detach()
    return weight


def softcap(model: Any) -> float | None:
    """Bound of the logits where the family has one (Gemma 2: 30 tanh(z / 30)), else None."""
    bound = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return None if bound is None else float(bound)


def lock(model: Any, tokenizer: Any | None = None) -> dict[str, str]:
    """What a memory remembers of the model that it was made for; `attach` compares it.

    ``weights`` hashes every parameter once, cast to bfloat16, so that one model loaded in float32 and in bfloat16, or
    from GGUF and from safetensors of the same values, is the same. ``tokenizer`` is present if one is given.
    """
    import torch

    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        value = parameter.detach().to(torch.bfloat16).cpu().contiguous()
        digest.update(f"{name} {tuple(value.shape)}\n".encode())
        digest.update(value.view(torch.uint8).numpy() if value.dim() else value.view(1).view(torch.uint8).numpy())
    found = {
        "weights": digest.hexdigest(),
        "architecture": type(model).__name__,
        "vocabulary": str(output_embedding(model).shape[0]),
    }
    if tokenizer is not None:
        found["tokenizer"] = tokenizer_hash(tokenizer)
    return found


def tokenizer_hash(tokenizer: Any) -> str:
    """Hash of what turns text into token ids. Truncation and padding, which calls change, are not part of it."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return hash_bytes(json.dumps(sorted(tokenizer.get_vocab().items())).encode())
    whole = json.loads(backend.to_str())
    parts = {name: whole.get(name) for name in ("added_tokens", "normalizer", "pre_tokenizer", "model")}
    return hash_bytes(json.dumps(parts, sort_keys=True).encode())


# The GGUF header (github.com/ggml-org/ggml, docs/gguf.md): magic, version, counts, then key-value pairs. The gguf
# package maps every tensor and decodes every token, 2.4 s for a 49,152 token vocabulary; skipping takes 0.02 s.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


def _describe_gguf(path: Path) -> ModelDescription:
    found: dict[str, Any] = {}
    try:
        with path.open("rb") as stream:
            if stream.read(4) != b"GGUF":
                raise ValueError("no GGUF magic")
            _version, _tensors, pairs = struct.unpack("<IQQ", stream.read(20))
            for _ in range(pairs):
                key = _text(stream)
                found[key] = _value(stream, *struct.unpack("<I", stream.read(4)))
                name = found.get("general.architecture")
                vocabulary = found.get(f"{name}.vocab_size") or found.get("tokenizer.ggml.tokens")
                hidden, layers = found.get(f"{name}.embedding_length"), found.get(f"{name}.block_count")
                if name and hidden and layers and vocabulary:
                    return ModelDescription(hidden=hidden, layers=layers, vocabulary=vocabulary, architecture=name)
        raise ValueError("fields missing")
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise ModelError(
            f"{path} does not have the header of a GGUF language model ({error}); fetch the file again or give the "
            "folder of a transformers model."
        ) from error


def _text(stream: IO[bytes]) -> str:
    (length,) = struct.unpack("<Q", stream.read(8))
    if length > 1 << 24:
        raise ValueError("a string of more than 16 MB")
    return stream.read(length).decode("utf-8", "replace")


def _value(stream: IO[bytes], kind: int) -> Any:
    """The value; of an array its length alone."""
    if kind == _STRING:
        return _text(stream)
    if kind != _ARRAY:
        form = "<" + _SCALARS[kind]
        return struct.unpack(form, stream.read(struct.calcsize(form)))[0]
    item, length = struct.unpack("<IQ", stream.read(12))
    if item in _SCALARS:
        stream.seek(length * struct.calcsize("<" + _SCALARS[item]), 1)
    else:
        for _ in range(length):
            _value(stream, item)
    return length
