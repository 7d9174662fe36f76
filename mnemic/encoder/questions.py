"""The forward pass of BERT over one question, in numpy: a search needs neither torch nor transformers.

A call of `mnemic search` encodes one question. Importing transformers and torch for it takes 5 seconds of a processor,
the pass itself 10 ms.

Whoever may not be computed this way is left to `mnemic.encoder.packed` and `mnemic.encoder.padded`: `QuestionBert.load`
returns None for a folder with a tensor, a setting or a tokenizer that it does not know to the letter.

The numbers are float32, also where the vectors of a bank were made in bfloat16. They differ from the packed pass by at
most 1e-5 in float32 and 1e-2 in bfloat16 (tests/mnemic/test_question_encoder.py). A question is computed alone, so its
vector does not depend on the others of a call.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mnemic.arrays import Floats32, Integers
from mnemic.encoder.tokens import Tokens
from mnemic.model_files import LARGEST, check_sizes, read_object

_NAMES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "after_attention": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "after": "output.LayerNorm",
}
_LAYER = re.compile(r"encoder\.layer\.(\d{1,4})\.(.+)\.(weight|bias)")
_EMBEDDED = ("word_embeddings.weight", "position_embeddings.weight", "token_type_embeddings.weight")
_NORMED = ("LayerNorm.weight", "LayerNorm.bias")
_UNUSED = re.compile(r"pooler\.dense\.(weight|bias)|embeddings\.position_ids|cls\..*")
_SETTINGS = {
    "model_type": ("bert",),
    "hidden_act": ("gelu", "gelu_new", "gelu_pytorch_tanh"),
    "position_embedding_type": ("absolute", None),
    "is_decoder": (False, None),
    "add_cross_attention": (False, None),
    "chunk_size_feed_forward": (0, None),
}
_LOWERED = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}

_ROUND = 16  # tokens; products of a multiple of it take a quarter less time

_SMALL = 1_000_000
"""Multiplications up to which OpenBLAS takes a matrix as it lies; of larger products it copies all weights first."""
_LEAST_BLOCK = 64
"""Rows of weights from which products in blocks, each of them small, take less time than one: a quarter less."""


def product(weight: Floats32, x: Floats32) -> Floats32:
    """``weight`` [out, in] times ``x`` [in, n]: float32 [out, n], contiguous as ``weight`` is."""
    rows, columns = weight.shape
    block = _block(rows, columns * x.shape[1])
    if block == 0:
        y: Floats32 = weight @ x
    else:
        y = (weight.reshape(-1, block, columns) @ np.ascontiguousarray(x)).reshape(rows, -1)
    return y


@functools.cache
def _block(rows: int, each: int) -> int:
    """The most rows of which a product is small, where that divides ``rows``; 0 where too few are, or all together.

    A row takes ``each`` multiplications.
    """
    if rows * each <= _SMALL:
        return 0
    return next((block for block in range(_SMALL // each, _LEAST_BLOCK - 1, -1) if rows % block == 0), 0)


@dataclasses.dataclass(frozen=True)
class _Part:
    """A linear layer or a norm: ``weight`` float32 [out, in] or [d], ``bias`` float32 [out] or [d]."""

    weight: Floats32
    bias: Floats32

    def linear(self, x: Floats32) -> Floats32:
        """Of each column of ``x`` [in, n]: float32 [out, n]."""
        y = product(self.weight, x)
        y += self.bias[:, None]
        return y

    def norm(self, x: Floats32, eps: float) -> Floats32:
        """Of each row of ``x`` [n, d], which is overwritten."""
        size = np.float32(x.shape[1])
        x -= np.add.reduce(x, 1, keepdims=True) / size
        x /= np.sqrt(np.add.reduce(x * x, 1, keepdims=True) / size + np.float32(eps))
        x *= self.weight
        x += self.bias
        return x


def _together(layers: Sequence[Mapping[str, _Part]]) -> list[dict[str, _Part]]:
    """The ``layers`` with all weights of products in one array, in the order of their use.

    numpy asks the system for large pages from 4 MB on. A question reads every weight once, and in pages of 4 kB that
    takes a quarter longer.
    """
    order = ("projection", "output", "up", "down")
    weights = np.empty(sum(layer[name].weight.size for layer in layers for name in order), np.float32)
    together, start = list[dict[str, _Part]](), 0
    for layer in layers:
        parts = dict(layer)
        for name in order:
            own = layer[name].weight
            place = weights[start : start + own.size].reshape(own.shape)
            place[...] = own
            parts[name] = dataclasses.replace(layer[name], weight=place)
            start += own.size
        together.append(parts)
    return together


class QuestionBert:
    """A BERT from the files of its folder. Make one with `QuestionBert.load`."""

    def __init__(self, tensors: Mapping[str, Any], config: Mapping[str, Any], tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._heads = int(config["num_attention_heads"])
        self._eps = float(config.get("layer_norm_eps", 1e-12))
        self._erf = config["hidden_act"] == "gelu"
        self._words = tensors["embeddings.word_embeddings.weight"]
        kinds = tensors["embeddings.token_type_embeddings.weight"][0]
        self._places = tensors["embeddings.position_embeddings.weight"] + kinds
        self._first = _Part(tensors["embeddings.LayerNorm.weight"], tensors["embeddings.LayerNorm.bias"])
        layers = [self._layer(tensors, f"encoder.layer.{n}") for n in range(int(config["num_hidden_layers"]))]
        self._layers = _together(layers)

    def _layer(self, tensors: Mapping[str, Any], place: str) -> dict[str, _Part]:
        """The parts of a layer; "projection" is queries, keys and values at once, the scale of the scores in it."""
        parts = {
            part: _Part(tensors[f"{place}.{name}.weight"], tensors[f"{place}.{name}.bias"])
            for part, name in _NAMES.items()
        }
        query, *others = (parts.pop(part) for part in ("query", "key", "value"))
        scale = np.float32((len(query.bias) // self._heads) ** -0.5)
        weights = [query.weight * scale, *(part.weight for part in others)]
        biases = [query.bias * scale, *(part.bias for part in others)]
        return {**parts, "projection": _Part(np.concatenate(weights), np.concatenate(biases))}

    @classmethod
    def load(cls, folder: Path) -> QuestionBert | None:
        """The encoder in ``folder``; None where it is not one that is computed here, or cannot be read.

        Whoever loads the model in full then says what is wrong with it.
        """
        from safetensors import SafetensorError
        from tokenizers import Tokenizer

        try:
            config = read_object(folder / "config.json")
            weights, words = folder / "model.safetensors", folder / "tokenizer.json"
            if not _is_known(config, folder) or list(folder.glob("*.safetensors")) != [weights]:
                return None
            check_sizes(folder)
            tensors = _tensors(weights, config)
            if tensors is None or words.stat().st_size > LARGEST or not _as_stated(folder):
                return None
            tokenizer = Tokenizer.from_file(str(words))
            if tokenizer.get_vocab_size() > len(tensors["embeddings.word_embeddings.weight"]):
                return None
            return cls(tensors, config, tokenizer)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            return None
        except BaseException as error:
            # A made-up tokenizer ends in a panic of its part in Rust, or in a bare Exception.
            if type(error) is not Exception and type(error).__name__ not in ("ModelError", "PanicException"):
                raise
            return None

    @property
    def dimension(self) -> int:
        return int(self._places.shape[1])

    def pooled(self, tokens: Tokens, pooling: str, small: bool = True) -> Floats32:
        """Pooled last hidden states of every sequence, each computed alone: float32 [sequences, dimension]."""
        vectors = np.empty((len(tokens), self.dimension), np.float32)
        for row, (start, count) in enumerate(zip(tokens.starts.tolist(), tokens.counts.tolist(), strict=True)):
            states = self.forward(tokens.ids[start : start + count])
            if pooling == "mean":
                vectors[row] = states.mean(0)
            elif pooling == "max":
                vectors[row] = states.max(0)
            else:
                vectors[row] = states[0 if pooling == "cls" else -1]
        return vectors

    def forward(self, ids: Integers) -> Floats32:
        """Last hidden states of one sequence of tokens ``ids`` int64 [n]: float32 [n, dimension]."""
        count = len(ids)
        x = np.zeros((-(-count // _ROUND) * _ROUND, self.dimension), np.float32)
        x[:count] = self._first.norm(self._words[ids] + self._places[:count], self._eps)
        for layer in self._layers:
            attended = self._attended(layer["projection"].linear(x.T), count)
            x = layer["after_attention"].norm(layer["output"].linear(attended.T).T + x, self._eps)
            inner = gelu(layer["up"].linear(x.T), self._erf)
            x = layer["after"].norm(layer["down"].linear(inner).T + x, self._eps)
        return x[:count]

    def _attended(self, projected: Floats32, count: int) -> Floats32:
        """softmax(q k^T) v of the first ``count`` columns: float32 [columns, dimension], nothing in the others."""
        parts = projected.reshape(3, self._heads, -1, projected.shape[1])[..., :count].swapaxes(2, 3)
        q, k, v = np.ascontiguousarray(parts)
        scores = q @ k.transpose(0, 2, 1)
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(-1, keepdims=True)
        attended = np.zeros((projected.shape[1], self.dimension), np.float32)
        attended[:count] = (scores @ v).transpose(1, 0, 2).reshape(count, -1)
        return attended


def gelu(x: Floats32, exact: bool) -> Floats32:
    """x times the normal distribution function of x, elementwise; its usual approximation by tanh if not ``exact``.

    The error function is that of Abramowitz and Stegun 7.1.26, within 1.5e-7.
    """
    if not exact:
        cubic = x + np.float32(0.044715) * x * x * x
        y: Floats32 = np.float32(0.5) * x * (1 + np.tanh(np.float32(0.7978845608028654) * cubic))
        return y
    z = np.abs(x)
    z *= np.float32(0.7071067811865476)
    t = np.float32(0.3275911) * z
    t += 1
    np.divide(1, t, out=t)
    tail = np.float32(1.061405429) * t
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        tail += np.float32(coefficient)
        tail *= t
    np.multiply(z, z, out=t)
    np.negative(t, out=t)
    np.exp(t, out=t)
    tail *= t  # 1 - erf(|x| / sqrt(2))
    half = np.multiply(np.float32(0.5), x, out=z)
    np.subtract(2, tail, out=t)
    tail *= half
    t *= half
    y = np.maximum(t, tail, out=t)  # the first where x is positive, else the second
    return y


def _is_known(config: Mapping[str, Any], folder: Path) -> bool:
    """Whether the configuration is that of a plain BERT without anything that `QuestionBert` leaves out."""
    kinds = config.get("architectures") or ()
    return (
        all(config.get(name) in values for name, values in _SETTINGS.items())
        and isinstance(kinds, list)
        and all(isinstance(kind, str) and kind.startswith("Bert") for kind in kinds)
        and "auto_map" not in config
        and "quantization_config" not in config
        and not (folder / "adapter_config.json").exists()
    )


def _tensors(file: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The tensors by their names in BERT, those of words not read yet; None where they are not just a BERT's."""
    from safetensors import safe_open

    width, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    layers, heads = int(config["num_hidden_layers"]), int(config["num_attention_heads"])
    if heads < 1 or width % heads:
        return None
    square, shapes = {"query", "key", "value", "output"}, dict[str, tuple[int | None, ...]]()
    for part, name in _NAMES.items():
        rows = inner if part == "up" else width
        columns = (width,) if part in square | {"up"} else (inner,) if part == "down" else ()
        shapes |= {f"{name}.weight": (rows, *columns), f"{name}.bias": (rows,)}
    tensors: dict[str, Any] = {}
    with safe_open(str(file), "np") as opened:
        for stored in list(opened.keys()):
            name = stored.removeprefix("bert.")
            if _UNUSED.fullmatch(name):
                continue
            view = opened.get_slice(stored)
            shape, layer = tuple(view.get_shape()), _LAYER.fullmatch(name)
            if layer is not None:
                own: tuple[int | None, ...] | None = shapes.get(f"{layer[2]}.{layer[3]}")
            elif name in {f"embeddings.{part}" for part in _EMBEDDED}:
                own = (shape[0] if shape else None, width)
            else:
                own = (width,) if name in {f"embeddings.{part}" for part in _NORMED} else None
            if shape != own or name in tensors or view.get_dtype() not in ("F32", "F16"):
                return None
            tensors[name] = np.asarray(view[:] if shape[0] else (), np.float32)
    if len(tensors) != 5 + layers * len(shapes) or any(
        f"encoder.layer.{layer}.{name}" not in tensors for layer in range(layers) for name in shapes
    ):
        return None
    return tensors


def _as_stated(folder: Path) -> bool:
    """Whether ``tokenizer.json`` lowers letters as ``tokenizer_config.json`` says; transformers obeys the latter."""
    stated = read_object(folder / "tokenizer_config.json")
    normalizer = read_object(folder / "tokenizer.json").get("normalizer") or {}
    if normalizer.get("type") != "BertNormalizer":
        return False
    if str(stated.get("tokenizer_class", "")).startswith("Bert"):
        if "do_lower_case" not in stated:
            return False
        stated = {"strip_accents": None, "tokenize_chinese_chars": True, **stated}
    return all(normalizer.get(ours) == stated[name] for name, ours in _LOWERED.items() if name in stated)
