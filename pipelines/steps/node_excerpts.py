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
from mnemic.ids import hash_parts
from mnemic.notes.datasets import NODE_EXCERPTS, NODE_EXCERPTS_SPEC
from mnemic.quoting import parts_of
from operators.written.node_excerpts import NodeExcerpts
from pipelines import faults
from pipelines.steps.contracts import Context, RecordedStep, Status

_AT_ONCE = 64
"""Nodes whose leaves are in memory at a time."""


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
        nodes = _nodes(clusters)
        if rows is None:
            return Status("new", len(nodes), len(nodes), "nodes")
        stored = rows.record or {}
        changes = self.record.changes_from(stored)
        if changes:
            return Status("stale", len(nodes), len(nodes), "nodes", tuple(changes))
        if stored.get("corpus") != _digest(nodes, events):
            return Status("due", len(nodes), len(nodes), "nodes", ("the tree or its events changed",))
        return Status("done", 0, len(nodes), "nodes")

    def run(self, context: Context) -> None:
        store, dataset = context.store, context.store[NODE_EXCERPTS_SPEC.name]
        events = store["events"].require()
        nodes = _nodes(store["clusters"].require())
        record = replace(self.record, corpus=_digest(nodes, events))
        rows: list[dict[str, Any]] = []
        below: dict[str, set[str]] = {}  # path -> leaves that its children have chosen
        for _, of_level in groupby(sorted(nodes, key=_upwards), lambda node: node["level"]):
            same, first = list(of_level), len(rows)
            for start in range(0, len(same), _AT_ONCE):
                rows += self._rows(events, same[start : start + _AT_ONCE], below)
            for row in rows[first:]:
                if row["path"]:
                    below.setdefault(row["path"].rpartition(".")[0], set()).update(row["events"])
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
        yield from self._of_examples(events, [node for node in nodes if node["path"] not in below])
        columns = ["id", "document", "tenant", "first_unit", "text"]
        chosen = {name for node in nodes for name in below.get(node["path"], ())}
        leaves = sorted(_where(events, columns, "id", chosen), key=lambda leaf: (leaf["document"], leaf["first_unit"]))
        place = {leaf["id"]: number for number, leaf in enumerate(leaves)}
        for node in nodes:
            if node["path"] in below:
                own = sorted(place[name] for name in below[node["path"]] if name in place)
                yield from self.operator.rows(node["path"], node["level"], [leaves[number] for number in own])

    def _of_examples(self, events: Snapshot, nodes: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        ids = {name for node in nodes for name in node["examples"]}
        place = ["id", "document", "first_unit", "end_unit"]
        examples = {row["id"]: row for row in _where(events, place, "id", ids)}
        documents = {row["document"] for row in examples.values()}
        columns = ["id", "document", "tenant", "first_unit", "text"]
        leaves: dict[str, list[dict[str, Any]]] = {}
        for row in _where(events, columns, "document", documents, "leaf"):
            leaves.setdefault(row["document"], []).append(row)
        for of_document in leaves.values():
            of_document.sort(key=lambda leaf: leaf["first_unit"])
        for node in nodes:
            inside = {
                leaf["id"]: leaf
                for name in node["examples"]
                if (example := examples.get(name)) is not None
                for leaf in leaves.get(example["document"], ())
                if example["first_unit"] <= leaf["first_unit"] < example["end_unit"]
            }
            yield from self.operator.rows(node["path"], node["level"], list(inside.values()))


def _upwards(node: Mapping[str, Any]) -> tuple[int, str]:
    """The order of nodes from the lowest level to the root."""
    return -node["level"], node["path"]


def _nodes(clusters: Snapshot) -> list[dict[str, Any]]:
    """Path, level and examples of all nodes, by path; none of a tree that knows no examples."""
    if "examples" not in clusters.schema.names:
        return []
    return list(clusters.table(["path", "level", "examples"]).sort_by("path").to_pylist())


def _digest(nodes: Sequence[dict[str, Any]], events: Snapshot) -> str:
    """Of the tree and of the examples that there are."""
    ids = sorted({name for node in nodes for name in node["examples"]})
    there = sorted(row["id"] for row in _where(events, ["id"], "id", ids))
    tree = [part for node in nodes for part in (node["path"], *node["examples"], "")]
    return hash_parts("node excerpts", *tree, "", *there)


def _where(
    events: Snapshot, columns: list[str], key: str, values: Sequence[str] | set[str], condition: str = "true"
) -> Iterator[dict[str, Any]]:
    """Rows whose ``key`` is one of ``values``, and that meet ``condition``."""
    for part in parts_of(key, sorted(values)):
        for batch in events.scan(columns, f"{part} AND {condition}"):
            yield from batch.to_pylist()
