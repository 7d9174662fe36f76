"""Text of the bench's bank for runs in one process: what the frozen layers say of it is computed once for all of them.

Jobs, packing and training are those of the step `blocks`; only who keeps the lower states differs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from bench.blocks.corpus import LAYERS, LENGTH, MODEL, base, with_blocks
from bench.report import tell
from mnemic import languagemodel
from mnemic.bank import Bank
from mnemic.blocks.layout import CONTROL, NO_TOPICS, SHARED, above
from mnemic.blocks.routes import Routes, serving
from mnemic.edits import readable_documents
from mnemic.ids import unit_draw
from mnemic.languagemodel.windows import encode
from mnemic.splits import in_part
from operators.blocks.frozen import FrozenModel, LowerStates
from operators.blocks.operator import TrainBlocks
from operators.blocks.packing import PackedSequences
from operators.blocks.plan import BlockJob
from pipelines.recipe import load_recipe
from pipelines.steps.block_texts import BlockTexts

PREFIX = 256
"""Tokens that route a document and are not scored."""

PARTS = {"validation": "validation-document", "test": "test-document"}
DOCUMENTS = {True: {"validation": 8, "test": 16}, False: {"validation": 40, "test": 40}}
"""Whether the run is quick -> held-out documents at most."""

Losses = npt.NDArray[np.float64]


class States(Protocol):
    """See `LowerStates`."""

    def of(self, chosen: npt.NDArray[np.int64]) -> torch.Tensor: ...


@dataclass(frozen=True)
class StatesFrom:
    """Those of ``whole`` from the sequence ``begin`` on."""

    whole: LowerStates
    begin: int

    def of(self, chosen: npt.NDArray[np.int64]) -> torch.Tensor:
        return self.whole.of(chosen + self.begin)


@dataclass(frozen=True)
class Opened:
    """Sequences, and what the frozen layers below say of them."""

    sequences: PackedSequences
    states: Any


@dataclass(frozen=True)
class HeldOut:
    """Documents, one a sequence; the leaves that their first `PREFIX` tokens lead to, and those of all they have."""

    opened: Opened
    leaves: list[str]
    leaves_of_whole: list[str]

    @property
    def owner(self) -> npt.NDArray[np.int64]:
        """The document of each scored token."""
        counts = (self.opened.sequences.part >= 0).sum(1) - PREFIX
        return np.repeat(np.arange(len(counts)), counts)


@dataclass(frozen=True)
class BenchText:
    """The jobs of topics and their text, that of all of them together, and held-out documents by their part."""

    bank: Bank
    settings: TrainBlocks
    model: Any
    tokenizer: Any
    frozen: FrozenModel
    jobs: dict[str, BlockJob]
    texts: dict[str, Opened]
    parts: dict[str, HeldOut]

    @property
    def nodes(self) -> dict[str, int]:
        """The rows of all that have a block."""
        return {path: rows for name in self.topics for path, rows in self.jobs[name].blocks.items()}

    @property
    def topics(self) -> list[str]:
        """The jobs of topics."""
        return [name for name in self.jobs if name not in NO_TOPICS]

    def path(self, leaf: str) -> tuple[str, ...]:
        """The blocks of a document of ``leaf``."""
        return serving(leaf, self.nodes)

    def other(self, leaf: str, document: int) -> tuple[str, ...]:
        """The blocks of another topic, drawn by the document."""
        nodes, own = self.nodes, above(leaf)[:1]
        others = sorted(node for node in nodes if above(node)[:1] != own and "." in node)
        others = others or sorted(node for node in nodes if above(node)[:1] != own)
        draw = unit_draw(0, "other topic", str(document))
        return serving(others[int(draw * len(others))], nodes) if others else ()

    def losses(self, part: HeldOut, hung: Callable[[int], AbstractContextManager[Any]]) -> Losses:
        """The loss of each token behind the prefixes of ``part``, in nats, a document read while ``hung`` of it."""
        sequences, values = part.opened.sequences, []
        for number in range(len(sequences)):
            length = int((sequences.part[number] >= 0).sum())
            one = np.array([number])
            with hung(number), torch.no_grad():
                hidden = self.frozen.above(part.opened.states.of(one), sequences, one)[0, PREFIX - 1 : length - 1]
            following = torch.from_numpy(sequences.tokens[number, PREFIX:length].astype(np.int64))
            logits = (hidden @ self.frozen.head.T).float()
            loss = torch.nn.functional.cross_entropy(logits, following, reduction="none")
            values.append(loss.double().numpy())
        return np.concatenate(values)


@contextlib.contextmanager
def opened_text(quick: bool) -> Iterator[BenchText]:
    """The text of the bank while the block runs."""
    bank, settings = base(quick), load_recipe(with_blocks(quick)).blocks
    model, tokenizer = languagemodel.load(MODEL)
    frozen = FrozenModel(model, LAYERS)
    versions = {name: bank.dataset(name).version for name in ("documents", "events")}
    texts = BlockTexts.open(bank.view.store, versions, settings)
    depth = max(bank.table("clusters", ["level"])["level"].to_pylist(), default=0)
    jobs = {job.name: job for job in texts.plan(depth, model).jobs if job.name != "fallback"}
    nodes = [path for job in jobs.values() for path in job.blocks if path not in NO_TOPICS]
    with contextlib.ExitStack() as stack:

        def opened(sequences: PackedSequences) -> Opened:
            return Opened(sequences, stack.enter_context(frozen.states(sequences)))

        own = {name: texts.sequences(name, jobs[name].blocks, nodes) for name in jobs if name not in NO_TOPICS}
        together = opened(_together(list(own.values())))
        begins = np.cumsum([0, *(len(one) for one in own.values())]).tolist()
        topics = {
            name: Opened(sequences, StatesFrom(together.states, begin))
            for (name, sequences), begin in zip(own.items(), begins, strict=False)
        }
        for name, one in topics.items():
            tell(f"job {name}: {int(one.sequences.predicting.sum()):,} tokens, blocks {', '.join(jobs[name].blocks)}")
        parts = {
            name: _held_out(bank, tokenizer, in_part(part), DOCUMENTS[quick][name], opened)
            for name, part in PARTS.items()
        }
        tell(
            f"{int(together.sequences.predicting.sum()):,} tokens in all; held-out documents: "
            + ", ".join(f"{len(part.leaves)} {name}, {len(part.owner):,} tokens" for name, part in parts.items())
        )
        alike = Opened(replace(together.sequences, paths=((SHARED,),) * len(together.sequences)), together.states)
        every = topics | {CONTROL: together, SHARED: alike}
        yield BenchText(bank, settings, model, tokenizer, frozen, jobs, every, parts)


def _together(topics: list[PackedSequences]) -> PackedSequences:
    """What the jobs of topics see together, for one block of all."""
    tokens, part = (np.concatenate([getattr(one, name) for one in topics]) for name in ("tokens", "part"))
    return PackedSequences(tokens, part, ((CONTROL,),) * len(tokens))


def _held_out(
    bank: Bank, tokenizer: Any, where: str, most: int, opened: Callable[[PackedSequences], Opened]
) -> HeldOut:
    """At most so many documents of more than ``PREFIX`` tokens."""
    rows = readable_documents(bank.dataset("documents"), where).sort_by("id")
    every, _ = encode(rows["text"].to_pylist(), tokenizer, LENGTH)
    long = [one for one in every if len(one) > PREFIX + 32][:most]
    tokens, part = np.zeros((len(long), LENGTH), np.int32), np.full((len(long), LENGTH), -1, np.int32)
    for number, one in enumerate(long):
        tokens[number, : len(one)], part[number, : len(one)] = one, 0
    routes = Routes(bank.view)
    leaves, leaves_of_whole = (
        [routes.leaf(tokenizer.decode(one[:length])) for one in long] for length in (PREFIX, LENGTH)
    )
    sequences = PackedSequences(tokens, part, (("document",),) * len(long))
    return HeldOut(opened(sequences), leaves, leaves_of_whole)
