"""Perplexity of held-out documents with the blocks of their topic, and with what they are compared with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.blocks.corpus import LAYERS, ROWS
from bench.blocks.lora import LoraUpdates, trained_lora
from bench.blocks.tables import read, table_settings, trained_table
from bench.blocks.text import BenchText, Losses, opened_text
from bench.report import Row, tell
from mnemic.attach.feedforward import Projections
from mnemic.blocks.layout import CONTROL, BlockLayout, above
from mnemic.languagemodel import blocks as layers_of
from mnemic.mixture import perplexity
from mnemic.slots.layout import NGRAMS, PRODUCT_KEYS
from mnemic.splits import TEST, VALIDATION
from operators.blocks.sequences import adding
from operators.blocks.student import TrainedBlocks
from operators.blocks.training import BlockTraining, ModelShape
from operators.slots.training import SlotTraining
from pipelines.evaluate.bootstrap import bootstrap

SEEDS = (0, 1, 2)
RATES = (1e-3, 3e-3)
DOCUMENTS = {True: 16, False: 60}


@dataclass(frozen=True)
class SeedResult:
    """Losses of every scored token by what the model is read with, [n], and the table of product keys."""

    losses: dict[str, Losses]
    table: SlotTraining


def quality_rows(quick: bool, text: BenchText, rate: float, lora_rate: float) -> tuple[list[Row], SlotTraining]:
    """Rows of the seeds together, and the table of the last one."""
    results: list[SeedResult] = []
    for seed in SEEDS[:1] if quick else SEEDS:
        results.append(measured(text, seed, rate, lora_rate))
        for row in compared(text, results):
            tell(f"  {row.id} {row.metric}: {row.value:.4f}")
    return compared(text, results), results[-1].table


def compared(text: BenchText, results: list[SeedResult]) -> list[Row]:
    """Rows of all ``results``; a document is drawn with all of its seeds."""
    every = {name: np.concatenate([one.losses[name] for one in results]) for name in results[0].losses}
    owner = np.concatenate([text.owner] * len(results))
    fetched = _layout(text).numbers(sum(ROWS))

    def ratio(row: str, metric: str, against: str, must: float, goal: float, other: str = "fetched") -> Row:
        one = bootstrap(every[against], every[other], owner).ratio
        words = f"{metric} (95 % {one.low:.3f} to {one.high:.3f})"
        return Row(row, words, one.value, "x", must, goal, higher_is_better=False)

    return [
        *(Row("blocks_perplexity", name, perplexity(loss), "") for name, loss in every.items()),
        ratio("blocks_vs_generic", "perplexity, fetched / generic of equal size", "control", 1.0, 0.97),
        ratio("blocks_vs_base", "perplexity, fetched / none", "base", 1.0, 0.97),
        ratio("blocks_wrong", "perplexity, fetched / another topic's", "other topic", 0.99, 0.97),
        ratio("blocks_wrong", "perplexity, none / another topic's", "other topic", 1.02, 1.0, other="base"),
        ratio("blocks_vs_lora", "perplexity, fetched / LoRA of as many parameters", "lora", 1.0, 0.97),
        ratio("blocks_int8", "perplexity, int8 / float32", "fetched", 1.01, 1.002, other="int8"),
        ratio("blocks_vs_slots", "perplexity, fetched / product keys", PRODUCT_KEYS, 1.0, 0.97),
        Row("read_parameters", "blocks of a text", fetched / 1e6, "M"),
        Row("read_parameters", "product keys: finders and the rows of a position", read(results[-1].table) / 1e6, "M"),
    ]


def measured(text: BenchText, seed: int, rate: float, lora_rate: float) -> SeedResult:
    """Everything trained from ``seed`` on the same text and layers, for as many epochs."""
    settings = replace(text.settings, seed=seed, learning_rate=rate)
    control = text.texts[CONTROL]
    blocks = {name: _trained(text, settings, name) for name in text.jobs}
    for name, memory in blocks.items():
        tell(f"job {name}: {memory.steps_of(next(iter(memory.config.rows)))} steps")
    rounded = {name: _rounded(text, memory) for name, memory in blocks.items()}
    losses: dict[str, Losses] = {}

    def read_with(name: str, hung: Callable[[int], AbstractContextManager[Any]]) -> None:
        losses[name] = np.concatenate(text.losses(hung))
        tell(f"seed {seed}, {name}: perplexity {perplexity(losses[name]):.3f}, {len(losses[name]):,} tokens")

    read_with("base", lambda number: contextlib.nullcontext())
    read_with("fetched", lambda number: _hung(text, blocks, text.path(number)))
    read_with("control", lambda number: _hung(text, blocks, (CONTROL,)))
    read_with("other topic", lambda number: _hung(text, blocks, text.other(number)))
    read_with("int8", lambda number: _hung(text, rounded, text.path(number)))
    size = _layout(text).numbers(sum(ROWS))
    lora: LoraUpdates = trained_lora(text.frozen, control, replace(settings, learning_rate=lora_rate), size)
    read_with("lora", lambda number: lora.hung())
    tables = {
        layout: trained_table(text.frozen, text.tokenizer, control, table_settings(layout, settings, LAYERS, size))
        for layout in (PRODUCT_KEYS, NGRAMS)
    }
    for layout, table in tables.items():
        read_with(layout, _reading(table, text))
    return SeedResult(losses, tables[PRODUCT_KEYS])


def best_rates(quick: bool) -> tuple[float, float]:
    """Learning rates of blocks and of LoRA: those of the least perplexity on validation documents, of seed 0."""
    if quick:
        return 3e-3, 1e-3
    with opened_text(quick, VALIDATION, DOCUMENTS[quick], RATES[0]) as text:
        scores = {rate: measured(text, 0, rate, rate).losses for rate in RATES}
    for rate, losses in scores.items():
        tell(
            f"validation, rate {rate:g}: " + ", ".join(f"{name} {perplexity(one):.3f}" for name, one in losses.items())
        )
    best, best_lora = (min(RATES, key=lambda rate: perplexity(scores[rate][name])) for name in ("fetched", "lora"))
    return best, best_lora


def held_out(quick: bool, rate: float) -> AbstractContextManager[BenchText]:
    """The text with the documents that are reported."""
    return opened_text(quick, TEST, DOCUMENTS[quick], rate)


def _reading(table: SlotTraining, text: BenchText) -> Callable[[int], AbstractContextManager[None]]:
    """What hangs the ``table`` beside its layers for a held-out document."""
    student = table.student(text.documents.states, text.documents.sequences)
    return lambda number: student.hung(np.array([number]))


def _trained(text: BenchText, settings: Any, name: str) -> TrainedBlocks:
    own = text.texts[name]
    training = BlockTraining(settings, text.frozen, text.jobs[name].blocks, own.sequences)
    for _ in training.epochs(own.states, lambda done, total: None):
        pass
    return training.memory


def _layout(text: BenchText) -> BlockLayout:
    return ModelShape.of(text.model, LAYERS).layout(text.settings, ROWS)


def _rounded(text: BenchText, memory: TrainedBlocks) -> TrainedBlocks:
    """A copy whose numbers went through int8."""
    layout, copied = replace(_layout(text), type="int8"), TrainedBlocks(memory.config)
    for path, rows in memory.config.rows.items():
        copied.take(path, layout.unpacked(layout.packed(memory.block(path)), rows, path))
    return copied


@contextlib.contextmanager
def _hung(text: BenchText, blocks: dict[str, TrainedBlocks], path: tuple[str, ...]) -> Iterator[None]:
    """The blocks of ``path`` beside their layers."""
    stack = layers_of(text.model)
    with contextlib.ExitStack() as hooks:
        for layer in LAYERS if path else ():
            memory = blocks[path[0] if path == (CONTROL,) else above(path[0])[0]]
            add = memory.beside(layer, path, Projections.of(stack[layer]).activation)
            hooks.callback(stack[layer].mlp.register_forward_hook(adding(add)).remove)
        yield
