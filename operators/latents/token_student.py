"""Vectors that rebuild one text, as the general trainer trains a memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mnemic import languagemodel
from mnemic.latents.rebuild import entering
from mnemic.memories.weights import pack
from operators.blocks.sequences import FrozenHead
from operators.train.cost import frozen_flops
from operators.train.labels import Labels


@dataclass(frozen=True)
class TrainedVectorsConfig:
    """``vectors`` of ``width`` numbers for a text of ``tokens`` tokens."""

    vectors: int
    width: int
    tokens: int


class TrainedVectors(nn.Module):
    """Vectors under training, float32 [vectors, hidden]."""

    format: ClassVar[str] = "mnemic-memory-tokens-1"

    def __init__(self, vectors: Tensor, tokens: int) -> None:
        super().__init__()
        self.config = TrainedVectorsConfig(int(vectors.shape[0]), int(vectors.shape[1]), tokens)
        self.vectors = nn.Parameter(vectors.detach().float().clone())
        self.frozen_head: tuple[Tensor, ...] = ()  # in a tuple: it is the model's

    @classmethod
    def drawn(cls, model: Any, vectors: int, tokens: int, seed: int) -> TrainedVectors:
        """As widely as the model's input embeddings, around their mean."""
        table = model.get_input_embeddings().weight.detach().float()
        drawn = torch.randn(vectors, table.shape[1], generator=torch.Generator().manual_seed(seed))
        return cls(table.mean(0) + table.std(0) * drawn.to(table.device), tokens)

    @property
    def head(self) -> Any:
        return FrozenHead(*self.frozen_head)

    def to_bytes(self) -> bytes:
        """The vectors as one safetensors file."""
        vectors = self.vectors.detach().cpu().contiguous()
        return pack({"vectors": vectors}, {"format": self.format, "config": vars(self.config)})


class TokenStudent:
    """The vectors of one text with tokens ``ids`` int64 [n], which every one of ``steps`` of an epoch reads whole."""

    def __init__(self, model: Any, memory: TrainedVectors, ids: Tensor, begin: int, steps: int) -> None:
        head = languagemodel.output_embedding(model)
        self.memory, self._model, self._begin = memory, model, begin
        self._ids, self.units = ids.to(head.device), steps
        self._ones = torch.ones(len(ids), 1, device=head.device)
        self.base_logprob = np.zeros(0, np.float32)
        memory.frozen_head = (head,)

    @property
    def rows(self) -> int:
        return self.units * len(self._ids)

    @property
    def matrices(self) -> Sequence[nn.Parameter]:
        return []

    @property
    def flops(self) -> float:
        """Operations of an epoch through the model, which stays."""
        return frozen_flops(languagemodel.blocks(self._model), self.memory.head.weight, self.rows)

    def batches(self, order: NDArray[np.int64], rows: int) -> list[NDArray[np.int64]]:
        return [np.array([step]) for step in order.tolist()]

    def rows_in(self, batch: NDArray[np.int64]) -> int:
        return len(batch) * len(self._ids)

    def passes(self, batch: NDArray[np.int64]) -> Iterator[tuple[Tensor, Labels]]:
        yield self._ids, Labels(self._ids[:, None], self._ones, self._ones[:, :0])

    def trunk(self, inputs: Tensor) -> Tensor:
        """What the head reads before each token of ``inputs`` int64 [n]."""
        with torch.autocast(inputs.device.type, enabled=False):
            entered = entering(self._model, self._begin, self.memory.vectors, inputs[:-1])
            hidden: Tensor = self._model.base_model(inputs_embeds=entered, use_cache=False).last_hidden_state
        return hidden[0, -len(inputs) :]

    def held_out(self) -> NDArray[np.float32]:
        return self.base_logprob
