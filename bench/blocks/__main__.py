"""Memories inside SmolLM2 on the documentation of this Python environment: blocks of topics, and tables of slots.

Held-out documents are routed by their first 256 tokens, which are not scored. Blocks of their topic are compared with
the control (one block of the fetched size, trained on the text of all topics for as many epochs and steps), with the
blocks of another topic, with LoRA, product keys and hashed n-grams of as many parameters on the same text and layers,
and with the model alone. Beside them: what int8 costs, what new text takes away from old (`wikitext-2`), bits of the
merged checkpoint, the time of a fetch, a batch of many topics against one of one, the best of a million pairs against
all sums, and a step where the table is sixteen times larger.

All widen the last tenth of the model, so what is below is computed once for all runs. `--quick` trains on 5,000 tokens
with one seed and given learning rates, so it is no claim. A whole run has 100,000 tokens and three seeds, and takes
learning rates from validation documents.

Expected on machine C of LOG.md of one seed of `--quick`, one thread: four minutes of processor time with the bank, and
perplexity 12.28 alone, 12.25 with the blocks of its topic, 12.48 with another's, 12.73 with the control, 12.50 with
LoRA, 12.27 with product keys and 12.26 with n-grams. The whole has not been run.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from bench.blocks.continual import continual_rows
from bench.blocks.corpus import build
from bench.blocks.costs import cost_rows, exact_rows
from bench.blocks.quality import quality_rows
from bench.blocks.slots import slot_rows
from bench.blocks.text import opened_text
from bench.report import Row, main, tell


def measure(quick: bool) -> list[Row]:
    rows: list[Row] = []

    def add(some: list[Row]) -> None:
        """A run takes most of an hour, and what it has measured stands in its log if it is cut short."""
        for row in some:
            tell(f"{row.id}: {row.value:.4g} {row.unit} {row.metric}")
        rows.extend(some)

    with opened_text(quick) as text:
        quality, table = quality_rows(quick, text)
        add(quality)
        add(continual_rows(quick, text, table))
    bank = build(quick)
    add([*exact_rows(bank), *cost_rows(bank)])
    add(slot_rows())
    return [replace(row, must=None, goal=None) for row in rows] if quick else rows


if __name__ == "__main__":
    sys.exit(main("blocks", __doc__ or "", measure))
