"""How much of held-out text stands word for word in the suffix index, and what a memory gains where it does.

Nobody is to take copying for understanding: most of what an index of all text gains is text that stands there. The
index that is asked lacks held-out documents and whatever contains half of one; what is attached has them all.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnemic.suffixes.contexts import Contexts
from mnemic.suffixes.index import SuffixIndex
from pipelines.evaluate.gain import Bucket

LENGTHS = (0, 8, 32)
"""A bucket holds the tokens before which a match of so many tokens ends, and fewer than the next one says."""

SPAN = 8
"""Tokens of a span from which on its tokens count as copied."""


def by_length(lengths: NDArray[np.int64], losses: Mapping[str, ArrayLike]) -> tuple[Bucket, ...]:
    """Losses [n] of tokens, by the ``lengths`` [n] of the longest match of what stands before each."""
    bucket = np.searchsorted(LENGTHS, lengths, side="right") - 1
    count = np.bincount(bucket, minlength=len(LENGTHS))
    totals = {name: np.bincount(bucket, np.asarray(loss, np.float64), len(LENGTHS)) for name, loss in losses.items()}
    return tuple(
        Bucket(least, int(count[at]), {name: float(total[at] / count[at]) for name, total in totals.items()})
        for at, least in enumerate(LENGTHS)
        if count[at]
    )


def copied(index: SuffixIndex, before: Contexts, span: int = SPAN) -> NDArray[np.bool_]:
    """Which tokens stand in a span of at least ``span`` tokens that stands in the index too, bool [n].

    ``before`` are their `mnemic.suffixes.evidence.contexts_of`.
    """
    lengths = index.matches(Contexts(before.tokens, before.begins, before.ends + 1)).lengths[:, 0]
    order = np.argsort(before.ends)
    begins = np.where(lengths >= span, before.ends - lengths + 1, np.iinfo(np.int64).max)[order]
    first = np.minimum.accumulate(begins[::-1])[::-1]  # of all spans that end here or later; none reaches a text before
    in_span = np.empty(len(order), np.bool_)
    in_span[order] = first <= before.ends[order]
    return in_span


def match_lengths(index: SuffixIndex, before: Contexts) -> NDArray[np.int64]:
    """Tokens of the longest match that ends before each token, int64 [n]; ``before`` as of `copied`."""
    lengths: NDArray[np.int64] = index.matches(before).lengths[:, 0]
    return lengths
