"""The step `pages`: events that a language model has read, as rows of `pages`.

Which events have pages is a setting, and so is the size of all of them. The choice is counted once for the events that
there are, and written down in the record; it is no part of the fingerprint, so a larger budget reads new events alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from mnemic import languagemodel
from mnemic.catalogue import CATALOGUE
from mnemic.conditions import Conditions, all_of
from mnemic.dataset import Dataset, Snapshot, Store
from mnemic.ids import hash_parts
from mnemic.memories.pages import RETRIEVED
from mnemic.pages.reading import page_ids
from mnemic.quoting import parts_of, quoted
from operators.contracts import BatchFunction, Resources
from operators.pages.budget import Cut, choose
from operators.pages.operator import Pages
from operators.pages.settings import ALL
from pipelines.corpus_reader import corpus_digest
from pipelines.identity import Record
from pipelines.keyset import KeySet
from pipelines.steps.contracts import Context, Status
from pipelines.steps.derive import DerivedRows, DeriveStep, DeriveWork

LEVEL = "level = 'event'"
"""The rows of `events` that have pages."""


@dataclass(frozen=True)
class Following:
    """``operator``, with texts of ``version`` of ``events`` beside each event: that of its next, which follows it.

    In a chain there are also the events that it is read behind.
    """

    operator: Pages
    events: Dataset
    version: int

    @property
    def resources(self) -> Resources:
        return self.operator.resources

    def output(self, schema: pa.Schema) -> pa.Schema:
        return self.operator.output(schema)

    def open(self, device: str) -> BatchFunction:
        write, snapshot = self.operator.open(device), self.events.require(self.version)

        def beside(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
            names = [name for name in batch["next"].unique().to_pylist() if name]
            tables = [snapshot.table(["id", "text"], where) for where in parts_of("id", names)]
            texts = {row["id"]: row["text"] for table in tables for row in table.to_pylist()}
            following = pa.array([texts.get(name, "") for name in batch["next"].to_pylist()], pa.large_string())
            batch = batch.append_column("following", following)
            return write(self._chained(snapshot, batch) if self.operator.chain else batch)

        return beside

    def _chained(self, snapshot: Snapshot, batch: pa.RecordBatch) -> pa.RecordBatch:
        """``batch`` with ids and texts of the events that each is read behind, of the documents in it alone."""
        earlier: dict[str, list[tuple[str, str]]] = {}
        for document in batch["document"].unique().to_pylist():
            rows = snapshot.table(["id", "text", "ordinal"], f"{LEVEL} AND document = {quoted(document)}")
            earlier |= self._before(rows.sort_by("ordinal").select(["id", "text"]).to_pylist())
        behind = [earlier.get(name, []) for name in batch["id"].to_pylist()]
        names = pa.array([[name for name, _ in one] for one in behind], pa.list_(pa.string()))
        texts = pa.array([[text for _, text in one] for one in behind], pa.list_(pa.large_string()))
        return batch.append_column("earlier", names).append_column("earlier_texts", texts)

    def _before(self, events: Sequence[dict[str, str]]) -> dict[str, list[tuple[str, str]]]:
        """By event of a document, the (id, text) of those before it with which it has at most `longest` tokens.

        One that does not fit begins a chain of its own; one that has no page is in none.
        """
        counts = map(len, page_ids(languagemodel.tokenizer(self.operator.model), [one["text"] for one in events]))
        before: dict[str, list[tuple[str, str]]] = {}
        chain, size = list[tuple[str, str]](), 0
        for event, tokens in zip(events, counts, strict=True):
            if not 2 <= tokens <= self.operator.longest:
                continue
            if size + tokens > self.operator.longest:
                chain, size = [], 0
            before[event["id"]] = chain
            chain, size = [*chain, (event["id"], event["text"])], size + tokens
        return before


@dataclass(frozen=True)
class PagesStep(DeriveStep):
    operator: Pages

    def state(self, store: Store) -> Status:
        """That of its rows; with another budget, or after events came or went, it is to be chosen which have pages."""
        status, origin = DeriveStep.state(self, store), store[self.origin].snapshot()
        if not status.done or origin is None or self._standing_choice(store, origin) is not None:
            return status
        return Status("due", status.total, status.total, self.unit, ("events are to be chosen anew",))

    def run(self, context: Context) -> None:
        store, dataset = context.store, context.store[self.target.name]
        origin, target = store[self.origin].require(), dataset.snapshot()
        stored = {} if target is None else target.record or {}
        unchanged = target is not None and not self.record.changes_from(stored)
        standing = self._standing_choice(store, origin) if unchanged else None
        choice = standing or self._choice(store, origin)
        if choice["without"]:
            context.emit(
                "reject",
                message=f"  {choice['without']:,} of {choice['events']:,} events have no pages: `max_gb` of `pages` is "
                f"{self.operator.max_gb:g}, and {choice['bytes'] / 1e9:.3g} are used; the newest events have pages.",
            )
        counted = replace(self, record=replace(self.record, found=choice))
        if unchanged and stored.get("found") != choice:
            context.commit(lambda: dataset.annotate(counted.record.as_json()))
        DeriveStep.run(counted, context)

    def _worker(
        self, context: Context, version: int, dataset: Dataset
    ) -> Callable[[], Callable[[DeriveWork], DerivedRows]]:
        followed: Any = Following(self.operator, context.store[self.origin], version)
        return DeriveStep._worker(replace(self, operator=followed), context, version, dataset)

    def _inputs(self, store: Store, origin: Snapshot) -> KeySet:
        """The events before the cut that is written down, if it is of these events; else all that are asked for."""
        choice, batches = self._standing_choice(store, origin), self._candidates(store, origin)
        if choice is None or choice["event"] is None:
            return KeySet(batch.select(["id"]) for batch in batches)
        cut = Cut(choice["time"], choice["event"])
        return KeySet(batch.filter(pa.array(cut.within(batch))).select(["id"]) for batch in batches)

    def _standing_choice(self, store: Store, origin: Snapshot) -> dict[str, Any] | None:
        """The choice that is written down; None where it is of other events, or of another budget."""
        target = store[self.target.name].snapshot()
        choice = (target.record or {}).get("found") if target is not None else None
        stands = isinstance(choice, dict) and choice.get("of") == self._asked(store, origin)
        return choice if stands else None

    def _candidates(self, store: Store, origin: Snapshot, row_ids: bool = False) -> Iterator[pa.RecordBatch]:
        """The events that are asked for, with their times."""
        which, retrieved = self.operator.which, None
        if which == RETRIEVED:
            retrieved = self._retrieved(store)
        condition = None if which in (ALL, RETRIEVED) else Conditions.of(which).sql(origin.schema, self.origin)
        for batch in origin.scan(["id", "start_time"], all_of(LEVEL, condition), row_ids=row_ids, batch_size=65536):
            yield batch if retrieved is None else batch.filter(pa.array(retrieved.has(batch.select(["id"]))))

    def _retrieved(self, store: Store) -> KeySet:
        """The events that prompts have retrieved."""
        snapshot = store["retrieved"].snapshot()
        return KeySet(() if snapshot is None else snapshot.scan(["event"], batch_size=65536))

    def _asked(self, store: Store, origin: Snapshot) -> str:
        """What a choice is of: events, which of them, and how many bytes."""
        digest, _ = corpus_digest(origin, ("id",))
        retrieved = store["retrieved"].snapshot() if self.operator.which == RETRIEVED else None
        events = "" if retrieved is None else corpus_digest(retrieved, ("event",))[0]
        return hash_parts("pages", digest, self.operator.which, repr(self.operator.max_gb), events)

    def _choice(self, store: Store, origin: Snapshot) -> dict[str, Any]:
        settings = self.operator
        tokenizer, sizes = languagemodel.tokenizer(settings.model), _sizes(settings.model)

        def texts(rows: Sequence[int]) -> Sequence[str]:
            ordered: list[str] = origin.take_rows(rows, ["text"])["text"].to_pylist()
            return ordered

        def count(some: Sequence[str]) -> Sequence[int]:
            return [len(ids) for ids in page_ids(tokenizer, some)]

        chosen = choose(settings, sizes, self._candidates(store, origin, row_ids=True), texts, count)
        time, event = (None, None) if chosen.cut is None else (chosen.cut.time, chosen.cut.event)
        counts = {"events": chosen.events, "without": chosen.without, "bytes": chosen.size}
        return {"of": self._asked(store, origin), "time": time, "event": event, **counts}


def _sizes(model: str) -> tuple[int, int, int]:
    """Layers, heads of keys, and their width, of the model at an address."""
    config = languagemodel.config(model)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return config.num_hidden_layers, heads, width


def pages_step(record: Record, operator: Pages, after: tuple[str, ...]) -> PagesStep:
    """The step of the section `pages`."""
    columns = ("id", "document", "tenant", "text", "next")
    return PagesStep(record, operator, "events", CATALOGUE["pages"], columns, ("id",), ("event",), after, LEVEL)
