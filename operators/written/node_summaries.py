"""Summaries of the nodes of the cluster tree by a language model, from the leaves up, a row for each tenant.

A node without children is asked about with the leaves of its examples, one with children with what is written of these,
so its cost is that of its children, not of its events. What a model is asked is a pack, as `operators.written.packs`
has it, and the checks are those of the summaries of sessions: names, numbers and quotations of a summary stand in the
texts that it cites. A child whose summary does not pass stands by its excerpt. Texts of two tenants never stand in one
pack.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mnemic.ids import hash_parts
from mnemic.notes.datasets import NODE_CALLS_SPEC, NODE_SUMMARIES_SPEC
from mnemic.writing.json_text import Malformed, read_json
from operators.contracts import Resources, bounds, refuse
from operators.sections import Driven, Section, shared_field
from operators.written.facts import shares
from operators.written.grounding import Sources
from operators.written.operator import WrittenMemory
from operators.written.packs import CHARACTERS_OF_A_TOKEN, TOKENS_OF_A_UNIT
from operators.written.prompts import NODE

CITED = 40
"""Leaves that a row cites, at most."""

NodePack = dict[str, Any]
"""What a model is asked about a node and a tenant: `pack`, `path`, `level`, `tenant`, `units` and `context` as a pack
has them; `events`, `below` and `children` are what it is made of, `cited` the leaves that each unit leads to."""


@dataclass(frozen=True)
class NodePart:
    """A child of a node: its ``path``, the events of its ``size``, and its ``row`` of `node_summaries`.

    ``excerpt`` is its row of `node_excerpts` where it has no summary.
    """

    path: str
    size: int
    row: Mapping[str, Any] | None
    excerpt: Mapping[str, Any] | None = None

    @property
    def source(self) -> Mapping[str, Any] | None:
        return self.row or self.excerpt


@dataclass(frozen=True)
class PartAnswer:
    """The good answer about ``units`` of a pack, with its ``call`` and the ``model`` that gave it."""

    units: Sequence[Mapping[str, Any]]
    answer: str
    call: str
    model: str


@dataclass(frozen=True)
class NodeSummaries:
    """Makes `node_summaries` of the nodes of `clusters` by the language model of `written`.

    ``tokens`` that a model reads of a node at most, a token for four characters, default 3,000: leaves of the nearest
    examples, or of children the largest. ``grounded``: share of a summary's long words that must stand in the texts
    that it cites, default 0.5. ``max_rejected``: largest share of the summaries that may be rejects, default 0.5.
    """

    tokens: int = 3000
    grounded: float = 0.5
    max_rejected: float = field(default=0.5, metadata={"identity": False})
    writer: WrittenMemory | None = shared_field(None, "written.itself", identity=False)  # noqa: RUF009 - a field
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = WrittenMemory.resources
    written: ClassVar[str] = "summaries of nodes"

    def __post_init__(self) -> None:
        rules = (
            ("tokens", 64 <= self.tokens <= 100_000, "64 to 100,000"),
            *shares(self, ("grounded", "max_rejected")),
        )
        refuse(bounds(self, "`{name}` of node_summaries is {value!r}; give {bound}.", rules))

    def of_leaves(self, path: str, level: int, leaves: Sequence[Mapping[str, Any]]) -> Iterator[NodePack]:
        """The packs of a node from the ``leaves`` of its examples, the nearest example first.

        Leaves have id, document, tenant, first_unit, start, end, start_time, speakers and text.
        """
        for tenant in sorted({leaf["tenant"] for leaf in leaves}):
            own = self._fitting([leaf for leaf in leaves if leaf["tenant"] == tenant])
            own.sort(key=lambda leaf: (leaf["document"], leaf["first_unit"]))
            units = [
                {
                    "n": number,
                    "event": leaf["id"],
                    "start": leaf["start"],
                    "end": leaf["end"],
                    "speaker": leaf["speakers"][0] if len(leaf["speakers"]) == 1 else "",
                    "time": leaf["start_time"],
                    "text": leaf["text"],
                }
                for number, leaf in enumerate(own)
            ]
            yield _pack(path, level, tenant, units, [[leaf["id"]] for leaf in own], [leaf["id"] for leaf in own])

    def of_parts(self, path: str, level: int, tenant: str, parts: Sequence[NodePart]) -> NodePack:
        """The pack of a node from its ``parts``, of which one at least has a text."""
        there = [(part, part.source) for part in sorted(parts, key=lambda part: (-part.size, part.path))]
        sized = [{"part": part, **source} for part, source in there if source is not None]
        own = sorted(self._fitting(sized), key=lambda source: source["part"].path)
        units = [
            {
                "n": number,
                "event": source["id"],
                "start": 0,
                "end": len(source["text"]),
                "speaker": "",
                "time": None,
                "text": source["text"],
            }
            for number, source in enumerate(own)
        ]
        events = [event for source in own if source["part"].row is None for event in source["events"]]
        pack = _pack(path, level, tenant, units, [source["events"] for source in own], list(dict.fromkeys(events)))
        below = [call for source in own if source["part"].row is not None for call in source["calls"]]
        return {**pack, "below": below, "children": [source["part"].path for source in own]}

    def passed_on(self, path: str, level: int, part: NodePart) -> dict[str, Any] | None:
        """The row of a node of one part: nothing stands in it that its part does not say. None for a part without."""
        if part.row is None:
            return None
        row = {**part.row, "path": path, "level": level, "children": [part.path]}
        return {**row, "id": _identity(row)}

    def summary(
        self, pack: NodePack, answers: Sequence[PartAnswer]
    ) -> tuple[dict[str, Any] | None, list[dict[str, str]]]:
        """The row of a node by the ``answers`` about all parts of its ``pack``, or None; and rejects."""
        texts, cited, least = list[str](), list[list[str]](), 1.0
        rejects = []
        for one in answers:
            checked = self._checked(one)
            if isinstance(checked, str):
                rejects.append(reject_of_node(pack, one.call, f"A summary of a node is left out: {checked}."))
                continue
            text, numbers, share = checked
            texts.append(text)
            cited += [pack["cited"][number] for number in dict.fromkeys(numbers)]
            least = min(least, share)
        if rejects:
            return None, rejects
        row = {
            **{name: pack[name] for name in ("path", "level", "tenant", "children")},
            "text": "\n".join(texts),
            "events": _in_turn(cited),
            "calls": [one.call for one in answers],
            "writer": answers[0].model,
            "prompt": NODE.name,
            "grounded": least,
        }
        return {**row, "id": _identity(row)}, []

    def _checked(self, one: PartAnswer) -> tuple[str, list[int], float] | str:
        """Text, cited numbers, and share of long words of an answer; or why it will not do."""
        try:
            answer = read_json(one.answer, NODE.schema)
        except Malformed as error:
            return str(error)
        sources = Sources.of_call({"units": one.units}, answer["n"])
        if isinstance(sources, str):
            return sources
        text = " ".join(answer["text"].split())
        share, missing = sources.grounded(text, self.grounded)
        return missing or (text, answer["n"], share)

    def _fitting(self, texts: Sequence[Any]) -> list[Any]:
        """The first of ``texts`` that are read together; the first at least."""
        sizes = [len(one["text"]) // CHARACTERS_OF_A_TOKEN + TOKENS_OF_A_UNIT for one in texts]
        ends = list(itertools.accumulate(sizes))
        return [one for number, one in enumerate(texts) if number == 0 or ends[number] <= self.tokens]


def _pack(
    path: str, level: int, tenant: str, units: list[dict[str, Any]], cited: list[list[str]], events: list[str]
) -> NodePack:
    return {
        "pack": hash_parts("node pack", path, tenant, *(unit["event"] for unit in units)),
        "path": path,
        "level": level,
        "document": "",
        "tenant": tenant,
        "session": "",
        "context": [],
        "units": units,
        "events": events,
        "below": [],
        "children": [],
        "cited": cited,
    }


def reject_of_node(pack: Mapping[str, Any], call: str, reason: str) -> dict[str, str]:
    """A reject of the answer ``call`` about a node; ``reason`` is a sentence."""
    place = f"node {pack['path']}" if pack["path"] else "root"
    locator = f"{place} of {pack['tenant']}" if pack["tenant"] else place
    return {"input": call, "locator": locator, "reason": reason, "severity": "reject"}


def _identity(row: Mapping[str, Any]) -> str:
    return hash_parts("node summary", row["path"], row["tenant"], row["writer"], row["text"], *row["events"])


def _in_turn(lists: Sequence[Sequence[str]]) -> list[str]:
    """The first of each of ``lists``, then the second, and so on; each once, `CITED` at most."""
    rounds = itertools.zip_longest(*lists)
    distinct = dict.fromkeys(one for of_round in rounds for one in of_round if one is not None)
    return list(itertools.islice(distinct, CITED))


def _beside_excerpts(settings: dict[str, Any] | None, sections: Mapping[str, Any]) -> dict[str, Any] | None:
    """It runs where a recipe names it, a model writes, and nodes have excerpts."""
    if settings is not None and sections.get("written") is None:
        raise ValueError("no language model writes here; add the section `written`")
    if settings is not None and sections.get("node_excerpts") is None:
        raise ValueError("nodes have no excerpts here; write `excerpts: {}`, and leave `cluster` on")
    return settings


SECTION = Section(
    "node_summaries",
    NodeSummaries,
    Driven(
        "pipelines.steps.node_summaries:NodeSummariesStep",
        after=("calls", "node_excerpts"),
        datasets=(NODE_CALLS_SPEC, NODE_SUMMARIES_SPEC),
    ),
    complete=_beside_excerpts,
)
