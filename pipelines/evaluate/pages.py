"""What the pages of a bank lose against the text that they stand for, and what they spare.

The losses are those that the step wrote down: nats a token of the text that follows an event, behind nothing, behind
the event's text, and behind its pages as they are stored. Times are of this machine, for some of the events: reading
their text, against fetching their pages from the bank and turning them to their places.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mnemic import languagemodel
from mnemic.bank import Bank
from mnemic.errors import QueryError
from mnemic.memories.pages import NAME
from mnemic.pages.reading import PageReader
from mnemic.pages.shelf import PageShelf
from mnemic.quoting import one_of
from operators.pages.shrink import Shrink
from pipelines.evaluate.bootstrap import Interval, document_sums, interval

LOSSES = ("loss_none", "loss_text", "loss_page")

FORM = ("tokens", "rows", "layers", "heads", "width", "bits", "numbers")
"""Columns by which the bytes of a page are known."""

TIMED = 16
"""Events whose pages are read and fetched."""


@dataclass(frozen=True)
class PageCosts:
    """``events`` have pages, of which ``passed`` lose no more than their bound; ``without`` events have none.

    Losses are means over events, in nats a token. ``share`` is that of the text's gain, in percent, None where the text
    gains nothing. ``text_ms`` and ``page_ms`` are medians of processor time for one event whose pages may be
    attached, None where there is none.
    """

    bank: str
    release: str
    events: int
    passed: int
    without: int
    tokens: int
    bytes: int
    losses: dict[str, float]
    difference: Interval
    share: Interval | None
    text_ms: float | None
    page_ms: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def page_costs(bank: Bank) -> PageCosts:
    """The numbers of the pages of ``bank``. Raises `QueryError` where it has none."""
    infos = [info for info in bank.memories() if info.name == NAME and info.config["pages"]]
    if not infos:
        raise QueryError(f"{bank.path} has no pages. Add `pages: {{}}` to its recipe and build it.")
    rows = bank.table("pages", ["event", "document", "part", "passed", *FORM, *LOSSES])
    first = rows.filter(np.array(rows["part"]) == 0)
    losses = [first[name].to_numpy().astype(np.float64) for name in LOSSES]
    sums, draws = document_sums(np.array(first["document"].to_pylist()), 1000, 0, *losses)
    total, whole = draws @ sums, sums.sum(0)
    text_ms, page_ms = _times(bank, first.filter(first["passed"])["event"].to_pylist()[:TIMED])
    return PageCosts(
        bank.path,
        bank.release.name,
        len(first),
        sum(first["passed"].to_pylist()),
        infos[0].config["without"],
        sum(rows["tokens"].to_pylist()),
        _bytes(rows),
        {name.removeprefix("loss_"): float(own.mean()) for name, own in zip(LOSSES, losses, strict=True)},
        interval(float((whole[2] - whole[1]) / whole[3]), (total[:, 2] - total[:, 1]) / total[:, 3]),
        _share(total, whole),
        text_ms,
        page_ms,
    )


def _share(total: Any, whole: Any) -> Interval | None:
    """The share of the text's gain, in percent; None where some draw has no gain."""
    gains = total[:, 0] - total[:, 1]
    if gains.min() <= 0:
        return None
    value = float(100 * (whole[0] - whole[2]) / (whole[0] - whole[1]))
    return interval(value, 100 * (total[:, 0] - total[:, 2]) / gains)


def _bytes(rows: pa.Table) -> int:
    """Of all pages, with the places of sparse ones: by their forms, for the pages themselves may be gigabytes."""
    size = 0
    for form in rows.group_by(list(FORM)).aggregate([([], "count_all")]).to_pylist():
        shrink = Shrink(form["bits"], form["numbers"], 1.0)
        sizes = (form["layers"], form["heads"], form["width"])
        size += form["count_all"] * shrink.bytes_of(form["tokens"], form["rows"], sizes)
    return size


def _times(bank: Bank, events: Sequence[str]) -> tuple[float | None, float | None]:
    """Milliseconds of processor time of reading an event's text, and of its pages: medians over ``events``."""
    if not events:
        return None, None
    fields = bank.view.record("pages")["fields"]
    model, tokenizer = languagemodel.load(bank.release.recipe["language_model"], fields["dtype"])
    reader, shelf = PageReader(model), PageShelf(bank.view)
    sink = reader.read(shelf.sink(tokenizer)).page
    texts, pages = [], []
    for event in events:
        rows = bank.table("pages", ["part", "ids"], one_of("event", [event])).sort_by("part")
        ids = [token for part in rows["ids"].to_pylist() for token in part]
        texts.append(_milliseconds(lambda ids=ids: reader.read(ids, [sink])))  # type: ignore[misc]
        pages.append(_milliseconds(lambda event=event: _fetched(reader, shelf, event, sink)))  # type: ignore[misc]
    return statistics.median(texts), statistics.median(pages)


def _fetched(reader: PageReader, shelf: PageShelf, event: str, sink: Any) -> None:
    stored = shelf.pages([event], sink.sizes).get(event)
    reader.cache([sink, *(stored.pages if stored else ())])


def _milliseconds(action: Callable[[], object]) -> float:
    """Of processor time, once it is warm."""
    action()
    began = time.process_time()
    action()
    return 1000 * (time.process_time() - began)


def shown_pages(costs: PageCosts) -> str:
    """The numbers as lines for a person."""
    losses, difference = costs.losses, costs.difference
    lines = [
        f"{costs.bank}  release {costs.release}",
        "",
        f"pages of {costs.events:,} events; {costs.passed:,} may be attached, {costs.without:,} events have none",
        f"  {costs.tokens:,} tokens, {costs.bytes / 1e6:,.1f} MB, {costs.bytes / costs.tokens:,.0f} bytes a token",
        "",
        "nats a token of the text that follows an event",
        f"  behind nothing {losses['none']:.3f}, its text {losses['text']:.3f}, its pages {losses['page']:.3f}",
        f"  pages against text {difference.value:+.4f}   95 % {difference.low:+.4f} to {difference.high:+.4f}",
    ]
    if costs.share is not None:
        share = costs.share
        lines.append(f"  of the text's gain {share.value:.1f} %   95 % {share.low:.1f} to {share.high:.1f}")
    if costs.text_ms is not None:
        times = f"text {costs.text_ms:.1f} ms, pages from the bank {costs.page_ms:.1f} ms"
        lines += ["", f"processor time for an event: {times}"]
    return "\n".join(lines)
