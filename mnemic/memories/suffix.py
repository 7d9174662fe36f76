"""The suffix index as a memory, "suffix": what followed the longest suffix of the context that the text holds.

Nothing is trained, and no model has read the text: the memory is the table of an infinite n-gram model (infini-gram,
arXiv 2401.17377). It belongs to a tokenizer and not to a model. Where nothing of the context stands in the text, it
says what the model says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from mnemic.conditions import Where
from mnemic.errors import BankError
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.kinds import ORDER, Memory, MemoryInfo, Scored
from mnemic.memories.reopened import Reopened
from mnemic.suffixes.drafts import SuffixDrafts
from mnemic.suffixes.evidence import Evidence, evidence
from mnemic.suffixes.features import features, names_of
from mnemic.suffixes.stored import evaluated_index, has_suffixes, index_of
from mnemic.view import View

if TYPE_CHECKING:
    from mnemic.attach.host import Entry, Host
    from mnemic.attach.output.schedules import Schedule
    from mnemic.memories.continuations import SuffixMemory

NAME = "suffix"
"""Of the kind and of its memory: a bank has one suffix index."""

ORDERS = 3
"""Longest matching lengths that evidence is given of."""


class SuffixKind:
    """The suffix index. A release has one such memory where its recipe has `suffixes`."""

    name, title, narrows = NAME, "suffix index", True

    def described(self, view: View) -> Iterable[MemoryInfo]:
        """The memory; its weight is found on validation rows when it is attached."""
        if not has_suffixes(view):
            return []
        rows = view.table("suffixes", ["size", "tokenizer"], "part = 0")
        tokenizers = set(rows["tokenizer"].to_pylist())
        if len(tokenizers) != 1:
            raise BankError(
                f"The suffix index of {view.path} is of {len(tokenizers)} tokenizers; build the bank again."
            )
        config = {"tokens": sum(rows["size"].to_pylist()), "shards": len(rows)}
        return [MemoryInfo(NAME, NAME, NAME, "suffixes", config=config, lock={"tokenizer": tokenizers.pop()})]

    def load(self, view: View, info: MemoryInfo) -> Memory:
        return StoredSuffixes(view, info)

    def lock(self, view: View, info: MemoryInfo) -> Mapping[str, str]:
        """The tokenizer alone: any model that has it will do."""
        return info.lock


SUFFIX = SuffixKind()


@dataclass(frozen=True)
class StoredSuffixes(Reopened):
    """The memory of one release, of documents that satisfy all ``conditions``. The index is read when it is needed."""

    view: View
    info: MemoryInfo
    conditions: tuple[Where, ...] = ()

    def where(self, where: Where) -> StoredSuffixes:
        """The memory of documents that satisfy ``where`` too, as `mnemic.suffixes.stored.index_of` has it."""
        return replace(self, conditions=(*self.conditions, where))

    @cached_property
    def module(self) -> SuffixMemory:
        from mnemic.memories.continuations import SuffixMemory

        return SuffixMemory(index_of(self.view, list(self.conditions)))

    def enter(self, host: Host, weight: float | Schedule) -> Entry:
        return host.mix(self.module, weight)

    def scores(self, rows: HeldOutRows) -> NDArray[np.float64]:
        """log p of each row's token by the longest match, and by the model where there is none.

        The index is the one that may be evaluated: without held-out documents and without what contains half of one.
        """
        logs: NDArray[np.float64] = self.evidence(rows, 1).log_probs[:, 0]
        return logs

    def scored(self, rows: HeldOutRows, orders: int = ORDERS) -> Scored:
        """By its orders, each a component, of the index that may be evaluated."""
        own, name = self.evidence(rows, orders), self.info.name
        components = (name, *(f"{name}{ORDER}{order}" for order in range(2, orders + 1)))
        return Scored(components, own.log_probs, names_of(name, orders), features(own))

    def evidence(self, rows: HeldOutRows, orders: int = ORDERS) -> Evidence:
        """What the index says about held-out rows: the ``orders`` longest matching lengths of each."""
        return evidence(evaluated_index(self.view), rows, orders)


@dataclass(frozen=True)
class Draft:
    """What proposes drafts to a model, in the place of a memory: it changes nothing that the model says."""

    memory: StoredSuffixes

    @classmethod
    def of(cls, memory: Memory) -> Draft:
        """Of the memory "suffix" of a bank."""
        return cls(cast(StoredSuffixes, memory))

    @property
    def info(self) -> MemoryInfo:
        return self.memory.info

    @property
    def module(self) -> SuffixDrafts:
        return SuffixDrafts(self.memory.module.index)

    def enter(self, host: Host, weight: float | Schedule) -> Entry:
        """``weight`` is no matter: the model decides."""
        return host.draft(self.module)

    def scores(self, rows: HeldOutRows) -> None:
        """It gives no probabilities."""
