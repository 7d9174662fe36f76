"""Labels of nodes: their most distinctive words, with no language model.

Class-based TF-IDF (Grootendorst, arXiv 2203.05794, section 3.3): a word counts by its occurrences in the node times
log(1 + words per node of that level / its occurrences in all).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from mnemic.arrays import Integers
from operators.cluster.tree import Tree

TERMS = 4
VOCABULARY = 20_000
COUNTERS = 1 << 23
"""Counters at most: leaves times words of the vocabulary; 64 MB while they are filled in."""

_WORD = re.compile(r"\b[^\W\d_]\w{1,29}\b")
_STOP_WORDS = """
a about above after again against all also am an and any are aren as at be because been before being below between both
but by can cannot could couldn did didn do does doesn doing don down during each either else etc even ever few for from
further get gets got had hadn has hasn have haven having he her here hers herself him himself his how however if in into
is isn it its itself just let like ll may me might more most must mustn my myself neither no nor not now of off on once
one only or other otherwise our ours ourselves out over own per re same shall shan she should shouldn since so some such
than that the their theirs them themselves then there therefore these they this those though through thus to too two
under until up upon us use used uses using ve very via was wasn we well were weren what when where whether which while
who whom whose why will with within without won would wouldn yes yet you your yours yourself yourselves
"""


def words_of(text: str) -> Iterator[str]:
    """The words of a text that can be part of a label, in small letters."""
    stop_words = _stop_words()
    return (word for word in _WORD.findall(text.lower()) if word not in stop_words)


def vocabulary(frequency: Mapping[str, int], leaves: int) -> list[str]:
    """The most frequent words, as many as counters allow in every leaf, in alphabetical order."""
    size = min(VOCABULARY, COUNTERS // leaves)
    return sorted(sorted(frequency, key=lambda word: (-frequency[word], word))[:size])


def labels(tree: Tree, leaves: Integers, terms: Integers, counts: Integers, words: list[str]) -> list[list[str]]:
    """The four most distinctive words of every node, by level, joined by commas.

    ``counts`` [n] are the occurrences of the word with the number ``terms`` [n] in the leaf ``leaves`` [n]; all int64.
    """
    table = np.zeros((tree.leaves, len(words)), np.int32)
    np.add.at(table, (leaves, terms), counts)
    frequency = np.maximum(table.sum(axis=0, dtype=np.int64), 1)
    by_level = []
    for level in reversed(range(tree.depth + 1)):
        if level < tree.depth:
            table = _above(table, tree.children[level])
        weight = np.log1p(table.sum(dtype=np.int64) / len(table) / frequency)
        by_level.append([_label(row * weight, words) for row in table])
    return by_level[::-1]


def _above(table: npt.NDArray[np.int32], children: Integers) -> npt.NDArray[np.int32]:
    total = np.zeros((len(children), table.shape[1]), np.int32)
    for child in children.T:
        total[child >= 0] += table[child[child >= 0]]
    return total


def _label(score: npt.NDArray[np.float64], words: list[str]) -> str:
    best = np.argsort(-score, kind="stable")[:TERMS]  # words are in alphabetical order: so are equal ones
    return ", ".join(words[term] for term in best if score[term] > 0)


@functools.cache
def _stop_words() -> frozenset[str]:
    return frozenset(_STOP_WORDS.split())
