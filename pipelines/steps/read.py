"""Read the sources into `documents`.

A manifest lists a source's items with size and stamp; an item that was read under the same size, stamp and settings is
not opened again. The rows of items that vanished, or changed, are deleted before the new ones are appended, so a
document is never there twice. Every item leaves rows or rejects. An item with neither is pending.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.catalogue import CATALOGUE, DatasetSpec
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.growth import add_fields
from mnemic.dataset.index import TITLES
from mnemic.dataset.write import WrittenFragment, append, write_rows
from mnemic.errors import RecipeError, SourceError
from mnemic.ids import hash_parts
from mnemic.metadata import metadata_field
from mnemic.quoting import one_of
from mnemic.schema import DOCUMENTS, UNSAID
from operators.contracts import Resources
from pipelines import faults
from pipelines.identity import Record
from pipelines.sources.canaries import PlantedDocuments
from pipelines.sources.columns import TITLE, columns_of, unsaid
from pipelines.sources.contracts import Item, Source
from pipelines.sources.inbox import RememberedRows
from pipelines.sources.listing import items_of
from pipelines.steps.contracts import Context, Status
from pipelines.steps.inbox import lost_items, refuse_remembered, take_over
from pipelines.steps.items import rows_of_item
from pipelines.steps.rejects import RejectsWriter, WrittenRejects, check_rejects, rejected_inputs
from pipelines.steps.tombstones import forget_readmitted, marks, readmitted_items

if TYPE_CHECKING:
    from operators.pii.masking import Masking

CHUNK_BYTES = 4 << 20
CHUNK_ITEMS = 64

MOST_NAMED = 10_000
"""Items that vanished or changed up to which a plan tells those apart that were edited."""

ROWS_AT_ONCE = 1 << 16
"""Documents that a worker holds before it writes them, however short they are."""


ManifestItem = tuple[str, str, int, Item]
"""Key, key of the whole file, number of the source, item."""


@dataclass(frozen=True)
class Manifest:
    """Everything that ``sources`` list."""

    sources: tuple[Source, ...]
    items: list[ManifestItem]

    @cached_property
    def by_key(self) -> dict[str, tuple[int, Item]]:
        """Item key -> (source, item)."""
        return {key: (index, item) for key, _, index, item in self.items}

    @property
    def remembered(self) -> RememberedRows | None:
        """What was remembered; None where a source of the recipe has its name."""
        return next((source for source in self.sources if isinstance(source, RememberedRows)), None)


@dataclass(frozen=True)
class ReadWork:
    """Items that one worker reads; their fragments are committed together."""

    items: tuple[tuple[int, str, Item], ...]  # index of the source, item key, item


@dataclass(frozen=True)
class ReadItem:
    fragments: tuple[WrittenFragment, ...]
    rejects: pa.Table
    written: WrittenRejects  # before them
    documents: int
    items: int
    accepted: frozenset[str]  # keys of the items that gave documents


@dataclass(frozen=True)
class ReadStep:
    """The step `read`. ``sources`` in the order of the recipe; their names differ."""

    sources: tuple[Source, ...]
    max_document_bytes: int
    fragment_characters: int = 500_000  # text of a fragment: the grain of all later work and of what a kill can cost
    titles: bool = False  # whether documents have their titles as a column, which search hears
    name: str = "read"
    after: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ("documents", "removals", "inbox")
    masking: Masking | None = None

    @property
    def specs(self) -> tuple[DatasetSpec, ...]:
        """All of them are mnemic's own."""
        return ()

    @cached_property
    def record(self) -> Record:
        """Only the version is identity: each item carries the settings that it was read with in its own key."""
        return Record(self.name, 1, {}, {})

    @cached_property
    def schema(self) -> pa.Schema:
        """That of documents, with the metadata columns that the sources name."""
        columns = {name: kind for _, name, kind in columns_of(self.sources)}
        if not self.titles:
            return pa.schema([*DOCUMENTS, *(metadata_field(name, kind) for name, kind in columns.items())])
        columns.setdefault(TITLE, "text")
        own = (metadata_field(name, kind) for name, kind in columns.items())
        return pa.schema([*DOCUMENTS, *own, pa.field(UNSAID, pa.string())])

    @cached_property
    def settings(self) -> dict[str, object]:
        sources = {source.name: {"kind": source.kind, **source.identity()} for source in self.sources}
        titles = {TITLES: True} if self.titles else {}
        masked = {} if self.masking is None else {"masked": [*self.masking.kinds]}
        return {"sources": sources, "max_document_bytes": self.max_document_bytes, **titles, **masked}

    @cached_property
    def _items(self) -> list[ManifestItem]:
        """Everything in the manifests of the recipe's sources."""
        return self._items_of(self.sources, 0)

    def _manifest(self, store: Store, waiting: bool = False) -> Manifest:
        """What the recipe's sources have, and what was remembered; with ``waiting`` also what nobody took over yet."""
        if any(source.name == RememberedRows.name for source in self.sources):
            refuse_remembered(store)
            return Manifest(self.sources, self._items)
        remembered = RememberedRows(store, waiting)
        items = [*self._items, *self._items_of((remembered,), len(self.sources))]
        return Manifest((*self.sources, remembered), items)

    def _items_of(self, sources: Sequence[Source], first: int) -> list[ManifestItem]:
        items: list[ManifestItem] = []
        masked = () if self.masking is None else (self.masking.identity,)
        for index, source in enumerate(sources, first):
            identity = Record("source", source.version, source.identity(), {}).fingerprint
            for item in items_of(source):
                settings = (source.name, identity, self.record.version, self.max_document_bytes, *masked)
                facts = (*settings, item.locator, item.size, item.stamp)
                whole = key = hash_parts("item", *facts)
                if item.part is not None:
                    key = hash_parts("item", *facts, item.part.number, item.part.of)
                items.append((key, whole, index, item))
        return items

    def state(self, store: Store) -> Status:
        snapshot = store["documents"].snapshot()
        manifest = self._manifest(store, waiting=True)
        total = len(manifest.by_key)
        if snapshot is None:
            return Status("new", total, total, "items", self._notes(manifest, manifest.by_key))
        missing, vanished = self._difference(store, manifest)
        new_columns = self._new_columns(snapshot)
        reasons = [f"documents have a new column {name}" for name in new_columns]
        if missing:
            reasons.append(f"{len(missing):,} new or changed items")
        if vanished:
            reasons.append(f"{len(vanished):,} items vanished or changed")
            reasons.extend(self._replaced(snapshot, manifest, missing, vanished))
        changed = Record("read", 1, self.settings, {}).changes_from(
            {"version": 1, "fields": (snapshot.record or {}).get("fields", {}), "reads": {}, "fingerprint": None}
        )
        reasons.extend(change for change in changed if change != "read changed")
        reasons.extend(self._notes(manifest, missing))
        if not missing and not vanished and not new_columns:
            return Status("done", 0, total, "items")
        return Status("pending", len(missing) + len(vanished), total, "items", tuple(reasons))

    def _difference(self, store: Store, manifest: Manifest) -> tuple[list[str], list[str]]:
        snapshot = store["documents"].require()
        items = pa.chunked_array([batch["item"] for batch in snapshot.scan(["item"])], pa.string()).unique()
        present = set(items.to_pylist()) | rejected_inputs(store, self.record)
        again = readmitted_items(store)
        # A large file may have been read whole, before files were read in parts.
        wholes = {key: whole for key, whole, _, _ in manifest.items}
        standing = present - again
        missing = [key for key, whole in wholes.items() if key not in standing and whole not in standing]
        vanished = present - (wholes.keys() | set(wholes.values()))
        if vanished and manifest.remembered is not None:
            vanished -= lost_items(snapshot, manifest.remembered)
        return missing, sorted(vanished | (present & again))

    def run(self, context: Context) -> None:
        dataset = context.store["documents"]
        stored = {**self.record.as_json(), "fields": self.settings}
        if dataset.snapshot() is None:
            dataset.create(self.schema, stored, context.properties(self.record))
        new_columns = self._new_columns(dataset.require())
        if new_columns:
            fields = pa.schema([self.schema.field(name) for name in new_columns])
            context.commit(lambda: add_fields(dataset, fields, {}))
        manifest = self._manifest(context.store)
        if manifest.remembered is not None:
            take_over(context, self.record)
            manifest = self._manifest(context.store)
        missing, vanished = self._difference(context.store, manifest)
        if vanished:
            context.commit(lambda: self._forget(context.store, vanished))
        if (dataset.require().record or {}).get("fields") != stored["fields"]:
            context.commit(lambda: dataset.annotate(stored))
        total, done = len(missing), 0

        def commit(wave: list[ReadItem]) -> None:
            nonlocal done
            rejects = pa.concat_tables([outcome.rejects for outcome in wave])
            context.reject_written(self.record, [outcome.written for outcome in wave])
            context.reject(self.record, rejects, frozenset().union(*(outcome.accepted for outcome in wave)))
            fragments = [fragment for outcome in wave for fragment in outcome.fragments]
            if fragments:
                context.commit(lambda: append(dataset, fragments, context.properties(self.record)))
            done += sum(outcome.items for outcome in wave)
            context.tally.rows += sum(outcome.documents for outcome in wave)
            context.progress(done, total, "items")

        def told(chunk: ReadWork) -> str:
            return f"{len(chunk.items)} items, the first is {chunk.items[0][2].locator}"

        job = context.job(self._worker(context.store, context.run, manifest.sources), Resources(), told)
        context.in_waves(context.engine.map(job, self._work(manifest, missing)), commit)
        forget_readmitted(context)

    def check(self, store: Store, max_rejects: float) -> None:
        """Raise when too much was rejected, or nothing is left."""
        snapshot = store["documents"].require()
        documents = snapshot.count()
        check_rejects(store, self.record, lambda: documents + _turns(snapshot), max_rejects)
        if documents == 0:
            names = ", ".join(source.name for source in self.sources)
            rejects = store["rejects"].snapshot()
            left_out = rejects.count(CATALOGUE["rejects"].counted) if rejects else 0
            raise SourceError(
                f"No document could be read from {names}: {left_out:,} inputs were left out. "
                "`mnemic show BANK --failures` gives the reasons; point the recipe at text, Markdown or "
                "JSON Lines in UTF-8."
            )

    def _replaced(
        self, snapshot: Snapshot, manifest: Manifest, missing: list[str], vanished: list[str]
    ) -> Iterator[str]:
        """The files that were edited: they are there before and after, and their documents are replaced."""
        if len(vanished) > MOST_NAMED:
            return
        items = [manifest.by_key[key] for key in missing]
        locators = self._masked([item.locator for _, item in items])
        now = {(manifest.sources[index].name, locator) for (index, _), locator in zip(items, locators, strict=True)}
        files = set()
        for batch in snapshot.scan(["source", "locator"], one_of("item", vanished)):
            for source, locator in zip(*(batch[name].to_pylist() for name in ("source", "locator")), strict=True):
                ends = [match.start() for match in re.finditer("[#!:]", locator)]
                files |= {(source, locator[:end]) for end in [*ends, len(locator)]} & now
        if files:
            names = sorted(locator for _, locator in files)
            shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
            yield f"{len(names):,} of them edited, whose documents are replaced: {shown}"

    def _masked(self, texts: list[str]) -> list[str]:
        return texts if self.masking is None else self.masking.texts(texts)

    def _notes(self, manifest: Manifest, keys: Iterable[str]) -> tuple[str, ...]:
        """How sources are going to read these items, where they tell it."""
        items: dict[int, list[Item]] = {}
        for key in keys:
            index, item = manifest.by_key[key]
            items.setdefault(index, []).append(item)
        sources = [manifest.sources[index] for index in items]
        notes = ((source, getattr(source, "notes", None)) for source in sources)
        telling = zip(items.values(), notes, strict=True)
        return tuple(f"{source.name}: {note}" for some, (source, ask) in telling if ask for note in ask(some))

    def _new_columns(self, snapshot: Snapshot) -> list[str]:
        """Columns that documents did not have when the bank was begun; null says of a row that it has no such thing.

        Raises `RecipeError` for a metadata column whose type is another one by now.
        """
        present = {field.name: field.type for field in snapshot.schema}
        for source, name, _ in columns_of(self.sources):
            if name in present and present[name] != self.schema.field(name).type:
                raise RecipeError(
                    f"The column '{name}' of the source '{source}' has another type in this bank ({present[name]}). "
                    "Name the column otherwise under `columns`, or build another bank by giving the recipe a new name."
                )
        return [name for name in self.schema.names if name not in present]

    def _forget(self, store: Store, keys: list[str]) -> None:
        """Rejects first: a kill between the two leaves documents, by which the next build knows what to forget."""
        if store["rejects"].snapshot() is not None:
            store["rejects"].delete_keys("input", keys)
        store["documents"].delete_keys("item", keys)

    def _work(self, manifest: Manifest, keys: list[str]) -> Iterator[ReadWork]:
        """Items in manifest order, cut into chunks by bytes and number."""
        chunk: list[tuple[int, str, Item]] = []
        size = 0
        for index, key, item in self._located(manifest, keys):
            chunk.append((index, key, item))
            size += item.size // (item.part.of if item.part else 1)
            if size >= CHUNK_BYTES or len(chunk) >= CHUNK_ITEMS:
                yield ReadWork(tuple(chunk))
                chunk, size = [], 0
        if chunk:
            yield ReadWork(tuple(chunk))

    def _located(self, manifest: Manifest, keys: list[str]) -> Iterator[tuple[int, str, Item]]:
        """(source, key, item) for each key; parts of a file with the places where they begin."""
        named = ((key, *manifest.by_key[key]) for key in keys)
        for (index, _, parted), group in itertools.groupby(
            named, lambda one: (one[1], one[2].locator, bool(one[2].part))
        ):
            some = list(group)
            items = [item for _, _, item in some]
            located = manifest.sources[index].located(items) if parted else items  # type: ignore[attr-defined]
            yield from ((index, key, item) for (key, _, _), item in zip(some, located, strict=True))

    def _worker(
        self, store: Store, run: str, sources: Sequence[Source]
    ) -> Callable[[], Callable[[ReadWork], ReadItem]]:
        record, schema = self.record, self.schema
        dataset, rejects_dataset = store["documents"], store["rejects"]
        limit, grain, step = self.max_document_bytes, self.fragment_characters, self.name
        titles, masking = self.titles, self.masking

        def factory() -> Callable[[ReadWork], ReadItem]:
            removed = marks(store)

            def work(chunk: ReadWork) -> ReadItem:
                fragments: list[WrittenFragment] = []
                rejects = RejectsWriter(record, run, rejects_dataset)
                rows: list[dict[str, object]] = []
                accepted: set[str] = set()
                size = documents = 0
                loaded: RememberedRows | None = None

                def flush() -> None:
                    nonlocal rows, size
                    faults.reach(step, "before-write")
                    table = pa.Table.from_pylist(rows, schema=schema)
                    fragments.extend(write_rows(dataset.uri, table, schema, dataset.storage_options))
                    faults.reach(step, "after-write")
                    rows, size = [], 0

                remembered = [item for index, _, item in chunk.items if isinstance(sources[index], RememberedRows)]
                for index, key, item in chunk.items:
                    source = sources[index]
                    if isinstance(source, RememberedRows):
                        source = loaded = loaded or source.loaded(remembered)
                    masks = None if isinstance(source, PlantedDocuments) else masking  # nothing of a canary is cut
                    for result in rows_of_item(source, key, item, limit, masks, removed):
                        if "reason" in result:
                            rejects.add(result, accepted)  # type: ignore[arg-type]
                            continue
                        if titles:
                            result[UNSAID] = unsaid(result.get(TITLE), str(result["text"]))
                        rows.append(result)
                        accepted.add(key)
                        documents += 1
                        size += int(result["length"])  # type: ignore[call-overload]
                        if size >= grain or len(rows) >= ROWS_AT_ONCE:
                            flush()
                if rows:
                    flush()
                left = rejects.rest()
                items, keys = len(chunk.items), frozenset(accepted)
                return ReadItem(tuple(fragments), left, rejects.written, documents, items, keys)

            return work

        return factory


def _turns(documents: Snapshot) -> int:
    """How many turns the conversations have: of a session they can be rejected one by one."""
    lengths = (pc.list_value_length(batch["turns"]) for batch in documents.scan(["turns"]))
    return sum(pc.sum(length).as_py() or 0 for length in lengths)
