"""Memories whose shares depend on the context: a gate over what the model and they are sure of, row by row.

The gate itself is trained without a model (`mnemic.memories.gate`). Here it reads the model's own log-probabilities and
the answers of its memories, and its shares take the place of weights. Memories with weights of their own come first:
the gate divides what they leave. Shares have no gradient; the mixture at these shares has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mnemic.languagemodel.head import confidence

if TYPE_CHECKING:
    import torch

    from mnemic.memories.gate import Gate

MODEL = ("base.largest", "base.entropy")
"""Names of the features that are the model's own."""


class Gating:
    """A ``gate`` that the memories of one mixture share, with its arrays where the model is."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self._placed: dict[Any, list[torch.Tensor]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"gate": self.gate, "_placed": {}}

    def shares(self, features: Mapping[str, torch.Tensor], rows: int, device: torch.device) -> torch.Tensor:
        """The share of each component, float32 [rows, components], for ``features`` [rows] by name.

        A feature that nobody tells, as of a memory that was taken out, is taken for its mean.
        """
        import torch

        mean, deviation, *layers = self._arrays(device)
        columns = [
            features[name].float() if name in features else mean[at].expand(rows)
            for at, name in enumerate(self.gate.features)
        ]
        state = torch.stack(columns, dim=1) if columns else mean.new_zeros((rows, 0))
        state = (state - mean) / deviation
        for weights, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
            state = torch.tanh(state @ weights + bias)
        return torch.softmax(state @ layers[-2] + layers[-1], dim=1)

    def _arrays(self, device: torch.device) -> list[torch.Tensor]:
        import torch

        if device not in self._placed:
            arrays = [self.gate.mean, self.gate.deviation, *(array for layer in self.gate.layers for array in layer)]
            self._placed = {device: [torch.from_numpy(one).float().to(device) for one in arrays]}
        return self._placed[device]


@dataclass(frozen=True)
class Gated:
    """The weight of a memory that a gate decides: its ``components`` of ``gating``."""

    gating: Gating = field(repr=False)
    components: tuple[str, ...]

    @property
    def places(self) -> list[int]:
        """Of its components among those of the gate."""
        return [self.gating.gate.components.index(name) for name in self.components]


def of_model(base: torch.Tensor) -> dict[str, torch.Tensor]:
    """The features of the model's own log-probabilities ``base`` [rows, vocabulary]."""
    return dict(zip(MODEL, confidence(base).unbind(1), strict=True))


def of_memory(name: str, log_probs: torch.Tensor) -> dict[str, torch.Tensor]:
    """The features of the memory ``name``, by its log-probabilities [rows, m]."""
    largest, entropy = confidence(log_probs).unbind(1)
    return {f"{name}.largest": largest, f"{name}.entropy": entropy}
