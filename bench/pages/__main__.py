"""Pages of SmolLM2: what answers of LoCoMo lose against the text, what pages cost, and what they spare.

The questions are the 187 of category 4 with evidence of LoCoMo's three development conversations. The text is the turn
that answers with two turns on either side, behind the sink of `pages`; beside it are its page in 8 and 4 bits, pages
with a half and a quarter of the tokens by each selector, and two pages that were read apart against both
texts. Losses are of the answer's tokens, in nats; shares are of the gain of the text over nothing, with intervals over
questions. Perplexity behind two pages is on WikiText-2. Six questions are also answered with a cartridge that starts
from the page. Events are looked for in one conversation by our search, with EM-LLM's contiguity buffer, and by InfLLM's
representative keys. `--quick` takes 20 questions, 3 articles and one cartridge: no claim.

Expected on machine C of LOG.md, beside other work, in an hour: nothing 4.68 nats a token, text 2.77; page_gain_int4
99.7 %, page_gain_int8 100.1, page_two_gain 95.2, page_keep_half 99.2, page_keep_quarter 90.3; page_two_ppl 1.023,
page_bytes 6,480; prefill_saved 29 on a processor without bfloat16 (10.5 on one with it, measured when pages were
restored whole and not layer by layer).
"""

from __future__ import annotations

import sys
from dataclasses import replace

from bench.pages.answers import answer_rows
from bench.pages.costs import cost_rows
from bench.pages.joined import ARTICLES, joined_rows
from bench.pages.questions import questions
from bench.pages.recall import recall_rows
from bench.pages.trained import trained_rows
from bench.report import Row, main
from mnemic import languagemodel
from mnemic.pages.checked import check_positions
from mnemic.pages.reading import PageReader, sink_ids
from operators.pages.operator import Pages
from pipelines.steps.declared import resolved

TRAINED = 6
"""Questions of which each has a cartridge of its own."""


def measure(quick: bool) -> list[Row]:
    settings = resolved(Pages(), "cpu")
    items = questions(20 if quick else None)
    model, tokenizer = languagemodel.load(settings.model, settings.dtype)
    sink = check_positions(PageReader(model), sink_ids(tokenizer, settings.sink))
    rows = [
        *cost_rows(model, tokenizer, sink),
        *answer_rows(model, tokenizer, sink, items),
        *joined_rows(model, tokenizer, sink, 3 if quick else ARTICLES),
        *recall_rows(model, tokenizer, sink, 20 if quick else None),
        *trained_rows(model, tokenizer, sink, items[: 1 if quick else TRAINED]),
    ]
    return [replace(row, must=None, goal=None) for row in rows] if quick else rows


if __name__ == "__main__":
    sys.exit(main("pages", __doc__ or "", measure))
