"""The kind of memory "pages": a prompt searches the bank, and pages of the events that it finds stand in the cache.

The model need not read these events again: their keys and values were written when the bank was built. Behind the sink
they stand at consecutive places, in the order in which a reader would meet them, each row of a batch with its own. An
event that has no page, or whose page loses more than its bound, is read from its text, as exactly as ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mnemic import languagemodel
from mnemic.attach.cache import Prefix
from mnemic.attach.entry import Entries, Entry
from mnemic.conditions import Where
from mnemic.errors import BankError, ModelError
from mnemic.facts import ADVICE, mapping
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.kinds import Memory, MemoryInfo, inside_weight
from mnemic.memories.reopened import Reopened
from mnemic.search import CONTIGUITY, Budget, Searcher
from mnemic.view import View, fitting

if TYPE_CHECKING:
    from mnemic.attach.generation import Prompt
    from mnemic.attach.host import Host
    from mnemic.attach.output.schedules import Schedule
    from mnemic.pages.beginning import Beginnings
    from mnemic.pages.page import Page
    from mnemic.pages.reading import PageReader
    from mnemic.pages.retrieved import Retrieved
    from mnemic.pages.shelf import EventPages, PageShelf

NAME = "pages"
"""Of the kind and of its memory: a bank has one."""

TOKENS = 1024
"""Of all pages of a prompt, by default."""

RETRIEVED = "retrieved"
"""The setting `which` of `pages` by which events have pages once prompts have retrieved them."""

ASKED = 256
"""Last tokens of a prompt by which the bank is searched."""


class PagesKind:
    """A release has one such memory where its recipe has `pages`."""

    name, title, narrows = NAME, "pages of keys and values", True

    def described(self, view: View) -> list[MemoryInfo]:
        """The memory, with how many pages there are, and how many events have none."""
        pages = view.dataset(NAME).count() if NAME in view else 0
        if not pages:
            waiting = NAME in view and of_retrieved(view)
            return [MemoryInfo(NAME, NAME, NAME, NAME, config=_NONE, metrics={"weight": 1.0})] if waiting else []
        place = f"The pages of {view.path}"
        with fitting(view, "The pages and their record"):
            first = view.dataset(NAME).take([0], ["lock", "bits"])
            lock = mapping(first["lock"][0].as_py(), f"{place}: lock")
            if not all(isinstance(value, str) for value in lock.values()):
                raise BankError(f"{place}: the lock names no hashes. {ADVICE}")
            choice = (view.dataset(NAME).record or {}).get("found") or {}
            config = {"pages": pages, "bits": first["bits"][0].as_py(), "without": choice.get("without", 0)}
        return [MemoryInfo(NAME, NAME, NAME, NAME, config=config, lock=lock, metrics={"weight": 1.0})]

    def load(self, view: View, info: MemoryInfo) -> Memory:
        return StoredPages(view, info)

    def lock(self, view: View, info: MemoryInfo) -> Mapping[str, str]:
        return info.lock


PAGES = PagesKind()

_NONE = {"pages": 0, "bits": 0, "without": 0}


def of_retrieved(view: View) -> bool:
    """Whether pages are made of events that were retrieved: until the next build they are read from their text."""
    with fitting(view, "The recipe"):
        return bool(view.release.recipe[NAME]["which"] == RETRIEVED)


@dataclass(frozen=True)
class StoredPages(Reopened):
    """The pages of one release, of events that satisfy all ``conditions``.

    ``tokens``: of all pages of a prompt. ``queries``: what the bank is searched for, of each text of a batch or one for
    all; None: the end of the prompt. ``contiguity``: share of the tokens for events next to those that were found.
    """

    view: View
    info: MemoryInfo
    conditions: tuple[Where, ...] = ()
    tokens: int = TOKENS
    queries: tuple[str, ...] | None = None
    contiguity: float = CONTIGUITY
    inside = True
    shared = ("searcher", "module")

    def __deepcopy__(self, memo: dict[int, Any]) -> StoredPages:
        return self

    @cached_property
    def module(self) -> PageShelf:
        from mnemic.pages.shelf import PageShelf

        return PageShelf(self.view)

    @cached_property
    def searcher(self) -> Searcher:
        return Searcher(self.view)

    def where(self, where: Where) -> StoredPages:
        """The memory of events that satisfy ``where`` too, as `mnemic.Bank.search` has it."""
        return self.with_settings(conditions=(*self.conditions, where))

    def about(self, topic: str | Sequence[str]) -> StoredPages:
        """The memory for texts about ``topic``, by which the bank is searched: one for all, or one for each row."""
        return self.with_settings(queries=(topic,) if isinstance(topic, str) else tuple(topic))

    def within(self, tokens: int | None = None, contiguity: float | None = None) -> StoredPages:
        """The memory with so many ``tokens`` of pages, and a share ``contiguity`` of them for neighbours.

        None leaves either as it is. Raises `ModelError` for numbers out of bounds.
        """
        tokens = self.tokens if tokens is None else tokens
        contiguity = self.contiguity if contiguity is None else contiguity
        if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1:
            raise ModelError(f"Pages take up a number of tokens, got {tokens!r:.40}; give one from 1.")
        if isinstance(contiguity, bool) or not isinstance(contiguity, int | float) or not 0 <= contiguity < 1:
            raise ModelError(
                f"`contiguity` is a share of the pages' tokens, got {contiguity!r:.40}; give one from 0 to below 1."
            )
        return self.with_settings(tokens=tokens, contiguity=contiguity)

    def enter(self, host: Host, weight: float | Schedule) -> Entry:
        share = inside_weight(self.info, weight)
        if share == 0:
            return Entry()
        if share != 1:
            raise ModelError(
                f"A page is read or it is not: the weight of the memory {self.info.name} is 1 or 0, got {share:g}."
            )
        from mnemic.pages.retrieved import Retrieved

        tokenizer = languagemodel.tokenizer_of(host.model) or languagemodel.tokenizer(self._model)
        with host.aside():
            reader, _, sink = self._checked(host.model, tokenizer)
        retrieved = Retrieved(self.view.store) if of_retrieved(self.view) else None
        entry = host.prefix_of(PromptPages(self, host, reader, sink, tokenizer, retrieved))
        return entry if retrieved is None else Noting(entry, retrieved)

    def _checked(self, model: Any, tokenizer: Any) -> tuple[PageReader, list[int], Page]:
        """A reader of ``model``, and the sink as tokens and as a page; once it is sure that pages are of the model."""
        from mnemic.pages.checked import check_page, check_positions
        from mnemic.pages.reading import PageReader

        reader, ids = PageReader(model), self.module.sink(tokenizer)
        sink = check_positions(reader, ids)
        sample = self.module.sample(sink.sizes)
        if sample is not None:
            check_page(sample.page, sample.bits, reader.read(sample.ids, [sink]).page)
        return reader, ids, sink

    def beginnings(self, model: Any) -> Beginnings:
        """Caches for prompts of ``model`` that begin with the sink and texts of the bank: what need not be read again.

        Raises `ModelError` for another model than the one that the pages were written with.
        """
        from mnemic.attach.attachment import verify
        from mnemic.attach.host import Host
        from mnemic.pages.beginning import Beginnings

        tokenizer = languagemodel.tokenizer_of(model) or languagemodel.tokenizer(self._model)
        verify(self.info.lock, languagemodel.lock(model, tokenizer))
        host = Host.of(model)
        try:
            with host.aside():
                return Beginnings(self.view, *self._checked(model, tokenizer), self.conditions)
        finally:
            if host.idle:
                host.close()

    @property
    def _model(self) -> str:
        """The address of the recipe's language model."""
        return str(self.view.release.recipe["language_model"])

    def scores(self, rows: HeldOutRows) -> None:
        """Only a pass of the model can tell."""

    def events(self, query: str, tokenizer: Any) -> list[tuple[str, str]]:
        """(id, text) of the events that answer ``query`` under the budget, in the order of reading."""
        from mnemic.pages.reading import page_ids

        def count(one: str) -> int:
            return len(page_ids(tokenizer, [one])[0])

        budget = Budget(None, self.tokens, None, self.contiguity, "within", count, False)
        hits = self.searcher.search(query, budget, where=list(self.conditions), level="event")
        return [(hit.id, hit.text) for hit in hits]


class Noting(Entries):
    """The entry of pages; when it is closed, what was retrieved is written down."""

    def __init__(self, entry: Entry, retrieved: Retrieved) -> None:
        super().__init__([entry])
        self.retrieved = retrieved

    def close(self) -> None:
        super().close()
        self.retrieved.flush()


@dataclass(eq=False)
class PromptPages:
    """The pages of a prompt's rows, by ``memory``; ``retrieved`` takes note of their events, None: nobody does."""

    memory: StoredPages
    host: Host
    reader: PageReader
    sink: Page
    tokenizer: Any
    retrieved: Retrieved | None = None
    live: dict[str, EventPages] = field(default_factory=dict)
    """Events that were read from their text, the last few."""

    def __call__(self, prompt: Prompt) -> Prefix | None:
        from mnemic.pages.standing import standing

        queries = self._queries(prompt)
        by_query = {query: self._pages(query) for query in dict.fromkeys(queries)}
        rows = [by_query[query] for query in queries]
        return standing([[self.sink, *pages] if pages else [] for pages in rows], self.host.model.dtype)

    def _queries(self, prompt: Prompt) -> Sequence[str]:
        if self.memory.queries is not None:
            return self.memory.queries
        rows = prompt.rows()
        if not rows:
            raise ModelError(
                "The bank is searched by the token ids of a prompt, and this one has embeddings; attach the memory "
                "with `topic=`."
            )
        return [self.tokenizer.decode(row[-ASKED:], skip_special_tokens=True) for row in rows]

    def _pages(self, query: str) -> list[Page]:
        """Of the events that answer ``query``, in the order of reading, as many as have the memory's tokens."""
        if not query.strip():
            return []
        events = self.memory.events(query, self.tokenizer)
        if self.retrieved is not None:
            self.retrieved.add(event for event, _ in events)
        stored = self.memory.module.pages([event for event, _ in events], self.sink.sizes)
        standing: list[EventPages] = []
        left = self.memory.tokens
        for event, text in events:
            own = stored.get(event) or self._live(event, text)
            if own.tokens <= left:
                standing, left = [*standing, own], left - own.tokens
        return [page for own in chained_first(standing) for page in own.pages]

    def _live(self, event: str, text: str) -> EventPages:
        """The page of an event that has none, read now."""
        from mnemic.pages.reading import page_ids
        from mnemic.pages.shelf import EventPages

        pages = self.live.get(event)
        if pages is None:
            (ids,) = page_ids(self.tokenizer, [text])
            with self.host.aside():
                pages = self.live[event] = EventPages([self.reader.read(ids, [self.sink]).page])
            for oldest in list(self.live)[:-LIVE]:
                self.live.pop(oldest, None)  # another thread may have taken it away
        return pages


LIVE = 16
"""Events read from their text that stay in memory."""


def chained_first(standing: Sequence[EventPages]) -> list[EventPages]:
    """``standing`` with the longest exact chain first, by tokens: pages that were read behind each other and the sink.

    Directly behind the sink it is what the model has of these texts one behind the other. The others stay in order.
    """
    after = {own.behind: own for own in standing if own.behind}
    chains = [_chain(own, after) for own in standing if own.last in after and not own.behind]
    longest = max(chains, key=lambda chain: sum(own.tokens for own in chain), default=[])
    return [*longest, *(own for own in standing if own not in longest)]


def _chain(first: EventPages, after: Mapping[str, EventPages]) -> list[EventPages]:
    """The pages from ``first`` on, each read behind the one before it; ``after`` has them by the id of that one.

    Damaged rows may go round: the chain ends there.
    """
    chain = [first]
    while (following := after.get(chain[-1].last)) is not None and following not in chain:
        chain.append(following)
    return chain


def within(memories: Sequence[Memory], tokens: int | None, contiguity: float | None = None) -> list[Memory]:
    """``memories``, of which pages have so many ``tokens``, and a share ``contiguity`` of them for neighbours.

    None leaves either as it is. Raises `ModelError` where there are no pages.
    """
    if tokens is None and contiguity is None:
        return list(memories)
    if not any(isinstance(memory, StoredPages) for memory in memories):
        name = "contiguity" if tokens is None else "tokens"
        raise ModelError(f"Only the memory {NAME} has a budget of tokens; leave `{name}` out, or attach it too.")
    return [memory.within(tokens, contiguity) if isinstance(memory, StoredPages) else memory for memory in memories]
