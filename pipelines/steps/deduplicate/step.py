"""The step `deduplicate`: keys of every document, shards of keys, packs of documents, each over all workers.

1. Every fragment of `documents` gets one run in `bands`: its keys in ascending order, each with the row of its
   document. A run is written once; a later build adds those of new fragments.
2. Every shard, a range of keys, reads its part of all runs and returns the keys that stand there more than once; after
   a release only those of new documents, and it asks `filters` before it reads a run that was there already.
3. Documents that share a key are divided into packs of whole components. One worker decides about a pack and writes its
   pairs into `pairs`. The parts that are done stand in the properties of the commits.
4. `duplicate_of` follows from `pairs`, fragment by fragment.

A document that the newest release kept stays, whatever comes later, and one that fell stays so unless what it fell to
has gone; with ``anew`` all is decided again, as if everything had come at once.

Memory of a worker: ``memory_gb`` for a shard; about 1 KB a document of a pack. The process that runs the step holds 24
bytes for every document that shares a key, and no document (`pipelines.steps.deduplicate.packs`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np

from mnemic.arrays import Flags, Hashes, RowIds
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.growth import add_fields, drop_fields
from mnemic.dataset.write import WrittenFragment, append, write_rows, write_whole
from mnemic.errors import BankError
from mnemic.facts import ADVICE, parsed
from mnemic.schema import FILTERS, PAIRS
from operators.deduplicate import Deduplicate
from operators.deduplicate.bands import shard_bounds
from operators.deduplicate.candidates import BandPlan, Shared, concatenated, shared_keys, shared_with_earlier
from operators.deduplicate.filters import BandFilters, filters_of, seen_by
from operators.deduplicate.operator import PACK, duplicates_of, summary_of
from pipelines import faults
from pipelines.corpus_reader import RowOrder, corpus_digest
from pipelines.identity import Record
from pipelines.steps.contracts import Context, RecordedStep, Status
from pipelines.steps.deduplicate import packs
from pipelines.steps.deduplicate.base import COLUMN, Base, base_of, holding
from pipelines.steps.deduplicate.packs import PackPart
from pipelines.steps.deduplicate.runs import Runs, cut, read_runs
from pipelines.steps.fit import PARTIALS
from pipelines.steps.grow import Compute, grow_columns, growth_state, must_add

PARTS = "mnemic.parts"
"""Property of the commits to `pairs`: which parts of the work they hold, and of each how much is not listed there."""

Part = tuple[str, int]
"""A pack by its number, or a fragment of the pairs of the newest release."""


@dataclass(frozen=True)
class ShardOutcome:
    shard: int
    shared: Shared | None
    filters: tuple[WrittenFragment, ...]
    spilled: tuple[WrittenFragment, ...]  # the shared keys, where they are many


@dataclass(frozen=True)
class PackOutcome:
    part: Part
    fragments: tuple[WrittenFragment, ...]
    unlisted: int  # comparisons that are no rows of `pairs`


@dataclass(frozen=True)
class DeduplicateStep(RecordedStep):
    """The step; ``anew`` it decides about all documents, also those of earlier releases."""

    operator: Deduplicate
    after: tuple[str, ...]
    anew: bool = False
    datasets: tuple[str, ...] = ("documents", "pairs", "bands", "filters")

    def state(self, store: Store) -> Status:
        snapshot = store["documents"].snapshot()
        if snapshot is None or "signature" not in snapshot.schema.names:
            return Status("new")
        corpus, rows = corpus_digest(snapshot, ("id",))
        pairs = store["pairs"].snapshot()
        if rows == 0:
            left = pairs is not None and pairs.count()
            return Status("due" if left else "done", 0, 0, "documents", ("no rows",))
        status = growth_state(snapshot, self.record, [COLUMN], corpus)
        if status.done and (pairs is None or (pairs.record or {}).get("state") != self._at(corpus).state):
            return Status("pending", rows, rows, "documents", ("pairs is missing",))
        if status.done and self.anew:
            return Status("due", rows, rows, "documents", ("all is to be decided anew",))
        return replace(status, total=rows) if status.kind == "due" else status

    def run(self, context: Context) -> None:
        documents = context.store["documents"]
        snapshot = documents.require()
        corpus, rows = corpus_digest(snapshot, ("id",))
        record = self._at(corpus)
        if rows == 0:
            empty = replace(record, corpus="no rows")
            context.commit(
                lambda: context.store["pairs"].replace(PAIRS, (), empty.as_json(), context.properties(empty))
            )
            return
        if self.anew and COLUMN in snapshot.schema.names:
            context.commit(lambda: drop_fields(documents, [COLUMN]))
            snapshot = documents.require()
        judged = context.store["pairs"].snapshot()
        if self.anew or judged is None or (judged.record or {}).get("state") != record.state:
            self._resolve(context, record, snapshot, rows)
        stored = context.store["pairs"].require().record or {}
        record = replace(record, found=stored["found"])
        fields = self.operator.output(snapshot.schema)
        if must_add(snapshot, record, fields.names):
            context.commit(lambda: add_fields(documents, fields, record.as_json()))
        grow_columns(context, record, "documents", ("id",), [COLUMN], self._filler(context), self.operator.resources)

    def _resolve(self, context: Context, record: Record, snapshot: Snapshot, rows: int) -> None:
        """Find what shares keys, decide about it, and leave `pairs` whole."""
        base = None if self.anew else base_of(context.store, snapshot, self.record)
        runs = Runs(context.store["bands"], self.record, self.operator)
        chosen = runs.plan(rows, self.anew)
        runs.extend(context, snapshot, chosen)
        reader = partial(_reader, context.store, snapshot.version, base)
        if chosen.bytes > packs.IN_HAND:
            packs.make_room(context)
        parts_found = self._shared(context, reader, runs, chosen, base, rows)
        pieces = packs.divide(context, parts_found, reader().there, PACK)
        self._decide(context, record, reader, pieces, chosen, base)
        if any(piece.places for piece in pieces):
            packs.make_room(context)
            context.store[PARTIALS].forget_before(timedelta(0))
        pairs = context.store["pairs"]
        whole = replace(record, found=self._summary(pairs.require(), rows, chosen, base)).as_json()
        context.commit(lambda: pairs.annotate(whole))

    def _summary(self, pairs: Snapshot, rows: int, chosen: BandPlan, base: Base | None) -> dict[str, Any]:
        """The numbers of ``pairs``, which are counted where they lie: this process never reads them."""
        fallen = "verdict = 'duplicate'"
        earlier = ((base.pairs.record or {}).get("found", {}) if base else {}).get("unlisted", 0)
        unlisted = earlier + sum(_finished(pairs).values())
        exact = pairs.count(f"{fallen} AND rule = 'exact'")
        return summary_of(rows, pairs.count(fallen), exact, pairs.count(), unlisted, chosen)

    def _at(self, corpus: str) -> Record:
        return replace(self.record, corpus=corpus)

    def _shared(
        self,
        context: Context,
        reader: Callable[[], RowOrder],
        runs: Runs,
        chosen: BandPlan,
        base: Base | None,
        rows: int,
    ) -> list[PackPart]:
        """The keys that stand more than once, shard by shard; after a release, those of documents to decide about."""
        operator, scheme, step = self.operator, self.operator.scheme, self.name
        bands, filters, identity = runs.dataset, context.store["filters"], runs.identity(chosen)
        before = {fragment.id for fragment in base.documents.fragments} if base else set()
        index = runs.index()
        new = [run for run in index if run.source not in before]
        old = [run for run in index if run.source in before]
        if filters.snapshot() is None:  # so that what a killed worker leaves is known to be nothing's
            context.commit(lambda: filters.create(FILTERS, {}, {}))
        stored_filters = filters.snapshot()
        filters_version = (
            stored_filters.version
            if base and stored_filters is not None and stored_filters.record == identity
            else None
        )
        again = base.rows_again if base else np.empty(0, np.uint64)
        version, bounds = bands.require().version, shard_bounds(chosen.bands, chosen.shards)
        store, limit = context.store, packs.IN_HAND // chosen.shards if chosen.bytes > packs.IN_HAND else sys.maxsize

        def factory() -> Callable[[int], ShardOutcome]:
            read = partial(read_runs, bands.require(version))
            added = _keys_of_rows(operator, reader(), again, chosen)

            def work(shard: int) -> ShardOutcome:
                def fresh() -> Iterator[tuple[Hashes, RowIds]]:
                    yield from read(new, bounds[shard])
                    yield cut(added, bounds[shard])

                stored_filters: list[BandFilters] = []
                if filters_version is not None:
                    first, last = bounds[shard]
                    table = filters.require(filters_version).table(
                        FILTERS.names, f"last >= {first} AND first <= {last}"
                    )
                    stored_filters = filters_of(table, scheme, chosen.bands, rows)
                if base is None:
                    shared = shared_keys(fresh, bounds[shard], chosen.method, rows)
                else:
                    seen = partial(seen_by, stored_filters) if stored_filters else _all
                    shared = shared_with_earlier(concatenated(fresh()), seen, partial(read, old, bounds[shard]))
                mine = next((one for one in stored_filters if one.bounds == bounds[shard]), None)
                into = mine or BandFilters(bounds[shard], scheme, chosen.bands, rows)
                for keys, _ in read(new if mine else index, bounds[shard]):
                    into.add(keys)
                faults.reach(step, "before-write")
                written = write_whole(filters, into.table())
                away = packs.spilled(store, shard, shared, limit)
                faults.reach(step, "after-write")
                return ShardOutcome(shard, None if away else shared, tuple(written), away)

            return work

        outcomes: dict[int, ShardOutcome] = {}

        def seen(outcome: ShardOutcome) -> None:
            outcomes[outcome.shard] = outcome
            context.progress(len(outcomes), chosen.shards, "shards of keys")

        job = context.job(factory, operator.resources, "shard {}".format)

        def commit(wave: list[ShardOutcome]) -> None:
            packs.commit_spilled(context, [fragment for outcome in wave for fragment in outcome.spilled])

        context.in_waves(context.engine.map(job, list(range(chosen.shards))), commit, seen)
        fragments = [fragment for shard in sorted(outcomes) for fragment in outcomes[shard].filters]
        context.commit(lambda: filters.replace(FILTERS, fragments, identity, context.properties(self.record)))
        return packs.pieces_of_shards(store, {shard: outcome.shared for shard, outcome in outcomes.items()})

    def _decide(
        self,
        context: Context,
        record: Record,
        reader: Callable[[], RowOrder],
        pieces: list[PackPart],
        chosen: BandPlan,
        base: Base | None,
    ) -> None:
        """Write the pairs of all packs, and those of the release that still hold; what is there already stays."""
        pairs, operator, step, store = context.store["pairs"], self.operator, self.name, context.store
        against = {"release": base.documents_version if base else 0, "shape": [chosen.bands, chosen.rows]}
        under_way = json.loads(json.dumps({**replace(record, found=against).as_json(), "state": ""}))
        pairs_before = pairs.snapshot()
        if pairs_before is None or pairs_before.record != under_way:
            context.commit(lambda: pairs.replace(PAIRS, (), under_way, context.properties(record)))
            pairs_before = pairs.require()
        finished, listed = _finished(pairs_before), list[tuple[str, int, int]]()
        parts: list[Part] = [("earlier", fragment.id) for fragment in base.pairs.fragments] if base else []
        parts += [("pack", number) for number in range(len(pieces))]
        todo = [part for part in parts if part not in finished]
        total, done = sum(pieces[number].documents for kind, number in todo if kind == "pack"), 0

        def factory() -> Callable[[tuple[Part, PackPart | None]], PackOutcome]:
            from operators.deduplicate.resolve import JudgedPairs

            documents = reader()

            def work(item: tuple[Part, PackPart | None]) -> PackOutcome:
                part, pack = item
                if pack is not None:
                    judged = operator.decide(documents, pack.load(store), chosen, lambda done, total: None)
                else:
                    assert base is not None
                    judged = JudgedPairs(holding(base, part[1]), 0)
                faults.reach(step, "before-write")
                written = write_rows(pairs.uri, judged.pairs, PAIRS, pairs.storage_options)
                faults.reach(step, "after-write")
                return PackOutcome(part, tuple(written), judged.unlisted)

            return work

        def commit(wave: list[PackOutcome]) -> None:
            nonlocal done
            fragments = [fragment for outcome in wave for fragment in outcome.fragments]
            listed.extend(
                (*outcome.part, outcome.unlisted) for outcome in wave
            )  # parts without pairs wait for the next that has some
            if fragments:
                properties = {**context.properties(record), PARTS: json.dumps(listed)}
                context.commit(lambda: append(pairs, fragments, properties))
                listed.clear()
            done += sum(pieces[outcome.part[1]].documents for outcome in wave if outcome.part[0] == "pack")
            context.progress(done, total, "documents that share a key")

        items = [(part, pieces[part[1]] if part[0] == "pack" else None) for part in todo]
        job = context.job(factory, operator.resources, lambda item: " ".join(map(str, item[0])))
        context.in_waves(context.engine.map(job, items), commit)

    def _filler(self, context: Context) -> Callable[[], Compute]:
        pairs = context.store["pairs"]
        version = pairs.require().version

        def factory() -> Compute:
            columns = ["document", "other", "verdict"]
            return duplicates_of(pairs.require(version).table(columns, "verdict = 'duplicate'"))

        return factory


def _reader(store: Store, version: int, base: Base | None) -> RowOrder:
    snapshot = store["documents"].require(version)
    return RowOrder(snapshot, COLUMN, base.documents if base else None, base.rows_again if base else ())


def _all(keys: Hashes) -> Flags:
    return np.ones(len(keys), np.bool_)


def _keys_of_rows(operator: Deduplicate, reader: RowOrder, rows: RowIds, chosen: BandPlan) -> tuple[Hashes, RowIds]:
    """The keys of single documents."""
    if len(rows) == 0:
        return np.empty(0, np.uint64), rows
    batch = reader.take_rows(rows, operator.columns).combine_chunks().to_batches()[0]
    return operator.keys(batch, batch["_rowid"].to_numpy(), chosen)


def _finished(pairs: Snapshot) -> dict[Part, int]:
    """The parts whose pairs were committed since `pairs` was emptied, and how many comparisons of each are unlisted."""
    finished: dict[Part, int] = {}
    for properties in pairs.properties_backwards():
        if PARTS not in properties:
            break
        stated = parsed(properties[PARTS], f"What a commit of {pairs.uri} says")
        try:
            finished |= {(kind, number): sum(unlisted) for kind, number, *unlisted in stated}
        except (TypeError, ValueError) as error:
            raise BankError(f"What a commit of {pairs.uri} says are no parts of pairs. {ADVICE}") from error
    return finished
