"""Rows of keys and values as the general trainer trains a memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mnemic.languagemodel import blocks
from mnemic.memories.weights import pack
from mnemic.pages.page import Page
from operators.blocks.sequences import FrozenHead
from operators.latents.reader import BehindRows
from operators.latents.study import Study
from operators.train.cost import frozen_flops
from operators.train.labels import Labels

_STUDY = ("tokens", "top", "probs", "sampled", "reread")


@dataclass(frozen=True)
class TrainedRowsConfig:
    """``rows`` of ``layers`` and ``heads``, ``width`` numbers each, of a text of ``tokens`` tokens."""

    layers: int
    heads: int
    rows: int
    width: int
    tokens: int


class TrainedRows(nn.Module):
    """A cartridge under training, float32, and its study: so a training that is resumed needs no text."""

    format: ClassVar[str] = "mnemic-cartridge-1"

    def __init__(self, rows: Page, study: Study) -> None:
        super().__init__()
        layers, heads, count, width = rows.keys.shape
        self.config = TrainedRowsConfig(layers, heads, count, width, rows.tokens)
        self.keys = nn.Parameter(rows.keys.detach().float().clone())
        self.values = nn.Parameter(rows.values.detach().float().clone())
        self.places: Tensor = nn.Buffer(rows.stood().to(rows.keys.device, torch.int64).contiguous())
        for name in _STUDY:
            self.register_buffer(f"study_{name}", getattr(study, name).to(rows.keys.device))
        self.frozen_head: tuple[Tensor, ...] = ()  # in a tuple: it is the model's

    @classmethod
    def of_tensors(cls, tensors: dict[str, Tensor], tokens: int, device: Any) -> TrainedRows:
        """From `state_dict`, of a text of ``tokens`` tokens."""
        own = {name: value.to(device) for name, value in tensors.items()}
        study = Study(*(own[f"study_{name}"] for name in _STUDY))
        return cls(Page(own["keys"], own["values"], tokens, own["places"]), study)

    @property
    def head(self) -> Any:
        return FrozenHead(*self.frozen_head)

    @property
    def study(self) -> Study:
        return Study(*(getattr(self, f"study_{name}") for name in _STUDY))

    def rows(self) -> Page:
        """As they are, with their gradients."""
        return Page(self.keys, self.values, self.config.tokens, self.places)

    def to_bytes(self) -> bytes:
        """The rows as one safetensors file."""
        tensors = {name: getattr(self, name).detach().cpu().contiguous() for name in ("keys", "values", "places")}
        return pack(tensors, {"format": self.format, "config": vars(self.config)})


class CartridgeStudent:
    """The rows of one text, which a model reads behind the ``sink``, and the sequences that train them."""

    def __init__(self, reader: BehindRows, sink: Page, memory: TrainedRows) -> None:
        self.memory, self._reader, self._sink = memory, reader, sink
        study = memory.study
        self._tokens, self._top, self._probs = study.tokens, study.top, study.probs
        self._following = self._tokens.shape[1] - 1
        self.base_logprob = np.zeros(0, np.float32)
        memory.frozen_head = (reader.head,)

    @property
    def rows(self) -> int:
        return self.units * self._following

    @property
    def units(self) -> int:
        return int(self._tokens.shape[0])

    @property
    def matrices(self) -> Sequence[nn.Parameter]:
        return []

    @property
    def flops(self) -> float:
        """Operations of an epoch through the model, which stays."""
        return frozen_flops(blocks(self._reader.model), self._reader.head, self.rows)

    def batches(self, order: NDArray[np.int64], rows: int) -> list[NDArray[np.int64]]:
        steps = min(len(order), max(1, round(self.rows / rows)))
        return [np.sort(part) for part in np.array_split(order, steps)]

    def rows_in(self, batch: NDArray[np.int64]) -> int:
        return len(batch) * self._following

    def passes(self, batch: NDArray[np.int64]) -> Iterator[tuple[Tensor, Labels]]:
        chosen = torch.from_numpy(batch).to(self._tokens.device)
        tokens, probs = self._tokens[chosen], self._probs[chosen].flatten(0, 1)
        true = tokens[:, 1:].reshape(-1, 1)
        ids = torch.cat([true, self._top[chosen].flatten(0, 1)], dim=1)
        target = torch.cat([torch.zeros_like(probs[:, :1]), probs], dim=1)
        yield tokens, Labels(ids, target, probs)

    def trunk(self, inputs: Tensor) -> Tensor:
        """What the head reads for all tokens of the sequences ``inputs`` int64 [b, t] but the last ones."""
        with torch.autocast(self._reader.device.type, enabled=False):
            standing = self._reader.standing(self._sink, self.memory.rows())
            hidden = self._reader.hidden(inputs, standing)
        return hidden[:, :-1].flatten(0, 1)

    def held_out(self) -> NDArray[np.float32]:
        return self.base_logprob
