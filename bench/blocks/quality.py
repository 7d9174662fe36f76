"""Perplexity of held-out documents with the blocks of their topic, and with what they are compared with."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from bench.blocks.corpus import MODEL, ROWS, build, recipe
from bench.blocks.lora import LoraUpdates, trained_lora
from bench.report import Row, tell
from mnemic import languagemodel
from mnemic.bank import Bank
from mnemic.blocks.layout import CONTROL, GENERIC
from mnemic.memories.blocks import StoredBlocks
from mnemic.mixture import perplexity
from mnemic.splits import TEST, VALIDATION
from operators.blocks.operator import TrainBlocks
from pipelines.evaluate.blocks import PREFIX, RoutedDocument, losses_at, other_topic, routed_documents
from pipelines.evaluate.bootstrap import bootstrap
from pipelines.recipe import load_recipe
from pipelines.steps.block_texts import BlockTexts

SEEDS = (0, 1, 2)
RATES = (3e-4, 1e-3, 3e-3)
DOCUMENTS = {True: 16, False: 200}

Losses = dict[str, npt.NDArray[np.float64]]


def quality_rows(quick: bool) -> tuple[list[Row], Bank]:
    """Rows of the seeds together, and the bank of the last; learning rates are chosen on validation in a whole run."""
    rate, lora_rate = (1e-3, 1e-3) if quick else _best_rates()
    losses: list[Losses] = []
    owners: list[npt.NDArray[np.int64]] = []
    for seed in SEEDS[:1] if quick else SEEDS:
        bank = build(quick, seed, rate)
        measured, owner = _losses(bank, quick, seed, lora_rate, TEST)
        losses.append(measured)
        owners.append(owner)
    every = {name: np.concatenate([one[name] for one in losses]) for name in losses[0]}
    owner = np.concatenate(owners)  # a document is drawn with all of its seeds
    for name, loss in every.items():
        tell(f"{name}: perplexity {perplexity(loss):.3f}, {len(set(owner.tolist()))} documents, {len(loss):,} tokens")
    fetched = every["fetched"]

    def ratio(row: str, metric: str, against: str, must: float, goal: float, other: str = "fetched") -> list[Row]:
        one = bootstrap(every[against], every[other], owner).ratio
        text = f"{metric} (95 % {one.low:.3f} to {one.high:.3f})"
        return [Row(row, text, one.value, "x", must, goal, higher_is_better=False)]

    rows = [
        Row("blocks_perplexity", "model alone", perplexity(every["base"]), ""),
        Row("blocks_perplexity", "with the blocks of its topic", perplexity(fetched), ""),
        *ratio("blocks_vs_generic", "perplexity, fetched / generic of equal size", "control", 1.0, 0.97),
        *ratio("blocks_vs_base", "perplexity, fetched / none", "base", 1.0, 0.97),
        *ratio("blocks_wrong", "perplexity, fetched / another topic's", "other topic", 0.99, 0.97),
        *ratio("blocks_wrong", "perplexity, none / another topic's", "other topic", 1.02, 1.0, other="base"),
        *ratio("blocks_vs_lora", "perplexity, fetched / LoRA of as many parameters", "lora", 1.0, 0.97),
    ]
    return rows, bank


def _losses(bank: Bank, quick: bool, seed: int, rate: float, where: str) -> tuple[Losses, npt.NDArray[np.int64]]:
    """Of every scored token by what the model is read with, [n], and its document."""
    memory = _memory(bank)
    model, tokenizer = languagemodel.load(MODEL)
    documents = routed_documents(bank, memory, tokenizer, where, PREFIX)
    documents = documents[:: max(1, len(documents) // DOCUMENTS[quick])][: DOCUMENTS[quick]]
    parts: dict[str, list[npt.NDArray[np.float64]]] = {}
    for one in documents:
        for name, loss in _with_blocks(model, memory, one).items():
            parts.setdefault(name, []).append(loss)
    updates = _lora(bank, model, memory, load_recipe(recipe(quick, seed, rate)).blocks)
    with updates.hung():
        parts["lora"] = [losses_at(model, None, one.tokens, (), PREFIX)[0] for one in documents]
    owner = np.repeat(np.arange(len(documents)), [len(one.tokens) - PREFIX for one in documents])
    return {name: np.concatenate(losses) for name, losses in parts.items()}, owner


def _with_blocks(model: Any, memory: StoredBlocks, one: RoutedDocument) -> Losses:
    leaves = {"fetched": one.leaf, "control": CONTROL, "other topic": other_topic(memory, one.leaf, one.id)}
    rows = losses_at(model, memory, one.tokens, list(leaves.values()), PREFIX)
    return {"base": losses_at(model, None, one.tokens, (), PREFIX)[0], **dict(zip(leaves, rows, strict=True))}


def _lora(bank: Bank, model: Any, memory: StoredBlocks, settings: TrainBlocks) -> LoraUpdates:
    """LoRA with as many parameters as a text fetches, on the text of the control."""
    versions = {name: bank.dataset(name).version for name in ("documents", "events")}
    texts = BlockTexts.open(bank.view.store, versions, settings)
    nodes = [path for path in memory.module.paths if path not in GENERIC]
    sequences = texts.sequences(CONTROL, {CONTROL: sum(ROWS)}, nodes)
    tell(f"LoRA on {int(sequences.predicting.sum()):,} tokens, {settings.epochs} epochs")
    layout = memory.module.layout
    return trained_lora(model, layout.layers, sequences, settings, layout.numbers(sum(ROWS)))


def _best_rates() -> tuple[float, float]:
    """Learning rates of blocks and of LoRA: those with the least perplexity on validation documents, of seed 0."""
    scores = {rate: _validated(rate) for rate in RATES}
    best, best_lora = (min(RATES, key=lambda rate: scores[rate][name]) for name in ("fetched", "lora"))
    return best, best_lora


def _validated(rate: float) -> dict[str, float]:
    losses, _ = _losses(build(False, 0, rate), False, 0, rate, VALIDATION)
    return {name: perplexity(loss) for name, loss in losses.items()}


def _memory(bank: Bank) -> StoredBlocks:
    return cast(StoredBlocks, bank.memory("blocks"))
