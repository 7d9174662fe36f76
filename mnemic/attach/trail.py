"""The last tokens before each position of a pass, for paths inside the model that read the text.

The ids of what a cache holds are kept as a layer of it, without values, so that whatever happens to the cache (beams
are reordered, a draft is cropped) happens to them too.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from mnemic.attach.entry import Entry
from mnemic.attach.output.masks import padding_mask
from mnemic.attach.output.passing import Arguments, cache_of
from mnemic.errors import ModelError

if TYPE_CHECKING:
    import torch

    from mnemic.attach.host import Host

NO_TOKEN = -1
"""Where a row has no text: before its first token, and for padding."""


class TrailState(threading.local):
    """The pass that runs in this thread: ids behind those of its cache, and the contexts of its positions."""

    def __init__(self) -> None:
        self.ids: torch.Tensor | None = None
        self.contexts: torch.Tensor | None = None

    def __reduce__(self) -> tuple[type[TrailState], tuple[()]]:
        return TrailState, ()  # a copy of the model has passes of its own


class Trail(Entry):
    """Hooks on the model of ``host`` that keep the last ``longest`` tokens of each position while a pass runs."""

    def __init__(self, host: Host, longest: int) -> None:
        super().__init__()
        self.longest, self.owner, self.names, self.state = longest, uuid4().hex, host.names, TrailState()
        model = host.model
        self.hooks = [
            model.register_forward_pre_hook(self.before, with_kwargs=True, prepend=True),
            model.register_forward_hook(self.after, with_kwargs=True),
        ]

    @property
    def contexts(self) -> torch.Tensor:
        """int64 [batch, positions, longest], `NO_TOKEN` where a row has no text.

        Raises `ModelError` outside of a pass of the whole model.
        """
        if self.state.contexts is None:
            raise ModelError("A memory that reads the text needs the whole model; call it, not its layers.")
        return self.state.contexts

    def before(self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        import torch

        call = Arguments.of(self.names, args, kwargs).named
        ids = call.get("input_ids")
        if ids is None:
            raise ModelError(
                "A memory that reads the text needs the model's `input_ids`; call the model with these rather than "
                "with embeddings."
            )
        cache = call.get("past_key_values")
        length = 0 if cache is None else int(cache.get_seq_length())
        earlier = self._earlier(cache, length)
        mask = call.get("attention_mask")
        mask = None if mask is None else padding_mask(mask, length, ids.shape[1], None)
        if mask is not None:
            ids = ids.masked_fill(mask[:, -ids.shape[1] :].to(ids.device) == 0, NO_TOKEN)
        whole = ids if earlier is None else torch.cat([earlier.to(ids.device), ids], 1)
        short = max(0, ids.shape[1] + self.longest - 1 - whole.shape[1])
        whole = torch.nn.functional.pad(whole, (short, 0), value=NO_TOKEN)
        self.state.ids = ids
        self.state.contexts = whole[:, -(ids.shape[1] + self.longest - 1) :].unfold(1, self.longest, 1)

    def after(self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        from mnemic.attach.output.companion import CompanionLayer

        ids, self.state.ids, self.state.contexts = self.state.ids, None, None
        cache = cache_of(output)
        if cache is None or ids is None or not hasattr(cache, "layers"):
            return
        own = self._own(cache)
        if own is None:
            own = CompanionLayer(self.owner)
            cache.layers.append(own)
        own.update(ids[:, None, :, None], ids[:, None, :, None])

    def _earlier(self, cache: Any, length: int) -> torch.Tensor | None:
        """The ids of what the cache holds, [batch, length]; None where that is nothing."""
        if not length:
            return None
        own = self._own(cache)
        if own is None or own.get_seq_length() != length:
            raise ModelError(
                f"The model's cache holds {length} positions that this memory has not read; attach the memory before "
                "the cache is filled, and begin with the whole text."
            )
        ids: torch.Tensor = own.keys[:, 0, :, 0]
        return ids

    def _own(self, cache: Any) -> Any | None:
        layers = getattr(cache, "layers", ())
        return next((one for one in layers if getattr(one, "owner", "") == self.owner), None)

    def close(self) -> None:
        for hook in self.hooks:
            hook.remove()
