"""Retriever imitation against its teacher, and against the same network without a retriever.

`bench.imitate.quality` trains the students of two corpora and compares perplexities on held-out documents.
`bench.imitate.speed` measures the cost of a memory at inference beside kNN-LM's search and beside the bare model,
`bench.imitate.training` a step of training against the bare products of its shapes; both run alone too. `--quick` is
one corpus, one seed and 30,000 rows. The second corpus is WikiText-2 (`python -m bench.data` says where it comes from).

Expected on machine B of LOG.md (2 cores of an Intel Xeon): gain_recovered 1.073 (95 % 1.044 to 1.106), vs_cross_entropy
1.83 % on documentation and 1.85 % on WikiText; the other parts say their own.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import torch

from bench import data
from bench.imitate.quality import quality_rows
from bench.imitate.speed import memory_speed_rows, overhead_rows
from bench.imitate.training import efficiency_rows
from bench.report import Row, main


def measure(quick: bool) -> list[Row]:
    if not quick:
        data.path("wikitext-2")  # before hours have passed
    torch.set_num_threads(os.cpu_count() or 1)
    rows = [*quality_rows(quick), *efficiency_rows(quick), *overhead_rows(quick), *memory_speed_rows(quick)]
    return [replace(row, must=None, goal=None) for row in rows] if quick else rows


if __name__ == "__main__":
    sys.exit(main("imitate", __doc__ or "", measure))
