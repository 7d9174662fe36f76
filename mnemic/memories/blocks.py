"""The kind of memory "blocks": feed-forward blocks of the topics of a bank, fetched for the text at hand.

A text's topic is the leaf of the cluster tree that its prompt leads to, or what the caller gives. It is read with the
blocks on the path to that leaf (Pouransari et al., arXiv 2510.02375), each text of a batch with its own, and they stay
for the whole generation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mnemic import languagemodel
from mnemic.attach.attachment import verify
from mnemic.attach.changed import ChangedProjection
from mnemic.attach.entry import Entries, Entry
from mnemic.attach.feedforward import PARTS, Projections
from mnemic.attach.fetched import ChosenRows, PromptBlocks
from mnemic.blocks.layout import BlockLayout, level_of
from mnemic.blocks.routes import Routes, closed_nodes, serving
from mnemic.blocks.shelf import BlockShelf
from mnemic.errors import ModelError
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.kinds import Memory, MemoryInfo, inside_weight
from mnemic.memories.reopened import Reopened
from mnemic.memories.trained import StoredKind
from mnemic.view import View

if TYPE_CHECKING:
    from mnemic.attach.generation import Prompt
    from mnemic.attach.host import Host
    from mnemic.attach.output.schedules import Schedule

TOKENS = 1024
"""Of a prompt that are read for its topic."""

NAME = "blocks"
"""Of the kind and of its memory: a bank has one."""


class BlocksKind(StoredKind):
    """A release has one such memory where its recipe has `blocks`."""

    name, title = NAME, "hierarchical memory"

    def load(self, view: View, info: MemoryInfo) -> Memory:
        return StoredBlocks(view, info)


BLOCKS = BlocksKind()


@dataclass(frozen=True)
class StoredBlocks(Reopened):
    """The blocks of one release. ``leaves``: of each text of a batch, or one for all; None: as its prompt says.

    ``blocked``: nodes whose blocks, and those below them, no text is read with.
    """

    view: View
    info: MemoryInfo
    leaves: tuple[str, ...] | None = None
    blocked: tuple[str, ...] = ()
    inside = True
    shared = ("module", "routes")

    def __deepcopy__(self, memo: dict[int, Any]) -> StoredBlocks:
        return self

    @cached_property
    def module(self) -> BlockShelf:
        return BlockShelf(self.view, BlockLayout.of_config(self.info.config, self.info.name))

    @cached_property
    def routes(self) -> Routes:
        return Routes(self.view)

    @cached_property
    def tokenizer(self) -> Any:
        """That of the recipe's language model."""
        return languagemodel.tokenizer(self.view.release.recipe["language_model"])

    def about(self, topic: str | Sequence[str]) -> StoredBlocks:
        """The memory for texts about ``topic``: a text, or one for each row of a batch."""
        topics = [topic] if isinstance(topic, str) else list(topic)
        return self.at(*(self.routes.leaf(one) for one in topics))

    def at(self, *leaves: str) -> StoredBlocks:
        """The memory for texts of these ``leaves``: one for all, or one for each row of a batch.

        A leaf is a path of `clusters`, "fallback" or "control". Raises `QueryError` for another.
        """
        return self.with_settings(leaves=tuple(self.routes.checked(leaf) for leaf in leaves))

    def without(self, *nodes: str) -> StoredBlocks:
        """The memory without the blocks of these ``nodes``, paths of `clusters`, and of those below them."""
        return self.with_settings(blocked=(*self.blocked, *(self.routes.checked(node) for node in nodes)))

    def path(self, leaf: str) -> tuple[str, ...]:
        """The blocks that a text of ``leaf`` is read with, coarse first."""
        return serving(leaf, self.module, self.blocked)

    def is_changed(self, leaf: str) -> bool:
        """Whether a text of ``leaf`` is read with the changed matrices of the model.

        They learnt of all topics, so a text that is left without any block by what is blocked is read without them.
        """
        if self.module.change is None:
            return False
        return bool(self.path(leaf)) or not closed_nodes(leaf, self.blocked)

    def enter(self, host: Host, weight: float | Schedule) -> Entry:
        share = inside_weight(self.info, weight)
        layout, change, stack = self.module.layout, self.module.change, host.blocks
        if share == 0:
            return Entry()
        if layout.layers[-1] >= len(stack):
            raise ModelError(
                f"The memory {self.info.name} widens the layer {layout.layers[-1]} and the model has {len(stack)}; "
                "attach it to the model that it was made for."
            )
        choose = Choosing(self, languagemodel.tokenizer_of(host.model))
        entries = Entries(())
        try:
            for number, layer in enumerate(layout.layers):
                projections = Projections.of(stack[layer])
                self._refuse(projections)
                changes = () if change is None else change[number]
                for name, own in zip(PARTS[layout.gated], changes, strict=False):
                    changed = ChangedProjection(name, own, choose, host.prompt, share)
                    entries.entries.append(host.beside(layer, changed, projection=name))
                path = ChosenRows(projections, number, choose, host.prompt, share)
                entries.entries.append(host.beside(layer, path))
        except BaseException:
            entries.close()
            raise
        return entries

    def _refuse(self, projections: Projections) -> None:
        """Raise `ModelError` for a layer of another form."""
        layout, up = self.module.layout, projections.rows()[0]
        form = (up.shape[1], projections.gate is not None, layout.inner and len(up))
        if form != (layout.width, layout.gated, layout.inner):
            raise ModelError(
                f"The blocks of the memory {self.info.name} have rows of {layout.width} numbers and {layout.parts} "
                "parts, and the model's feed-forward layers have others; attach it to the model that it was made for."
            )

    def scores(self, rows: HeldOutRows) -> None:
        """Only a pass of the model can tell."""

    def merge(
        self,
        model: Any,
        folder: Path,
        topic: str | None = None,
        node: str | None = None,
        *,
        weight: float = 1.0,
        tokenizer: Any = None,
    ) -> Path:
        """See `mnemic.bank.Bank.merge`."""
        from mnemic.blocks.wider import save_wider

        if (topic is None) == (node is None):
            raise ModelError(
                "A merged model is for one topic: give a text as `topic`, or a path of `clusters` as `node`."
            )
        own = tokenizer or languagemodel.tokenizer_of(model)
        verify(self.info.lock, languagemodel.lock(model, own))
        leaf = self.routes.leaf(topic) if topic is not None else self.routes.checked(str(node))
        blocks = [self.module.block(path) for path in self.path(leaf)]
        change = self.module.change if self.is_changed(leaf) else None
        if not blocks and change is None:
            raise ModelError(f"No block serves the node {leaf!r}, so there is nothing to merge; give another topic.")
        folder.mkdir(parents=True, exist_ok=True)
        save_wider(model, blocks, self.module.layout.layers, folder, weight, change)
        (own or self.tokenizer).save_pretrained(str(folder))
        return folder


@dataclass(eq=False)
class Choosing:
    """The blocks of a prompt's texts, by ``memory``; ``tokenizer`` None: that of the recipe."""

    memory: StoredBlocks
    tokenizer: Any = None

    def __call__(self, prompt: Prompt) -> PromptBlocks:
        shelf, leaves = self.memory.module, self._leaves(prompt)
        readers: dict[str, list[int]] = {}
        for row, leaf in enumerate(leaves):
            for path in self.memory.path(leaf):
                readers.setdefault(path, []).append(row)
        paths = sorted(readers, key=lambda path: (level_of(path), path))
        members = [(tuple(readers[path]), shelf.block(path)) for path in paths]
        changed = tuple(row for row, leaf in enumerate(leaves) if self.memory.is_changed(leaf))
        return PromptBlocks(len(leaves), members, changed)

    def _leaves(self, prompt: Prompt) -> Sequence[str]:
        if self.memory.leaves is not None:
            return self.memory.leaves
        rows = prompt.rows()
        if not rows:
            raise ModelError(
                "The topic of a prompt is read from its token ids, and this one has embeddings; attach the memory with "
                "`topic=`."
            )
        tokenizer = self.tokenizer or self.memory.tokenizer
        texts = [tokenizer.decode(row[:TOKENS], skip_special_tokens=True) for row in rows]
        return [self.memory.routes.leaf(text) for text in texts]


def routed(memories: Sequence[Memory], topic: str | Sequence[str] | None, blocked: Sequence[str]) -> list[Memory]:
    """``memories``, of which those with topics are for texts about ``topic``, and without the nodes ``blocked``.

    Raises `ModelError` where there is none with topics.
    """
    if topic is None and not blocked:
        return list(memories)
    if not any(hasattr(memory, "about") for memory in memories):
        raise ModelError(
            f"Only memories such as {NAME} have topics; leave `topic` and `blocked` out, or attach one of them too."
        )
    return [_routed(cast(StoredBlocks, one), topic, blocked) if hasattr(one, "about") else one for one in memories]


def _routed(memory: StoredBlocks, topic: str | Sequence[str] | None, blocked: Sequence[str]) -> StoredBlocks:
    about = memory if topic is None else memory.about(topic)
    return about.without(*blocked) if blocked and isinstance(about, StoredBlocks) else about
