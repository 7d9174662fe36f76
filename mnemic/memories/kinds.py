"""What a kind of memory is, and the kinds that there are.

A kind registers itself here, or, from another package, by an entry point of the group `mnemic.memories` whose value is
an object with the attributes of `Kind`. Nobody else asks what kind a memory is: a bank describes and loads it through
its kind, evaluation asks it for scores, and `bank.attached` lets it enter the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mnemic.attach.host import Entry, Host
    from mnemic.attach.output.schedules import Schedule
    from mnemic.view import View


@dataclass(frozen=True)
class MemoryInfo:
    """A memory as a bank lists it, without its weights.

    ``lock`` is `languagemodel.lock` of the model that it belongs to, ``owner`` the step that wrote it.
    """

    id: str
    name: str
    kind: str
    owner: str = ""
    epoch: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    lock: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)


class Memory(Protocol):
    """A loaded memory."""

    def enter(self, host: Host, weight: float | Schedule) -> Entry:
        """Let it act in the model of ``host`` from now on; closing the entry undoes it."""

    def scores(self, rows: Any) -> NDArray[np.float64] | None:
        """log p of the true token of held-out rows, float64 [n]; None where only a pass of the model can tell."""


class Kind(Protocol):
    name: ClassVar[str]  # as a row of `memories` has it
    title: ClassVar[str]  # as a sentence says it

    def described(self, view: View) -> Iterable[MemoryInfo]:
        """The memories of this kind in a release. Imports no torch."""

    def load(self, view: View, info: MemoryInfo) -> Memory: ...

    def lock(self, view: View, info: MemoryInfo) -> Mapping[str, str]:
        """What a model must be for this memory: `languagemodel.lock`."""
