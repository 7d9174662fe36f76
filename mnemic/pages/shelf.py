"""The pages of a release, by the events that they are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mnemic.errors import BankError
from mnemic.facts import ADVICE
from mnemic.pages.page import COLUMNS, Page, page_of
from mnemic.pages.reading import sink_ids
from mnemic.quoting import parts_of
from mnemic.view import View, fitting

_TRIED = 64
"""Rows of which one is read again when pages are attached."""


@dataclass(frozen=True, eq=False)
class EventPages:
    """The ``pages`` of an event, one behind the other; ``last`` is the id of the last one.

    The first was read behind the page of the id ``behind``, "": behind the sink alone.
    """

    pages: list[Page]
    behind: str = ""
    last: str = ""

    @property
    def tokens(self) -> int:
        return sum(page.tokens for page in self.pages)


@dataclass(frozen=True, eq=False)
class PageSample:
    """A page, the ``bits`` of its numbers, and its tokens."""

    page: Page
    bits: int
    ids: list[int]


class PageShelf:
    """The pages of ``view``. A page that lost more than its bound stays on the shelf."""

    def __init__(self, view: View) -> None:
        self.view = view

    def sink(self, tokenizer: Any) -> list[int]:
        """The tokens that stand before all pages; of a bank without pages by ``tokenizer``, as the recipe has them."""
        with fitting(self.view, "The pages"):
            dataset = self.view.dataset("pages")
            if not dataset.count():
                return sink_ids(tokenizer, str(self.view.release.recipe["pages"]["sink"]))
            ids: list[int] = dataset.take([0], ["sink"])["sink"][0].as_py()
        return _ids(ids, "The sink of the pages")

    def pages(self, events: Sequence[str], shape: tuple[int, int, int]) -> dict[str, EventPages]:
        """The pages of ``events`` that may be attached, in the order of their parts; others are left out.

        ``shape`` is (layers, heads, width) of the model. Raises `BankError` for rows that are no pages of it.
        """
        rows: dict[str, list[dict[str, Any]]] = {}
        with fitting(self.view, "The pages"):
            for where in parts_of("event", list(events)):
                table = self.view.table("pages", COLUMNS, f"passed AND {where}")
                for row in table.to_pylist():
                    rows.setdefault(row["event"], []).append(row)
        pages = {}
        for event, own in rows.items():
            own.sort(key=lambda row: row["part"])
            if [row["part"] for row in own] != list(range(len(own))):
                raise BankError(f"Parts of the pages of the event {event[:40]!r} are missing. {ADVICE}")
            stored = [page_of(row, shape) for row in own]
            pages[event] = EventPages(stored, own[0]["behind"], own[-1]["id"])
        return pages

    def sample(self, shape: tuple[int, int, int]) -> PageSample | None:
        """A short page that was read behind the sink alone; None where there is none."""
        with fitting(self.view, "The pages"):
            dataset = self.view.dataset("pages")
            if not dataset.count():
                return None
            columns = ["behind", "tokens"]
            some = dataset.take(range(min(_TRIED, dataset.count())), columns).to_pylist()
            if all(row["behind"] for row in some):  # of chains that begin elsewhere
                some = dataset.table(columns).to_pylist()
            sizes = [(row["tokens"] < 16, row["tokens"], at) for at, row in enumerate(some) if not row["behind"]]
            if not sizes:
                return None
            row = dataset.take([min(sizes)[2]], [*COLUMNS, "ids"]).to_pylist()[0]
        return PageSample(page_of(row, shape), row["bits"], _ids(row["ids"], "A page of the bank", row["tokens"]))


def _ids(ids: Any, place: str, count: int | None = None) -> list[int]:
    """``ids`` of tokens, once they are some, and ``count`` where that is known."""
    if not ids or min(ids) < 0 or (count is not None and len(ids) != count):
        raise BankError(f"{place} names no tokens. {ADVICE}")
    tokens: list[int] = ids
    return tokens
