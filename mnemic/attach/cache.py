"""Where a memory enters the cache: keys and values of every layer that are read before the prompt.

Pages, latent tokens and cartridges are such prefixes. Keys come before rotation (`rotation`), so a prefix stands where
it is put: the first at position 0, the next behind it, the prompt behind all of them. The prompt's positions and mask
grow by it in each pass; the model's own cache holds the text alone (`prefixed`).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnemic.attach.entry import Entry, Place
from mnemic.attach.generation import Prompt
from mnemic.attach.output.passing import Arguments
from mnemic.attach.rotation import Rotation
from mnemic.errors import ModelError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Prefix:
    """Keys (before rotation) and values by layer, each [rows, heads, n, width]; ``rows`` is 1, or those of a batch.

    ``mask`` [rows, n] is 1 where a row has something, None: everywhere. ``places`` int64 are positions, [rows, n] or,
    by layer and head, [layers, rows, heads, n]; None counts what the mask lets through. ``length`` int64 [rows] are the
    positions that a row takes up, which may be more than it has keys; None: up to its last place.
    """

    keys: Sequence[torch.Tensor]
    values: Sequence[torch.Tensor]
    mask: torch.Tensor | None = None
    places: torch.Tensor | None = None
    length: torch.Tensor | None = None

    @property
    def rows(self) -> int:
        return int(self.keys[0].shape[0])

    @property
    def size(self) -> int:
        return int(self.keys[0].shape[2])

    def standing(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(mask bool [rows, n], places int64, length int64 [rows]), all stated."""
        import torch

        mask = torch.ones(self.rows, self.size, dtype=torch.bool) if self.mask is None else self.mask.bool()
        places = (mask.long().cumsum(1) - 1).clamp(min=0) if self.places is None else self.places.long()
        if self.length is not None:
            return mask, places, self.length.long()
        stood = places.transpose(0, 1).reshape(self.rows, -1, self.size) if places.dim() == 4 else places[:, None]
        return mask, places, ((stood + 1) * mask[:, None]).flatten(1).amax(1)


class Prefixed(Entry):
    """A prefix of every pass; ``choose`` gives it for a prompt."""

    def __init__(self, place: Place, choose: Callable[[Prompt], Prefix | None]) -> None:
        super().__init__(place)
        self.number, self.choose = uuid.uuid4().hex, choose  # no other process has one of this number


@dataclass(frozen=True)
class Always:
    """The same prefix for every prompt."""

    prefix: Prefix

    def __call__(self, prompt: Prompt) -> Prefix:
        return self.prefix


@dataclass(frozen=True, eq=False)
class Standing:
    """What stands before a batch: rotated keys and values by layer, mask bool [batch, n], length int64 [batch]."""

    keys: list[torch.Tensor]
    values: list[torch.Tensor]
    mask: torch.Tensor
    whole: bool  # whether the mask lets everything through
    length: torch.Tensor
    longest: int


class Prefixes:
    """The prefixes of one model, in the order in which they entered."""

    def __init__(self, model: Any, settle: Callable[[], None]) -> None:
        self.model, self.settle = model, settle
        self.entries: list[Prefixed] = []
        self._rotation: Rotation | None = None

    @property
    def numbers(self) -> tuple[str, ...]:
        """What tells these prefixes from those of another time."""
        return tuple(entry.number for entry in self.entries)

    @property
    def trained(self) -> bool:
        """Whether keys or values change between passes, and want gradients."""
        fixed = [entry.choose.prefix for entry in self.entries if isinstance(entry.choose, Always)]
        return any(part.requires_grad for prefix in fixed for part in (*prefix.keys, *prefix.values))

    def add(self, choose: Callable[[Prompt], Prefix | None]) -> Entry:
        """Put a prefix behind those that are there. Raises `ModelError` where the model's keys are not understood."""
        self._rotation = self._rotation or Rotation(self.model)
        if isinstance(choose, Always):
            self._refuse(choose.prefix)
            if not choose.prefix.size:
                return Entry()
        entry = Prefixed(self, choose)
        self.entries.append(entry)
        self.settle()
        return entry

    def remove(self, entry: Prefixed) -> None:
        self.entries.remove(entry)
        self.settle()

    def before(self, call: Arguments, prompt: Prompt) -> dict[str, Any] | None:
        """The arguments of the pass with the prefixes of ``prompt`` before it; None where there are none."""
        batch, read = call.size()
        if self.trained:
            standing = self.stand(prompt, batch)
        else:
            key = ("standing", *self.numbers, batch, self.model.device, self.model.dtype)
            standing = prompt.chosen(key, _Stand(self, batch))
        if standing is None:
            return None
        from mnemic.attach.prefixed import PrefixedCache

        own = self._own(call)
        past = 0 if own is None else int(own.get_seq_length())
        if self._rotation is not None and self._rotation.limit is not None:
            end = standing.longest + past + read
            if end > self._rotation.limit:
                raise ModelError(
                    f"The prefix and the prompt take up {end} positions, and the model has {self._rotation.limit}; "
                    "shorten one of them."
                )
        cache = PrefixedCache(own, standing.keys, standing.values, call)
        return {
            **call.named,
            **call.extra,
            "past_key_values": cache,
            "position_ids": self._positions(call, standing, past),
            "attention_mask": self._mask(call, standing, past),
        }

    def after(self, call: Arguments, output: Any) -> tuple[Arguments, Any]:
        """The arguments of the pass as they were, and the output with the model's own cache."""
        cache = call.named.get("past_key_values")
        original = getattr(cache, "call", None)
        if original is None or not hasattr(cache, "own"):
            return call, output
        if isinstance(output, tuple):
            parts = [cache.own if part is cache else part for part in output]
            return original, tuple(part for part in parts if part is not None)
        if output.get("past_key_values") is not cache:
            return original, output
        if cache.own is None:
            return original, type(output)(**{name: part for name, part in output.items() if part is not cache})
        output["past_key_values"] = cache.own
        return original, output

    def _own(self, call: Arguments) -> Any | None:
        """The cache that the model would have without a prefix."""
        own = call.named.get("past_key_values")
        use = call.named.get("use_cache")
        if own is None and (self.model.config.use_cache if use is None else use):
            from transformers import DynamicCache

            own = DynamicCache(config=self.model.config)
        return own

    def _positions(self, call: Arguments, standing: Standing, past: int) -> torch.Tensor:
        import torch

        positions = call.named.get("position_ids")
        if positions is None:
            read = call.size()[1]
            positions = torch.arange(past, past + read, device=self.model.device)[None]
        return positions + standing.length.to(positions.device)[:, None]

    def _mask(self, call: Arguments, standing: Standing, past: int) -> torch.Tensor | None:
        import torch

        mask = call.named.get("attention_mask")
        if isinstance(mask, Mapping):  # prepared by `generate`, of a model whose layers are all of one kind
            mask = mask.get("full_attention")
        if mask is None:
            if standing.whole:
                return None
            batch, read = call.size()
            mask = standing.mask.new_ones(batch, past + read)
        if not isinstance(mask, torch.Tensor) or mask.dim() not in (2, 4):
            raise ModelError(
                "A prefix needs an attention mask of [batch, positions], or a prepared one of four dimensions; call "
                "the model with one of these, or without."
            )
        before = standing.mask.to(mask.device)
        if mask.dim() == 2:
            return torch.cat([before.to(mask.dtype), mask], dim=1)
        before = before[:, None, None].expand(-1, mask.shape[1], mask.shape[2], -1)
        if mask.dtype != torch.bool:
            before = torch.zeros_like(before, dtype=mask.dtype).masked_fill(~before, torch.finfo(mask.dtype).min)
        return torch.cat([before, mask.expand(before.shape[0], -1, -1, -1)], dim=3)

    def stand(self, prompt: Prompt, batch: int) -> Standing | None:
        """The prefixes of ``prompt`` one behind the other, for a batch; None where all are empty."""
        choices = [prompt.chosen(entry.number, entry.choose) for entry in self.entries]
        prefixes = [one for one in choices if one is not None and one.size]
        if not prefixes or self._rotation is None:
            return None
        if self.trained:
            return self._behind_each_other(prefixes, prompt, batch)
        import torch

        with torch.inference_mode(False), torch.no_grad():  # it serves later passes too, which may be of another mode
            return self._behind_each_other(prefixes, prompt, batch)

    def _behind_each_other(self, prefixes: Sequence[Prefix], prompt: Prompt, batch: int) -> Standing:
        import torch

        device, dtype = self.model.device, self.model.dtype
        rotation = self._rotation or Rotation(self.model)
        length = torch.zeros(batch, dtype=torch.int64, device=device)
        masks, keys, values = [], [], []
        for prefix in prefixes:
            self._refuse(prefix)
            each = prompt.repeats(prefix.rows, batch)
            mask, places, own = (part.to(device) for part in prefix.standing())
            rows = torch.arange(prefix.rows, device=device).repeat_interleave(each)
            stood = places[:, rows] if places.dim() == 4 else places[rows]
            at = stood + (length[:, None, None] if places.dim() == 4 else length[:, None])
            keys.append(rotation.layers([key.to(device, dtype)[rows] for key in prefix.keys], at))
            values.append([value.to(device, dtype)[rows] for value in prefix.values])
            masks.append(mask[rows])
            length = length + own[rows]
        mask = torch.cat(masks, dim=1)
        return Standing(
            [torch.cat(parts, dim=2) for parts in zip(*keys, strict=True)],
            [torch.cat(parts, dim=2) for parts in zip(*values, strict=True)],
            mask,
            bool(mask.all()),
            length,
            int(length.max()),
        )

    def _refuse(self, prefix: Prefix) -> None:
        layers = len(self._rotation.attentions) if self._rotation is not None else 0
        shapes = {tuple(one.shape) for one in (*prefix.keys, *prefix.values)}
        if not len(prefix.keys) == len(prefix.values) == layers or len(shapes) > 1 or len(prefix.keys[0].shape) != 4:
            raise ModelError(
                f"A prefix has keys and values of all {layers} layers, each [rows, heads, n, width] of one shape, got "
                f"{len(prefix.keys)} and {len(prefix.values)} of {', '.join(map(str, sorted(shapes)))}; read it with "
                "`mnemic.attach.reading.read_prefix`."
            )


@dataclass(frozen=True)
class _Stand:
    prefixes: Prefixes
    batch: int

    def __call__(self, prompt: Prompt) -> Standing | None:
        return self.prefixes.stand(prompt, self.batch)
