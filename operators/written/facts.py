"""Notes from the answers of `calls`: every fact that stands in its sources becomes one, every other is a reject.

An answer is checked once more where a note is made of it, so a change of the rules costs no call. Checked are the
numbers of the units, the time that the fact names, and whether its words are those of its sources
(`operators.written.grounding`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa

from mnemic.ids import hash_parts
from mnemic.notes.datasets import NOTES, NOTES_SPEC
from mnemic.writing.json_text import Malformed, read_json
from operators.contracts import REJECTED, BatchFunction, Resources, bounds, refuse
from operators.sections import Driven, Section
from operators.written.grounding import Sources
from operators.written.presets import as_preset
from operators.written.prompts import FACTS
from operators.written.when import validity

FUNCTIONAL = [
    "address",
    "age",
    "birthday",
    "city",
    "country",
    "diet",
    "email",
    "employer",
    "fiance",
    "gender",
    "height",
    "hometown",
    "home",
    "husband",
    "job",
    "location",
    "marital",
    "mayor",
    "name",
    "nationality",
    "occupation",
    "owner",
    "partner",
    "phone",
    "position",
    "president",
    "price",
    "profession",
    "relationship",
    "residence",
    "role",
    "salary",
    "spouse",
    "status",
    "title",
    "version",
    "weight",
    "wife",
    "workplace",
]
"""Attributes of which a subject has one value at a time. Others, such as a hobby or a pet, may have several."""


@dataclass(frozen=True)
class FactNotes:
    """Derives `notes` from good answers.

    ``functional``: attributes of which a subject has one value at a time, so that a later value closes an earlier one;
    an attribute counts where one of its words is here. Default: home, job, age, email and the like.
    ``grounded``: share of a fact's long words that must stand in its sources, default 0.5.
    ``max_rejected``: largest share of the facts that may be rejects, default 0.5.
    """

    functional: tuple[str, ...] = tuple(FUNCTIONAL)
    grounded: float = 0.5
    max_rejected: float = field(default=0.5, metadata={"identity": False})
    version: ClassVar[int] = 2
    resources: ClassVar[Resources] = Resources()
    written: ClassVar[str] = "facts"

    def __post_init__(self) -> None:
        words = self.functional
        listed = isinstance(words, list | tuple) and all(isinstance(word, str) for word in words)
        object.__setattr__(self, "functional", tuple(sorted({*words})) if listed else ())
        refuse(
            [
                "" if listed else "`functional` of notes is no list of words; write `functional: [home, job]`.",
                *bounds(
                    self, "`{name}` of notes is {value!r}; give {bound}.", shares(self, ("grounded", "max_rejected"))
                ),
            ]
        )

    def output(self, schema: pa.Schema) -> pa.Schema:
        return NOTES

    def open(self, device: str) -> BatchFunction:
        return self.notes

    def notes(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """The notes of a batch of answer rows of `calls`, and the facts that are none as rejects."""
        rows: dict[str, dict[str, Any]] = {}
        rejects: list[dict[str, str]] = []
        for call in batch.to_pylist():
            try:
                facts = read_json(call["answer"], FACTS.schema)["facts"]
            except Malformed as error:
                rejects.append(reject_of(call, "", f"A fact is left out: {error}."))
                continue
            for fact in facts:
                note = self._note(call, fact)
                if isinstance(note, str):
                    rejects.append(reject_of(call, fact["text"], f"A fact is left out: {note}."))
                else:
                    rows.setdefault(note["id"], note)
        return (
            pa.RecordBatch.from_pylist(list(rows.values()), schema=NOTES),
            pa.RecordBatch.from_pylist(distinct(rejects), schema=REJECTED),
        )

    def _note(self, call: Mapping[str, Any], fact: Mapping[str, Any]) -> dict[str, Any] | str:
        """The row of a fact, or why it is none."""
        sources = Sources.of_call(call, fact["n"])
        if isinstance(sources, str):
            return sources
        share, missing = sources.grounded(fact["text"], self.grounded)
        if missing:
            return missing
        subject, text = " ".join(fact["subject"].split()), " ".join(fact["text"].split())
        if not sources.names(subject):
            return f"its subject {subject[:40]!r} is in none of its sources"
        attribute, value = (" ".join((fact[name] or "").split()) for name in ("attribute", "value"))
        attribute = attribute.casefold()
        if bool(attribute) != bool(value):
            attribute = value = ""
        if value and not sources.names(value):
            return f"its value {value[:40]!r} is in none of its sources"
        when = sources.time_of(fact["when"])
        if isinstance(when, str):
            return when
        kind = "attribute" if attribute else "fact"
        events = [unit["event"] for unit in sources.units]
        folded = text.casefold()
        return {
            "id": hash_parts(
                "note", call["tenant"], kind, folded, subject.casefold(), attribute, *events, call["model"]
            ),
            "call": call["call"],
            **{name: call[name] for name in ("document", "tenant", "session", "prompt")},
            "kind": kind,
            "text": text,
            "subject": subject,
            "attribute": attribute,
            "value": value,
            "functional": bool({*attribute.split()} & {*self.functional}),
            "sources": sources.rows,
            "writer": call["model"],
            "said_at": sources.said_at,
            **validity(when),
            "grounded": share,
        }


def reject_of(call: Mapping[str, Any], text: str, reason: str) -> dict[str, str]:
    """A reject of something that an answer says, ``text``; ``reason`` is a sentence."""
    place = f"{call['document']} {call['pack'][:12]}{'.' + call['part'] if call['part'] else ''}"
    locator = f"{place}: {text[:80]}" if text else place
    return {"input": call["call"], "locator": locator, "reason": reason, "severity": "reject"}


def shares(settings: Any, names: Sequence[str]) -> list[tuple[str, bool, str]]:
    """Rules for `operators.contracts.bounds`: the settings ``names`` are shares."""
    values = [(name, getattr(settings, name)) for name in names]
    return [(name, isinstance(value, int | float) and 0 <= value <= 1, "a share from 0 to 1") for name, value in values]


def distinct(rejects: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """``rejects`` in their order, equal ones once."""
    return list({tuple(reject.values()): reject for reject in rejects}.values())


SECTION = Section(
    "notes",
    FactNotes,
    Driven("pipelines.steps.notes:notes_step", after=("calls",), datasets=(NOTES_SPEC,)),
    complete=as_preset("notes", on=True),
)
