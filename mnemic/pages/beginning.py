"""The longest beginning of a prompt that the pages of a bank have: its exact prefix, which need not be read again.

A prompt begins with the sink and goes on with pages that were read one behind the other, token for token. As keys and
values of a token depend on those before it alone, the part of a page up to where the prompt goes another way is exact
too. Sparse pages, and those that lose more than their bound, take no part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from numbers import Integral
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.conditions import Conditions, Where, all_of
from mnemic.errors import ModelError
from mnemic.pages.page import COLUMNS, Page, page_of
from mnemic.pages.reading import PageReader
from mnemic.quoting import quoted
from mnemic.view import View, fitting

_DENSE = "passed AND places IS NULL"


class Beginnings:
    """Caches for prompts of one model, which ``reader`` reads; they begin with the tokens of the sink, a page ``sink``.

    ``conditions`` on events narrow the pages, as in a search.
    """

    def __init__(
        self, view: View, reader: PageReader, sink: Sequence[int], page: Page, conditions: Sequence[Where]
    ) -> None:
        self.view, self.reader, self.sink, self.page = view, reader, list(sink), page
        events = view.dataset("events")
        self._where = Conditions.of(list(conditions)).sql(events.schema, "events") if conditions else None

    def __call__(self, ids: Any) -> tuple[Any, int]:
        """(cache, tokens that it covers) of the longest beginning of the prompt ``ids``, int64 [n] or [1, n].

        The cache is the caller's, for `generate(..., past_key_values=cache)` with the whole prompt or for one
        forward pass of the rest; at least one token is left to read. A prompt that does not begin with the sink has an
        empty one. Raises `ModelError` for a batch of several prompts, and for what is no prompt.
        """
        row = ids.tolist() if hasattr(ids, "tolist") else ids
        if isinstance(row, list | tuple) and row and isinstance(row[0], list | tuple):
            if len(row) != 1:
                raise ModelError(f"A cache is of one prompt, got a batch of {len(row)}; ask for each alone.")
            (row,) = row
        if not isinstance(row, list | tuple) or not all(isinstance(token, Integral) for token in row):
            raise ModelError(
                f"A prompt is a list of token ids, not this {type(ids).__name__}; give what the tokenizer returns as "
                "`input_ids`."
            )
        row = list(row)
        if row[: len(self.sink)] != self.sink or len(row) <= len(self.sink):
            return self.reader.cache([])
        pages = beginning_of(self.view, row[len(self.sink) : -1], self.page.sizes, self._allowed)
        return self.reader.cache([self.page, *pages])

    def _allowed(self, event: str) -> bool:
        if self._where is None:
            return True
        return self.view.dataset("events").count(all_of(self._where, f"id = {quoted(event)}")) > 0


def beginning_of(
    view: View, ids: Sequence[int], shape: tuple[int, int, int], allowed: Callable[[str], bool]
) -> list[Page]:
    """Pages, the last one perhaps cut, of the longest beginning of the tokens ``ids``, which stand behind the sink.

    ``allowed`` says of an event, by id, whether its pages may be used. ``shape`` is (layers, heads, width) of the
    model. The pages are read one at a time, and of those that begin a chain only the tokens.
    """
    pages: list[Page] = []
    behind, left = "", list(ids)
    with fitting(view, "The pages"):
        while left:
            ordered = sorted(_candidates(view, behind, left), reverse=True)
            common, name = next(((size, one) for size, one, event in ordered if allowed(event)), (0, ""))
            if not common:
                break
            page = page_of(view.table("pages", COLUMNS, f"id = {quoted(name)}").to_pylist()[0], shape)
            common = min(common, page.tokens)
            pages.append(Page(page.keys[:, :, :common], page.values[:, :, :common], common))
            if common < page.tokens:
                break
            behind, left = name, left[common:]
    return pages


def _candidates(view: View, behind: str, ids: Sequence[int]) -> Iterator[tuple[int, str, str]]:
    """(tokens in common with the beginning of ``ids``, id, event) of pages that were read behind that page."""
    where = f"{_DENSE} AND behind = {quoted(behind)}"
    for batch in view.dataset("pages").scan(["id", "event", "ids"], where, batch_size=65536):
        some = batch.filter(pc.greater(pc.list_value_length(batch["ids"]), 0))
        some = some.filter(pc.equal(pc.list_element(some["ids"], 0), ids[0]))
        for row in pa.Table.from_batches([some]).to_pylist():
            yield common_tokens(row["ids"], ids), row["id"], row["event"]


def common_tokens(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How many tokens two texts begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (first, second) in enumerate(pairs) if first != second), min(len(one), len(other)))
