"""Repeated spans: the share of a bank's tokens that stand in a long span of another document too.

Deduplication drops documents that are nearly equal. Licences, templates and quotations stay, and a language model
trained on the text learns them by heart (Lee et al., arXiv 2107.06499, remove spans of 50 tokens). The places of a
suffix index are ordered by the tokens before them, so a span that stands in several documents is a run of adjoining
places that have its tokens in common: one pass over each shard finds all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnemic.suffixes.contexts import Contexts
from mnemic.suffixes.index import SuffixIndex
from mnemic.suffixes.shard import Shard

SPAN = 50
"""Tokens."""

_AT_ONCE = 1 << 20
"""Places that are compared at once."""


@dataclass(frozen=True)
class RepeatedSpans:
    """``repeated`` of ``tokens`` stand in ``span`` or more that another document of the same tenant has too."""

    span: int
    tokens: int
    repeated: int
    share: float


def repeated_spans(index: SuffixIndex, span: int = SPAN) -> RepeatedSpans:
    """Count over all shards; it takes a few bytes for each token of one shard at a time."""
    tokens = repeated = 0
    for number, shard in enumerate(index.shards):
        ends = _ends_in_shard(shard, span)
        others = [one for place, one in enumerate(index.shards) if place != number and one.tenant == shard.tenant]
        if others:
            _add_ends_elsewhere(shard, SuffixIndex(others), span, ends)
        tokens += len(shard)
        repeated += int(_covered(ends, span).sum())
    return RepeatedSpans(span, tokens, repeated, repeated / max(tokens, 1))


def _ends_in_shard(shard: Shard, span: int) -> NDArray[np.bool_]:
    """By token, whether the ``span`` tokens before it stand in two documents of the shard: bool [tokens + 1]."""
    places = shard.places
    same = np.zeros(len(places) + 1, np.bool_)  # of a place and the one before it in the order
    for start in range(1, len(places), _AT_ONCE):
        stop = min(start + _AT_ONCE, len(places))
        first, second = (places[start - one : stop - one].astype(np.int64) for one in (1, 0))
        same[start:stop] = _have_in_common(shard, first, second, span)
    members = np.flatnonzero(same[:-1] | same[1:])
    ends = np.zeros(len(shard.tokens) + 1, np.bool_)
    if len(members):
        begins = np.flatnonzero(~same[members])  # of the runs
        owner = shard.document_of(places[members])
        several = np.minimum.reduceat(owner, begins) < np.maximum.reduceat(owner, begins)
        ends[places[members][np.repeat(several, np.diff(np.append(begins, len(members))))]] = True
    return ends


def _have_in_common(shard: Shard, first: NDArray[np.int64], second: NDArray[np.int64], span: int) -> NDArray[np.bool_]:
    """Whether the ``span`` tokens before two places are equal, none of them a separator: bool [n]."""
    going = np.flatnonzero(np.minimum(first, second) >= span)
    for back in range(1, span + 1):
        token = shard.tokens[first[going] - back]
        going = going[(token == shard.tokens[second[going] - back]) & (token != shard.separator)]
    common = np.zeros(len(first), np.bool_)
    common[going] = True
    return common


def _add_ends_elsewhere(shard: Shard, others: SuffixIndex, span: int, ends: NDArray[np.bool_]) -> None:
    """Mark in ``ends`` the places whose ``span`` tokens stand in ``others``."""
    tokens = np.where(shard.tokens == shard.separator, -1, shard.tokens.astype(np.int64)).astype(np.int32)
    for start in range(0, len(shard), _AT_ONCE):
        places = shard.places[start : start + _AT_ONCE].astype(np.int64)
        places = places[(places >= span) & ~ends[places]]
        lengths = others.matches(Contexts(tokens, places - span, places)).lengths[:, 0]
        ends[places[lengths == span]] = True


def _covered(ends: NDArray[np.bool_], span: int) -> NDArray[np.bool_]:
    """By token, whether one of the spans that end at ``ends`` has it."""
    steps = np.zeros(len(ends) + 1, np.int8)  # a span begins and another one ends at most once at a token
    places = np.flatnonzero(ends)
    steps[places - span] += 1
    steps[places] -= 1
    return np.cumsum(steps[:-1], dtype=np.int32) > 0  # type: ignore[no-any-return]
