"""How deep the valley of similarity is at each gap of one piece, for any window.

`operators.segment.similarity` scores the gaps of many documents with one window, in O(window^2) a gap. Here windows
are many and wide, and all share one running sum of the vectors: O(d) a gap, whatever the window.
"""

from __future__ import annotations

import numpy as np

from mnemic.arrays import Flags, Floats, Vectors
from mnemic.compiled import compiled
from operators.segment.similarity import depth


class Valleys:
    """The depths of the gaps of a piece of n units with ``vectors`` float32 [n, d], remembered by window."""

    def __init__(self, vectors: Vectors) -> None:
        self._sums = np.zeros((len(vectors) + 1, vectors.shape[1]))
        np.cumsum(vectors, axis=0, dtype=np.float64, out=self._sums[1:])
        self._ends: Flags = np.zeros(max(len(vectors) - 1, 0), np.bool_)
        self._depths: dict[int, Floats] = {}

    def __call__(self, window: int) -> Floats:
        """Depths float64 [n - 1], in cosines; ``window`` units on either side, fewer at the ends of the piece.

        Rise to the left peak plus rise to the right peak (Hearst 1997), of the cosine of both sides' means; a mean of
        zero length has cosine 0 with everything.
        """
        if window not in self._depths:
            self._depths[window] = depth(_cosines(self._sums, window), self._ends)
        return self._depths[window]


@compiled
def _cosines(sums: Floats, window: int) -> Floats:
    count = sums.shape[0] - 1
    similarity = np.zeros(max(count - 1, 0))
    for gap in range(count - 1):
        here = gap + 1
        first, last = max(here - window, 0), min(here + window, count)
        before = after = across = 0.0
        for part in range(sums.shape[1]):
            left = sums[here, part] - sums[first, part]
            right = sums[last, part] - sums[here, part]
            before += left * left
            after += right * right
            across += left * right
        if before > 0.0 and after > 0.0:
            similarity[gap] = across / np.sqrt(before * after)
    return similarity
