"""Memories inside SmolLM2 on the documentation of three Python packages: blocks of topics, and tables of slots.

Held-out documents are of the same packages. They are routed by their first 256 tokens, which are not scored. Blocks
begin with one block that two epochs of the text of all topics have trained, and go on for two epochs by topic. They are
compared with the control (one block of the fetched size that begins so too, and goes on with the text of all topics),
with one block of that size trained in one course, with the blocks of another topic, with routes by the whole document,
with LoRA of as many parameters as a text fetches and as all blocks have, with product keys and hashed n-grams of the
fetched size on the same text and layers, and with the model alone. Beside them: what int8 costs, what new text takes
away from old (`wikitext-2`), bits of the merged checkpoint, the time of a fetch, a batch of many topics against one of
one, the best of a million pairs against all sums, and a step where the table is sixteen times larger. At the end a bank
has blocks, slots, kNN-LM, an MLP memory and suffixes, each alone and all together.

All widen the last tenth of the model, so what is below is computed once for all runs. A whole run has 20,913 tokens, 40
held-out documents with 10,076 scored tokens, and two courses of each method, of which 20 validation documents choose
one. Blocks, controls and LoRA have three seeds, the other methods one. `--quick` trains on 4,000 tokens with one seed
and one course, so it is no claim.

Expected on machine C of LOG.md, one thread, three seeds: perplexity 8.74 alone, 8.04 with the blocks of its topic,
8.12 with another topic's, 8.06 with the control, 8.25 with LoRA (8.22 of the size of all blocks), 8.26 with n-grams and
8.37 with product keys (one seed each); blocks / control .997 (95 % .994 to .999); continual .035. In float32 on one
core that is free blocks take 19 minutes of processor time, the control 9, what follows LoRA 40, and the bank with all
memories 35.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from bench.blocks.beside import beside_rows
from bench.blocks.continual import continual_rows
from bench.blocks.corpus import build, whole
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
    add(beside_rows(whole(quick)))
    return [replace(row, must=None, goal=None) for row in rows] if quick else rows


if __name__ == "__main__":
    sys.exit(main("blocks", __doc__ or "", measure))
