"""Processor time of a page from a bank into a cache, against that of reading its text; bytes."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import torch

from bench.pages.answers import whole
from bench.pages.joined import articles
from bench.report import Row, tell
from mnemic.dataset import Store
from mnemic.dataset.write import append_rows
from mnemic.pages.datasets import PAGES
from mnemic.pages.page import COLUMNS, Page, page_of
from mnemic.pages.reading import PageReader
from operators.pages.shrink import Shrink, shrunk

TOKENS = 512


def cost_rows(model: object, tokenizer: object, sink: Page) -> list[Row]:
    reader, ids = PageReader(model), next(articles(tokenizer, TOKENS))
    page = reader.read(ids, [sink]).page
    forms = {"int4": Shrink(4, "", 1.0), "int8": Shrink(8, "", 1.0), "whole": whole(reader)}
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        for name, shrink in forms.items():
            row = {**_blank(name), **shrunk(page, TOKENS, None, shrink)}
            append_rows(store["pages"], pa.Table.from_pylist([row], schema=PAGES), PAGES, {})
        snapshot = store["pages"].require()

        def fetched(name: str) -> Callable[[], object]:
            def fetch() -> object:
                (row,) = snapshot.table(list(COLUMNS), f"event = '{name}'").to_pylist()
                return reader.cache([sink, page_of(row)])

            return fetch

        def prefill() -> object:
            with torch.no_grad():
                return reader.model(input_ids=torch.tensor([ids]), logits_to_keep=1)

        reading = seconds(prefill)
        times = {name: seconds(fetched(name)) for name in forms}
    size = forms["int4"].bytes_of(TOKENS, TOKENS, page.sizes)
    text = len(tokenizer.decode(ids).encode())  # type: ignore[attr-defined]
    for name, own in times.items():
        tell(f"  {TOKENS} tokens: text {1000 * reading:.0f} ms, page {name} {1000 * own:.1f} ms of processor time")
    metric = f"processor time of reading {TOKENS} tokens over that of their page, from disk to cache"
    return [
        Row("prefill_saved", f"{metric}, int4", reading / times["int4"], "x", 8.0, 20.0),
        Row("prefill_saved_int8", f"{metric}, int8", reading / times["int8"], "x"),
        Row("page_bytes", "bytes of a token, int4", size / TOKENS, "bytes", 6600.0, 3300.0, higher_is_better=False),
        Row("page_over_text", "bytes of a page of int4 over those of its text", size / text, "x"),
    ]


def seconds(action: Callable[[], object], repeats: int = 7) -> float:
    """Median processor time, after a first time that does not count."""
    action()
    times = []
    for _ in range(repeats):
        began = time.process_time()
        action()
        times.append(time.process_time() - began)
    return statistics.median(times)


def _blank(name: str) -> dict[str, object]:
    """The columns of a row that no page is made of."""
    texts = dict.fromkeys(("id", "event", "document"), name) | dict.fromkeys(("tenant", "behind"), "")
    losses = dict.fromkeys(("loss_none", "loss_text", "loss_page"), 0.0)
    return {**texts, "part": 0, "ids": [], "sink": [], **losses, "passed": True, "lock": json.dumps({})}
