"""Perplexity of held-out documents with the blocks of their topic, and with what they are compared with."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from bench.blocks.methods import (
    FETCHED,
    INT8,
    LORA,
    LORA_OF_BANK,
    METHODS,
    ONE_COURSE,
    OTHER,
    WHOLE,
    Method,
    Trained,
    bank_parameters,
    fetched_parameters,
)
from bench.blocks.tables import read
from bench.blocks.text import BenchText, Losses
from bench.report import Row, tell
from mnemic.blocks.layout import CONTROL
from mnemic.mixture import perplexity
from mnemic.slots.layout import NGRAMS, PRODUCT_KEYS
from operators.slots.training import SlotTraining
from pipelines.evaluate.bootstrap import bootstrap

BASE = "the model alone"
TRIED = {True: slice(1), False: slice(None)}
"""Whether the run is quick -> the courses of a method that are tried."""


@dataclass(frozen=True)
class Learnt:
    """Of a method: its course, losses of every scored token of test documents by reading and seed, its memory.

    The memory is that of the first seed.
    """

    course: str
    losses: dict[str, list[Losses]]
    first: Trained


COMPARED = (
    ("blocks_vs_generic", FETCHED, CONTROL, 1.0, 0.97),
    ("blocks_vs_generic", FETCHED, ONE_COURSE, 1.0, 0.97),
    ("blocks_vs_base", FETCHED, BASE, 1.0, 0.97),
    ("blocks_wrong", FETCHED, OTHER, 0.99, 0.97),
    ("blocks_wrong", BASE, OTHER, 1.02, 1.0),
    ("blocks_routes", WHOLE, FETCHED, 1.01, 1.0),
    ("blocks_vs_lora", FETCHED, LORA, 1.0, 0.97),
    ("blocks_vs_lora", FETCHED, LORA_OF_BANK, 1.03, 1.0),
    ("blocks_int8", INT8, FETCHED, 1.01, 1.002),
    ("blocks_vs_slots", FETCHED, PRODUCT_KEYS, 1.0, 0.97),
    ("blocks_vs_slots", FETCHED, NGRAMS, 1.0, 0.97),
)
"""Row, the two readings whose perplexities are compared, must and goal."""


def quality_rows(quick: bool, text: BenchText) -> tuple[list[Row], SlotTraining]:
    """The rows, and the table of product keys. Each method tells what is known behind it."""
    alone = text.losses(text.parts["test"], lambda number: contextlib.nullcontext())
    tell(f"{BASE}: perplexity {perplexity(alone):.3f}")
    learnt: dict[str, Learnt] = {}
    for method in METHODS:
        learnt[method.name] = _learnt(quick, text, method)
        for row in compared(text, alone, learnt):
            if method.name in row.metric:
                tell(f"  {row.id} {row.value:.4f} {row.metric}")
    return [*compared(text, alone, learnt), *_sizes(text, learnt)], learnt[PRODUCT_KEYS].first.memory


def _learnt(quick: bool, text: BenchText, method: Method) -> Learnt:
    started = time.process_time()
    first: list[Trained] = []
    scores: list[float] = []
    courses = method.courses[TRIED[quick]]
    for course in courses:
        first.append(method.train(text, replace(text.settings, **course)))
        scores.append(perplexity(_losses(text, "validation", first[-1])[method.name]))
        tell(f"{method.name}: validation perplexity {scores[-1]:.3f}, {_words(course)}")
    best = scores.index(min(scores))
    every: list[dict[str, Losses]] = []
    for seed in range(1 if quick else method.seeds):
        settings = replace(text.settings, **courses[best], seed=seed)
        every.append(_losses(text, "test", method.train(text, settings) if seed else first[best]))
    losses = {name: [one[name] for one in every] for name in every[0]}
    for name, own in losses.items():
        tell(f"  {name}: perplexity {', '.join(f'{perplexity(one):.3f}' for one in own)} by seed")
    tell(f"  {time.process_time() - started:.0f} s of processor time")
    return Learnt(_words(courses[best]), losses, first[best])


def _words(course: dict[str, Any]) -> str:
    shared, rate = course["shared_epochs"], course["learning_rate"]
    before = f"{shared} shared epochs at {rate * course['shared_rate']:g} and " if shared else ""
    return f"{before}{course['epochs'] - shared} epochs at {rate:g}"


def _losses(text: BenchText, part: str, trained: Trained) -> dict[str, Losses]:
    own, names = text.parts[part], list(trained.readings)[: None if part == "test" else 1]
    return {name: text.losses(own, partial(trained.readings[name], own)) for name in names}


def compared(text: BenchText, alone: Losses, learnt: dict[str, Learnt]) -> list[Row]:
    """Ratios of perplexities over the seeds that both have; a document is drawn with all of its seeds."""
    every = {name: losses for one in learnt.values() for name, losses in one.losses.items()}
    every[BASE] = [alone] * max(map(len, every.values()))
    owner = text.parts["test"].owner

    def ratio(row: str, one: str, against: str, must: float, goal: float) -> Row:
        seeds = min(len(every[one]), len(every[against]))
        first, second = (np.concatenate(every[name][:seeds]) for name in (against, one))
        drawn = bootstrap(first, second, np.concatenate([owner] * seeds)).ratio
        words = f"perplexity, {one} / {against} (95 % {drawn.low:.3f} to {drawn.high:.3f}), {seeds} seeds"
        return Row(row, words, drawn.value, "x", must, goal, higher_is_better=False)

    return [
        *(Row("blocks_perplexity", name, perplexity(np.concatenate(losses)), "") for name, losses in every.items()),
        *(
            ratio(row, one, against, must, goal)
            for row, one, against, must, goal in COMPARED
            if {one, against} <= every.keys()
        ),
    ]


def _sizes(text: BenchText, learnt: dict[str, Learnt]) -> list[Row]:
    sizes = {
        "blocks of a text": fetched_parameters(text),
        "blocks of all topics": bank_parameters(text),
        LORA: _parameters(learnt[LORA]),
        LORA_OF_BANK: _parameters(learnt[LORA_OF_BANK]),
        "product keys: finders and the rows of a position": read(learnt[PRODUCT_KEYS].first.memory),
        "n-grams: matrices and the rows of a position": read(learnt[NGRAMS].first.memory),
    }
    return [Row("read_parameters", name, size / 1e6, "M") for name, size in sizes.items()]


def _parameters(learnt: Learnt) -> int:
    return sum(weight.numel() for weight in learnt.first.memory.parameters())
