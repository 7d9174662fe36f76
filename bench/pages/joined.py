"""Two pages of WikiText that were read apart, against one that was read behind the other."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from bench import data
from bench.report import Row
from mnemic.pages.page import Page, page_of
from mnemic.pages.reading import PageReader
from operators.pages.shrink import Shrink, shrunk

PAGE, SCORED = 256, 160
ARTICLES = 8


def articles(tokenizer: object, tokens: int) -> Iterator[list[int]]:
    """The first ``tokens`` tokens of each article that has so many. Raises `bench.data.MissingData`."""
    text = data.path("wikitext-2").read_text(encoding="utf-8")
    for article in re.split(r"\n(?= = [^=\n]+ = \n)", text):
        plain = re.sub(r" @([-.,])@ ", r"\1", re.sub(r"\s*\n\s*", "\n", article).strip())
        ids: list[int] = tokenizer(plain)["input_ids"][:tokens]  # type: ignore[operator]
        if len(ids) == tokens:
            yield ids


def joined_rows(model: object, tokenizer: object, sink: Page, count: int) -> list[Row]:
    reader, losses = PageReader(model), dict[str, list[float]]()
    for number, ids in enumerate(articles(tokenizer, 2 * PAGE + SCORED)):
        if number == count:
            break
        first, second, rest = ids[:PAGE], ids[PAGE : 2 * PAGE], ids[2 * PAGE - 1 :]
        one = reader.read(first, [sink]).page
        behind, apart = reader.read(second, [sink, one]).page, reader.read(second, [sink]).page
        small = [page_of({"id": "page", **shrunk(page, PAGE, None, Shrink(4, "", 1.0))}) for page in (one, apart)]
        # the last token of the second page is read again: it says what comes first
        for name, pages in (("chain", (one, behind)), ("apart", (one, apart)), ("int4", small)):
            losses.setdefault(name, []).append(float(reader.losses(rest, [sink, *pages]).mean()))
    ratios = {name: float(np.exp(np.mean(losses[name]) - np.mean(losses["chain"]))) for name in ("apart", "int4")}
    metric = (
        f"perplexity of {SCORED} tokens behind two pages read apart over that behind both as text, {count} articles"
    )
    return [
        Row("page_two_ppl", metric, ratios["apart"], "x", 1.04, 1.025, higher_is_better=False),
        Row("page_two_ppl_int4", f"the same of pages of int4, {count} articles", ratios["int4"], "x"),
    ]
