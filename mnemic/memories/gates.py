"""The gates of a bank: rows of the dataset `gates`, one for each set of memories that was weighed together.

A row names its memories with their ids, so that a gate of memories that were trained again is none. A set that has no
row is weighed here, on the bank's validation rows, in the seconds that this takes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mnemic.errors import ModelError
from mnemic.facts import check_types, mapping, parsed
from mnemic.memories.gate import BASE, Gate
from mnemic.memories.gate_training import Weighing, weigh
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.kinds import ORDER, Memory, MemoryInfo
from mnemic.memories.scored_rows import scored_by_all, scored_rows
from mnemic.mixture import WEIGHT_WITHOUT_VALIDATION
from mnemic.quoting import quoted
from mnemic.terminal import one_line
from mnemic.view import View

GATES = "gates"
"""Name of the dataset."""

_COLUMNS = ["name", "memories", "components", "weights", "gate", "metrics"]


def named(infos: Sequence[MemoryInfo]) -> str:
    """The name of a set of memories, whatever their order: "mlp+suffix"."""
    return "+".join(sorted(info.name for info in infos))


def has_gates(view: View) -> bool:
    """Whether memories of this bank are weighed by a gate unless a weight is given."""
    return GATES in view


def components(memories: Sequence[Memory], weighing: Weighing) -> dict[str, tuple[str, ...]]:
    """Which components of ``weighing`` are whose: a memory's own name, or that and a suffix such as "/2"."""
    return {
        name: tuple(one for one in weighing.components if one == name or one.startswith(f"{name}{ORDER}"))
        for name in (memory.info.name for memory in memories)
    }


def weighing(view: View, memories: Sequence[Memory]) -> Weighing:
    """How ``memories`` are weighed together: as the bank has it, else as their validation rows say now.

    Without such rows it is 0.25 in equal shares. Raises `ModelError` for memories that only a pass of the model scores.
    """
    ordered = sorted(memories, key=lambda memory: memory.info.name)
    stored = _stored(view, [memory.info for memory in ordered])
    if stored is not None:
        return stored
    rows = HeldOutRows.read(view) if "datastore" in view else None
    if rows is None or not len(rows):
        names = (BASE, *(memory.info.name for memory in ordered))
        return Weighing(names, (WEIGHT_WITHOUT_VALIDATION / len(ordered),) * len(ordered), None)
    return weigh(scored_rows(rows, scored_by_all(ordered, rows)))


def stored(view: View) -> dict[str, Weighing]:
    """All gates of a bank by name, those of one memory first; none where it has none."""
    if not has_gates(view):
        return {}
    rows = view.dataset(GATES).table(_COLUMNS).to_pylist()
    rows.sort(key=lambda row: (str(row["name"]).count("+"), str(row["name"])))
    return {row["name"]: of_row(row, f"The gate {one_line(str(row['name']), 60)} of {view.path}") for row in rows}


def as_row(weighing: Weighing, infos: Sequence[MemoryInfo], **facts: Any) -> dict[str, Any]:
    """A row of `gates`; ``facts`` are its record and state."""
    metrics = {"rows": weighing.rows, "documents": weighing.documents}
    metrics |= {name: value for name in ("fixed", "gated") if (value := getattr(weighing, name)) is not None}
    return {
        "name": named(infos),
        "memories": json.dumps({info.name: info.id for info in infos}, sort_keys=True),
        "components": json.dumps(weighing.components),
        "weights": json.dumps(weighing.weights),
        "gate": "" if weighing.gate is None else weighing.gate.as_json(),
        "metrics": json.dumps(metrics, sort_keys=True),
        **facts,
    }


def _stored(view: View, infos: Sequence[MemoryInfo]) -> Weighing | None:
    """The row of these memories, None where there is none, or one of memories that were trained again since."""
    if not has_gates(view):
        return None
    rows = view.dataset(GATES).table(_COLUMNS, f"name = {quoted(named(infos))}").to_pylist()
    if not rows:
        return None
    row, place = rows[0], f"The gate {named(infos)} of {view.path}"
    if mapping(row["memories"], f"{place}: memories") != {info.name: info.id for info in infos}:
        return None
    return of_row(row, place)


def of_row(row: Mapping[str, Any], place: str) -> Weighing:
    """The weighing of `as_row`. Raises `BankError` or `ModelError` where it is none."""
    components, weights = (parsed(row[name], f"{place}: {name}") for name in ("components", "weights"))
    metrics = mapping(row["metrics"], f"{place}: metrics")
    check_types({"rows": 0, "documents": 0, **metrics}, {"rows": int, "documents": int}, f"{place}: metrics")
    numbers = isinstance(weights, list) and all(isinstance(one, int | float) and 0 <= one <= 1 for one in weights)
    names = isinstance(components, list) and all(isinstance(one, str) for one in components)
    if not (numbers and names and components[:1] == [BASE] and len(components) == len(weights) + 1):
        raise ModelError(f"{place} has weights that do not fit its components; build the gate again.")
    gate = Gate.from_json(row["gate"]) if row["gate"] else None
    if gate is not None and list(gate.components) != components:
        raise ModelError(f"{place} weighs other components than its row names; build the gate again.")
    fixed, gated = (metrics.get(name) for name in ("fixed", "gated"))
    return Weighing(
        tuple(components), tuple(map(float, weights)), gate, fixed, gated, metrics["rows"], metrics["documents"]
    )
