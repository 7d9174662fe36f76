"""The repetition gate: how often each text of the corpus repeats, and the share of text that repeats over N times.

Models memorise what repeats, more than in proportion to the count (Kandpal, Wallace and Raffel, "Deduplicating training
data mitigates privacy risks in language models", 2022; Carlini et al. 2023). A text counts with all documents that are
copies or near-duplicates of it, in characters, before anything is dropped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

OVER = (1, 2, 5, 10, 100, 1000)


def repetition(fallen: pa.Table, characters: int) -> dict[str, Any]:
    """From the documents that fell (keeper, length, keeper_length) and the ``characters`` of the whole corpus.

    Returns `most`, how often the most frequent text stands there, and `share_over`: for every N of `OVER` the share of
    the characters that belong to texts which stand there more than N times.
    """
    groups = fallen.group_by("keeper").aggregate([("length", "sum"), ("keeper", "count"), ("keeper_length", "max")])
    times = 1 + np.asarray(groups["keeper_count"], np.int64)
    sizes = np.asarray(groups["length_sum"], np.int64) + np.asarray(groups["keeper_length_max"], np.int64)
    share = {str(n): float(sizes[times > n].sum() / characters) if characters else 0.0 for n in OVER}
    return {"most": int(times.max(initial=1)), "share_over": share}
