"""Who owns a memory: the step that wrote its row, whose name stands in the row's `record`.

Steps delete their own rows only. Rows of a step that the recipe no longer has are cleared when a release is written,
and the curves of those memories with them. In banks older than `record`, a memory belongs to the step that trains its
name today.
"""

from __future__ import annotations

from collections.abc import Iterable

from mnemic.dataset import Snapshot, Store
from mnemic.facts import mapping
from pipelines.steps.contracts import Context, Step


def owned_rows(memories: Snapshot, step: str, memory: str) -> str:
    """SQL for the rows called ``memory`` that ``step`` wrote."""
    named = f"name = '{memory}'"
    if "record" not in memories.schema.names:
        return named
    return f'{named} AND contains(record, \'"step": "{step}"\')'


def ownerless(store: Store, steps: Iterable[Step]) -> tuple[str, ...]:
    """Names of the memories in `memories` that no step of the recipe owns, each once."""
    return tuple(dict.fromkeys(row["name"] for row in _ownerless(store, list(steps))))


def clear_ownerless(context: Context, steps: Iterable[Step]) -> None:
    """Delete those memories, and every curve that is of none that is left."""
    steps = list(steps)
    rows = _ownerless(context.store, steps)
    if not rows:
        return
    memories, metrics = context.store["memories"], context.store["metrics"]
    owned = _names(memories.require(), steps) | {_memory(step) for step in steps}
    if metrics.snapshot() is not None:  # first: a kill between the two leaves memories, by which this is done again
        listed = ", ".join(f"'{name}'" for name in sorted(owned))
        context.commit(lambda: metrics.delete(f"memory NOT IN ({listed})"))
    context.commit(lambda: memories.delete_keys("id", [row["id"] for row in rows]))


def _ownerless(store: Store, steps: list[Step]) -> list[dict[str, str]]:
    """Name and id of the rows; none where no step makes memories, for then they are no part of a release."""
    snapshot = store["memories"].snapshot()
    if snapshot is None or not any("memories" in step.datasets for step in steps):
        return []
    owners = {step.name for step in steps}
    return [row for row in _rows(snapshot, steps) if row["owner"] not in owners]


def _names(memories: Snapshot, steps: list[Step]) -> set[str]:
    owners = {step.name for step in steps}
    return {row["name"] for row in _rows(memories, steps) if row["owner"] in owners}


def _rows(memories: Snapshot, steps: list[Step]) -> list[dict[str, str]]:
    """Id, name and owner ("" for none that is known) of every row."""
    columns = [name for name in ("id", "name", "record") if name in memories.schema.names]
    trained = {_memory(step): step.name for step in steps}
    rows = memories.table(columns).to_pylist()
    return [
        {"id": row["id"], "name": row["name"], "owner": _owner(row) or trained.get(row["name"], "")} for row in rows
    ]


def _owner(row: dict[str, str]) -> str:
    record = row.get("record")
    return str(mapping(record, f"The record of memory {row['id']}").get("step", "")) if record else ""


def _memory(step: Step) -> str:
    """The memory that a step trains; "" for another step."""
    return str(getattr(step, "memory", ""))
