"""Retriever imitation against what it imitates, and against the same network without a retriever.

`bench.imitate_quality` trains the students of two corpora and compares perplexities on held-out documents,
`bench.imitate_speed` what a memory costs at inference beside kNN-LM's search and beside the bare model, and
`bench.imitate_training` a step of training against the bare products of its shapes. `--quick` is one corpus, one seed
and 30,000 rows.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import torch

from bench.imitate_quality import quality_rows
from bench.imitate_speed import memory_speed_rows, overhead_rows
from bench.imitate_training import efficiency_rows
from bench.report import Row, main


def measure(quick: bool) -> list[Row]:
    torch.set_num_threads(os.cpu_count() or 1)
    rows = [*quality_rows(quick), *efficiency_rows(quick), *overhead_rows(quick), *memory_speed_rows(quick)]
    return [replace(row, must=None, goal=None) for row in rows] if quick else rows


if __name__ == "__main__":
    sys.exit(main("imitate", __doc__ or "", measure))
