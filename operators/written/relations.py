"""Relations from the answers of `calls`: the triples that stand in their sources, and the attributes among the facts.

An attribute of a note, such as Ada's home Paris, is the relation "Ada - home - Paris", and is read without a call of
its own. Triples are checked as facts are: the numbers of the units, the words of both ends, the time, and a share of
the long words (`operators.written.grounding`). What does not pass is a reject; of a fact the step `notes` tells it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.ids import entity_id, hash_parts
from mnemic.links.names import entity_name
from mnemic.relations.datasets import RELATIONS, RELATIONS_SPEC
from mnemic.writing.json_text import Malformed, read_json
from operators.contracts import REJECTED, BatchFunction, Resources, bounds, refuse
from operators.sections import Driven, Section
from operators.written.facts import FUNCTIONAL, FactNotes, distinct, reject_of, shares
from operators.written.grounding import Sources
from operators.written.presets import as_preset
from operators.written.triples import TRIPLES
from operators.written.when import validity


@dataclass(frozen=True)
class WrittenRelations:
    """Derives `relations` from good answers.

    ``functional``: labels of which a subject has one object at a time, so that a later one closes an earlier one; a
    label counts where one of its words is here. ``grounded``: share of a triple's long words that must stand in its
    sources. Both are by default those of `notes`. ``max_rejected``: largest share of the triples that may be rejects,
    default 0.5.
    """

    functional: tuple[str, ...] = tuple(FUNCTIONAL)
    grounded: float = 0.5
    max_rejected: float = field(default=0.5, metadata={"identity": False})
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()
    written: ClassVar[str] = "relations"

    def __post_init__(self) -> None:
        words = self.functional
        listed = isinstance(words, list | tuple) and all(isinstance(word, str) for word in words)
        object.__setattr__(self, "functional", tuple(sorted({*words})) if listed else ())
        rules = shares(self, ("grounded", "max_rejected"))
        refuse(
            [
                "" if listed else "`functional` of relations is no list of words; write `functional: [home, job]`.",
                *bounds(self, "`{name}` of relations is {value!r}; give {bound}.", rules),
            ]
        )

    def output(self, schema: pa.Schema) -> pa.Schema:
        return RELATIONS

    def open(self, device: str) -> BatchFunction:
        return self.relations

    def relations(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """The relations of a batch of answer rows of `calls`, and the triples that are none as rejects."""
        rows: dict[str, dict[str, Any]] = {}
        rejects: list[dict[str, str]] = []
        for row in self._of_attributes(batch):
            rows.setdefault(row["id"], row)
        for call in batch.filter(pc.equal(batch["prompt"], TRIPLES.name)).to_pylist():
            try:
                triples = read_json(call["answer"], TRIPLES.schema)["relations"]
            except Malformed as error:
                rejects.append(reject_of(call, "", f"A relation is left out: {error}."))
                continue
            for triple in triples:
                relation = self._relation(call, triple)
                if isinstance(relation, str):
                    text = " - ".join(triple[name] for name in ("subject", "label", "object"))
                    rejects.append(reject_of(call, text, f"A relation is left out: {relation}."))
                else:
                    rows.setdefault(relation["id"], relation)
        return (
            pa.RecordBatch.from_pylist(list(rows.values()), schema=RELATIONS),
            pa.RecordBatch.from_pylist(distinct(rejects), schema=REJECTED),
        )

    def _of_attributes(self, batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
        """The relations that attributes among the facts are."""
        facts = batch.filter(pc.not_equal(batch["prompt"], TRIPLES.name))
        notes, _ = FactNotes(self.functional, self.grounded).notes(facts)
        for note in notes.to_pylist():
            if note["kind"] == "attribute":
                yield _row(note, note["subject"], note["attribute"], note["value"], note=note["id"])

    def _relation(self, call: Mapping[str, Any], triple: Mapping[str, Any]) -> dict[str, Any] | str:
        """The row of a triple, or why it is none."""
        sources = Sources.of_call(call, triple["n"])
        if isinstance(sources, str):
            return sources
        subject, label, object_ = (" ".join(triple[name].split()) for name in ("subject", "label", "object"))
        for end, name in (("subject", subject), ("object", object_)):
            if not sources.names(name):
                return f"its {end} {name[:40]!r} is in none of its sources"
        if not label:
            return "it has no label"
        # In small letters the words of both ends count among the long ones: a label is often a paraphrase.
        share, missing = sources.grounded(f"{subject} {label} {object_}".lower(), self.grounded)
        if missing:
            return missing
        when = sources.time_of(triple["when"])
        if isinstance(when, str):
            return when
        label = label.casefold()
        facts = {
            **{name: call[name] for name in ("call", "document", "tenant", "session", "prompt")},
            "functional": bool({*label.split()} & {*self.functional}),
            "sources": sources.rows,
            "writer": call["model"],
            "said_at": sources.said_at,
            **validity(when),
            "grounded": share,
        }
        return _row(facts, subject, label, object_)


def _row(facts: Mapping[str, Any], subject: str, label: str, object_: str, note: str = "") -> dict[str, Any]:
    """A row of `relations`; ``facts`` are what it has beside its three parts, as a row of notes names it."""
    tenant, events = facts["tenant"], [source["event"] for source in facts["sources"]]
    entities = [entity_id(tenant, name) if (name := entity_name(end)) else "" for end in (subject, object_)]
    triple = (subject.casefold(), label, object_.casefold())
    return {
        **{name: facts[name] for name in RELATIONS.names if name in facts},
        "id": hash_parts("relation", tenant, *triple, *events, facts["writer"], facts["prompt"]),
        "note": note,
        "subject": subject,
        "label": label,
        "object": object_,
        "subject_entity": entities[0],
        "object_entity": entities[1],
    }


def _where_asked(settings: dict[str, Any] | None, sections: Mapping[str, Any]) -> dict[str, Any] | None:
    """It runs where a recipe names it, or where a model is asked for relations, with the checks of `notes`."""
    written, notes = sections.get("written"), sections.get("notes")
    settings = as_preset("relations", on=False)(settings, sections)
    if settings is None and (written is None or not written.asks_relations):
        return None
    same = {} if notes is None else {"functional": notes.functional, "grounded": notes.grounded}
    return {**same, **(settings or {})}


SECTION = Section(
    "relations",
    WrittenRelations,
    Driven("pipelines.steps.notes:relations_step", after=("calls",), datasets=(RELATIONS_SPEC,)),
    complete=_where_asked,
)
