"""Steps that a removal makes anew at once: those whose answer names or counts other rows, and which need no model.

Each is the very step of a build, with the settings that the recipe of the release has, where the bank says that its
output was made with them. Others, and what comes of documents that are kept again, are the next build's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from mnemic.dataset import Store
from mnemic.dataset.growth import drop_fields
from mnemic.errors import MnemicError
from mnemic.quoting import one_of
from mnemic.release import Release
from operators.sections import Driven
from pipelines.identity import Record, resolved_fields
from pipelines.sections import sections
from pipelines.steps.contracts import Context, Step, state_of
from pipelines.steps.declared import step_of
from pipelines.upkeep.pinning import pinnable

ANEW = ("deduplicate", "cluster", "semantic", "suffixes", "neighbours", "teacher")
"""In the order of the pipeline."""

_OF_THE_STORE = ("neighbours", "teacher")
"""Steps whose columns name rows of the store by number: where they cannot be made anew they must go."""


def redo(context: Context, base: Release) -> None:
    """Make anew what those steps have left to do; without them, take out what would name a row that is gone."""
    records = stored_records(context.store)
    steps = {step.name: step for step in _steps(base, records)}
    for name in ANEW:
        if name in steps:
            if not state_of(steps[name], context.store).done:
                steps[name].run(context)
        elif name in records:
            _without(context, name)


def stored_records(store: Store) -> dict[str, dict[str, Any]]:
    """Step -> the record that stands with its columns, or with its dataset, which is the newer one."""
    records: dict[str, dict[str, Any]] = {}
    for _, head in pinnable(store):
        columns = (head.column_record(column) for column in head.schema.names)
        records.update({record["step"]: record for record in columns if record and "step" in record})
        if head.record and head.record.get("found") and head.record.get("step") in ANEW:
            records[head.record["step"]] = head.record
    return records


def _steps(base: Release, records: Mapping[str, Mapping[str, Any]]) -> Iterator[Step]:
    for section in sections():
        stored, settings = records.get(section.step_called), base.recipe.get(section.name)
        if section.step_called not in ANEW or stored is None or not isinstance(settings, dict):
            continue
        try:
            operator = section.operator(**{name: _tuple(value) for name, value in settings.items()})
        except (TypeError, MnemicError):  # the settings of another version
            continue
        record = Record(section.step_called, operator.version, resolved_fields(operator), stored["reads"])
        if record.changes_from(stored):
            continue
        assert isinstance(section.step, Driven)
        shape = dataclasses.replace(section.step, optional=())
        yield step_of(dataclasses.replace(section, step=shape), operator, record)


def _tuple(value: Any) -> Any:
    """A setting as an operator has it: JSON has no tuples."""
    return tuple(_tuple(one) for one in value) if isinstance(value, list) else value


def _without(context: Context, step: str) -> None:
    """Take out what ``step`` has left, where it cannot be made anew here and would name rows by number."""
    if step in _OF_THE_STORE:
        dataset = context.store["datastore"]
        snapshot = dataset.require()
        mine = [name for name in snapshot.schema.names if (snapshot.column_record(name) or {}).get("step") == step]
        context.commit(lambda: drop_fields(dataset, mine))
    elif step == "suffixes":
        suffixes = context.store[step]
        tokens = set(context.store["tokens"].require().table(["document"])["document"].to_pylist())
        rows = suffixes.require().table(["shard", "documents"]).to_pylist()
        lost = sorted({row["shard"] for row in rows if not tokens.issuperset(row["documents"])})
        if lost:
            context.commit(lambda: suffixes.delete(one_of("shard", lost)))
