"""`generate` of a model that memories have entered, and the prompt that it began with."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mnemic.errors import ModelError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


@dataclass(eq=False)
class Prompt:
    """The text that a generation, or a cache, began with.

    ``ids`` int64 [batch, positions] and ``mask`` [batch, positions] (1 where a row's text is, None: everywhere) are
    the caller's; ids are None where there were embeddings. ``batch`` are its rows, ``width`` the positions before the
    first generated token, those of a context too. ``prefixes`` are the numbers of those that its cache stands behind.
    """

    ids: torch.Tensor | None
    mask: torch.Tensor | None
    batch: int
    width: int
    prefixes: tuple[str, ...] = ()
    _choices: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, call: Mapping[str, Any]) -> Prompt:
        """From the arguments of `generate` or of `forward`, by name."""
        ids = next((call[name] for name in ("inputs", "input_ids") if call.get(name) is not None), None)
        read = call.get("inputs_embeds") if ids is None else ids
        mask = call.get("attention_mask")
        if mask is not None and (read is None or getattr(mask, "shape", None) != read.shape[:2]):
            mask = None
        return cls(ids, mask, *((1, 1) if read is None else read.shape[:2]))

    def __deepcopy__(self, memo: dict[int, Any]) -> Prompt:
        return self  # a copy of a cache began with the same

    def __reduce__(self) -> tuple[Any, ...]:
        return Prompt, (self.ids, self.mask, self.batch, self.width, self.prefixes)

    def rows(self) -> list[torch.Tensor]:
        """The ids of each row without its padding, int64 [positions of the row]; nothing where there are no ids."""
        if self.ids is None:
            return []
        if self.mask is None:
            return list(self.ids)
        return [row[mask.bool()] for row, mask in zip(self.ids, self.mask, strict=True)]

    def chosen(self, entry: Hashable, choose: Callable[[Prompt], T]) -> T:
        """The choice of ``entry`` for this prompt; it is asked once."""
        if entry not in self._choices:
            self._choices[entry] = choose(self)
        choice: T = self._choices[entry]
        return choice

    def repeats(self, rows: int, batch: int) -> int:
        """How many rows of a pass's batch each of ``rows`` serves: beams of a row of the prompt lie together.

        Raises `ModelError` where ``rows`` is neither 1 nor the prompt's, so that no text gets another's memory.
        """
        if rows == 1:
            return batch
        if rows != self.batch or batch % rows:
            raise ModelError(
                f"What entered the model is for {rows} rows of a batch, and this prompt has {self.batch}; give it for "
                "one row, or for each row of the prompt."
            )
        return batch // rows


class Running(threading.local):
    """The prompt of the `generate` that runs in this thread, and that of its pass; None outside of one.

    ``drafting``: whether it asks for drafts. ``aside``: whether the model is read without what entered its layers.
    """

    def __init__(self) -> None:
        self.prompt: Prompt | None = None
        self.passing: Prompt | None = None
        self.drafting = False
        self.aside = False

    def __reduce__(self) -> tuple[type[Running], tuple[()]]:
        return Running, ()  # a copy of the model has runs of its own


class Contextual(Protocol):
    """`mnemic.attach.prompt.PromptContexts`."""

    entries: list[Any]

    def generate(self, generate: Callable[..., Any], model: Any, prompt: Prompt, call: Mapping[str, Any]) -> Any: ...


class Offering(Protocol):
    """`mnemic.attach.drafts.Drafts`."""

    def offered(self, call: Mapping[str, Any], batch: int) -> AbstractContextManager[dict[str, Any]]: ...


class Generate:
    """Stands in the place of a model's `generate`; ``own`` is the one that the caller had set there, if any."""

    def __init__(self, model: Any, running: Running, contexts: Contextual, drafts: Offering, own: Any | None) -> None:
        self.model, self.running, self.contexts, self.drafts, self.own = model, running, contexts, drafts, own

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        kind = type(self.model)
        call = {**dict(zip(_names(kind), args, strict=False)), **kwargs}
        before, prompt = self.running.prompt, Prompt.of(call)
        self.running.prompt = prompt
        try:
            if self.contexts.entries:
                return self.contexts.generate(self._bare, self.model, prompt, call)
            return self._bare(*args, **kwargs)
        finally:
            self.running.prompt = before

    def _bare(self, *args: Any, **kwargs: Any) -> Any:
        if self.own is not None:
            return self.own(*args, **kwargs)
        kind = type(self.model)
        call = {**dict(zip(_names(kind), args, strict=False)), **kwargs}
        with self.drafts.offered(call, Prompt.of(call).batch) as more:
            return kind.generate(self.model, *args, **kwargs, **more)


def setting(model: Any, call: Mapping[str, Any], name: str) -> Any:
    """A setting of `generate`: of the call, of its configuration, or of the model's; None where there is none."""
    own = call.get("generation_config")
    places = (call.get(name), getattr(own, name, None), getattr(model.generation_config, name, None))
    return next((place for place in places if place is not None), None)


def _names(kind: type[Any]) -> list[str]:
    """The parameters of `generate` behind the model."""
    return [*inspect.signature(kind.generate).parameters][1:]
