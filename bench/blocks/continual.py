"""New text into a table that knows old text: the loss of old held-out documents where the new text is learnt as well.

The table of product keys has learnt documentation; the new text is encyclopaedic (`wikitext-2`). Three ways to learn
it: the slots that it fires far more than the old text does (arXiv 2510.15103), all slots, and LoRA beside the table.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.blocks.corpus import LENGTH
from bench.blocks.lora import LoraConfig, LoraStudent, LoraUpdates
from bench.blocks.text import BenchText, Opened
from bench.data import path
from bench.report import Row, tell
from mnemic.blocks.layout import CONTROL
from mnemic.languagemodel.windows import encode
from operators.blocks.packing import PackedSequences, packed
from operators.blocks.sequences import mean_loss
from operators.slots.continual import fired_more, slot_use, train_rows_alone
from operators.slots.training import PATH, SlotTraining
from operators.train.group import SingleProcess
from operators.train.loop import train

NEW = {True: 4, False: 16}
"""Whether the run is quick -> sequences of new text."""

EPOCHS = {True: 3, False: 5}
SHARE = 1 / 64
"""Of the slots that are trained."""

RATES = {"sparse": 0.02, "whole": 0.005, "lora": 1e-3}
RANK = 8


@dataclass(frozen=True)
class Course:
    """Losses in nats a token of new and of old held-out text, before and after each epoch."""

    new: list[float]
    old: list[float]

    def rise(self, target: float) -> float:
        """Of old text when the new text's loss first came down to ``target``, between epochs by straight lines."""
        places = np.interp(-target, np.maximum.accumulate(-np.array(self.new)), np.arange(len(self.new)))
        return float(np.interp(places, np.arange(len(self.old)), self.old)) - self.old[0]


def continual_rows(quick: bool, text: BenchText, learnt: SlotTraining) -> list[Row]:
    new = _new_text(text.tokenizer, NEW[quick])
    state = learnt.memory.state_dict()
    with text.frozen.states(new) as states:
        opened = Opened(new, states)
        courses = {name: _course(quick, text, learnt, state, name, opened) for name in RATES}
    for name, course in courses.items():
        tell(f"{name}: new {_listed(course.new)}; old {_listed(course.old)}")
    target = max(min(course.new) for course in courses.values())
    rises = {name: course.rise(target) for name, course in courses.items()}
    by = courses["sparse"].new[0] - target
    rows = [
        Row("continual_rise", f"{name}, new text learnt by {by:.3f} nats a token", rise, "nats", higher_is_better=False)
        for name, rise in rises.items()
    ]
    for name in ("whole", "lora"):
        share = max(rises["sparse"], 0.0) / rises[name] if rises[name] > 0 else float("nan")
        rows.append(Row("continual", f"rise, sparse / {name}", share, "x", 0.2, 0.1, higher_is_better=False))
    return rows


def _course(quick: bool, text: BenchText, learnt: SlotTraining, state: Any, name: str, new: Opened) -> Course:
    rate = RATES[name]
    settings = replace(learnt.settings, epochs=EPOCHS[quick], learning_rate=rate, value_rate=rate, warmup=2, batch=512)
    training = SlotTraining(settings, text.frozen, text.tokenizer, new.sequences)
    training.memory.load_state(state)
    before, old, course = text.texts[CONTROL], text.parts["validation"].opened, Course([], [])
    student: Any = training.student(new.states)
    chosen = None
    if name == "sparse":
        background = slot_use(training.student(before.states, before.sequences))
        use = slot_use(student)
        chosen = fired_more(use, background, int(training.memory.config.slots * SHARE))
        tell(f"new text fires {int((use.uses > 0).sum()):,} slots, of which {int(chosen.sum()):,} are trained")
    train_rows_alone(training.memory, chosen)
    reading: Any = training.student(old.states, old.sequences)
    if name == "lora":
        updates = LoraUpdates(text.model, LoraConfig(RANK, list(text.frozen.layers)), 0)
        student = BesideTable(student, settings, updates, text.frozen, new.sequences, new.states)
        reading = BesideTable(reading, settings, updates, text.frozen, old.sequences, old.states)

    def measure() -> None:
        course.new.append(mean_loss(student, np.arange(student.units)))
        course.old.append(mean_loss(reading, np.arange(reading.units)))

    measure()
    for _ in train(settings, student, None, "cpu", lambda done, total: None, SingleProcess()):
        measure()
    return course


class BesideTable(LoraStudent):
    """Updates of the layers of a model that reads a table, which stays."""

    def __init__(self, table: Any, settings: Any, updates: Any, *texts: Any) -> None:
        super().__init__(settings, updates, *texts)
        self._table = table

    @contextlib.contextmanager
    def hung(self, inputs: Any) -> Iterator[None]:
        with self._table.hung(inputs), super().hung(inputs):
            yield


def _new_text(tokenizer: Any, count: int) -> PackedSequences:
    """Paragraphs of articles."""
    lines = path("wikitext-2").read_text(encoding="utf-8").splitlines()
    texts = [line.strip() for line in lines if len(line) > 400][: 3 * count]
    tokens, _ = encode(texts, tokenizer, LENGTH)
    return _first(packed({PATH: tokens}, LENGTH), count)


def _first(sequences: PackedSequences, count: int) -> PackedSequences:
    return PackedSequences(sequences.tokens[:count], sequences.part[:count], sequences.paths[:count])


def _listed(losses: Sequence[float]) -> str:
    return " ".join(f"{loss:.3f}" for loss in losses)
