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

from bench.blocks.lora import LoraConfig, LoraStudent, LoraUpdates
from bench.blocks.quality import Trained
from bench.data import path
from bench.report import Row, tell
from mnemic.languagemodel.windows import encode
from mnemic.splits import TEST
from operators.blocks.frozen import FrozenModel
from operators.blocks.packing import PackedSequences, packed
from operators.slots.continual import fired_more, slot_use, train_rows_alone
from operators.slots.training import PATH, SlotTraining, mean_loss
from operators.train.group import SingleProcess
from operators.train.loop import train

LENGTH = 256
NEW, OLD = {True: 8, False: 24}, {True: 8, False: 24}
"""Whether the run is quick -> sequences of new text, and of old held-out text."""

EPOCHS = {True: 2, False: 6}
SHARE = 1 / 16
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


def continual_rows(quick: bool, trained: Trained) -> list[Row]:
    new = _new_text(trained.tokenizer, NEW[quick])
    old = _old_text(trained, OLD[quick])
    state = trained.table.memory.state_dict()
    courses = {name: _course(quick, trained, state, name, new, old) for name in RATES}
    for name, course in courses.items():
        tell(f"{name}: new {_listed(course.new)}; old {_listed(course.old)}")
    target = max(min(course.new) for course in courses.values())
    rises = {name: course.rise(target) for name, course in courses.items()}
    learnt = courses["sparse"].new[0] - target
    rows = [
        Row("continual_rise", f"{name}, new text learnt by {learnt:.3f} nats a token", rise, "nats")
        for name, rise in rises.items()
    ]
    for name, bounds in (("whole", (0.2, 0.1)), ("lora", (0.2, 0.1))):
        share = max(rises["sparse"], 0.0) / rises[name] if rises[name] > 0 else float("nan")
        rows.append(Row("continual", f"rise, sparse / {name}", share, "x", *bounds, higher_is_better=False))
    return rows


def _course(quick: bool, trained: Trained, state: Any, name: str, new: PackedSequences, old: PackedSequences) -> Course:
    settings = replace(
        trained.table.settings,
        epochs=EPOCHS[quick],
        learning_rate=RATES[name],
        value_rate=RATES[name],
        warmup=2,
        batch=512,
    )
    frozen = FrozenModel(trained.model, trained.table.memory.config.layers)
    training = SlotTraining(settings, frozen, trained.tokenizer, new)
    training.memory.load_state(state)
    count = int(trained.model.config.num_hidden_layers)
    course = Course([], [])
    with contextlib.ExitStack() as opened:
        new_states = opened.enter_context(frozen.states(new))
        old_states = opened.enter_context(frozen.states(old))
        before = opened.enter_context(frozen.states(trained.sequences))
        student: Any = training.student(new_states)
        chosen = None
        if name == "sparse":
            background = slot_use(_on(training, trained.sequences, before))
            use = slot_use(student)
            chosen = fired_more(use, background, int(training.memory.config.slots * SHARE))
            tell(f"new text fires {int((use.uses > 0).sum()):,} slots, of which {int(chosen.sum()):,} are trained")
        train_rows_alone(training.memory, chosen)
        reading: Any = _on(training, old, old_states)
        if name == "lora":
            updates = LoraUpdates(trained.model, LoraConfig(RANK, [*range(frozen.first, count)]), 0)
            student = BesideTable(student, settings, updates, frozen, new, new_states)
            reading = BesideTable(reading, settings, updates, frozen, old, old_states)

        def measure() -> None:
            course.new.append(mean_loss(student, np.arange(len(new))))
            course.old.append(mean_loss(reading, np.arange(len(old))))

        measure()
        for _ in train(settings, student, None, "cpu", lambda done, total: None, SingleProcess()):
            measure()
    return course


class BesideTable(LoraStudent):
    """Updates of the layers of a model that reads a table, which stays."""

    def __init__(
        self, settings: Any, updates: Any, model: FrozenModel, sequences: Any, states: Any, table: Any
    ) -> None:
        super().__init__(settings, updates, model, sequences, states)
        self._table = table

    @contextlib.contextmanager
    def hung(self, inputs: Any) -> Iterator[None]:
        with self._table.hung(inputs), super().hung(inputs):
            yield


def _on(training: SlotTraining, sequences: PackedSequences, states: Any) -> Any:
    """The slots of ``training``, which read other ``sequences``."""
    own, training.sequences = training.sequences, sequences
    student = training.student(states)
    training.sequences = own
    return student


def _new_text(tokenizer: Any, count: int) -> PackedSequences:
    """Paragraphs of articles."""
    lines = path("wikitext-2").read_text(encoding="utf-8").splitlines()
    texts = [line.strip() for line in lines if len(line) > 400][: 3 * count]
    tokens, _ = encode(texts, tokenizer, LENGTH)
    return _first(packed({PATH: tokens}, LENGTH), count)


def _old_text(trained: Trained, count: int) -> PackedSequences:
    """The beginnings of held-out documents."""
    rows = trained.bank.table("documents", ["id", "text"], TEST).sort_by("id")
    tokens, _ = encode(rows["text"].to_pylist(), trained.tokenizer, LENGTH)
    return _first(packed({PATH: tokens}, LENGTH), count)


def _first(sequences: PackedSequences, count: int) -> PackedSequences:
    return PackedSequences(sequences.tokens[:count], sequences.part[:count], sequences.paths[:count])


def _listed(losses: Sequence[float]) -> str:
    return " ".join(f"{loss:.3f}" for loss in losses)
