"""What the nodes of the cluster tree say: the nodes from the lowest level up, and the leaves of their examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mnemic.dataset import Snapshot
from mnemic.ids import hash_parts
from mnemic.quoting import parts_of

NODES_AT_ONCE = 64
"""Nodes whose leaves are in memory at a time."""


def upwards(node: Mapping[str, Any]) -> tuple[int, str]:
    """The order of nodes from the lowest level to the root."""
    return -node["level"], node["path"]


def above(path: str) -> str:
    """The path of the node above ``path``, which is not the root's."""
    return path.rpartition(".")[0]


def nodes_of(clusters: Snapshot) -> list[dict[str, Any]]:
    """Path, level, size and examples of all nodes, by path; none of a tree that knows no examples."""
    if "examples" not in clusters.schema.names:
        return []
    return list(clusters.table(["path", "level", "size", "examples"]).sort_by("path").to_pylist())


def tree_digest(nodes: Sequence[dict[str, Any]], events: Snapshot) -> str:
    """Of the tree and of the examples that there are."""
    ids = sorted({name for node in nodes for name in node["examples"]})
    there = sorted(row["id"] for row in rows_where(events, ["id"], "id", ids))
    tree = [part for node in nodes for part in (node["path"], *node["examples"], "")]
    return hash_parts("node excerpts", *tree, "", *there)


def leaves_of_examples(
    events: Snapshot, nodes: Sequence[dict[str, Any]], columns: Sequence[str]
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each of ``nodes`` with the leaves of its examples, the nearest example first, each leaf once.

    Leaves have ``columns``, and document and first_unit.
    """
    ids = {name for node in nodes for name in node["examples"]}
    place = ["id", "document", "first_unit", "end_unit"]
    examples = {row["id"]: row for row in rows_where(events, place, "id", ids)}
    documents = {row["document"] for row in examples.values()}
    names = list(dict.fromkeys((*columns, "id", "document", "first_unit")))
    leaves: dict[str, list[dict[str, Any]]] = {}
    for row in rows_where(events, names, "document", documents, "leaf"):
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
        yield node, list(inside.values())


def rows_where(
    events: Snapshot, columns: list[str], key: str, values: Sequence[str] | set[str], condition: str = "true"
) -> Iterator[dict[str, Any]]:
    """Rows whose ``key`` is one of ``values``, and that meet ``condition``."""
    for part in parts_of(key, sorted(values)):
        for batch in events.scan(columns, f"{part} AND {condition}"):
            yield from batch.to_pylist()
