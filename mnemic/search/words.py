"""BM25 for a few rows that no index has, on the scale of the rows that an index ranked.

The index tells scores of the best rows for a query, and no statistics of its words. They are taken from these rows:
words that are rare in the corpus stand in few of the best rows, and in all of them that there are. A word that is
common stands in more rows than there are among the best, and its weight is then at most the logarithm of the corpus
divided by these. Scores are brought to the scale of the index by the median of both scores over the best rows.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from mnemic.arrays import Floats
from mnemic.links.names import words

K1, B = 1.2, 0.75
"""Of BM25, as Lance has them."""

LEFT_OUT = frozenset(
    """
    a about after again against all am an and are as at be been being below between both but by can did do doing
    down each few for from further had has have having he her here hers herself him himself his how i if in into is
    it its itself just me more most my myself now of off on or other our ours out over own same she should so some
    such than that the their theirs them then there these they this those through to too under until up was we were
    what when where which while who whom will with you your yours yourself
    """.split()  # noqa: SIM905 - a table is read more easily without quotes
)
"""The words that Lance leaves out of a full-text index; a test asks it for each."""

SAY_LITTLE = frozenset(
    """
    above ain also although always amazing among another any anybody anyone anything aren around away awesome became
    because before came cannot cool could couldn didn didnt does doesn don done dont during either else ever every
    everybody everyone everything first gave get gets getting give given glad go goes going gone gonna good got
    great hadn hasn haven hello hey hi however im isn ive keep kind know let lets like ll lot lots made make makes
    making many may maybe might much must need neither never nice no nobody none nor not nothing often oh ok okay
    once one only onto others ourselves perhaps please pretty put quite rather re really right said say see seem
    seems shall shouldn since somebody someone something soon still sure take taken thank thanks thats themselves
    theres thing things think though till together took totally toward truly try two un unless upon us use used
    using ve very want wanted wasn way well went weren whatever whenever whether whoever whole whose why within
    without won would wouldn wow yeah yes yet youre yourselves
    """.split()  # noqa: SIM905 - a table is read more easily without quotes
)
"""Words of English beside `LEFT_OUT` that are in any conversation; that two turns have them says nothing."""

LONGEST_WORD = 40
"""Letters of a word that says something; longer ones are addresses and noise."""

_ENDINGS = re.compile(r"(?<=\w{3})(ations?|ators?|at(e[sd]?|ing)|ions?|ments?|ness|ers?|ings?|ed|e?s|ly|e)$")
"""Of English, roughly those that the stems of the index lack."""

_TWICE = re.compile(r"(?<=\w)([bdfgmnprt])\1$")
"""A letter that stands twice before an ending: dropped, running."""


def roots(text: str) -> list[str]:
    """The words of ``text`` in small letters, without English endings, and without those that the index leaves out."""
    return [_root(word) for word in words(text.lower()) if word not in LEFT_OUT]


@functools.lru_cache(maxsize=1 << 14)
def _root(word: str) -> str:
    return _TWICE.sub(r"\1", _ENDINGS.sub("", word))


def content_root(word: str) -> str:
    """The root of a ``word`` in small letters; "" where that two texts have it says nothing."""
    if len(word) > LONGEST_WORD or word in LEFT_OUT or word in SAY_LITTLE:
        return ""
    return _root(word) if len(word) > 1 or not word.isascii() or word.isdigit() else ""


def word_scores(query: str, texts: Sequence[str], best: Sequence[str], scores: Floats, rows: int) -> Floats:
    """BM25 of ``texts`` for ``query``, float64 [n], NaN where no word is shared.

    ``best`` are texts that an index ranked by the same query with ``scores`` float64 [m], of a corpus of ``rows``.
    """
    sought = sorted(set(roots(query)))
    if not sought or not texts:
        return np.full(len(texts), np.nan)
    counts = [Counter(roots(text)) for text in (*best, *texts)]
    lengths = np.array([sum(count.values()) for count in counts], np.float64)
    used = np.array([[count[word] for word in sought] for count in counts], np.float64)
    holders = (used > 0).sum(axis=0)
    total = max(rows + len(texts), len(counts))
    weights = np.log1p((total - holders + 0.5) / (holders + 0.5))
    saturated = used * (K1 + 1) / (used + K1 * (1 - B + B * (lengths / max(lengths.mean(), 1.0))[:, None]))
    own: Floats = saturated @ weights
    of_best = own[: len(best)]
    both = of_best > 0
    scale = float(np.median(scores[both] / of_best[both])) if both.any() else 1.0
    mine = own[len(best) :]
    answer: Floats = np.where(mine > 0, scale * mine, np.nan)
    return answer
