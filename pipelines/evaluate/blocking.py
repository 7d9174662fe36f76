"""The effect of blocking a subtree of topics: perplexity of its held-out documents with its blocks and without them.

Whoever blocks a node of level 1 (`Bank.attach(..., blocked=[node])`) wants its documents to be read as by a model
without memory. So each document stands here without memory, with the blocks of its topic, and with the subtree of
level 1 blocked that they are of. What other topics' blocks know of the document stays in the bank, and is the last
comparison: blocks that began with one block of all topics know something of all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mnemic.blocks.layout import GENERIC, above
from mnemic.memories.blocks import StoredBlocks
from pipelines.evaluate.bootstrap import Comparison, Interval, bootstrap

Losses = npt.NDArray[np.float64]

BLOCKED = "subtree blocked"
"""The reading of a document while the node of level 1 above it is blocked."""


@dataclass(frozen=True)
class BlockedSubtree:
    """Perplexity of held-out documents that blocks below ``node`` serve; "" is all, each with its own node blocked.

    ``base`` is without memory. ``fetched``, ``blocked`` and ``elsewhere`` (with the blocks of another topic, where
    there is one) are against it, ``effect`` is the subtree blocked against its blocks.
    """

    node: str
    label: str
    documents: int
    tokens: int
    base: Interval
    fetched: Comparison
    blocked: Comparison
    effect: Comparison
    elsewhere: Comparison | None


def subtree_of(memory: StoredBlocks, leaf: str) -> str:
    """The node of level 1 whose subtree serves a text of ``leaf``; "" where no block of a node does."""
    path = memory.path(leaf)
    return above(leaf)[0] if path and path[0] not in GENERIC else ""


def blocked_subtrees(
    nodes: Sequence[str],
    labels: Mapping[str, str],
    losses: Mapping[str, Sequence[Losses]],
    other: Sequence[Losses] | None,
) -> Iterator[BlockedSubtree]:
    """All documents that blocks of nodes serve, then those of each node of level 1.

    ``nodes`` are `subtree_of` each document, and ``losses`` those of its tokens in nats, by reading: "base", "fetched"
    and `BLOCKED`. ``other`` are those with the blocks of another topic, None where there is none.
    """
    served = sorted({*nodes} - {""}, key=lambda node: (len(node), node))
    for node in ["", *served] if served else []:
        places = [place for place, own in enumerate(nodes) if own and node in ("", own)]
        owner = np.repeat(places, [len(losses["base"][place]) for place in places])
        base, fetched, blocked = (
            np.concatenate([losses[name][place] for place in places]) for name in ("base", "fetched", BLOCKED)
        )
        elsewhere = None if other is None else np.concatenate([other[place] for place in places])
        yield BlockedSubtree(
            node,
            labels.get(node, "") if node else "",
            len(places),
            len(base),
            bootstrap(base, base, owner).perplexity,
            bootstrap(base, fetched, owner),
            bootstrap(base, blocked, owner),
            bootstrap(fetched, blocked, owner),
            None if elsewhere is None else bootstrap(base, elsewhere, owner),
        )
