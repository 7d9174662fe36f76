"""Read the sources into `documents`.

A manifest lists a source's items with size and stamp; an item that was read under the same size, stamp and settings is
not opened again. The rows of items that vanished, or changed, are deleted before the new ones are appended, so a
document is never there twice. Every item leaves rows or rejects. An item with neither is pending.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from mnemic.metadata import metadata_field
from mnemic.quoting import one_of
from mnemic.schema import DOCUMENTS, UNSAID
from operators.contracts import Resources
from pipelines import faults
from pipelines.identity import Record
from pipelines.keyset import KeySet
from pipelines.sources.canaries import PlantedDocuments
from pipelines.sources.columns import TITLE, columns_of, unsaid
from pipelines.sources.contracts import Item, Source
from pipelines.sources.inbox import RememberedRows
from pipelines.steps.contracts import Context, Status
from pipelines.steps.inbox import lost_items, refuse_remembered, take_over
from pipelines.steps.items import rows_of_item
from pipelines.steps.manifest import Manifest
from pipelines.steps.rejects import RejectsWriter, WrittenRejects, check_rejects, rejected_ids
from pipelines.steps.tombstones import forget_readmitted, marks, readmitted_items

if TYPE_CHECKING:
    from operators.pii.masking import Masking

CHUNK_BYTES = 4 << 20
CHUNK_ITEMS = 64

SMALL_CORPUS = 1 << 30
"""Bytes from which on fragments grow: their size and their number by the square root of the corpus."""

FEW_ITEMS = 1 << 17
"""Items from which on more of them are read together: by the square root of their number."""

MOST_NAMED = 10_000
"""Items that vanished or changed up to which a plan tells those apart that were edited."""

ROWS_AT_ONCE = 1 << 16
"""Documents that a worker holds before it writes them, however short they are."""


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
    fragment_characters: int = 500_000  # text of a fragment at least: the grain of later work and of a kill's cost
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
    def manifest(self) -> Manifest:
        """Everything that the recipe's sources list, with its keys."""
        return self._listed(self.sources)

    def _listed(self, sources: Sequence[Source]) -> Manifest:
        masked = () if self.masking is None else (self.masking.identity,)
        return Manifest.of(sources, (self.record.version, self.max_document_bytes, *masked))

    @property
    def _takes_remembered(self) -> bool:
        """Whether what was remembered is read too: it is not where a source of the recipe has its name."""
        return all(source.name != RememberedRows.name for source in self.sources)

    def _with_remembered(self, store: Store, waiting: bool = False) -> Manifest:
        """`manifest`, and what was remembered; with ``waiting`` also what nobody took over yet."""
        if not self._takes_remembered:
            refuse_remembered(store)
            return self.manifest
        return self.manifest + self._listed((RememberedRows(store, waiting),))

    @property
    def grain(self) -> int:
        """Characters of a fragment: more in a large corpus, so that neither fragments nor manifests are too many."""
        return int(self.fragment_characters * max(1.0, (self.manifest.bytes / SMALL_CORPUS) ** 0.5))

    def state(self, store: Store) -> Status:
        snapshot = store["documents"].snapshot()
        manifest = self._with_remembered(store, waiting=True)
        total = len(manifest)
        if snapshot is None:
            return Status("new", total, total, "items", self._notes(manifest, range(total)))
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

    def _difference(self, store: Store, manifest: Manifest) -> tuple[list[int], list[str]]:
        """Places in the manifest of the items to read, and keys of items that vanished or changed."""
        snapshot = store["documents"].require()
        present = KeySet(snapshot.scan(["item"], batch_size=65536)) | KeySet(rejected_ids(store, self.record))
        again = KeySet([pa.RecordBatch.from_pydict({"item": pa.array(sorted(readmitted_items(store)), pa.string())})])
        missing = manifest.missing(present - again)
        vanished = self._named(store, snapshot, present - manifest.known())
        if vanished and self._takes_remembered:
            vanished -= lost_items(store, snapshot)
        return missing, sorted(vanished | self._named(store, snapshot, present - (present - again)))

    def _named(self, store: Store, snapshot: Snapshot, keys: KeySet) -> set[str]:
        """The keys of items themselves, of those that documents or rejects have."""
        names = set[str]()
        places = (snapshot.scan(["item"], batch_size=65536), rejected_ids(store, self.record)) if keys else ()
        for batch in itertools.chain(*places):
            names.update(batch[0].filter(pa.array(keys.has(batch))).unique().to_pylist())
        return names

    def run(self, context: Context) -> None:
        dataset = context.store["documents"]
        stored = {**self.record.as_json(), "fields": self.settings}
        if dataset.snapshot() is None:
            dataset.create(self.schema, stored, context.properties(self.record))
        new_columns = self._new_columns(dataset.require())
        if new_columns:
            fields = pa.schema([self.schema.field(name) for name in new_columns])
            context.commit(lambda: add_fields(dataset, fields, {}))
        if self._takes_remembered:
            take_over(context, self.record)
        manifest = self._with_remembered(context.store)
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
        work = self._work(manifest, missing, self._located(context, manifest, missing))
        context.in_waves(context.engine.map(job, work), commit)
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
        self, snapshot: Snapshot, manifest: Manifest, missing: list[int], vanished: list[str]
    ) -> Iterator[str]:
        """The files that were edited: they are there before and after, and their documents are replaced."""
        if len(vanished) > MOST_NAMED:
            return
        locators = self._masked([manifest.items[place].locator for place in missing])
        names_of = (manifest.sources[manifest.source(place)].name for place in missing)
        now = set(zip(names_of, locators, strict=True))
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

    def _notes(self, manifest: Manifest, places: Iterable[int]) -> tuple[str, ...]:
        """How sources are going to read these items, where they tell it."""
        items: dict[int, list[Item]] = {}
        for place in places:
            items.setdefault(manifest.source(place), []).append(manifest.items[place])
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

    def _work(self, manifest: Manifest, places: Sequence[int], parts: Mapping[int, Item]) -> Iterator[ReadWork]:
        """Items in manifest order, cut into chunks by bytes and number: the text of two fragments, or more.

        ``parts`` are the parts of files with the places where they begin (`_located`).
        """
        chunk: list[tuple[int, str, Item]] = []
        size, chunk_bytes = 0, max(CHUNK_BYTES, 2 * self.grain if self.grain > self.fragment_characters else 0)
        chunk_items = int(CHUNK_ITEMS * max(1.0, (len(self.manifest) / FEW_ITEMS) ** 0.5))
        for place in places:
            item = parts.get(place, manifest.items[place])
            chunk.append((manifest.source(place), manifest.key(place), item))
            size += item.size // (item.part.of if item.part else 1)
            if size >= chunk_bytes or len(chunk) >= chunk_items:
                yield ReadWork(tuple(chunk))
                chunk, size = [], 0
        if chunk:
            yield ReadWork(tuple(chunk))

    def _located(self, context: Context, manifest: Manifest, places: Sequence[int]) -> dict[int, Item]:
        """Place -> part of a large file, with the place where it begins: each file is looked through by a worker."""
        sources = manifest.sources
        parted = ((place, manifest.items[place]) for place in places if manifest.items[place].part)
        of_file = itertools.groupby(parted, lambda part: (manifest.source(part[0]), part[1].locator))
        files = [list(group) for _, group in of_file]

        def factory() -> Callable[[tuple[int, list[tuple[int, Item]]]], dict[int, Item]]:
            def locate(work: tuple[int, list[tuple[int, Item]]]) -> dict[int, Item]:
                source, parts = work
                located = sources[source].located([item for _, item in parts])  # type: ignore[attr-defined]
                return {place: item for (place, _), item in zip(parts, located, strict=True)}

            return locate

        job = context.job(factory, Resources(), lambda work: f"the parts of {work[1][0][1].locator}")
        located: dict[int, Item] = {}
        for some in context.engine.map(job, [(manifest.source(file[0][0]), file) for file in files]):
            located |= some
        return located

    def _worker(
        self, store: Store, run: str, sources: Sequence[Source]
    ) -> Callable[[], Callable[[ReadWork], ReadItem]]:
        record, schema = self.record, self.schema
        dataset, rejects_dataset = store["documents"], store["rejects"]
        limit, grain, step = self.max_document_bytes, self.grain, self.name
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
