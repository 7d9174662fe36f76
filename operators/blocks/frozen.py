"""The model that is not trained: its layers below the first block are computed once, those above in every pass.

What the lower layers say of a sequence does not depend on any block. It is kept in a file for the epochs of a job: on
two cores the lower two thirds of a model are most of a training's time.
"""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnemic import languagemodel
from mnemic.errors import StepError

if TYPE_CHECKING:
    import torch

    from operators.blocks.packing import PackedSequences

_DIVIDED = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Families whose layers are called one after the other on a hidden state alone; of others all layers are computed."""


class FrozenModel:
    """The layers of ``model`` around the block layers ``layers``, on its device."""

    def __init__(self, model: Any, layers: tuple[int, ...]) -> None:
        import torch

        stack = languagemodel.blocks(model)
        if languagemodel.softcap(model) is not None:
            raise StepError(
                "Models that bound their logits, such as Gemma 2, cannot train blocks; use a model of another family."
            )
        self.model, self.layers = model, layers
        self.device, self.dtype = model.get_output_embeddings().weight.device, next(model.parameters()).dtype
        divided = model.config.model_type in _DIVIDED
        self.first = layers[0] if divided else 0
        self.head = languagemodel.output_embedding(model)
        base = model.base_model
        self._below = _part(base, {"layers": stack[: self.first], "norm": torch.nn.Identity()}) if self.first else None
        self._above = _part(base, {"layers": stack[self.first :]}) if self.first else base
        self._additive = getattr(model.config, "_attn_implementation", "") == "eager"
        text = model.config.get_text_config()
        limits = (getattr(text, name, None) for name in ("max_position_embeddings", "sliding_window"))
        self.change: torch.Tensor | None = None
        self.longest = min([1 << 30, *(int(limit) for limit in limits if limit)])

    def changed(self, change: torch.Tensor) -> FrozenModel:
        """This model with ``change``, [layers, parts, inner, hidden], added to the matrices of the block layers."""
        other = copy.copy(self)
        other.change = change.to(self.device, self.dtype)
        return other

    def check(self, length: int) -> None:
        """Raise `StepError` where the model does not read sequences of ``length`` tokens whole."""
        if length > self.longest:
            raise StepError(
                f"The model attends to {self.longest:,} tokens at most, and the blocks' `sequence` is {length:,}; make "
                "it shorter."
            )

    @contextlib.contextmanager
    def states(self, sequences: PackedSequences) -> Iterator[LowerStates]:
        """What enters the first block layer for each of ``sequences``, kept in a file while the block runs."""
        self.check(sequences.tokens.shape[1])
        with tempfile.TemporaryFile(prefix="mnemic-states-") as file:
            yield LowerStates(self, sequences, file)

    def below(self, sequences: PackedSequences, chosen: NDArray[np.int64]) -> torch.Tensor:
        """What enters the first block layer: [b, length, hidden], or token ids where no layer is below."""
        import torch

        ids = torch.from_numpy(sequences.tokens[chosen].astype(np.int64)).to(self.device)
        if self._below is None:
            return ids
        with torch.inference_mode():
            hidden: torch.Tensor = self._below(input_ids=ids, **self._read(sequences, chosen)).last_hidden_state
        return hidden

    def above(self, inputs: torch.Tensor, sequences: PackedSequences, chosen: NDArray[np.int64]) -> torch.Tensor:
        """The normed output of the last layer, [b, length, hidden], with whatever is hung on the layers."""
        name = "inputs_embeds" if self._below is not None else "input_ids"
        with self._changing():
            output: torch.Tensor = self._above(**{name: inputs}, **self._read(sequences, chosen)).last_hidden_state
        return output

    def _changing(self) -> AbstractContextManager[None]:
        from operators.blocks.hooks import changing

        change = self.change
        if change is None:
            return contextlib.nullcontext()
        return changing(self.model, self.layers, lambda number, part: change[number, part])

    def _read(self, sequences: PackedSequences, chosen: NDArray[np.int64]) -> dict[str, Any]:
        import torch

        mask = torch.from_numpy(sequences.attended(chosen)).to(self.device)
        if self._additive:
            mask = torch.zeros(mask.shape, dtype=self.dtype, device=self.device).masked_fill(
                ~mask, torch.finfo(self.dtype).min
            )
        places = torch.from_numpy(sequences.places[chosen]).to(self.device)
        return {"attention_mask": mask, "position_ids": places, "use_cache": False}


class LowerStates:
    """What enters the first block layer, by sequence: read from ``file`` once it was computed."""

    def __init__(self, model: FrozenModel, sequences: PackedSequences, file: Any) -> None:
        self._model, self._sequences = model, sequences
        self._there = np.zeros(len(sequences), np.bool_)
        width = model.head.shape[1]
        self._shape = (sequences.tokens.shape[1], width)
        self._kind = np.dtype(np.int16 if model.dtype.itemsize == 2 else np.float32)
        size = len(sequences) * self._shape[0] * width * self._kind.itemsize
        self._stored: NDArray[Any] | None = None
        if model.first and size and model.dtype.itemsize in (2, 4):
            file.truncate(size)
            self._stored = np.memmap(file, self._kind, "r+", shape=(len(sequences), *self._shape))

    @property
    def nbytes(self) -> int:
        """Of the file."""
        return 0 if self._stored is None else int(self._stored.nbytes)

    def of(self, chosen: NDArray[np.int64]) -> torch.Tensor:
        """[b, length, hidden] of the sequences ``chosen`` [b]; ids where no layer is below.

        A sequence is computed alone, so its bits do not depend on those beside it.
        """
        import torch

        if self._stored is None:
            parts = [self._model.below(self._sequences, chosen[at : at + 1]) for at in range(len(chosen))]
            return torch.cat(parts).clone()
        for number in chosen[~self._there[chosen]].tolist():
            state = self._model.below(self._sequences, np.array([number]))[0].cpu()
            plain = state.view(torch.int16) if self._kind == np.int16 else state
            self._stored[number] = plain.numpy()
            self._there[number] = True
        states = torch.from_numpy(np.ascontiguousarray(self._stored[chosen]))
        states = states.view(self._model.dtype) if self._kind == np.int16 else states
        return states.to(self._model.device)


def _part(base: Any, modules: dict[str, Any]) -> Any:
    """``base`` with other ``modules``; its own parts are shared, and it stays."""
    part = copy.copy(base)
    part.__dict__ = {**base.__dict__, "_modules": {**base._modules, **modules}}
    return part
