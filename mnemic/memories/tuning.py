"""Weights of several memories together, best on the validation rows of a bank.

Each memory's own best weight is tuned against the model alone; those of several may sum to more than 1, and each has
less to add beside another. The rows hold the model's log-probability, and each memory scores them itself, so none of
the model's passes is made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from mnemic.errors import ModelError
from mnemic.memories import gates
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.kinds import Memory
from mnemic.mixture import WEIGHT_WITHOUT_VALIDATION, best_shares
from mnemic.view import View

if TYPE_CHECKING:
    from mnemic.attach.output.schedules import Schedule

    Weight = float | str | Schedule
    Memories = str | Sequence[str] | Mapping[str, Weight]
    Weights = Weight | Sequence[Weight] | None

GATE = "gate"
"""In the place of a weight: the memory's share depends on the context."""


def tune(view: View, memories: Sequence[Memory]) -> dict[str, float]:
    """Weights of these memories together, by name; 0.25 in equal shares where the bank has no validation rows.

    They are scored by `Memory.scores`, as an evaluation does it: a decoder reads the documents again in the windows of
    its training. Raises `ModelError` for a memory that cannot be scored without passes of the model.
    """
    names = [memory.info.name for memory in memories]
    rows = HeldOutRows.read(view) if "datastore" in view else ()
    if not isinstance(rows, HeldOutRows) or not len(rows):
        return {name: WEIGHT_WITHOUT_VALIDATION / len(names) for name in names}
    scores = []
    for memory in memories:
        logs = memory.scores(rows)
        if logs is None:
            raise ModelError(
                f"The memory {memory.info.name} acts inside the model, so its weight cannot be tuned on stored rows; "
                "give a weight for each memory."
            )
        scores.append(logs)
    weights, _ = best_shares(rows.base, scores)
    return dict(zip(names, weights, strict=True))


def gated(view: View, memories: Sequence[Memory]) -> dict[str, float | Schedule]:
    """The share of each of these memories under their gate, by name, as a weight to attach them with.

    They are numbers where the bank's gate of them is none, because fixed weights are as good (`gates.weighing`).
    """
    from mnemic.attach.output.gating import Gated, Gating

    weighing = gates.weighing(view, memories)
    owned = gates.components(memories, weighing)
    if weighing.gate is None and all(len(own) == 1 for own in owned.values()):
        fixed = dict(zip(weighing.components[1:], weighing.weights, strict=True))
        return {name: fixed[own[0]] for name, own in owned.items()}
    gating = Gating(weighing.shares)
    return {memory.info.name: Gated(gating, owned[memory.info.name]) for memory in memories}


def named_weights(memory: Memories, weight: Weights) -> dict[str, Weight | None]:
    """The weight of each memory that is to be attached, as `Bank.attach` is asked for them; None where it is to choose.

    One "gate" for several memories is for all of them. Raises `ModelError` where names and weights do not fit together.
    """
    if isinstance(memory, Mapping):
        if weight is not None:
            raise ModelError("The memories come with their weights already; leave `weight` out, or give names alone.")
        return dict(memory)
    names = [memory] if isinstance(memory, str) else list(memory)
    if not names or len(set(names)) < len(names):
        raise ModelError(f"Each memory is attached once, and at least one, got {names}; name different ones.")
    if weight is None or _is_gate(weight):
        return dict.fromkeys(names, None if weight is None else GATE)
    weights: list[Any] = list(weight) if isinstance(weight, list | tuple) else [weight]
    if len(weights) != len(names):
        raise ModelError(
            f"There are {len(names)} memories and {len(weights)} weights; give a list with one for each, or none to "
            "have them tuned together."
        )
    return dict(zip(names, weights, strict=True))


def weights_for(view: View, memories: Sequence[Memory], weights: Mapping[str, Weight | None]) -> list[float | Schedule]:
    """A weight for each memory: as `named_weights` has it, or else by the gate of a bank that has gates.

    In another bank it is the best alone of one, the ``weight`` of its metrics, and the best together of several. Those
    whose weight is "gate" share one gate, which divides what the weights of the others leave. A memory that acts inside
    the model has its own weight, and takes nothing from the others.
    """
    chosen: dict[str, Any] = dict(weights)
    inside = [memory for memory in memories if getattr(memory, "inside", False)]
    for memory in inside:
        name = memory.info.name
        chosen[name] = best_alone(view, memory) if chosen[name] is None or _is_gate(chosen[name]) else chosen[name]
    outside = [memory for memory in memories if memory not in inside]
    if outside and all(chosen[memory.info.name] is None for memory in outside):
        chosen |= dict(zip((memory.info.name for memory in outside), _chosen(view, outside), strict=True))
    together = [memory for memory in outside if _is_gate(chosen[memory.info.name])]
    if together:
        others = (chosen[memory.info.name] for memory in outside if memory not in together)
        left = 1.0 - sum(float(weight) for weight in others if _is_number(weight))
        for name, weight in gated(view, together).items():  # numbers where no gate is better than they are
            chosen[name] = weight * left if _is_number(weight) and 0.0 <= left < 1.0 else weight
    return list(chosen.values())  # a None among them, or another text, is refused as no weight


def _chosen(view: View, memories: Sequence[Memory]) -> list[float | Schedule]:
    """The weights of memories at the output where none is given."""
    if gates.has_gates(view) and (len(memories) > 1 or hasattr(memories[0], "scored")):
        return list(gated(view, memories).values())
    return [best_alone(view, memories[0])] if len(memories) == 1 else [*tune(view, memories).values()]


def _is_number(weight: Any) -> TypeGuard[float]:
    return isinstance(weight, int | float) and not isinstance(weight, bool)


def _is_gate(weight: Any) -> bool:
    return isinstance(weight, str) and weight == GATE


def best_alone(view: View, memory: Memory) -> float:
    """The weight of ``memory`` that is best without another: of its metrics, or else by validation rows."""
    stored = memory.info.metrics.get("weight")
    return float(tune(view, [memory])[memory.info.name] if stored is None else stored)
