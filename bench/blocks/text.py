"""Text of the bench's bank for runs in one process: what the frozen layers say of it is computed once for all of them.

Jobs, packing and training are those of the step `blocks`; only who keeps the lower states differs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bench.blocks.corpus import LAYERS, MODEL, base, with_blocks
from bench.report import tell
from mnemic import languagemodel
from mnemic.bank import Bank
from mnemic.blocks.layout import CONTROL, GENERIC, above
from mnemic.blocks.routes import Routes, serving
from mnemic.edits import readable_documents
from mnemic.ids import unit_draw
from mnemic.languagemodel.windows import encode
from operators.blocks.frozen import FrozenModel, LowerStates
from operators.blocks.operator import TrainBlocks
from operators.blocks.packing import PackedSequences
from operators.blocks.plan import BlockJob
from pipelines.recipe import load_recipe
from pipelines.steps.block_texts import BlockTexts

PREFIX = 256
"""Tokens that route a document and are not scored."""

LONGEST = 512
"""Tokens of a held-out document."""

Losses = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Opened:
    """Sequences, and what the frozen layers below say of them."""

    sequences: PackedSequences
    states: LowerStates


@dataclass(frozen=True)
class BenchText:
    """The jobs of topics, with the control among them, and held-out documents with their leaves."""

    bank: Bank
    settings: TrainBlocks
    model: Any
    tokenizer: Any
    frozen: FrozenModel
    jobs: dict[str, BlockJob]
    texts: dict[str, Opened]
    documents: Opened
    leaves: list[str]

    @property
    def nodes(self) -> set[str]:
        """All that have a block."""
        return {path for job in self.jobs.values() for path in job.blocks if path not in GENERIC}

    def path(self, document: int) -> tuple[str, ...]:
        """The blocks of a document."""
        return serving(self.leaves[document], self.nodes)

    def other(self, document: int) -> tuple[str, ...]:
        """The blocks of another topic, drawn by the document."""
        own = above(self.leaves[document])[:1]
        others = sorted(node for node in self.nodes if above(node)[:1] != own and "." in node)
        others = others or sorted(node for node in self.nodes if above(node)[:1] != own)
        draw = unit_draw(0, "other topic", str(document))
        return serving(others[int(draw * len(others))], self.nodes) if others else ()

    def losses(self, hung: Callable[[int], AbstractContextManager[Any]]) -> list[Losses]:
        """Of each held-out document the loss of each token behind its prefix, in nats, read while ``hung`` of it."""
        sequences, values = self.documents.sequences, []
        for number in range(len(sequences)):
            length = int((sequences.part[number] >= 0).sum())
            one = np.array([number])
            with hung(number), torch.no_grad():
                hidden = self.frozen.above(self.documents.states.of(one), sequences, one)[0, PREFIX - 1 : length - 1]
            following = torch.from_numpy(sequences.tokens[number, PREFIX:length].astype(np.int64))
            logits = (hidden @ self.frozen.head.T).float()
            loss = torch.nn.functional.cross_entropy(logits, following, reduction="none")
            values.append(loss.double().numpy())
        return values

    @property
    def owner(self) -> npt.NDArray[np.int64]:
        """The document of each scored token."""
        counts = (self.documents.sequences.part >= 0).sum(1) - PREFIX
        return np.repeat(np.arange(len(counts)), counts)


@contextlib.contextmanager
def opened_text(quick: bool, where: str, most: int, rate: float) -> Iterator[BenchText]:
    """The text of the bank while the block runs, with at most so many held-out documents that satisfy ``where``."""
    bank, settings = base(quick), load_recipe(with_blocks(quick, 0, rate)).blocks
    model, tokenizer = languagemodel.load(MODEL)
    frozen = FrozenModel(model, LAYERS)
    versions = {name: bank.dataset(name).version for name in ("documents", "events")}
    texts = BlockTexts.open(bank.view.store, versions, settings)
    depth = max(bank.table("clusters", ["level"])["level"].to_pylist(), default=0)
    jobs = {job.name: job for job in texts.plan(depth, model).jobs if job.name != "fallback"}
    nodes = [path for job in jobs.values() for path in job.blocks if path not in GENERIC]
    documents, leaves = _held_out(bank, tokenizer, where, most)
    with contextlib.ExitStack() as stack:

        def opened(sequences: PackedSequences) -> Opened:
            return Opened(sequences, stack.enter_context(frozen.states(sequences)))

        own = {name: opened(texts.sequences(name, job.blocks, nodes)) for name, job in jobs.items()}
        tokens = {name: int(one.sequences.predicting.sum()) for name, one in own.items()}
        tell(f"tokens by job: {tokens}; {len(nodes)} nodes have a block; {len(leaves)} held-out documents")
        assert CONTROL in own
        yield BenchText(bank, settings, model, tokenizer, frozen, jobs, own, opened(documents), leaves)


def _held_out(bank: Bank, tokenizer: Any, where: str, most: int) -> tuple[PackedSequences, list[str]]:
    """Documents of more than ``PREFIX`` tokens, one a sequence, and the leaf that their beginnings lead to."""
    rows = readable_documents(bank.dataset("documents"), where).sort_by("id")
    every, _ = encode(rows["text"].to_pylist(), tokenizer, LONGEST)
    long = [one for one in every if len(one) > PREFIX + 32]
    long = long[:: max(1, len(long) // most)][:most]
    tokens, part = np.zeros((len(long), LONGEST), np.int32), np.full((len(long), LONGEST), -1, np.int32)
    for number, one in enumerate(long):
        tokens[number, : len(one)], part[number, : len(one)] = one, 0
    routes = Routes(bank.view)
    leaves = [routes.leaf(tokenizer.decode(one[:PREFIX])) for one in long]
    return PackedSequences(tokens, part, (("document",),) * len(long)), leaves
