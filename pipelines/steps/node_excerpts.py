"""The step `node_excerpts`: written whole where the tree, its examples or their events changed.

It goes up the tree level by level, and reads the leaves of 64 nodes at a time: those of their examples where they have
no children, else those that the children have chosen. Paths, examples and chosen ids of all nodes are held, a few
hundred bytes a node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import pyarrow as pa

from mnemic.catalogue import DatasetSpec, declared
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.write import write_whole
from mnemic.notes.datasets import NODE_EXCERPTS, NODE_EXCERPTS_SPEC
from operators.written.node_excerpts import NodeExcerpts
from pipelines import faults
from pipelines.steps.contracts import Context, RecordedStep, Status
from pipelines.steps.tree_leaves import (
    NODES_AT_ONCE,
    above,
    leaves_of_examples,
    nodes_of,
    rows_where,
    tree_digest,
    upwards,
)


@dataclass(frozen=True)
class NodeExcerptsStep(RecordedStep):
    operator: NodeExcerpts
    after: tuple[str, ...]

    @property
    def datasets(self) -> tuple[str, ...]:
        return (NODE_EXCERPTS_SPEC.name,)

    @property
    def specs(self) -> tuple[DatasetSpec, ...]:
        return (NODE_EXCERPTS_SPEC,)

    def state(self, store: Store) -> Status:
        clusters, events = store["clusters"].snapshot(), store["events"].snapshot()
        if clusters is None or events is None:
            return Status("new")
        rows = store[NODE_EXCERPTS_SPEC.name].snapshot()
        nodes = nodes_of(clusters)
        if rows is None:
            return Status("new", len(nodes), len(nodes), "nodes")
        stored = rows.record or {}
        changes = self.record.changes_from(stored)
        if changes:
            return Status("stale", len(nodes), len(nodes), "nodes", tuple(changes))
        if stored.get("corpus") != tree_digest(nodes, events):
            return Status("due", len(nodes), len(nodes), "nodes", ("the tree or its events changed",))
        return Status("done", 0, len(nodes), "nodes")

    def run(self, context: Context) -> None:
        store, dataset = context.store, context.store[NODE_EXCERPTS_SPEC.name]
        events = store["events"].require()
        nodes = nodes_of(store["clusters"].require())
        record = replace(self.record, corpus=tree_digest(nodes, events))
        rows: list[dict[str, Any]] = []
        below: dict[str, set[str]] = {}  # path -> leaves that its children have chosen
        for _, of_level in groupby(sorted(nodes, key=upwards), lambda node: node["level"]):
            same, first = list(of_level), len(rows)
            for start in range(0, len(same), NODES_AT_ONCE):
                rows += self._rows(events, same[start : start + NODES_AT_ONCE], below)
            for row in rows[first:]:
                if row["path"]:
                    below.setdefault(above(row["path"]), set()).update(row["events"])
            context.progress(len({row["path"] for row in rows}), len(nodes), "nodes")
        faults.reach(self.name, "before-write")
        fragments = write_whole(dataset, pa.Table.from_pylist(rows, schema=NODE_EXCERPTS))
        faults.reach(self.name, "after-write")
        schema, properties = declared(NODE_EXCERPTS, NODE_EXCERPTS_SPEC), context.properties(record)
        context.commit(lambda: dataset.replace(schema, fragments, record.as_json(), properties))
        context.tally.rows += len(rows)

    def _rows(
        self, events: Snapshot, nodes: Sequence[dict[str, Any]], below: Mapping[str, set[str]]
    ) -> Iterator[dict[str, Any]]:
        """The rows of ``nodes`` of one level; ``below`` are the leaves that the children of a node have chosen."""
        columns = ["id", "document", "tenant", "first_unit", "text"]
        lowest = [node for node in nodes if node["path"] not in below]
        for node, inside in leaves_of_examples(events, lowest, columns):
            yield from self.operator.rows(node["path"], node["level"], inside)
        chosen = {name for node in nodes for name in below.get(node["path"], ())}
        leaves = sorted(
            rows_where(events, columns, "id", chosen), key=lambda leaf: (leaf["document"], leaf["first_unit"])
        )
        place = {leaf["id"]: number for number, leaf in enumerate(leaves)}
        for node in nodes:
            if node["path"] in below:
                own = sorted(place[name] for name in below[node["path"]] if name in place)
                yield from self.operator.rows(node["path"], node["level"], [leaves[number] for number in own])
