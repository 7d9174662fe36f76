"""Perplexity of held-out documents with the blocks of their topic, and with what they are compared with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from bench.blocks.corpus import MODEL, ROWS, build, with_blocks
from bench.blocks.lora import LoraUpdates, trained_lora
from bench.blocks.tables import read, table_losses, table_settings, trained_table
from bench.report import Row, tell
from mnemic import languagemodel
from mnemic.bank import Bank
from mnemic.blocks.layout import CONTROL, GENERIC
from mnemic.blocks.shelf import BlockShelf
from mnemic.memories.blocks import StoredBlocks
from mnemic.mixture import perplexity
from mnemic.slots.layout import NGRAMS, PRODUCT_KEYS
from mnemic.splits import TEST, VALIDATION
from operators.blocks.packing import PackedSequences
from operators.slots.training import SlotTraining
from pipelines.evaluate.blocks import PREFIX, RoutedDocument, losses_at, other_topic, routed_documents
from pipelines.evaluate.bootstrap import bootstrap
from pipelines.recipe import load_recipe
from pipelines.steps.block_texts import BlockTexts

SEEDS = (0, 1, 2)
RATES = (1e-3, 3e-3)
DOCUMENTS = {True: 12, False: 40}

Losses = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Trained:
    """What one seed makes: a bank with blocks, the text of all topics, a table of slots, and the model."""

    bank: Bank
    sequences: PackedSequences
    table: SlotTraining
    model: Any
    tokenizer: Any


def quality_rows(quick: bool) -> tuple[list[Row], Trained]:
    """Rows of the seeds together, and what the last one made.

    In a whole run the learning rates of blocks and of LoRA are those of the least perplexity on validation documents.
    """
    rate, lora_rate = (3e-3, 1e-3) if quick else _best_rates()
    tell(f"learning rates: blocks and tables {rate:g}, LoRA {lora_rate:g}")
    losses: list[Losses] = []
    owners: list[npt.NDArray[np.int64]] = []
    for seed in SEEDS[:1] if quick else SEEDS:
        measured, owner, trained = _losses(quick, seed, rate, lora_rate, TEST)
        losses.append(measured)
        owners.append(owner)
        for name, loss in measured.items():
            tell(f"seed {seed}, {name}: perplexity {perplexity(loss):.3f}, {len(loss):,} tokens")
    every = {name: np.concatenate([one[name] for one in losses]) for name in losses[0]}
    owner = np.concatenate(owners)  # a document is drawn with all of its seeds
    layout = cast(StoredBlocks, trained.bank.memory("blocks")).module.layout
    fetched = layout.numbers(sum(ROWS))

    def ratio(row: str, metric: str, against: str, must: float, goal: float, other: str = "fetched") -> Row:
        one = bootstrap(every[against], every[other], owner).ratio
        text = f"{metric} (95 % {one.low:.3f} to {one.high:.3f})"
        return Row(row, text, one.value, "x", must, goal, higher_is_better=False)

    seen = [Row("blocks_perplexity", name, perplexity(loss), "") for name, loss in every.items()]
    rows = [
        *seen,
        ratio("blocks_vs_generic", "perplexity, fetched / generic of equal size", "control", 1.0, 0.97),
        ratio("blocks_vs_base", "perplexity, fetched / none", "base", 1.0, 0.97),
        ratio("blocks_wrong", "perplexity, fetched / another topic's", "other topic", 0.99, 0.97),
        ratio("blocks_wrong", "perplexity, none / another topic's", "other topic", 1.02, 1.0, other="base"),
        ratio("blocks_vs_lora", "perplexity, fetched / LoRA of as many parameters", "lora", 1.0, 0.97),
        ratio("blocks_int8", "perplexity, int8 / bfloat16", "fetched", 1.01, 1.002, other="int8"),
        Row("read_parameters", "a text's blocks", fetched / 1e6, "M"),
        Row("read_parameters", "product keys, finders and rows", read(trained.table) / 1e6, "M"),
    ]
    return rows, trained


def _losses(
    quick: bool, seed: int, rate: float, lora_rate: float, where: str
) -> tuple[Losses, npt.NDArray[np.int64], Trained]:
    """Of every scored token by what the model is read with, [n], and its document."""
    bank = build(quick, seed, rate)
    memory = cast(StoredBlocks, bank.memory("blocks"))
    model, tokenizer = languagemodel.load(MODEL)
    documents = routed_documents(bank, memory, tokenizer, where, PREFIX)
    documents = documents[:: max(1, len(documents) // DOCUMENTS[quick])][: DOCUMENTS[quick]]
    parts: dict[str, list[npt.NDArray[np.float64]]] = {}
    for one in documents:
        for name, loss in _with_blocks(model, memory, one).items():
            parts.setdefault(name, []).append(loss)
    own = load_recipe(with_blocks(quick, seed, rate)).blocks
    sequences, size = _sequences(bank, memory, own), memory.module.layout.numbers(sum(ROWS))
    updates: LoraUpdates = trained_lora(
        model, memory.module.layout.layers, sequences, replace(own, learning_rate=lora_rate), size
    )
    with updates.hung():
        parts["lora"] = [losses_at(model, None, one.tokens, (), PREFIX)[0] for one in documents]
    table = trained_table(model, tokenizer, sequences, table_settings(PRODUCT_KEYS, own, model, size))
    parts[PRODUCT_KEYS] = [table_losses(table, one.tokens, PREFIX) for one in documents]
    hashed = trained_table(model, tokenizer, sequences, table_settings(NGRAMS, own, model, size))
    parts[NGRAMS] = [table_losses(hashed, one.tokens, PREFIX) for one in documents]
    owner = np.repeat(np.arange(len(documents)), [len(one.tokens) - PREFIX for one in documents])
    trained = Trained(bank, sequences, table, model, tokenizer)
    return {name: np.concatenate(losses) for name, losses in parts.items()}, owner, trained


def _with_blocks(model: Any, memory: StoredBlocks, one: RoutedDocument) -> Losses:
    leaves = {"fetched": one.leaf, "control": CONTROL, "other topic": other_topic(memory, one.leaf, one.id)}
    rows = losses_at(model, memory, one.tokens, list(leaves.values()), PREFIX)
    base = losses_at(model, None, one.tokens, (), PREFIX)[0]
    rounded = losses_at(model, _rounded(memory), one.tokens, [one.leaf], PREFIX)[0]
    return {"base": base, **dict(zip(leaves, rows, strict=True)), "int8": rounded}


def _rounded(memory: StoredBlocks) -> StoredBlocks:
    """``memory`` with blocks as if int8 had been stored."""
    shelf = memory.module
    layout = replace(shelf.layout, type="int8")

    class Rounded(BlockShelf):
        def block(self, path: str) -> Any:
            whole = shelf.block(path).float()
            return layout.unpacked(layout.packed(whole), whole.shape[2], path)

    rounded = Rounded.__new__(Rounded)
    rounded.__dict__.update(shelf.__dict__)
    copied = replace(memory)
    copied.__dict__.update({"module": rounded, "routes": memory.routes})
    return copied


def _sequences(bank: Bank, memory: StoredBlocks, settings: Any) -> PackedSequences:
    """The text of the control: of all topics that have blocks."""
    versions = {name: bank.dataset(name).version for name in ("documents", "events")}
    texts = BlockTexts.open(bank.view.store, versions, settings)
    nodes = [path for path in memory.module.paths if path not in GENERIC]
    sequences = texts.sequences(CONTROL, {CONTROL: sum(ROWS)}, nodes)
    tell(f"text of all topics: {int(sequences.predicting.sum()):,} tokens, {settings.epochs} epochs")
    return sequences


def _best_rates() -> tuple[float, float]:
    """Learning rates of blocks and of LoRA: those with the least perplexity on validation documents, of seed 0."""
    scores = {rate: _validated(rate) for rate in RATES}
    best, best_lora = (min(RATES, key=lambda rate: scores[rate][name]) for name in ("fetched", "lora"))
    return best, best_lora


def _validated(rate: float) -> dict[str, float]:
    losses, _, _ = _losses(False, 0, rate, rate, VALIDATION)
    scores = {name: perplexity(loss) for name, loss in losses.items()}
    tell(f"validation, rate {rate:g}: " + ", ".join(f"{name} {score:.3f}" for name, score in scores.items()))
    return scores
