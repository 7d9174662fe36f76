"""Excerpts of the nodes of the cluster tree, from the leaves up, a row for each tenant.

A node without children has leaves of the events nearest to it. One with children chooses among what they have chosen,
so a wide node says something of each of its parts, and its cost is that of its children, not of its events. The texts
of two tenants never stand in one row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from mnemic.ids import hash_parts
from mnemic.notes.datasets import NODE_EXCERPTS_SPEC
from operators.contracts import Resources, bounds, refuse
from operators.sections import Driven, Section, along_with


@dataclass(frozen=True)
class NodeExcerpts:
    """Makes `node_excerpts` of the nodes of `clusters`. ``words`` of an excerpt, default 60."""

    words: int = 60
    version: ClassVar[int] = 2
    resources: ClassVar[Resources] = Resources()

    def __post_init__(self) -> None:
        rules = (("words", 5 <= self.words <= 2000, "5 to 2,000"),)
        refuse(bounds(self, "`{name}` of node_excerpts is {value!r}; give {bound}.", rules))

    def rows(self, path: str, level: int, leaves: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """The rows of a node from leaves, which have id, tenant and text, in order."""
        from operators.written.mmr import choose

        for tenant in sorted({leaf["tenant"] for leaf in leaves}):
            own = [leaf for leaf in leaves if leaf["tenant"] == tenant]
            chosen = [own[place] for place in choose([leaf["text"] for leaf in own], self.words)]
            events = [leaf["id"] for leaf in chosen]
            yield {
                "id": hash_parts("node excerpt", path, tenant, *events),
                "path": path,
                "level": level,
                "tenant": tenant,
                "text": "\n".join(leaf["text"] for leaf in chosen),
                "events": events,
            }


SECTION = Section(
    "node_excerpts",
    NodeExcerpts,
    Driven("pipelines.steps.node_excerpts:NodeExcerptsStep", after=("cluster",), datasets=(NODE_EXCERPTS_SPEC,)),
    complete=along_with("excerpts", "cluster"),
)
