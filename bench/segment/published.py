"""Events of tokens as EM-LLM's code makes them, quirks and all (`em-llm/EM-LLM-model`), to compare with its numbers.

The paper (arXiv 2407.09450, section 3.1) cuts before a token whose surprise exceeds mean + gamma * deviation of a
trailing window; ``Segment(method="surprisal", trailing=3584, min_units=8, max_units=128)`` is that, token by token.
The code reads chunks of 512 tokens and differs: the threshold is constant within a chunk and made of the tokens before
it, the deviation is the unbiased one, the first 128 tokens do not count, a chunk without tokens before it takes its
own, the cut is one token early (a surprising token is the second of its event), and refinement never looks at the
candidate itself, so that every boundary moves.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mnemic.arrays import Flags, Floats, Integers
from operators.segment.limits import in_passing
from operators.segment.refine import refine

CHUNK, LOCAL, INITIAL = 512, 4096, 128
SHORTEST, LONGEST = 8, 128


def chunk_cutoffs(surprisal: Floats, deviations: float = 1.0, *, refined: bool = True) -> Floats:
    """Thresholds of the tokens' surprise: float64 [n], one value for all tokens of a chunk.

    ``surprisal`` is float64 [n], of every token given those before it. The first chunk takes its own statistics where
    boundaries are ``refined``, else those of its first 128 tokens.
    """
    cutoff = np.empty(len(surprisal))
    for start in range(0, len(surprisal), CHUNK):
        end = min(start + CHUNK, len(surprisal))
        before = surprisal[max(INITIAL, start + CHUNK - LOCAL) : start]
        if len(before) < 2:
            before = surprisal[start : end if refined else min(end, INITIAL)]
        spread = before.std(ddof=1) if len(before) > 1 else 0.0
        cutoff[start:end] = before.mean() + deviations * spread
    return cutoff


def published_cuts(
    surprisal: Floats,
    keys: npt.NDArray[np.float32] | None = None,
    *,
    deviations: float = 1.0,
    objective: str = "modularity",
    early: bool = True,
) -> Flags:
    """Cuts of one text: bool [n - 1].

    With ``keys``, float32 [n, d], boundaries are refined by ``objective`` as the code does it. ``early`` cuts one token
    before the surprising one, as the code does; without it the event begins with the surprising token.
    """
    surprising = surprisal > chunk_cutoffs(surprisal, deviations, refined=keys is not None)
    candidates = np.zeros(len(surprisal) - 1, np.bool_)
    shift = 2 if early else 1
    places = np.flatnonzero(surprising)
    candidates[places[places >= shift] - shift] = True
    nowhere = np.zeros(len(candidates), np.bool_)
    if keys is not None:
        apart = in_passing(candidates, nowhere, SHORTEST, len(surprisal))
        candidates = refine(
            keys, apart, nowhere, objective, min_units=SHORTEST, exclude_candidate=True, volume="within"
        )
    return in_passing(candidates, nowhere, SHORTEST, LONGEST)


def most_attended(
    queries: npt.NDArray[np.floating], keys: npt.NDArray[np.floating], window: int, block: int = 512
) -> Floats:
    """Attention that each token receives from itself and the ``window`` - 1 tokens after it, added up: float64 [n].

    ``queries`` and ``keys`` are [n, d] of one head; attention is causal softmax(q . k / sqrt(d)) within the window.
    EM-LLM (arXiv 2407.09450, section 3.3) takes the four tokens of an event that received most to stand for it; give
    the result to `most_of_each`.
    """
    count, width = keys.shape
    received = np.zeros(count)
    for first in range(0, count, block):
        end = min(first + block, count)
        low = max(0, first - window + 1)
        scores = (queries[first:end].astype(np.float64) @ keys[low:end].astype(np.float64).T) / np.sqrt(width)
        apart = np.arange(first, end)[:, None] - np.arange(low, end)[None, :]
        scores[(apart < 0) | (apart >= window)] = -np.inf
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        received[low:end] += (shares / shares.sum(axis=1, keepdims=True)).sum(axis=0)
    return received


def most_of_each(values: Floats, firsts: Integers, ends: Integers, most: int) -> list[Integers]:
    """For each range the up to ``most`` places with the highest values, best first; the first of equals."""
    return [
        first + np.argsort(-values[first:end], kind="stable")[:most]
        for first, end in zip(firsts.tolist(), ends.tolist(), strict=True)
    ]
