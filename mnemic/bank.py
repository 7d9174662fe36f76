"""Open a bank and use what is in it: search its events, attach its memories, ask where its content came from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mnemic.conditions import Conditions, Where
from mnemic.dataset import Snapshot, Store
from mnemic.descendants import Descendants, descendants
from mnemic.errors import BankError
from mnemic.find import find
from mnemic.histories import Histories
from mnemic.inbox.inbox import Inbox
from mnemic.inbox.remembering import Remembering
from mnemic.memories.blocks import NAME as BLOCKS
from mnemic.memories.blocks import routed
from mnemic.memories.gates import weighing
from mnemic.memories.kinds import Memory, MemoryInfo
from mnemic.memories.pages import within
from mnemic.memories.stored import StoredMemories, narrowed
from mnemic.memories.suffix import NAME as SUFFIX
from mnemic.memories.suffix import Draft
from mnemic.memories.tuning import named_weights, tune, weights_for
from mnemic.release import Release, find_release
from mnemic.removals import Stale, stale, training, warn_of_stale, whole_id
from mnemic.search import CONTIGUITY, Budget, Results, Searcher
from mnemic.search.route import RouteTree
from mnemic.terminal import one_line
from mnemic.trace import AROUND, LEAST, RARE, Occurrences, Trace, Tracer
from mnemic.view import View

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from mnemic.encoder import TextEncoder
    from mnemic.memories.gate_training import Weighing
    from mnemic.memories.tuning import Memories, Weights


def open_bank(path: str | Path, release: str | None = None, storage_options: Mapping[str, str] | None = None) -> Bank:
    """Open the bank at ``path`` through its newest release, or the one called ``release`` (a prefix is enough).

    Raises ``BankError`` when there is no bank or no such release.
    """
    root = str(path) if "://" in str(path) else os.path.expanduser(path)
    if "://" not in root and not Path(root).is_dir():
        raise BankError(f"{root} does not exist. Build a bank there with `mnemic build`, or check the path.")
    store = Store(root, storage_options)
    return Bank(store, find_release(store, release), pinned=release is not None)


def _opened_again(path: str, release: str, storage_options: Mapping[str, str] | None, pinned: bool) -> Bank:
    store = Store(path, storage_options)
    return Bank(store, find_release(store, release), pinned)


class Bank(Histories, Remembering):
    """One release of a bank. Immutable: what a later build writes is seen by opening the bank again.

    What was remembered since is found too, unless the release is ``pinned``, as one that was opened by its name is.
    """

    def __init__(self, store: Store, release: Release, pinned: bool = False) -> None:
        self.view = View(store, release)
        self.pinned = pinned
        self._inbox = Inbox(self.view)
        self._searcher = Searcher(self.view, None if pinned else self._inbox)
        self._memories = StoredMemories(self.view)
        self._tracer = Tracer(self.view)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, also by pickle, opens the same release at the same path; encoders and caches it makes itself."""
        path = self.path if "://" in self.path else os.path.abspath(self.path)
        return _opened_again, (path, self.release.name, self.store.storage_options, self.pinned)

    def __repr__(self) -> str:
        return f"Bank({self.path!r}, release={self.release.name!r})"

    def __str__(self) -> str:
        """Path, release, and rows of what a person asks about. Nothing is read for it."""
        return f"{one_line(self.path, 200)}, {self.release}"

    def _repr_html_(self) -> str:
        """The same in a notebook."""
        return f"<pre>{escape(str(self))}</pre>"

    @property
    def path(self) -> str:
        return self.view.path

    @property
    def store(self) -> Store:
        return self.view.store

    @property
    def release(self) -> Release:
        return self.view.release

    def dataset(self, name: str) -> Snapshot:
        """The snapshot of a dataset that this release pins. Raises ``BankError`` when the release has none of it."""
        return self.view.dataset(name)

    def table(self, dataset: str, columns: Sequence[str] | None = None, where: Where = None) -> pa.Table:
        """Rows of a dataset of this release as an Arrow table.

        ``where`` is as in `search`, over the columns of ``dataset``. Raises ``QueryError`` where it is no condition.
        """
        return self.view.table(dataset, columns, Conditions.of(where).sql(self.dataset(dataset).schema, dataset))

    def releases(self) -> list[Release]:
        """All releases of the bank, oldest first."""
        return self.view.releases()

    def digest(self) -> dict[str, str]:
        """Content hash per dataset, and of the whole bank under "bank"."""
        return self.view.digest()

    def find(self, prefix: str) -> tuple[str, dict[str, Any]]:
        """("document" or "event", row) whose id begins with ``prefix``. Raises ``BankError`` for none, or several."""
        return find(self.view, prefix)

    # -- searching ---------------------------------------------------------------------------------------------------

    @property
    def encoder(self) -> TextEncoder:
        """The encoder that made the event vectors, loaded on first use and checked against its recorded hash."""
        return self._searcher.encoder

    @property
    def probed(self) -> float:
        """The share of the vectors that a search without conditions looks at: of an index some partitions, else all."""
        return self._searcher.probed

    @property
    def tree(self) -> RouteTree:
        """The tree of clusters, for routing."""
        return self._searcher.tree

    def search(
        self,
        query: str,
        words: int | None = 500,
        k: int | None = None,
        where: Where = None,
        level: str | None = None,
        *,
        tokens: int | None = None,
        tokenizer: Any = None,
        contiguity: float = CONTIGUITY,
        fit: str = "within",
        route: int | None = None,
        vector: np.ndarray[Any, Any] | None = None,
        dated: bool = False,
        links: bool | None = None,
        notes: float | None = None,
        short: bool = False,
    ) -> Results:
        """Events that answer ``query``, in reading order, with the scores and reasons of each.

        ``words`` is the budget that all texts together must keep, or ``tokens`` where that is given, counted by
        ``tokenizer`` (of transformers, or a function of a text; by default the encoder's); without both, ``k`` limits,
        10 by default. ``contiguity`` is the share of the budget for what stands next to the best, ``fit`` "within" the
        budget or "nearest" to it (see `mnemic.search.buffers`).

        ``where`` decides before the search which rows there are: SQL over the columns of `events` (such as ``start_time
        > date '2026-01-31'``), or a mapping with tenant, source, collection, session, document, speaker (each a value,
        or a list of which one must hold), after, before; of a list of such conditions all must hold. So a tenant is a
        boundary: in ``where=[{"tenant": "team"}, sql]`` no ``sql`` finds a row of another. SQL is one expression,
        parsed alone: comparisons, AND, OR, NOT, IN, BETWEEN, LIKE, ILIKE, IS NULL, IS DISTINCT FROM, arithmetic, dates
        and timestamps in quotes, and the functions of `mnemic.conditions.functions`. ``{"tenant": None}`` is an error,
        as are bytes and iterators, and ``{"tenant": []}`` finds nothing.
        ``level`` is "session", "event", "turn" or "passage"; by default the leaves are searched: turns of
        conversations, passages where an event of other text has several, and events elsewhere. "node" searches the tree
        of clusters, by excerpts or summaries of its nodes; a condition may then name tenants. With ``short`` a session
        or an event has its summary for a text, else its excerpt, and `Hit.sources` names the rows that it is made of.

        ``route`` compares only the vectors of so many leaves of the cluster tree; the share of vectors that was looked
        at is in the results. ``vector``: the query's vector [d]; by default the query is encoded. Equal queries give
        equal results.

        ``links`` follows titles, in banks whose recipe has `context`: documents that the question names are raised, and
        those that sentences of the five best rows name or link to; `Hit.reason` says so. Of a smaller level the row
        that is nearest to the query stands for the document. With `names` in the recipe whole documents also rise by
        rare names that they share with the best. By default on for whole documents and for the smallest rows.

        With ``dated`` the budget is that of `Results.dated`: texts with the days of their relative times, and the day
        of each session once. By default these words come on top.

        ``notes`` of a language model (the section `written`): True ranks rows by the notes that were made of them, and
        the smallest ones by a walk over the words that they share (`mnemic.search.walk`); a share between 0 and 1 gives
        notes that much of the budget, as `Results.notes`, and False leaves them out. By default a search for the
        smallest rows ranks by them, in banks that have some.
        """
        budget = Budget(None if tokens else words, tokens, k, contiguity, fit, tokenizer, dated)
        more: dict[str, Any] = {"route": route, "vector": vector, "links": links, "notes": notes, "short": short}
        return self._searcher.search(query, budget, where=where, level=level, **more)

    # -- word for word -----------------------------------------------------------------------------------------------

    def trace(
        self,
        text: str,
        where: Where = None,
        *,
        least: int = LEAST,
        rare: float = RARE,
        limit: int = 10,
        tokenizer: Any = None,
    ) -> Trace:
        """Maximal spans of ``text`` that stand in the bank word for word, the rarest first.

        ``least``: tokens of a span, 6. A shorter one counts if the surprise of its tokens, by how often each stands in
        the bank, is at least ``rare`` nats, 45. ``limit``: documents that are named of each span, 10. Spans begin and
        end at whole words. ``where`` is as in `attach`, over documents. ``tokenizer``: that of the recipe's language
        model, which is loaded by default.

        Raises ``BankError`` where the release has no suffix index.
        """
        return self._tracer.trace(text, where, least, rare, limit, tokenizer)

    def count(self, text: str, where: Where = None, *, tokenizer: Any = None) -> int:
        """How often the characters of ``text`` stand in the bank's documents, overlapping places included."""
        return self._tracer.count(text, where, tokenizer)

    def find_text(
        self, text: str, where: Where = None, *, limit: int = 10, around: int = AROUND, tokenizer: Any = None
    ) -> Occurrences:
        """The places of exactly ``text``: the first ``limit``, by document and character, and how many there are.

        It may begin and end inside a word. ``around``: characters before and after each, 200. Raises as `trace` does.
        """
        return self._tracer.find_text(text, where, limit, around, tokenizer)

    # -- memories ----------------------------------------------------------------------------------------------------

    def memories(self) -> list[MemoryInfo]:
        """The memories, without their weights: the trained ones first, then "knn", the datastore with its search."""
        return list(self._memories.infos)

    def memory_info(self, name: str = "mlp") -> MemoryInfo:
        """Of `memories` the one called ``name``. Raises `BankError` where there is none."""
        return self._memories.info(name)

    def memory(self, name: str = "mlp") -> Memory:
        """The memory called ``name``, loaded: its ``info``, and the ``module`` that holds its tensors."""
        return self._memories.load(name)

    def stale(self) -> dict[str, Stale]:
        """The memories that were trained on documents removed since, by name, and how much of them it was."""
        return stale(self.view, self._memories.infos)

    def trained_on(self, document: str) -> dict[str, str]:
        """How each memory knows the document with this id (a beginning is enough), by name; "" where it does not.

        "store": it was trained on it, or holds its rows. "validation": the document was held out, and chose its epoch
        and weight. "removed": it was trained on it, the document was removed since, and it was not trained again.
        Raises `BankError` where neither the bank nor what was removed from it has the document.
        """
        return training(self.view, self._memories.infos, whole_id(self.view, document))

    def descendants(self, prefix: str) -> Descendants:
        """The rows that were made of the document or event whose id begins with ``prefix``, as activations or as edits.

        `trained_on` says which parameters learnt a document. Raises as `find` does.
        """
        return descendants(self.view, *self.find(prefix))

    def tune(self, memories: Sequence[str]) -> dict[str, float]:
        """Fixed weights of these memories together, best on the bank's validation rows; they sum to at most 1."""
        return tune(self.view, [self.memory(name) for name in memories])

    def weighing(self, memories: Sequence[str]) -> Weighing:
        """The gate of these memories, whose shares depend on the context, trained on the bank's validation rows.

        Its ``gate`` is None where it was not better than fixed weights in cross-validation by document; ``reason`` says
        so. A set of memories that the bank holds no gate for is weighed now, in seconds.
        """
        return weighing(self.view, [self.memory(name) for name in memories])

    def attach(
        self,
        model: PreTrainedModel,
        memory: Memories = "mlp",
        weight: Weights = None,
        tokenizer: Any = None,
        *,
        skip: float | None = None,
        where: Where = None,
        draft: bool = False,
        strict: bool = False,
        topic: str | Sequence[str] | None = None,
        blocked: Sequence[str] = (),
        tokens: int | None = None,
        contiguity: float | None = None,
    ) -> PreTrainedModel:
        """Make ``model`` predict with memories: p = (1 - sum of weights) p_model + sum of weight p_memory.

        ``memory`` is a name of `memories`, a list of names, or names with their weights. A weight is a number, a
        schedule of `mnemic.attach` (`Unrolling`, or a function of positions), or "gate", whose shares depend on the
        context (`weighing`); memories with weights of their own come first, and the gate divides what they leave. By
        default it is the gate where the bank holds gates, else the number tuned on held-out text; several memories are
        tuned together (`tune`). Weight 0 leaves the model as it is, bit for bit.
        ``skip`` leaves a token to the model, and the memories out, where its own largest probability is at least that.
        ``where`` narrows memories that can be narrowed, such as "suffix", to documents: as in `search`, with tenant,
        source, collection, session, document, or SQL over the columns of documents.
        ``draft`` proposes to greedy generation how the text goes on where its last tokens stand in the bank, which the
        model, with its memories, checks several tokens at a time: the output stays, and comes sooner. Without memories,
        ``memory={}``, it only drafts. Needs suffixes.
        A memory that was trained on documents removed since (`stale`) is warned of, and with ``strict`` refused.
        ``topic`` is what the text is about, for the memories "blocks" and "pages": a text, or one for each row of the
        batch; by default the prompt says it. ``blocked`` are paths of `clusters`: no text is read with the blocks of
        these nodes, and of those below them. ``tokens``: of the pages of a prompt, 1,024; ``contiguity``: the share of
        them for events next to those that were found, 0.

        The model is returned; `forward` and `generate` use the memories from now on. Attaching again replaces them, and
        ``mnemic.attach.detach`` takes them off; `attached` does so by itself. Raises ``ModelError`` when a memory was
        made for another model or tokenizer.
        """
        from mnemic.memories.entering import enter

        weights = named_weights(memory, weight)
        loaded = routed([narrowed(self.memory(name), where) for name in weights], topic, blocked)
        loaded = within(loaded, tokens, contiguity)
        shares = weights_for(self.view, loaded, weights) if loaded else []
        entering = [*loaded, Draft.of(narrowed(self.memory(SUFFIX), where))] if draft else loaded
        warn_of_stale(self.view, [one.info for one in loaded], strict)
        lock = self._memories.lock([one.info for one in entering])
        enter(model, entering, [*shares, 0.0][: len(entering)], lock, tokenizer=tokenizer, skip=skip)
        return model

    @contextmanager
    def attached(
        self,
        model: PreTrainedModel,
        memory: Memories = "mlp",
        weight: Weights = None,
        tokenizer: Any = None,
        *,
        skip: float | None = None,
        where: Where = None,
        draft: bool = False,
        strict: bool = False,
        topic: str | Sequence[str] | None = None,
        blocked: Sequence[str] = (),
        tokens: int | None = None,
        contiguity: float | None = None,
    ) -> Iterator[PreTrainedModel]:
        """`attach` for the length of a block: ``with bank.attached(model) as lm:``.

        At its end, also after an exception, the memories leave the model, and it answers as before.
        """
        from mnemic.memories.entering import leave

        more: dict[str, Any] = {"skip": skip, "where": where, "draft": draft, "strict": strict}
        more |= {"topic": topic, "blocked": blocked, "tokens": tokens, "contiguity": contiguity}
        attached = self.attach(model, memory, weight, tokenizer, **more)
        try:
            yield attached
        finally:
            leave(model)

    def merge(
        self,
        model: PreTrainedModel,
        path: str | Path,
        topic: str | None = None,
        *,
        node: str | None = None,
        weight: float = 1.0,
        tokenizer: Any = None,
    ) -> Path:
        """Save ``model`` with the blocks of one topic merged into its feed-forward layers, which become wider.

        The folder ``path`` then has a plain checkpoint of the same architecture, for engines that know nothing of
        mnemic. The topic is that of a text, or the ``node`` of `clusters`. The model itself stays. Raises
        ``ModelError`` as `attach` does.
        """
        memory: Any = self.memory(BLOCKS)
        merged: Path = memory.merge(model, Path(path), topic, node, weight=weight, tokenizer=tokenizer)
        return merged
