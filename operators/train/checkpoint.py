"""A training between two epochs as bytes: what it resumes from, bit for bit, and the memory in it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from mnemic.errors import StepError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import torch

_FORMAT = "mnemic-imitate-3"
_MEMORY = "memory."
_ROWS = "rows"
_CLASSES = {"MLPMemory": "mnemic-mlp-1", "MemoryDecoder": "mnemic-decoder-1"}


@dataclass(frozen=True)
class Point:
    """A number of a training's curve, at the end of a step (from 1) and after so many rows, counted over all epochs."""

    step: int
    rows: int
    metric: str
    value: float


@dataclass(frozen=True)
class Checkpoint:
    """One epoch's result: ``weights`` is a loadable memory, ``state`` what a training resumes from."""

    epoch: int  # epochs done, from 1
    weights: bytes
    state: bytes
    metrics: dict[str, float]
    curve: tuple[Point, ...] = ()  # of this epoch


class Trainable(Protocol):
    """A memory under training, such as a `Student`: a module of torch with a form as bytes."""

    @property
    def format(self) -> str: ...

    @property
    def config(self) -> Any:
        """A dataclass."""

    @property
    def head(self) -> Any:
        """Its output layer; ``head.weight`` is [tokens, width]."""

    def state_dict(self) -> Mapping[str, torch.Tensor]: ...

    def named_parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]: ...

    def parameters(self) -> Iterator[torch.nn.Parameter]: ...

    def train(self, mode: bool = True) -> Any: ...

    def to_bytes(self) -> bytes: ...


@runtime_checkable
class OfRows(Protocol):
    """An optimiser of the rows of a table, which are no parameters: it says itself what a training resumes from."""

    def packed(self) -> dict[str, torch.Tensor]: ...

    def restore(self, moments: Mapping[str, torch.Tensor]) -> None: ...


@dataclass(frozen=True)
class TrainingState:
    """The progress of a training: ``epoch`` epochs done, the best of them by validation, and its perplexity."""

    epoch: int = 0
    best: int = 0
    perplexity: float = float("inf")

    def after(self, perplexity: float | None) -> TrainingState:
        """One epoch later; without validation the last epoch is the best."""
        epoch = self.epoch + 1
        if perplexity is None:
            return TrainingState(epoch, epoch, self.perplexity)
        if perplexity < self.perplexity:
            return TrainingState(epoch, epoch, perplexity)
        return TrainingState(epoch, self.best, self.perplexity)


def pack_state(
    memory: Trainable, optimisers: Sequence[torch.optim.Optimizer], progress: TrainingState, settings: dict[str, Any]
) -> bytes:
    """Weights, the optimisers' moments, and the progress of the training."""
    from mnemic.memories.weights import pack

    tensors = {_MEMORY + name: value for name, value in memory.state_dict().items()}
    names: dict[Any, str] = {parameter: name for name, parameter in memory.named_parameters()}
    for optimiser in optimisers:
        for parameter, moments in optimiser.state.items():
            tensors |= {f"{moment}.{names[parameter]}": value for moment, value in moments.items()}
        if isinstance(optimiser, OfRows):
            tensors |= {f"{moment}.{_ROWS}": value for moment, value in optimiser.packed().items()}
    on_cpu = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    counts = [progress.epoch, progress.best, progress.perplexity if math.isfinite(progress.perplexity) else None]
    metadata = {"format": _FORMAT, "course": counts, "settings": settings}
    return pack(on_cpu, {**metadata, "memory": memory.format, "config": asdict(memory.config)})


def unpack_training_state(state: bytes, settings: dict[str, Any]) -> TrainingState:
    """The progress of the training in a state. Raises `StepError` for a state of other settings."""
    from mnemic.memories.weights import unpack_metadata

    metadata = unpack_metadata(state)
    if metadata.get("format") != _FORMAT or metadata.get("settings") != settings:
        raise StepError("The checkpoint is of a training with other settings; drop it and start from the first epoch.")
    epoch, best, perplexity = metadata["course"]
    return TrainingState(epoch, best, float("inf") if perplexity is None else perplexity)


def restore_moments(state: bytes, memory: Trainable, optimisers: Sequence[torch.optim.Optimizer]) -> None:
    """Give the optimisers of ``memory`` the moments of a state."""
    from safetensors.torch import load

    moments: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in load(state).items():
        moment, _, name = key.partition(".")
        moments.setdefault(name, {})[moment] = value
    names: dict[Any, str] = {parameter: name for name, parameter in memory.named_parameters()}
    for optimiser in optimisers:
        if isinstance(optimiser, OfRows):
            optimiser.restore(moments.get(_ROWS, {}))
        for group in optimiser.param_groups:
            for parameter in group["params"]:
                stored = moments[names[parameter]]
                optimiser.state[parameter] = {
                    moment: value.to(parameter.device) for moment, value in stored.items() if moment + "." != _MEMORY
                }


def memory_tensors(state: bytes) -> dict[str, torch.Tensor]:
    """The weights of the memory in a checkpoint's ``state``, by name."""
    from safetensors.torch import load

    return {name[len(_MEMORY) :]: value for name, value in load(state).items() if name.startswith(_MEMORY)}


def finished_weights(state: bytes) -> bytes:
    """The memory in a checkpoint's ``state`` as `Student.to_bytes` writes it: the checkpoint's ``weights``."""
    from mnemic.memories.weights import pack, unpack_metadata

    metadata, tensors = unpack_metadata(state), memory_tensors(state)
    return pack(tensors, {"format": _memory_format(metadata), "config": metadata["config"]})


def _memory_format(metadata: dict[str, Any]) -> str:
    """The `Student.format` of the memory in a state. In old states the name of its class stands in its place."""
    return str(metadata.get("memory") or _CLASSES[metadata["kind"]])
