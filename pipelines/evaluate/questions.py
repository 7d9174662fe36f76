"""Questions whose evidence is known, to measure what a search finds of it.

Two layouts are read. In JSON Lines (or a JSON list) a value is a question and the ids of what answers it:

    {"question": "What did Ada mend?", "evidence": ["monday/7"], "tenant": "team", "category": "who", "id": "q1"}

The ids may be of turns, sessions, events or documents, or locators; reading does not look them up. The answer, a text
or a number, may stand in "answer". In LoCoMo's layout a sample has its questions in `qa`, its name is their tenant, as
it is for the source `conversations`, and the ids are of turns. Some of LoCoMo's ids are misspelt, and those that can
mean one turn only are mended: "D8:6; D9:17" is two, "D30:05" is D30:5 and "D:11:26" is D11:26. A question without
evidence cannot be measured and is skipped, with the reason. A malformed question is a mistake in the file, and no
question is used until it is mended.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnemic.arrays import Floats
from mnemic.errors import SourceError
from pipelines.sources.contracts import Reject
from pipelines.sources.conversations import CONVERSATIONS
from pipelines.sources.json_values import (
    JSON_LINES,
    Unusable,
    first_label,
    first_value,
    json_file,
    json_lines,
    kind_of,
    once,
    record_of,
    shown,
)
from pipelines.sources.locomo import is_sample, sample_name, sessions
from pipelines.sources.session import IDS
from pipelines.sources.text import is_blank, open_file, text_fault

TEXTS = ("question", "query")
EVIDENCE = ("evidence", "ids", "relevant")
TENANTS = ("tenant", *(field for field in CONVERSATIONS if field != "tenant"))
CATEGORIES = {"1": "multi-hop", "2": "temporal", "3": "open-domain", "4": "single-hop", "5": "adversarial"}
"""LoCoMo's numbers of kinds of questions."""

LARGEST = 1_000_000_000
"""Bytes of a file, or of a line, that is read at once."""

TOLD = 5
"""Mistakes that one error names."""

_LONGEST = 40
_TURN = re.compile(r"D:?0*([0-9]+):0*([0-9]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """A question, the ids of what answers it, and the tenant whom it is asked of (None: anybody)."""

    text: str
    tenant: str | None
    evidence: frozenset[str]
    category: str | None
    id: str
    answer: str = ""


@dataclass(frozen=True)
class Skipped:
    """A question that is not measured, or only an id of its evidence (``whole`` is false), with the reason."""

    place: str
    reason: str
    whole: bool = True


def by_category(shares: Floats, categories: Sequence[str | None]) -> dict[str, float]:
    """The mean of ``shares`` float64 [questions] of each category that questions name."""
    names = sorted({name for name in categories if name is not None})
    return {name: float(shares[[one == name for one in categories]].mean()) for name in names}


def read_questions(path: str | Path) -> tuple[list[Question], list[Skipped]]:
    """The questions of a file, in its order, and what of them was skipped.

    Raises `SourceError` for a file that cannot be read, that holds no question with evidence, or in which something is
    wrong, naming the lines.
    """
    questions: list[Question] = []
    skipped: list[Skipped] = []
    mistakes: list[str] = []
    seen: dict[str, str] = {}
    for entry in _entries(path):
        if isinstance(entry, Unusable):
            mistakes.append(str(entry))
        elif isinstance(entry, Skipped):
            skipped.append(entry)
        elif entry[0].id in seen:
            question, place = entry
            earlier = seen[question.id]
            mistakes.append(
                f"The id {shown(question.id)} of {place} is the id of {earlier} too; give questions ids that differ."
            )
        else:
            question, place = entry
            seen[question.id] = place
            questions.append(question)
    if mistakes:
        more = [f"and {len(mistakes) - TOLD:,} more"] if len(mistakes) > TOLD else []
        lines = "\n  ".join([*mistakes[:TOLD], *more])
        raise SourceError(f"The questions in {path} cannot be used:\n  {lines}\nMend these and run again.")
    if not questions:
        raise SourceError(
            f"No question in {path} has evidence ({len(skipped):,} have none); write JSON Lines such as"
            ' {"question": "...", "evidence": ["id of a turn"]}, or give a file in LoCoMo\'s layout.'
        )
    return questions, skipped


def _entries(path: str | Path) -> Iterator[tuple[Question, str] | Skipped | Unusable]:
    for subject, number, value in _values(os.path.expanduser(path)):
        if isinstance(value, Unusable):
            yield value
            continue
        try:
            record = record_of(value, subject)
            if "qa" in record:
                yield from _sample(record, number, subject)
            else:
                yield _question(record, str(number), subject)
        except Unusable as error:
            yield error


def _values(path: str) -> Iterator[tuple[str, int, object]]:
    """The words for a value in sentences, its number, and the value: an `Unusable` where it is no JSON."""
    name = os.path.basename(path)
    file = open_file(path, None, name)
    if isinstance(file, Reject):
        raise SourceError(f"The questions in {path} cannot be read. {file.reason}")
    if name.lower().endswith(JSON_LINES):
        for line in json_lines(file, name, LARGEST, "a question", "pipelines.evaluate.questions.LARGEST", once):
            if not isinstance(line, Reject):
                yield f"line {line[0]}", *line
            elif line.severity != "empty":
                yield "", 0, Unusable(line.reason)
        return
    try:
        content = json_file(file, LARGEST, "pipelines.evaluate.questions.LARGEST", once)
    except Unusable as error:
        yield "the file", 0, error
        return
    if isinstance(content, list):
        yield from ((f"entry {number}", number, value) for number, value in enumerate(content, start=1))
    else:
        yield "the file", 1, content


def _question(record: Mapping[str, Any], number: str, subject: str) -> tuple[Question, str] | Skipped:
    text = _text(record, subject)
    ids = frozenset(_ids(record, subject))
    if not ids:
        return Skipped(subject, "The question names no evidence.")
    question = Question(
        text,
        first_label(record, TENANTS, subject) or None,
        ids,
        first_label(record, ("category",), subject) or None,
        first_label(record, ("id",), subject) or number,
        _answer(record),
    )
    return question, subject


def _sample(
    record: Mapping[str, Any], number: int, subject: str
) -> Iterator[tuple[Question, str] | Skipped | Unusable]:
    tenant = sample_name(record, number, subject)
    turns = _turns_of(record, subject)
    if not isinstance(record["qa"], list):
        raise Unusable(f"The field 'qa' of {subject} is {kind_of(record['qa'])}, not an array of questions.")
    for count, value in enumerate(record["qa"], start=1):
        place = f"question {count} of {shown(tenant)}"
        try:
            question = record_of(value, place)
            text = _text(question, place)
            category = first_label(question, ("category",), place)
            ids, unreadable = _turns(_ids(question, place), turns)
        except Unusable as error:
            yield error
            continue
        yield from (Skipped(place, f"{shown(part)} is no id of a turn.", False) for part in unreadable)
        if ids:
            name = CATEGORIES.get(category, category) or None
            yield Question(text, tenant, ids, name, f"{tenant}/{count}", _answer(question)), place
        else:
            yield Skipped(place, "The question names no evidence.")


def _turns_of(record: Mapping[str, Any], subject: str) -> frozenset[str]:
    """The ids of the turns that stand in a sample beside its questions."""
    turns = (
        turn
        for _, session in (sessions(record, subject) if is_sample(record) else ())
        for turn in (session["turns"] if isinstance(session["turns"], list) else ())
        if isinstance(turn, dict)
    )
    return frozenset(str(turn[field]) for turn in turns for field in IDS if isinstance(turn.get(field), str | int))


def _turns(ids: list[str], turns: frozenset[str]) -> tuple[frozenset[str], list[str]]:
    """The ids of turns that LoCoMo's evidence can only mean, and what of it means none."""
    good: set[str] = set()
    bad: list[str] = []
    for part in (part for id in ids for part in ([id] if id in turns else re.split(r"[\s;,]+", id)) if part):
        match = _TURN.fullmatch(part[:_LONGEST])
        if part in turns:
            good.add(part)
        elif match is None or len(part) > _LONGEST:
            bad.append(part)
        else:
            good.add(f"D{match[1]}:{match[2]}")
    return frozenset(good), bad


def _text(record: Mapping[str, Any], subject: str) -> str:
    field, value = first_value(record, TEXTS)
    if not field:
        raise Unusable(f"There is no question in {subject}; write it as `question`.")
    if not isinstance(value, str) or is_blank(value):
        kind = "blank" if isinstance(value, str) else kind_of(value)
        raise Unusable(f"The field '{field}' of {subject} is {kind}; write the question there.")
    if fault := text_fault(value):
        raise Unusable(f"The question of {subject} cannot be used. {fault}")
    return value.strip()


def _answer(record: Mapping[str, Any]) -> str:
    """The answer that stands beside a question; "" for none, and for one that is neither text nor a number."""
    answer = record.get("answer")
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        return ""
    return "" if text_fault(str(answer)) else str(answer).strip()


def _ids(record: Mapping[str, Any], subject: str) -> list[str]:
    """The ids that stand in the evidence, one or a list of them."""
    field, value = first_value(record, EVIDENCE)
    ids = value if isinstance(value, list) else [value]
    wrong = next((id for id in ids if isinstance(id, bool) or not isinstance(id, str | int | None)), None)
    if wrong is not None:
        raise Unusable(
            f"The field '{field}' of {subject} holds {kind_of(wrong)}, not ids; write a list of strings or whole"
            " numbers."
        )
    if fault := next(filter(None, (text_fault(str(id)) for id in ids)), ""):
        raise Unusable(f"An id in the field '{field}' of {subject} cannot be used. {fault}")
    return [str(id) for id in ids if id is not None and str(id).strip()]
