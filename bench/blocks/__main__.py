"""Hierarchical feed-forward blocks on the documentation of this Python environment, with SmolLM2.

Held-out documents are routed by their first 256 tokens, which are not scored. Blocks of their topic are compared with
the control (one block of the fetched size, trained on the text of all topics for as many epochs), with the blocks of
another topic, with LoRA of as many parameters on the same text, layers and optimiser, and with the model alone. Beside
them: bits of the merged checkpoint, the time of a fetch, and a batch of many topics against one of one.

`--quick` trains on 24,000 tokens with one seed and one learning rate, so it is no claim. A whole run has 400,000 tokens
and three seeds, and takes learning rates from validation documents: many hours.

Expected on machine C of LOG.md (2 cores of an Intel Xeon) of `--quick`, one thread: about 6 minutes of processor time;
perplexity 12.57 alone, 12.47 with the blocks of its topic, 12.48 with another topic's, 12.21 with the control and 11.95
with LoRA. No block of a node gets more than 6 steps there, and rates rise over 10. The whole has not been run.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from bench.blocks.continual import continual_rows
from bench.blocks.costs import cost_rows, exact_rows
from bench.blocks.quality import quality_rows
from bench.blocks.slots import slot_rows
from bench.report import Row, main


def measure(quick: bool) -> list[Row]:
    rows, trained = quality_rows(quick)
    bank = trained.bank
    rows = [*rows, *continual_rows(quick, trained), *exact_rows(bank), *cost_rows(bank), *slot_rows()]
    return [replace(row, must=None, goal=None) for row in rows] if quick else rows


if __name__ == "__main__":
    sys.exit(main("blocks", __doc__ or "", measure))
