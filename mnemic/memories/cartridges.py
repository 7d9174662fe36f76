"""The kind of memory "cartridges": prefixes that were trained for texts of a bank, which stand before a prompt.

A prompt searches the bank. The cartridges of the best texts go into the cache at consecutive places, behind the rows
of the few tokens that each was trained behind; every text of a batch has its own (Eyuboglu et al., arXiv 2506.06266).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mnemic import languagemodel
from mnemic.attach.entry import Entry
from mnemic.attach.rotation import Rotation, attention_of
from mnemic.conditions import Where
from mnemic.errors import ModelError, QueryError
from mnemic.facts import ADVICE
from mnemic.latents.datasets import LATENT_LEVELS
from mnemic.latents.finding import LatentFinder
from mnemic.latents.form import CartridgeForm
from mnemic.latents.shelf import CartridgeShelf
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.kinds import Memory, MemoryInfo, before_prompt
from mnemic.memories.reopened import Reopened
from mnemic.memories.shapes import is_count
from mnemic.memories.trained import StoredKind, stored_weights
from mnemic.pages.page import Page
from mnemic.pages.standing import standing
from mnemic.view import View

if TYPE_CHECKING:
    from mnemic.attach.cache import Prefix
    from mnemic.attach.generation import Prompt
    from mnemic.attach.host import Host
    from mnemic.attach.output.schedules import Schedule

NAME = "cartridges"
"""Of the kind, of its memory and of its dataset: a bank has one."""

BEST = 1
"""Cartridges that a prompt is read with: each was trained alone, and several together were not measured."""

TOKENS = 512
"""Of the end of a prompt that are searched for."""


class CartridgesKind(StoredKind):
    """A release has one such memory where its recipe has `cartridges`."""

    name, title = NAME, "cartridges"
    narrows = True

    def load(self, view: View, info: MemoryInfo) -> Memory:
        return StoredCartridges(view, info)


CARTRIDGES = CartridgesKind()


@dataclass(frozen=True)
class StoredCartridges(Reopened):
    """The cartridges of one release. ``chosen``: of each text of a batch, or one list for all; None: by a search.

    ``conditions`` narrow the search, and ``number`` are the cartridges that it gives.
    """

    view: View
    info: MemoryInfo
    chosen: tuple[tuple[str, ...], ...] | None = None
    conditions: Where = None
    number: int = BEST
    inside = True
    shared = ("module", "sink")

    def __deepcopy__(self, memo: dict[int, Any]) -> StoredCartridges:
        return self

    @cached_property
    def form(self) -> CartridgeForm:
        return CartridgeForm.of_config(self.info.config, self.info.name)

    @cached_property
    def module(self) -> CartridgeShelf:
        return CartridgeShelf(self.view, self.form)

    @cached_property
    def sink(self) -> Page:
        """What stands before all cartridges, and before what each was trained behind."""
        import numpy as np

        ids, form = self.info.config.get("sink"), self.form
        if not isinstance(ids, list) or not is_count(len(ids)) or len(ids) > 256:
            raise ModelError(f"The memory {self.info.name} names no tokens that its cartridges stand behind. {ADVICE}")
        places = np.broadcast_to(np.arange(len(ids), dtype="<u2"), (form.layers, form.heads, len(ids))).tobytes()
        return form.unpacked(places, stored_weights(self.view, self.info), len(ids), len(ids), "the sink")

    @cached_property
    def finder(self) -> LatentFinder:
        level = self.info.config.get("level")
        if level not in LATENT_LEVELS:
            raise ModelError(f"The memory {self.info.name} has cartridges of the level {level!r:.40}. {ADVICE}")
        return LatentFinder(self.view, level, self.module.ids, self.conditions, self.number)

    def where(self, conditions: Where) -> StoredCartridges:
        """The memory of texts that satisfy ``conditions``, as a search has them."""
        return self.with_settings(conditions=conditions)

    def best(self, number: int) -> StoredCartridges:
        """The memory that gives a prompt the ``number`` best cartridges, 1 by default."""
        if not is_count(number) or number > 256:
            raise QueryError(f"A prompt is read with 1 to 256 cartridges, not with {number!r:.20}.")
        return self.with_settings(number=number)

    def of(self, *ids: str | Sequence[str]) -> StoredCartridges:
        """The memory that reads each text of a batch with the cartridges of one of ``ids``, one for all texts.

        An id is that of a document or event, or the path of a node; a list of ids stand one behind the other.
        """
        chosen = tuple((one,) if isinstance(one, str) else tuple(one) for one in ids)
        for one in (each for row in chosen for each in row):
            self.module.cartridge(one)  # raises where there is none
        return self.with_settings(chosen=chosen)

    def enter(self, host: Host, weight: float | Schedule) -> Entry:
        if not before_prompt(self.info, weight):
            return Entry()
        refuse_learnt_places(host.model)
        shape = shape_of(host.model)
        if shape != (self.form.layers, self.form.heads, self.form.width):
            raise ModelError(
                f"The cartridges of {self.info.name} are for {self.form.layers} layers of {self.form.heads} heads of "
                f"{self.form.width} numbers and the model has {shape[0]}, {shape[1]} and {shape[2]}; attach them "
                "to the model that they were made for."
            )
        return host.prefix_of(Before(self, languagemodel.tokenizer_of(host.model)))

    def scores(self, rows: HeldOutRows) -> None:
        """Only a pass of the model can tell."""


@dataclass(eq=False)
class Before:
    """The prefix of a prompt's texts, by ``memory``; ``tokenizer`` None: that of the recipe."""

    memory: StoredCartridges
    tokenizer: Any = None

    def __call__(self, prompt: Prompt) -> Prefix | None:
        memory = self.memory
        batch = [[memory.module.cartridge(of) for of in row] for row in self._chosen(prompt)]
        rows = [[memory.sink, *pages] for pages in batch]
        return standing(rows, memory.sink.keys.dtype) if any(batch) else None

    def _chosen(self, prompt: Prompt) -> Sequence[Sequence[str]]:
        if self.memory.chosen is not None:
            return self.memory.chosen
        rows = prompt.rows()
        if not rows:
            raise ModelError(
                "Cartridges are found by the prompt's token ids, and this one has embeddings; choose them by "
                '`bank.memory("cartridges").of(ID)`.'
            )
        tokenizer = self.tokenizer or languagemodel.tokenizer(self.memory.view.release.recipe["language_model"])
        texts = [tokenizer.decode(row[-TOKENS:], skip_special_tokens=True) for row in rows]
        return [self.memory.finder.serving(text) for text in texts]


def shape_of(model: Any) -> tuple[int, int, int]:
    """(layers, heads of keys, numbers of a key) of ``model``."""
    stack = languagemodel.blocks(model)
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    attention = attention_of(stack[0])
    width = getattr(attention, "head_dim", None) or getattr(attention, "head_size", None)
    return len(stack), int(heads), int(width or config.hidden_size // config.num_attention_heads)


def refuse_learnt_places(model: Any) -> None:
    """Raise `ModelError` for a model whose keys cannot stand at another place than the one they were read at."""
    if Rotation(model).limit is not None:
        raise ModelError(
            f"Models of type {model.config.model_type!r} add learnt positions to what they read, so stored keys cannot "
            "stand at another place and cartridges cannot stand one behind the other; use a model that rotates its "
            "keys, such as a Llama."
        )
