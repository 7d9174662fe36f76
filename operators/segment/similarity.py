"""How much the topic changes at each gap between units, seen by their vectors: cosine and TextTiling (Hearst 1997).

The similarity at a gap is the cosine of the mean vectors of ``window`` units on either side. With a window of 1 that is
the cosine of neighbours, the rule of LangChain's, LlamaIndex's and an untrained H-Net's chunkers. A gap's *depth* is
how far similarity rises to the left of it plus how far it rises to the right, each climbed while it does not fall (the
rule of SceneTiling in VideoLLaMB too). With window 3 and the cut-off mean + 1 standard deviation this untrained rule
reaches Pk 9.9 on Choi's documents and 27.2 on DialSeg711, level with the trained CSM (27.8). There nltk's TextTiling
over words is at chance (49.7).

A scorer takes the units of many documents at once, in order, and scores all n - 1 gaps between them; hard cuts
(``ends``: a document ends, time passes) are never crossed and score NaN. Each value is made from its own document's
rows with arithmetic that does not depend on the position in the batch, so any grouping of documents gives the same
bits.
"""

from __future__ import annotations

import numpy as np

from mnemic.arrays import Flags, Floats, Vectors
from mnemic.compiled import compiled


def gap_similarity(vectors: Vectors, ends: Flags, window: int) -> Floats:
    """Cosine of the means of up to ``window`` units before and after each gap: float64 [n - 1], NaN at ``ends``.

    ``vectors`` is float32 [n, d], ``ends`` bool [n - 1]. A mean of zero length has cosine 0 with everything. Uses the
    products of vectors fewer than 2 * ``window`` apart, each computed once: O(n * window * d) time, and no copy of the
    vectors.
    """
    count = len(vectors)
    products = np.zeros((min(2 * window, count), count), np.float32)
    for apart in range(len(products)):
        products[apart, : count - apart] = np.einsum("ij,ij->i", vectors[: count - apart], vectors[apart:])
    similarity = np.full(max(count - 1, 0), np.nan)
    _window_cosines(products, ends, window, similarity)
    return similarity


def depth(similarity: Floats, ends: Flags) -> Floats:
    """Left peak + right peak - 2 * similarity of each gap, float64 [n - 1], in two linear scans."""
    left = _peak(similarity, ends)
    right = _peak(similarity[::-1], ends[::-1])[::-1]
    return left + right - 2.0 * similarity


def _peak(similarity: Floats, ends: Flags) -> Floats:
    """The value reached by walking to the left while similarity does not fall."""
    # A walk stops where a rise to the right begins: similarity[i - 1] < similarity[i], or at the document's first gap.
    stops = np.ones(len(similarity), np.bool_)
    stops[1:] = ends[1:] | ends[:-1] | (similarity[:-1] < similarity[1:])
    return similarity[np.maximum.accumulate(np.where(stops, np.arange(len(similarity)), 0))]


@compiled
def _window_cosines(products: Vectors, ends: Flags, window: int, similarity: Floats) -> None:
    """``products`` [k, i] is the product of the vectors i and i + k."""
    gaps = len(similarity)
    left = 0  # first unit of the gap's document, and the end of it
    right = 0
    for gap in range(gaps):
        if right <= gap:
            left, right = gap, gap + 1
            while right <= gaps and not ends[right - 1]:
                right += 1
        if ends[gap]:
            continue
        first, last = max(left, gap + 1 - window), min(right, gap + 1 + window)
        before = after = across = 0.0
        for one in range(first, last):
            for other in range(one, last):
                value = np.float64(products[other - one, one])
                if one <= gap < other:
                    across += value
                elif other <= gap:
                    before += value if one == other else 2.0 * value
                else:
                    after += value if one == other else 2.0 * value
        if before > 0.0 and after > 0.0:
            similarity[gap] = across / np.sqrt(before * after)
        else:
            similarity[gap] = 0.0
