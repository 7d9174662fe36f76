"""Up the tree of clusters: what a language model is asked about each node, from the answers about the nodes below it.

A level is gone through 64 nodes at a time, and a node's texts are read when its turn comes. Answers and rows of all
nodes are held, about two kilobytes a node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from mnemic.dataset import Snapshot, Store
from mnemic.notes.datasets import ANSWER, NODE_EXCERPTS_SPEC
from mnemic.quoting import parts_of
from operators.written.node_summaries import NodePack, NodePart, NodeSummaries, PartAnswer, reject_of_node
from operators.written.packs import CHARACTERS_OF_A_TOKEN
from operators.written.prompts import NODE
from pipelines.keyset import KeySet
from pipelines.steps.asked_parts import AskedPart, PackVerdicts
from pipelines.steps.tree_leaves import NODES_AT_ONCE, above, leaves_of_examples, nodes_of, upwards

TOKENS_OF_A_SUMMARY = 150
"""Of a child that is still to be asked about, in an estimate."""

_LEAVES = ("id", "document", "tenant", "first_unit", "start", "end", "start_time", "speakers", "text")


@dataclass
class NodeAnswers:
    """The answers that one step has about packs of nodes: pack -> part -> rows, in order."""

    by_pack: dict[str, dict[str, list[Mapping[str, Any]]]] = field(default_factory=dict)

    @classmethod
    def of(cls, calls: Snapshot | None, fingerprint: str) -> NodeAnswers:
        answers = cls()
        if calls is not None:
            mine = f"kind = '{ANSWER}' AND asked = '{fingerprint}' AND prompt = '{NODE.name}'"
            columns = ["pack", "part", "attempt", "verdict", "reason", "call", "model", "answer"]
            for batch in calls.scan(columns, mine):
                for row in batch.to_pylist():
                    answers.add(row)
        return answers

    def add(self, row: Mapping[str, Any]) -> None:
        parts = self.by_pack.setdefault(row["pack"], {})
        parts.setdefault(row["part"], []).append(row if row["verdict"] == "good" else {**row, "answer": ""})

    def left(self, pack: NodePack) -> list[AskedPart]:
        return self._verdicts(pack).left(pack)

    def refused(self, pack: NodePack) -> Iterator[dict[str, str]]:
        """A reject for each part of ``pack`` that gets no usable answer."""
        for name, path, reason in self._verdicts(pack).refused():
            last = max(self.by_pack[name][path], key=lambda row: row["attempt"])
            yield reject_of_node(pack, last["call"], f"The language model gave no usable {NODE.noun}: {reason}.")

    def good(self, pack: NodePack) -> list[PartAnswer]:
        """The good answers about ``pack``, which is settled, in the order of its parts."""
        parts = self.by_pack.get(pack["pack"], {})
        rows = [(path, row) for path, of_part in parts.items() for row in of_part if row["verdict"] == "good"]
        whole = [row for path, row in rows if not path]
        ordered = [("", whole[0])] if whole else sorted(rows, key=lambda one: one[0])
        return [
            PartAnswer(AskedPart(pack, path).units, row["answer"], row["call"], row["model"]) for path, row in ordered
        ]

    def _verdicts(self, pack: NodePack) -> PackVerdicts:
        verdicts = {
            path: [(row["attempt"], row["verdict"], row["reason"]) for row in rows]
            for path, rows in self.by_pack.get(pack["pack"], {}).items()
        }
        return PackVerdicts(KeySet(), {pack["pack"]: verdicts})


@dataclass
class NodeAscent:
    """Rows and rejects of all nodes by ``answers``, and what is left to ask where some are missing.

    ``left`` are the nodes, one for each tenant, that have no answer yet, ``tokens`` those of their prompts.
    """

    operator: NodeSummaries
    store: Store
    answers: NodeAnswers
    rows: list[dict[str, Any]] = field(default_factory=list)
    rejects: list[dict[str, str]] = field(default_factory=list)
    left: int = 0
    tokens: int = 0
    total: int = 0
    _parts: dict[str, dict[str, list[NodePart]]] = field(default_factory=dict)
    _open: set[tuple[str, str]] = field(default_factory=set)

    def go(self, ask: Callable[[Sequence[NodePack]], None] = lambda packs: None) -> NodeAscent:
        """Go up; ``ask`` adds the answers about packs, which are of one level, or leaves them to be counted."""
        events = self.store["events"].require()
        nodes = nodes_of(self.store["clusters"].require())
        for _, of_level in groupby(sorted(nodes, key=upwards), lambda node: node["level"]):
            same = list(of_level)
            for start in range(0, len(same), NODES_AT_ONCE):
                some = same[start : start + NODES_AT_ONCE]
                sizes = {node["path"]: node["size"] for node in some}
                packs = [*self._of_leaves(events, some), *self._of_parts(some, sizes)]
                ask(packs)
                for pack in packs:
                    self._settle(pack, sizes[pack["path"]])
        return self

    def _of_leaves(self, events: Snapshot, nodes: Sequence[dict[str, Any]]) -> Iterator[NodePack]:
        lowest = [node for node in nodes if node["path"] not in self._parts]
        for node, leaves in leaves_of_examples(events, lowest, _LEAVES):
            yield from self.operator.of_leaves(node["path"], node["level"], leaves)

    def _of_parts(self, nodes: Sequence[Mapping[str, Any]], sizes: Mapping[str, int]) -> Iterator[NodePack]:
        """The packs of nodes with children; rows of those that only pass one on are added at once."""
        below = {node["path"]: self._parts.pop(node["path"]) for node in nodes if node["path"] in self._parts}
        excerpts = self._excerpts(below)
        for node in nodes:
            path, level = node["path"], node["level"]
            for tenant, parts in sorted(below.get(path, {}).items()):
                if any((part.path, tenant) in self._open for part in parts):
                    self._count(path, tenant, sizes[path], len(parts) * TOKENS_OF_A_SUMMARY)
                elif len(parts) == 1:
                    self._enter(path, tenant, sizes[path], self.operator.passed_on(path, level, parts[0]))
                else:
                    present = [
                        part if part.row else NodePart(part.path, part.size, None, excerpts.get((part.path, tenant)))
                        for part in parts
                    ]
                    if any(part.source for part in present):
                        yield self.operator.of_parts(path, level, tenant, present)
                    else:
                        self._enter(path, tenant, sizes[path], None)

    def _excerpts(self, below: Mapping[str, Mapping[str, Sequence[NodePart]]]) -> dict[tuple[str, str], dict[str, Any]]:
        """(path, tenant) -> row of `node_excerpts`, of the children that have no summary."""
        silent = {
            part.path for parts in below.values() for of_tenant in parts.values() for part in of_tenant if not part.row
        }
        excerpts = self.store[NODE_EXCERPTS_SPEC.name].require()
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        for where in parts_of("path", sorted(silent)):
            for row in excerpts.table(["id", "path", "tenant", "text", "events"], where).to_pylist():
                rows[row["path"], row["tenant"]] = row
        return rows

    def _settle(self, pack: NodePack, size: int) -> None:
        if self.answers.left(pack):
            characters = sum(len(unit["text"]) for unit in pack["units"])
            self._count(pack["path"], pack["tenant"], size, characters // CHARACTERS_OF_A_TOKEN)
            return
        self.total += 1
        refused = list(self.answers.refused(pack))
        row, ungrounded = None, list[dict[str, str]]()
        if not refused:
            row, ungrounded = self.operator.summary(pack, self.answers.good(pack))
        self.rejects += [*refused, *ungrounded]
        self._enter(pack["path"], pack["tenant"], size, row)

    def _count(self, path: str, tenant: str, size: int, tokens: int) -> None:
        """Count a node that is to be asked about; what is above it waits for its answer."""
        self.total += 1
        self.left += 1
        self.tokens += tokens + len(NODE.system) // CHARACTERS_OF_A_TOKEN
        self._open.add((path, tenant))
        self._enter(path, tenant, size, None)

    def _enter(self, path: str, tenant: str, size: int, row: dict[str, Any] | None) -> None:
        if row is not None:
            self.rows.append(row)
        if path:
            self._parts.setdefault(above(path), {}).setdefault(tenant, []).append(NodePart(path, size, row))
