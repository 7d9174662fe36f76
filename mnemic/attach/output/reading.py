"""The inputs of a memory in a forward pass: the input of a block's feed-forward layer, or the text itself.

A memory follows the model to its device and, but for a store of keys, to its dtype, as a copy: the one that was given
stays what it is. Matrices in bfloat16 cost half the time of float32, and the log-softmax is in float32 either way.

A Memory Decoder has a key-value cache of its own, which must follow the model's: beam search reorders it, assisted
generation crops it, a copy of it begins another answer. Its layers are therefore kept as further layers of the model's
cache object, behind those of the model, so that whatever happens to the one happens to the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from mnemic.attach.output.gating import of_memory
from mnemic.attach.output.passing import Pass
from mnemic.errors import ModelError

if TYPE_CHECKING:
    import torch


class HiddenMemory(Protocol):
    """A memory that answers one hidden vector: `mnemic.memories.mlp.MLPMemory`, `mnemic.memories.knn.KNNMemory`."""

    tokens: torch.Tensor  # int64 [m], the ids that it knows

    @property
    def reads(self) -> Literal["hidden"]: ...

    def placed(self, device: torch.device, dtype: torch.dtype) -> HiddenMemory:
        """The memory in this device and dtype, ready to answer: itself where it is there, else a copy."""

    def log_probs(self, hidden: torch.Tensor) -> torch.Tensor:
        """float32 [rows, m] for ``hidden`` [rows, width] of any float type."""


class TextMemory(Protocol):
    """A memory that reads token ids: `mnemic.memories.decoder.MemoryDecoder`."""

    tokens: torch.Tensor

    @property
    def reads(self) -> Literal["text"]: ...

    @property
    def cache_layers(self) -> int:
        """Layers of keys and values that it keeps of the text."""

    def placed(self, device: torch.device, dtype: torch.dtype) -> TextMemory: ...

    def trunk(self, ids: torch.Tensor, attention_mask: torch.Tensor | None, cache: Any | None) -> torch.Tensor:
        """[batch, positions, width] for int64 ``ids`` [batch, positions]; ``cache`` (transformers') grows."""

    def log_probs(self, state: torch.Tensor) -> torch.Tensor:
        """float32 [rows, m] for rows of what `trunk` gave."""


class ContextMemory(Protocol):
    """A memory that looks up the last tokens of a text: `mnemic.memories.continuations.SuffixMemory`."""

    tokens: torch.Tensor  # int64, the least and the largest id that it can say

    @property
    def reads(self) -> Literal["context"]: ...

    @property
    def longest(self) -> int:
        """Tokens of a context."""

    def placed(self, device: torch.device, dtype: torch.dtype) -> ContextMemory: ...

    def log_probs(self, contexts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(log-probabilities float32 [rows, k], token ids int64 [rows, k]) for int64 ``contexts`` [rows, longest].

        Each row has tokens of its own; one that it has several times has one value. -1 in a context is no token. A
        row of -inf says nothing: there the model answers alone.
        """

    def by_order(
        self, name: str, contexts: torch.Tensor, orders: int
    ) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], dict[str, torch.Tensor]]:
        """For a gate: `log_probs` of each of ``orders`` matching lengths, and features [rows] by name.

        Names begin with that of the memory, ``name``.
        """


@dataclass
class Reader(ABC):
    """A memory in the model's device and dtype. `read` sees every position, `log_probs` only rows that are mixed."""

    memory: Any
    layer: int | None = None  # the block that is tapped; None taps none
    name: str = ""  # of its layers in the model's cache
    _placed: tuple[Any, Any, Any] | None = field(default=None, repr=False)  # device, dtype, memory

    def __getstate__(self) -> dict[str, Any]:
        """Without the memory in the model's dtype, which a copy makes itself."""
        return {**self.__dict__, "_placed": None}

    def placed(self, device: torch.device, dtype: torch.dtype) -> Any:
        """The memory there, copied when the model has moved."""
        placed = self._placed
        if placed is None or placed[:2] != (device, dtype):
            placed = (device, dtype, self.memory.placed(device, dtype))
            self._placed = placed
        return placed[2]

    @abstractmethod
    def read(self, seen: Pass) -> torch.Tensor:
        """The inputs of the answers: [rows with logits, width]."""

    def log_probs(self, state: torch.Tensor, seen: Pass) -> tuple[torch.Tensor, torch.Tensor]:
        """(log-probabilities float32 [rows, m], the token ids [m]) for rows of what `read` gave."""
        memory = self.placed(seen.logits.device, seen.dtype)
        return memory.log_probs(state), memory.tokens

    def gated(
        self, components: Sequence[str], state: torch.Tensor, seen: Pass
    ) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], dict[str, torch.Tensor]]:
        """For a gate: `log_probs` of each of the memory's ``components``, and its features [rows] by name."""
        log_probs, tokens = self.log_probs(state, seen)
        return [(log_probs, tokens)], of_memory(components[0], log_probs.detach())


class TapReader(Reader):
    """Reads the input of a block's feed-forward layer."""

    def read(self, seen: Pass) -> torch.Tensor:
        hidden = None if self.layer is None else seen.taps.get(self.layer)
        if hidden is None:
            raise ModelError(
                f"Block {self.layer} of the model did not run in this pass, so the memory has nothing to read. "
                "Attach to the whole model, without wrappers that skip its blocks."
            )
        return seen.kept(hidden.to(seen.logits.device))


class TextReader(Reader):
    """Reads the text, beside the model."""

    def read(self, seen: Pass) -> torch.Tensor:
        ids, mask = self._text(seen)
        memory = self.placed(ids.device, seen.dtype)
        state: torch.Tensor = memory.trunk(ids, mask, self._companion(seen, self.memory.cache_layers))
        return seen.kept(state)

    @staticmethod
    def _text(seen: Pass) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The ids that are read, and 1 where a row has text, as `Pass.padding` says it."""
        ids, mask, device = seen.call.get("input_ids"), seen.padding, seen.logits.device
        if ids is None:
            raise ModelError(
                "A memory that reads the text needs the model's `input_ids`; call the model with these rather than "
                "with embeddings."
            )
        return ids.to(device), None if mask is None else mask.to(device)

    def _companion(self, seen: Pass, layers: int) -> Any | None:
        """The memory's own layers of the model's cache, as a cache; they are made in the pass that fills it."""
        if seen.cache is None:
            return None
        from transformers import DynamicCache

        from mnemic.attach.output.companion import CompanionLayer

        own = [layer for layer in seen.cache.layers if isinstance(layer, CompanionLayer) and layer.owner == self.name]
        if not own and seen.past == 0:
            own = [CompanionLayer(self.name) for _ in range(layers)]
            seen.cache.layers.extend(own)
        companion = DynamicCache()
        companion.layers = own
        if companion.get_seq_length() != seen.past:
            raise ModelError(
                f"The model's cache holds {seen.past} positions of which the memory has read "
                f"{companion.get_seq_length()}; attach the memory before the cache is filled, and begin with the whole "
                "text."
            )
        return companion


class ContextReader(TextReader):
    """Reads the last tokens before each prediction. Those of a cache are kept as a layer of it, without values."""

    def read(self, seen: Pass) -> torch.Tensor:
        from torch.nn.functional import pad

        ids, mask = self._text(seen)
        read, longest = ids.shape[1], self.memory.longest
        companion = self._companion(seen, 1)
        if companion is not None:
            ids = companion.update(ids[:, None, :, None], ids[:, None, :, None], 0)[0][:, 0, :, 0]
        if mask is not None:
            ids = ids.masked_fill(mask[:, : ids.shape[1]] == 0, -1)
        contexts = pad(ids[:, -(read + longest - 1) :], (max(read + longest - 1 - ids.shape[1], 0), 0), value=-1)
        return seen.kept(contexts.unfold(1, longest, 1))

    def log_probs(self, state: torch.Tensor, seen: Pass) -> tuple[torch.Tensor, torch.Tensor]:
        logs, tokens = self.placed(seen.logits.device, seen.dtype).log_probs(state)
        return logs, tokens

    def gated(
        self, components: Sequence[str], state: torch.Tensor, seen: Pass
    ) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], dict[str, torch.Tensor]]:
        outputs, features = self.placed(seen.logits.device, seen.dtype).by_order(components[0], state, len(components))
        return outputs, features
