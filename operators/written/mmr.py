"""Sentences that stand for a text: those with the most information, each unlike the ones before (MMR).

The information of a sentence is the mean weight of its distinct terms, by how few of the sentences have them. Maximal
marginal relevance (Carbonell and Goldstein, SIGIR 1998) takes the sentence that is best after what it repeats is
subtracted. Of summaries that GPT wrote of 63 sessions of LoCoMo the turns so chosen have .30 of the words and .059 of
the word pairs, the first turns .31 and .061, turns at random .31 and .047: in a chat no selection is better than chance
(LOG.md). So it is called an excerpt, and promises no summary.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mnemic.arrays import Floats
from operators.written.grounding import stem

BALANCE = 0.7
"""Share of information in the choice; the rest is unlikeness to what is chosen."""

LEAST_WORDS = 4
"""A shorter sentence ("Thanks! See you.") is chosen only where nothing else is left."""

_TERM = re.compile(r"[^\W_]{3,}")


def terms(text: str) -> list[str]:
    """The distinct terms of a sentence: stems of its words of three letters on, ascending."""
    return sorted({stem(word) for word in _TERM.findall(text.casefold())})


def matrix(sentences: Sequence[str]) -> tuple[Floats, list[str]]:
    """Which terms each sentence has, float64 [sentences, terms] of 0 and 1, and the terms."""
    sets = [terms(sentence) for sentence in sentences]
    names = sorted({term for one in sets for term in one})
    places = {term: place for place, term in enumerate(names)}
    has = np.zeros((len(sentences), len(names)))
    for row, one in enumerate(sets):
        has[row, [places[term] for term in one]] = 1.0
    return has, names


def rarity(has: Floats) -> Floats:
    """The weight of each term by the sentences that have it, float64 [terms]: ln((n + 1) / (count + 0.5))."""
    weights: Floats = np.log((len(has) + 1) / (has.sum(0) + 0.5))
    return weights


def choose(sentences: Sequence[str], words: int, weights: Floats | None = None) -> list[int]:
    """The places of the chosen sentences, ascending, of ``words`` together; one at least, where there is one.

    ``weights`` float64 [terms of `matrix`] are those of the sentences themselves by default. Of equals the first wins.
    """
    has, _ = matrix(sentences)
    weight = rarity(has) if weights is None else weights
    sizes = np.array([len(sentence.split()) for sentence in sentences])
    counts = has.sum(1)
    information = (has @ weight) / np.maximum(counts, 1)
    information = np.where((sizes >= LEAST_WORDS) & (counts > 0), information, -1.0)
    top = information.max(initial=0.0)
    relevance = information / top if top > 0 else information
    vectors = has * weight
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    nearest = np.zeros(len(sentences))
    open_ = np.ones(len(sentences), bool)
    chosen: list[int] = []
    left = words
    while True:
        fitting = open_ & (sizes <= left) if chosen else open_
        if not fitting.any():
            return sorted(chosen)
        score = np.where(fitting, BALANCE * relevance - (1 - BALANCE) * nearest, -np.inf)
        best = int(np.round(score, 9).argmax())
        if chosen and relevance[best] < 0:
            return sorted(chosen)
        chosen.append(best)
        open_[best] = False
        left -= int(sizes[best])
        nearest = np.maximum(nearest, vectors @ vectors[best])
