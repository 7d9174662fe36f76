"""Take documents out of a bank, with all that was made of them: a release without them.

The rows of `removals` that the command has written say which. What stands after a kill is taken out all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.inbox.waiting import NAME as INBOX
from mnemic.release import Release, releases
from mnemic.removals import NAME, removal_rows
from pipelines.steps.contracts import Context
from pipelines.steps.inbox import erase_remembered
from pipelines.steps.indexes import update_indexes
from pipelines.steps.memory_rows import drop
from pipelines.upkeep.cascade import delete_rows, gone_rows
from pipelines.upkeep.labelling import forget_words
from pipelines.upkeep.pinning import naming, pin_heads, pinnable
from pipelines.upkeep.redo import redo, stored_records
from pipelines.upkeep.rewriting import write_anew


def take_out(context: Context, run: str, base: Release, erase: bool) -> Release:
    """Take out the documents of the removal ``run`` from the heads of ``base``, and pin a release without them.

    To ``erase`` them, memories that were trained on them go, and files that hold their rows are written anew.
    """
    store = context.store
    rows = removal_rows(store[NAME].snapshot())
    rows = rows.filter(pc.equal(rows["removal"], run))
    if not len(rows):
        return releases(store)[-1]
    seeds = {"documents": rows["document"].combine_chunks()}
    if erase:
        seeds["memories"] = _memories(context, rows)
        seeds[INBOX] = erase_remembered(store, rows["document"].to_pylist())
        _forget_parameters(context, base, seeds["memories"].to_pylist())  # first: after a kill their rows name them
    delete_rows(context, gone_rows(naming(store), seeds), seeds)
    redo(context, base)
    forget_words(context)
    if erase:
        write_anew(context, rows["document"].to_pylist())
    specs = [spec for spec, _ in pinnable(store) if spec.name in base.versions]
    indexes = update_indexes(context, specs)
    counts = {spec.name: head.count(spec.counted) for spec, head in pinnable(store)}
    names = {*base.versions, NAME}
    facts: dict[str, Any] = {"removed": {"documents": len(rows), "removal": run, "erased": erase}}
    return pin_heads(
        context,
        run,
        base,
        {**facts, **({"indexes": indexes} if indexes else {})},
        beside=(NAME,),
        counts={name: count for name, count in counts.items() if name in names},
        lineage=_lineage(context, base),
    )


def _memories(context: Context, rows: pa.Table) -> pa.Array:
    """Names of the memories that were trained on the removed documents."""
    memories = context.store["memories"].snapshot()
    learnt = pc.list_flatten(rows["memories"].combine_chunks()).unique()
    if memories is None or not len(learnt):
        return pa.array([], pa.string())
    table = memories.table(["id", "name"])
    return table.filter(pc.is_in(table["id"], value_set=learnt))["name"].combine_chunks().unique()


def _forget_parameters(context: Context, base: Release, memories: Sequence[str]) -> None:
    """Drop the rows of datasets that hold parameters: those of ``memories`` that go, and what ``base`` does not pin.

    Nobody can attach the latter, and the section that made them trains anew where it comes back.
    """
    for spec, _ in naming(context.store):
        learnt = any(parent.rule == "stale" for parent in spec.parents)
        if learnt and (spec.name in memories or spec.name not in base.versions):
            drop(context, spec.name, "true")


def _lineage(context: Context, base: Release) -> dict[str, Any]:
    """The records of the steps as they stand now, with what the builds of before noted."""
    stored = stored_records(context.store)
    return {step: {**record, **stored[step]} for step, record in base.lineage.items() if step in stored}
