"""Which nodes have a block, of how many rows, and the jobs that train them.

Blocks of different subtrees of level 1 never serve one text, and the model is frozen, so each subtree is a job of its
own (Pouransari et al., arXiv 2510.02375, section 3). Two jobs more train blocks of no node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mnemic.blocks.layout import FALLBACK, NO_TOPICS, SHARED, above
from mnemic.blocks.routes import serving
from mnemic.errors import StepError
from mnemic.ids import unit_draw
from operators.blocks.operator import TrainBlocks

FALLBACK_SHARE = 1 / 17
"""Of documents, that train the fallback and no block of a node."""

_NARROWING = 4
"""Rows of a level over those of the next: 256, 64 and 16 in the paper."""

_MULTIPLE = 8
"""Rows are a multiple of this where they are as many: matrix products like it."""


@dataclass(frozen=True)
class BlockJob:
    """Blocks that are trained together: their rows by path, on documents of ``tokens`` tokens.

    ``documents`` is a digest of these and their leaves; with shared epochs, of those of all topics too.
    """

    name: str
    blocks: Mapping[str, int]
    tokens: int
    documents: str


BEGINNING_ALONE = (SHARED, FALLBACK)
"""Jobs that never begin with the shared block."""


def not_waiting(settings: TrainBlocks) -> tuple[str, ...]:
    """Jobs that need nothing of the shared one; where that changes the model, all others are trained beside it."""
    return (SHARED,) if settings.model_rate else BEGINNING_ALONE


def settings_of(job: str, settings: TrainBlocks) -> TrainBlocks:
    """Those of a ``job``, whose epochs are the shared ones, those behind them, or all: of the fallback."""
    epochs, shared = settings.epochs, settings.shared_epochs
    own = {SHARED: shared, FALLBACK: epochs}.get(job, epochs - shared)
    factor = settings.shared_rate if job == SHARED else 1.0
    return replace(
        settings,
        epochs=own,
        shared_epochs=0,
        shared_rate=1.0,
        model_rate=0.0,
        learning_rate=settings.learning_rate * factor,
        matrix_rate=settings.matrix_rate * factor,
    )


def chosen_layers(layers: str | Sequence[int], count: int) -> tuple[int, ...]:
    """The layers to widen of a model of ``count``: "uniform" is all, "late" the upper third."""
    if layers == "uniform":
        return tuple(range(count))
    if layers == "late":
        return tuple(range(count - -(-count // 3), count))
    numbers = tuple(int(layer) for layer in layers)
    if numbers[-1] >= count:
        raise StepError(
            f"The blocks' layers name {numbers[-1]} and the model has {count}, numbered from 0; name layers of it."
        )
    return numbers


def rows_by_level(settings: TrainBlocks, depth: int, parameters: int, row: int) -> tuple[int, ...]:
    """Rows of a block at the levels 1 to ``depth``; ``row`` is the parameters of one, ``parameters`` the model's."""
    if settings.rows is not None:
        return settings.rows[:depth]
    total = settings.budget * parameters / row
    shares = [_NARROWING**-level for level in range(depth)]
    wanted_rows = [int(total * share / sum(shares)) for share in shares]
    return tuple(rows - rows % _MULTIPLE if rows >= _MULTIPLE else rows for rows in wanted_rows)


def in_fallback(seed: int, document: str) -> bool:
    """Whether a document trains the fallback."""
    return unit_draw(seed, FALLBACK, document) < FALLBACK_SHARE


def nodes_with_blocks(tokens: Mapping[str, int], rows: Sequence[int], least: int) -> dict[str, int]:
    """The rows of every node that has a block; ``tokens`` are the training tokens of each leaf."""
    totals: dict[str, int] = {}
    for leaf, count in tokens.items():
        for node in above(leaf)[: len(rows)]:
            totals[node] = totals.get(node, 0) + count
    return {
        node: rows[len(above(node)) - 1]
        for node in sorted(totals, key=_numbers)
        if totals[node] >= least and rows[len(above(node)) - 1]
    }


def subtrees(nodes: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """The nodes by the node of level 1 above them: the blocks of each job."""
    jobs: dict[str, dict[str, int]] = {}
    for node, rows in nodes.items():
        jobs.setdefault(above(node)[0], {})[node] = rows
    return jobs


def path_of(leaf: str, job: str, blocks: Iterable[str]) -> tuple[str, ...]:
    """The blocks of ``job`` that a document of ``leaf`` trains; none for one that it does not see."""
    if job in NO_TOPICS:
        return (job,)
    return tuple(path for path in serving(leaf, set(blocks)) if path != FALLBACK)


def _numbers(path: str) -> tuple[int, ...]:
    return tuple(map(int, path.split(".")))
