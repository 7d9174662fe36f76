"""The contract of a kind of memory, and the kinds that there are.

A kind registers itself here, or, from another package, by an entry point of the group `mnemic.memories`, whose name is
the kind's and whose value is an object with the attributes of `Kind`. Nobody else asks what kind a memory is: a bank
describes and loads it through its kind, evaluation asks it for scores, and `bank.attached` lets it enter the model.

A kind's module is imported to list the memories of a bank, so it imports no torch; networks are imported in `load`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import ModelError
from mnemic.memories.held_out import HeldOutRows
from mnemic.plugins import find_plugin, load_address, load_entry, plugins
from mnemic.view import View

if TYPE_CHECKING:
    from mnemic.attach.host import Entry, Host
    from mnemic.attach.output.schedules import Schedule

ENTRY_POINTS = "mnemic.memories"

KINDS: dict[str, str] = {
    "mlp": "mnemic.memories.trained:MLP",
    "decoder": "mnemic.memories.trained:DECODER",
    "knn": "mnemic.memories.datastore:KNN",
    "suffix": "mnemic.memories.suffix:SUFFIX",
    "blocks": "mnemic.memories.blocks:BLOCKS",
    "slots": "mnemic.memories.slots:SLOTS",
    "cartridges": "mnemic.memories.cartridges:CARTRIDGES",
    "memory_tokens": "mnemic.memories.memory_tokens:MEMORY_TOKENS",
    "edits": "mnemic.memories.edits:EDITS",
    "pages": "mnemic.memories.pages:PAGES",
    "classifier": "mnemic.memories.classifier:CLASSIFIER",
}
"""Name of each built-in kind -> "module:object". A bank lists its memories in this order where nothing else orders
them."""


@dataclass(frozen=True)
class MemoryInfo:
    """A memory as a bank lists it, without its weights.

    ``lock`` is `languagemodel.lock` of the model that it belongs to, ``owner`` the step that wrote it ("" where a bank
    of before does not say), ``config`` is read by its kind, ``metrics`` by evaluation: ``weight`` is its best alone.
    """

    id: str
    name: str
    kind: str
    owner: str = ""
    epoch: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    lock: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The memory as `mnemic show --json` prints it."""
        return {name: getattr(self, name) for name in ("id", "name", "kind", "epoch", "config", "lock", "metrics")}


@dataclass(frozen=True)
class Scored:
    """What a memory says of held-out rows: log p of the true token by component, and features for a gate.

    ``logs`` are float64 [n, c], -inf where a component does not know the token; most memories have one component, of
    their own name. ``features`` are float64 [n, f], known before the token is seen; ``names`` are theirs.
    """

    components: tuple[str, ...]
    logs: NDArray[np.float64]
    names: tuple[str, ...]
    features: NDArray[np.float64]

    def beside(self) -> Scored:
        """As one of several memories: the first component, without the features of further ones ("suffix.count/2").

        The second and third order of a suffix say next to nothing beside another memory.
        """
        further = [re.search(rf"{ORDER}(\d+)$", name) for name in self.names]
        own = [at for at, number in enumerate(further) if number is None or number[1] == "1"]
        return Scored(self.components[:1], self.logs[:, :1], tuple(self.names[at] for at in own), self.features[:, own])

    @classmethod
    def of(cls, name: str, logs: NDArray[np.float64], confidence: NDArray[np.float64]) -> Scored:
        """Of a memory of one component: log p of the true token, [n], and `CONFIDENCE` of each row, [n, 2]."""
        return cls((name,), logs[:, None], tuple(f"{name}.{one}" for one in CONFIDENCE), confidence)


ORDER = "/"
"""Between a memory's name and the number of a further component of it: "suffix/2"."""

CONFIDENCE = ("largest", "entropy")
"""Features of a distribution, as `mnemic.languagemodel.head.confidence` computes them."""


class Memory(Protocol):
    """A loaded memory: ``info`` as its bank lists it, and the ``module`` that holds its tensors.

    One that acts inside the model has ``inside = True``: its weight is its own, and no share of a mixture. One that can
    say how sure it is also has ``scored(rows) -> Scored``, which a gate is trained on. Without it a gate
    weighs the memory by how sure the model and the others are.
    """

    @property
    def info(self) -> MemoryInfo: ...

    @property
    def module(self) -> Any: ...

    def enter(self, host: Host, weight: float | Schedule) -> Entry:
        """Let it act in the model of ``host`` from now on; closing the entry undoes it."""

    def scores(self, rows: HeldOutRows) -> NDArray[np.float64] | None:
        """log p of the true token of held-out rows, float64 [n], -inf where the memory does not know the token.

        None where only a pass of the model can tell.
        """


class Kind(Protocol):
    """One whose memories have no place in a language model also has ``in_models = False``.

    One whose memories can be narrowed to documents, by their method `where`, has ``narrows = True``.
    """

    @property
    def name(self) -> str:
        """As a row of `memories` has it."""

    @property
    def title(self) -> str:
        """As a sentence says it, such as "Memory Decoder"."""

    def described(self, view: View) -> Iterable[MemoryInfo]:
        """The memories of this kind in a release. Imports no torch."""

    def load(self, view: View, info: MemoryInfo) -> Memory: ...

    def lock(self, view: View, info: MemoryInfo) -> Mapping[str, str]:
        """The model that this memory needs, as `languagemodel.lock` of it."""


def kinds() -> dict[str, Kind]:
    """All kinds by name, the built-in ones first. Raises `ModelError` for one that cannot be used."""
    return {name: kind(name) for name in [*KINDS, *sorted(_offered() - KINDS.keys())]}


def kind(name: str) -> Kind:
    """The kind called ``name``: a built-in one, or one that another package offers.

    Raises `ModelError` for an unknown kind, naming the nearest one, and for an entry point that cannot be used.
    """
    if name in KINDS:
        return cast(Kind, load_address(KINDS[name]))
    plugin = find_plugin(ENTRY_POINTS, name)
    if plugin is None:
        names = [*KINDS, *sorted(_offered())]
        nearest = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else "install the package that offers it."
        raise ModelError(f"There is no kind of memory {name!r}, only {', '.join(names)}; {hint}")
    return _of_package(name, plugin.entry)


def is_known(name: str) -> bool:
    """Whether a kind of this name is built in or offered; a bank may have memories of others."""
    return name in KINDS or name in _offered()


def of_models(infos: Iterable[MemoryInfo]) -> list[MemoryInfo]:
    """The memories that act in a language model; one of an unknown kind counts as such."""
    return [info for info in infos if not is_known(info.kind) or getattr(kind(info.kind), "in_models", True)]


def inside_weight(info: MemoryInfo, weight: Any) -> float:
    """The ``weight`` of a memory that acts inside the model. Raises `ModelError` for any but a number from 0 to 1."""
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1:
        raise ModelError(
            f"The memory {info.name} acts inside the model: its weight is one number from 0 to 1, got {weight!r:.40}; "
            "give schedules and gates to memories at the output."
        )
    return float(weight)


def before_prompt(info: MemoryInfo, weight: Any) -> bool:
    """Whether a memory of this ``weight`` stands before the prompt. Raises `ModelError` for any but 0 and 1."""
    share = inside_weight(info, weight)
    if share not in (0.0, 1.0):
        raise ModelError(
            f"The memory {info.name} stands before the prompt or does not: its weight is 0 or 1, got {share:g}; give "
            "one of these."
        )
    return share == 1


def _offered() -> set[str]:
    return {plugin.name for plugin in plugins(ENTRY_POINTS)}


def _of_package(name: str, point: EntryPoint) -> Kind:
    try:
        offered = load_entry(point)
    except Exception as error:
        raise ModelError(
            f"The kind of memory {name!r} ({point.value}) cannot be imported ({type(error).__name__}: {error}); repair "
            "or uninstall the package that offers it."
        ) from error
    missing = [one for one in ("name", "title", "described", "load", "lock") if not hasattr(offered, one)]
    if missing or offered.name != name:
        fault = f"has no {', '.join(missing)}" if missing else f"calls itself {offered.name!r}"
        raise ModelError(
            f"The kind of memory {name!r} ({point.value}) {fault}; see `Kind` in mnemic.memories.kinds, and repair or "
            "uninstall the package that offers it."
        )
    return cast(Kind, offered)
