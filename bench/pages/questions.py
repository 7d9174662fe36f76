"""LoCoMo's questions with the turns that answer them, as texts: a turn of the evidence with two before it and two
behind."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bench import data
from pipelines.evaluate.questions import CATEGORIES, read_questions

AROUND = 2
"""Turns before and behind one of the evidence."""


@dataclass(frozen=True)
class Asked:
    """A question with its answer, the text that answers it, and ``other`` text of the same conversation."""

    question: str
    answer: str
    evidence: str
    other: str


def questions(most: int | None = None) -> list[Asked]:
    """The questions of category 4, in an order by chance, the first ``most``. Raises `bench.data.MissingData`."""
    file = data.path("locomo")
    samples = {one["sample_id"]: one["conversation"] for one in json.loads(file.read_text())}
    listed, _ = read_questions(file)
    draw, items = random.Random(1), list[Asked]()
    for question in listed:
        if question.category != CATEGORIES["4"]:
            continue
        sessions = _sessions(samples[str(question.tenant)])
        places = sorted(
            (number, at)
            for number, turns in enumerate(sessions)
            for at, turn in enumerate(turns)
            if turn["dia_id"] in question.evidence
        )
        around = {(number, near) for number, at in places for near in range(at - AROUND, at + AROUND + 1)}
        others = [number for number in range(len(sessions)) if number not in {number for number, _ in places}]
        number = draw.choice(others)
        middle = draw.randrange(len(sessions[number]))
        other = {(number, near) for near in range(middle - AROUND, middle + AROUND + 1)}
        items.append(Asked(question.text, question.answer, _text(sessions, around), _text(sessions, other)))
    draw.shuffle(items)
    return items[:most]


def _sessions(conversation: dict[str, Any]) -> list[list[dict[str, Any]]]:
    numbers = sorted(int(name.split("_")[1]) for name in conversation if name.removeprefix("session_").isdigit())
    return [conversation[f"session_{number}"] for number in numbers]


def _text(sessions: list[list[dict[str, Any]]], places: Iterable[tuple[int, int]]) -> str:
    there = [(number, at) for number, at in sorted(places) if 0 <= at < len(sessions[number])]
    turns = [sessions[number][at] for number, at in there]
    return "".join(f"{turn['speaker']}: {turn['text']}\n" for turn in turns)
