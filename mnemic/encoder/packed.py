"""The forward pass of BERT over a stream of tokens without padding: the way of a CPU.

BERT (Devlin et al., arXiv 1810.04805), RoBERTa and their multilingual kin are linear layers, which do not know where a
text ends, and attention, which is inside a text. So a batch is a stream of ``batch_tokens`` tokens, texts one after
another in the order of their length. Linear layers see one matrix of a constant shape, and attention is computed for
all texts of exactly one length at once, without a mask. Nothing is padded but the end of the stream, and the ends of
streams are filled with the shortest texts, so that less than 1 % of the tokens of a large call are padding.

*Bits*: a row of a matrix product does not depend on the other rows of a matrix of the same shape. The attention of a
text does not depend on the number of texts of its length. Hence a text's vector is bit-equal in any batch, on one type
of machine, for any number of threads (tests/mnemic/test_encoder.py, tests/operators/test_thread_budget.py).

Measured with all-MiniLM-L6-v2 in bfloat16, one core with AVX-512 BF16, sentences and passages mixed: 6,400 tokens a
second in streams of 2,048, 6,300 in streams of 1,024; 4,900 by the padded batches of `mnemic.encoder.padded`. Four
fifths of the time is in the linear layers, at 205 GFLOP/s. Attention as two matrix products and a softmax takes half to
two thirds of the time of torch's fused kernel for heads of 32 up to 128 tokens. Beyond that, one text at a time keeps
the scores in the cache. Weights are laid out for the matrix library once (5 % of the product, `_Linear`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mnemic import inside
from mnemic.arrays import Integers
from mnemic.encoder.tokens import Tokens

if TYPE_CHECKING:
    import torch

_KINDS = ("BertModel", "RobertaModel", "XLMRobertaModel", "CamembertModel")
_ACTIVATIONS = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
_SCORES = 1 << 13
"""Scores of a head that are computed at once, where a text has fewer: they stay in the cache of a core."""

_ROUND = 16  # tokens; the length of a short stream is a multiple of it


def is_packable(config: Any, device: str) -> bool:
    """Whether `PackedBert` computes models of this configuration."""
    kinds = tuple(config.architectures or ())
    return (
        device == "cpu"
        and config.model_type in ("bert", "roberta", "xlm-roberta", "camembert")
        and not getattr(config, "is_decoder", False)
        and getattr(config, "position_embedding_type", "absolute") in (None, "absolute")
        and config.hidden_act in _ACTIVATIONS
        and all(kind.startswith(tuple(name.removesuffix("Model") for name in _KINDS)) for kind in kinds)
    )


class _Linear:
    """x W^T + b, with an activation or a sum behind it, W laid out for the matrix library where torch offers that."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, dtype: torch.dtype, rows: int) -> None:
        import torch

        self._weight, self._bias = weight.to(dtype).contiguous(), bias.to(dtype).contiguous()
        self._library = torch.ops.mkldnn if _has_mkldnn() else None
        if self._library is not None:
            self._weight = self._library._reorder_linear_weight(self._weight, rows)

    def __call__(self, x: torch.Tensor, gelu: str | None = None, plus: torch.Tensor | None = None) -> torch.Tensor:
        from torch.nn import functional

        if self._library is None:
            y = functional.linear(x, self._weight, self._bias)
            y = y if gelu is None else functional.gelu(y, approximate=gelu)
            return y if plus is None else y + plus
        if plus is not None:
            output: torch.Tensor = self._library._linear_pointwise.binary(x, plus, self._weight, self._bias, "add")
        elif gelu is not None:
            output = self._library._linear_pointwise(x, self._weight, self._bias, "gelu", [], gelu)
        else:
            output = self._library._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return output


def _has_mkldnn() -> bool:
    import torch

    names = ("_reorder_linear_weight", "_linear_pointwise")
    return bool(torch._C._has_mkldnn) and all(hasattr(torch.ops.mkldnn, name) for name in names)


class _Norm:
    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        self._shape, self._eps = tuple(layer.normalized_shape), layer.eps
        self._weight, self._bias = layer.weight.to(dtype), layer.bias.to(dtype)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        from torch.nn import functional

        return functional.layer_norm(x, self._shape, self._weight, self._bias, self._eps)


@dataclasses.dataclass(frozen=True)
class _Layer:
    projection: _Linear  # queries, keys and values at once; the scale of the scores is in it
    output: _Linear
    after_attention: _Norm
    up: _Linear
    down: _Linear
    after: _Norm


@dataclasses.dataclass(frozen=True)
class PackedStream:
    """A stream of sequences by falling length: their ``rows`` int64 [sequences], and the places of those of one length.

    ``ids`` and ``positions`` are int64 [tokens].
    """

    rows: Integers
    ids: Integers
    positions: Integers
    groups: tuple[tuple[int, int, int], ...]  # first token, sequences, tokens of each


class PackedBert:
    """A BERT on a CPU. ``model`` is the transformers module in float32; its weights are copied."""

    def __init__(self, model: Any, dtype: torch.dtype, batch_tokens: int) -> None:
        import torch

        embeddings, config = model.embeddings, model.config
        self._heads = config.num_attention_heads
        self._gelu = _ACTIVATIONS[config.hidden_act]
        self._batch = -(-batch_tokens // _ROUND) * _ROUND
        padding = embeddings.position_embeddings.padding_idx
        self._padding: int | None = padding  # RoBERTa counts positions from the one after its padding token's
        with torch.no_grad():
            self.words = embeddings.word_embeddings.weight.to(dtype)
            places = embeddings.position_embeddings.weight + embeddings.token_type_embeddings.weight[0]
            self._places = places.to(dtype)
            self._first = _Norm(embeddings.LayerNorm, dtype)
            self.layers = [self._layer(layer, dtype) for layer in model.encoder.layer]

    def _layer(self, layer: Any, dtype: torch.dtype) -> _Layer:
        import torch

        def linear(module: Any) -> _Linear:
            return _Linear(module.weight, module.bias, dtype, self._batch)

        own, out = layer.attention.self, layer.attention.output
        scale = (own.query.weight.shape[0] // self._heads) ** -0.5
        weight = torch.cat([own.query.weight * scale, own.key.weight, own.value.weight])
        bias = torch.cat([own.query.bias * scale, own.key.bias, own.value.bias])
        return _Layer(
            _Linear(weight, bias, dtype, self._batch),
            linear(out.dense),
            _Norm(out.LayerNorm, dtype),
            linear(layer.intermediate.dense),
            linear(layer.output.dense),
            _Norm(layer.output.LayerNorm, dtype),
        )

    @property
    def dimension(self) -> int:
        return int(self.words.shape[1])

    def pooled(self, tokens: Tokens, pooling: str, small: bool = False) -> npt.NDArray[np.float32]:
        """Pooled last hidden states of every sequence: float32 [sequences, dimension].

        With ``small`` a stream that is not full is cut short instead of filled up.
        """
        import torch

        vectors, sequences = np.empty((len(tokens), self.dimension), np.float32), 0
        with torch.inference_mode():
            for stream in self.streams(tokens, small):
                states = self.forward(stream)
                start = 0
                for first, count, length in stream.groups:
                    part = states[first : first + count * length].view(count, length, -1)
                    vectors[stream.rows[start : start + count]] = _pool(part, pooling).numpy()
                    start += count
                sequences += start
                inside.tell(sequences)
        return vectors

    def streams(self, tokens: Tokens, small: bool = False) -> Iterator[PackedStream]:
        """Streams of ``batch_tokens`` tokens. A longer sequence has one of its own, of the next multiple of that."""
        order = np.argsort(-tokens.counts, kind="stable")
        for rows in _filled(tokens.counts[order], self._batch):
            yield self._stream(tokens, order[rows], small)

    def _stream(self, tokens: Tokens, rows: Integers, small: bool) -> PackedStream:
        counts = tokens.counts[rows]
        total = int(counts.sum())
        unit = _ROUND if small else self._batch
        offsets = np.cumsum(counts) - counts
        within = np.arange(total) - np.repeat(offsets, counts)
        ids = np.zeros(-(-total // unit) * unit, np.int64)
        positions = np.zeros_like(ids)
        ids[:total] = tokens.ids[np.repeat(tokens.starts[rows], counts) + within]
        positions[:total] = within if self._padding is None else self._counted(ids[:total], offsets, counts)
        cuts = np.flatnonzero(np.diff(counts, prepend=-1))
        sizes = np.diff(cuts, append=len(counts))
        groups = zip(offsets[cuts].tolist(), sizes.tolist(), counts[cuts].tolist(), strict=True)
        return PackedStream(rows, ids, positions, tuple(groups))

    def _counted(self, ids: Integers, offsets: Integers, counts: Integers) -> Integers:
        """Positions as RoBERTa counts them: those of tokens that are no padding, from the padding's own on."""
        real = ids != self._padding
        running = np.cumsum(real)
        before = np.repeat(running[offsets] - real[offsets], counts)
        return np.where(real, running - before, 0) + self._padding

    def forward(self, stream: PackedStream) -> torch.Tensor:
        """Last hidden states of all tokens of a stream: [tokens, dimension]."""
        import torch
        from torch.nn import functional

        ids, positions = torch.from_numpy(stream.ids), torch.from_numpy(stream.positions)
        x = self._first(functional.embedding(ids, self.words) + functional.embedding(positions, self._places))
        attended = torch.zeros_like(x)
        for layer in self.layers:
            self._attend(layer.projection(x), stream.groups, attended)
            x = layer.after_attention(layer.output(attended, plus=x))
            x = layer.after(layer.down(layer.up(x, gelu=self._gelu), plus=x))
        return x

    def _attend(self, projected: torch.Tensor, groups: tuple[tuple[int, int, int], ...], out: torch.Tensor) -> None:
        """softmax(q k^T) v of every text, by groups of one length; written to ``out`` [tokens, dimension]."""
        import torch

        heads, width = self._heads, out.shape[1] // self._heads
        for first, count, length in groups:
            step = count if length < 128 else max(1, _SCORES // length**2)
            for begin in range(first, first + count * length, step * length):
                texts = min(step, (first + count * length - begin) // length)
                rows = slice(begin, begin + texts * length)
                parts = projected[rows].view(texts, length, 3, heads, width).permute(2, 0, 3, 1, 4).contiguous()
                q, k, v = parts.view(3, texts * heads, length, width)
                scores = torch.softmax(torch.bmm(q, k.transpose(1, 2)), -1)
                mixed = torch.bmm(scores, v).view(texts, heads, length, width)
                out[rows].view(texts, length, heads, width).copy_(mixed.transpose(1, 2))


def _filled(counts: Integers, size: int) -> Iterator[Integers]:
    """The sequences of each stream of ``size`` tokens, int64 [sequences]; ``counts`` are their tokens, falling.

    The longest sequences left begin a stream, and the shortest left fill its end.
    """
    ends = np.concatenate([[0], np.cumsum(counts)])
    low, high = 0, len(counts)
    while low < high:
        middle = min(max(int(np.searchsorted(ends, ends[low] + size, "right")) - 1, low + 1), high)
        room = size - int(ends[middle] - ends[low])
        rest = max(int(np.searchsorted(ends, ends[high] - room)), middle) if room > 0 else high
        yield np.concatenate([np.arange(low, middle), np.arange(rest, high)])
        low, high = middle, rest


def _pool(states: torch.Tensor, pooling: str) -> torch.Tensor:
    """float32 [sequences, dimension] of states [sequences, length, dimension] that are all of a text."""
    import torch

    if pooling == "mean":
        return states.to(torch.float32).mean(dim=1)
    if pooling == "max":
        return states.amax(dim=1).to(torch.float32)
    return states[:, 0 if pooling == "cls" else -1].to(torch.float32)
