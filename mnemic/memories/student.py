"""The common part of trained memories: a head over the tokens of the store, and a form as bytes."""

from __future__ import annotations

import copy
import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Literal, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from mnemic.errors import ModelError
from mnemic.memories.shapes import Shapes, check_shapes, checked_config, tensors_of
from mnemic.memories.weights import pack, unpack_metadata

_DAMAGES = (SafetensorError, LookupError, TypeError, ValueError, RuntimeError, ArithmeticError, AttributeError)


class Student(nn.Module, ABC):
    """A memory that says ``tokens``, the sorted token ids (int64) that its head knows.

    A kind of memory names its ``format`` and the dataclass of its ``config``, and is made of a config and tokens.
    """

    format: ClassVar[str]
    config_type: ClassVar[type[Any]]
    reads: ClassVar[Literal["hidden", "text"]]  # what it answers: a hidden vector, or the text itself
    tokens: Tensor
    head: nn.Linear

    def __init__(self, config: Any, tokens: Tensor) -> None:
        super().__init__()
        ids = tokens.detach().to(torch.int64).cpu()
        if ids.shape != (config.tokens,) or bool((ids[1:] <= ids[:-1]).any()):
            raise ModelError(
                f"A memory's head needs {config.tokens} different token ids in ascending order; sort them."
            )
        self.config = config
        self.register_buffer("tokens", ids)

    def index(self, token: Tensor) -> tuple[Tensor, Tensor]:
        """For token ids int64 [...]: their places in the head, int64 [...], and whether they are there, bool [...].

        The place of one that is not there is 0.
        """
        place = torch.searchsorted(self.tokens, token.to(torch.int64).contiguous()).clamp(max=len(self.tokens) - 1)
        is_known = self.tokens[place] == token
        return place.masked_fill(~is_known, 0), is_known

    def placed(self, device: torch.device, dtype: torch.dtype) -> Self:
        """The memory in this device and dtype, ready to answer: itself where it is there already, else a copy.

        Matrices in bfloat16 cost half the time of float32; the log-softmax is in float32 either way. Parameters that
        want gradients are shared with a copy whose own do not: gradients pass through an attached memory, not into it.
        """
        head = self.get_parameter("head.weight")
        if head.device == device == self.tokens.device and head.dtype == dtype:
            trains = any(parameter.requires_grad for parameter in self.parameters())
            return (self._frozen() if trains else self).eval()
        copied = copy.deepcopy(self).to(device=device).eval().requires_grad_(False)
        for parameter in copied.parameters():  # not the buffers: rotary frequencies would be rounded to eight bits
            parameter.data = parameter.data.to(dtype)
        return copied

    def _frozen(self) -> Self:
        """A copy that shares every tensor, and wants no gradients."""
        shared: dict[int, Any] = {id(one): one for one in self.buffers()}
        for one in self.parameters():
            shared[id(one)] = nn.Parameter(one.detach(), requires_grad=False)
        return copy.deepcopy(self, shared)

    def to_bytes(self) -> bytes:
        """The whole memory as one safetensors file."""
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        return pack(tensors, {"format": self.format, "config": asdict(self.config)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The memory of `to_bytes`, on the CPU and in evaluation mode. Raises `ModelError` for anything else."""
        metadata = unpack_metadata(data)
        if metadata.get("format") != cls.format:
            raise ModelError(
                f"These weights have the format {metadata.get('format')!r} and this version reads {cls.format!r}; "
                "install the version of mnemic that wrote them or build the memory again."
            )
        try:
            config = checked_config(cls.config_type, metadata["config"], len(tensors_of(data)))
            check_shapes(data, functools.partial(cls.shapes, config))
            tensors = load(data)
            _refuse_values(tensors, getattr(config, "vocabulary", None))
            memory = cls(config, tensors["tokens"])
            memory.load_state_dict(tensors)
        except _DAMAGES as error:
            raise ModelError(f"The weights of this memory are damaged ({error}); build the memory again.") from error
        return memory.eval()

    @classmethod
    @abstractmethod
    def shapes(cls, config: Any) -> Shapes:
        """Name and shape of each tensor of a memory with this config."""


def _refuse_values(tensors: Mapping[str, Tensor], vocabulary: int | None) -> None:
    """Raise `ModelError` for numbers that are none, and for tokens that no model has."""
    broken = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise ModelError(f"The weights of this memory are not all numbers ({broken[0]}); build the memory again.")
    ids = tensors["tokens"]
    if bool((ids < 0).any()) or (vocabulary is not None and bool((ids >= vocabulary).any())):
        raise ModelError(
            "The weights of this memory name tokens that its vocabulary does not have; build the memory again."
        )
