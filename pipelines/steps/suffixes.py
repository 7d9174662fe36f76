"""The step `suffixes`: shards of the suffix index, of the documents that have tokens.

1. The shards to build are planned from those that stand and from the documents that came and went
   (`operators.suffixes.planned`).
2. Each is built by some worker, which reads the tokens of new documents and of the shards that it takes up. Small ones
   are built some at a time. Commits say which are done, so that a kill costs those under way.
3. When all stand, one commit writes down that they count now and which of before do not, and these are deleted.

Until then the shards of before are all there, whatever was begun: a build that is broken off is planned from the same,
so it ends with the same shards.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.dataset import Snapshot, Store
from mnemic.dataset.write import WrittenFragment, append, write_rows
from mnemic.facts import mapping
from mnemic.ids import hash_parts
from mnemic.quoting import one_of, quoted
from mnemic.schema import SUFFIXES
from mnemic.suffixes.documents import Documents, joined
from mnemic.suffixes.rows import rows_of, shard_id, shard_of
from mnemic.suffixes.shard import Shard
from operators.suffixes import Planned, StandingShard, Suffixes, planned
from pipelines import faults
from pipelines.corpus_reader import corpus_digest
from pipelines.keyset import KeySet
from pipelines.steps.contracts import Context, RecordedStep, Status

BUILT = "mnemic.shards"
"""Property of the commits to `suffixes`: the shards that they hold, by what was planned."""

_TOGETHER = 1 << 22
"""Tokens of small shards that are one worker's at a time, and one fragment; at most those of a shard."""


@dataclass(frozen=True)
class ShardToBuild:
    """A shard to build: its ``plan``, and the rows of `tokens` that have its new documents, in the order of ids."""

    key: str
    plan: Planned
    rows: np.ndarray[Any, np.dtype[np.uint64]]


@dataclass(frozen=True)
class BuiltShards:
    fragments: tuple[WrittenFragment, ...]
    shards: dict[str, str]  # by the key of their items
    documents: int


@dataclass(frozen=True)
class SuffixesStep(RecordedStep):
    """The step; ``anew`` builds all shards again."""

    operator: Suffixes
    after: tuple[str, ...]
    anew: bool = False
    datasets: tuple[str, ...] = ("suffixes",)

    def state(self, store: Store) -> Status:
        tokens, suffixes = store["tokens"].snapshot(), store["suffixes"].snapshot()
        if tokens is None:
            return Status("new")
        corpus, total = corpus_digest(tokens, ("document",))
        if suffixes is None:
            return Status("new", total, total, "documents")
        stored = suffixes.record or {}
        stale = self.record.changes_from(stored)
        if stale:
            return Status("stale", total, total, "documents", tuple(stale))
        if self.anew:
            return Status("due", total, total, "documents", ("all shards are to be built anew",))
        if stored.get("corpus") != corpus:
            return Status("pending", total, total, "documents", ("documents came or went",))
        if stored["found"]["superseded"] or suffixes.count(_unfinished(stored)):
            return Status("pending", total, total, "documents", ("shards of before are to go",))
        return Status("done", 0, total, "documents")

    def run(self, context: Context) -> None:
        tokens, suffixes = context.store["tokens"].require(), context.store["suffixes"]
        corpus, _ = corpus_digest(tokens, ("document",))
        current = suffixes.snapshot()
        if current is None or self.anew or self.record.changes_from(current.record or {}):
            nothing = replace(self.record, found={"generation": 0, "superseded": []})
            context.commit(lambda: suffixes.create(SUFFIXES, nothing.as_json(), context.properties(self.record)))
        self._forget(context)
        snapshot = suffixes.require()
        stored = snapshot.record or {}
        generation = stored["found"]["generation"]
        standing = _StandingShards(snapshot, KeySet(tokens.scan(["document"], batch_size=65536)), generation)
        items = _items(tokens, standing, self.operator.shard_tokens)
        built = self._built(context, snapshot, items)
        self._build(context, tokens.version, [item for item in items if item.key not in built], built)
        gone = standing.incomplete | {one.shard for item in items for one in item.plan.absorbs}
        results = {"generation": generation + 1, "superseded": sorted(gone)}
        record = replace(self.record, corpus=corpus, found=results)
        context.commit(lambda: suffixes.annotate(record.as_json()))
        self._forget(context)

    def _forget(self, context: Context) -> None:
        """Delete the shards of before that were taken up or lost documents, once others stand in their place."""
        suffixes = context.store["suffixes"]
        stored = suffixes.require().record or {}
        gone = stored["found"]["superseded"]
        if not gone:
            return
        before = f"generation < {stored['found']['generation']} AND {one_of('shard', gone)}"
        context.commit(lambda: suffixes.delete(before))
        settled = {**stored, "found": {**stored["found"], "superseded": []}}
        context.commit(lambda: suffixes.annotate(settled))

    def _built(self, context: Context, snapshot: Snapshot, items: list[ShardToBuild]) -> dict[str, str]:
        """Shards that a build that was broken off has built of ``items``, by key; others that it began go."""
        suffixes, stored = context.store["suffixes"], snapshot.record or {}
        names = {row["shard"] for row in snapshot.table(["shard"], _unfinished(stored)).to_pylist()}
        built: dict[str, str] = {}
        for properties in snapshot.properties_backwards() if names else ():
            if BUILT not in properties:
                break
            built |= mapping(properties[BUILT], f"What a commit of {snapshot.uri} says")
        keys = {item.key for item in items}
        built = {key: shard for key, shard in built.items() if key in keys and shard in names}
        strange = sorted(names - set(built.values()))
        if strange:
            begun = f"({_unfinished(stored)}) AND {one_of('shard', strange)}"
            context.commit(lambda: suffixes.delete(begun))
        return built

    def _build(self, context: Context, version: int, items: list[ShardToBuild], built: dict[str, str]) -> None:
        """Let workers build ``items``, and enter in ``built`` what they are called."""
        store, step, suffixes = context.store, self.name, context.store["suffixes"]
        snapshot = suffixes.require()
        generation = (snapshot.record or {})["found"]["generation"] + 1
        pinned, done, total = snapshot.version, 0, sum(item.plan.tokens for item in items)

        def factory() -> Callable[[list[ShardToBuild]], BuiltShards]:
            tokens, shards = store["tokens"].require(version), store["suffixes"].require(pinned)

            def work(some: list[ShardToBuild]) -> BuiltShards:
                tables, names, documents = [], {}, 0
                for item in some:
                    shard, tokenizer = _shard(item, tokens, shards, generation)
                    tables.append(rows_of(shard, tokenizer, generation))
                    names[item.key] = shard_id(shard.documents, shard.tenant, tokenizer)
                    documents += len(shard.documents)
                    del shard
                faults.reach(step, "before-write")
                written = write_rows(suffixes.uri, pa.concat_tables(tables), SUFFIXES, suffixes.storage_options)
                faults.reach(step, "after-write")
                return BuiltShards(tuple(written), names, documents)

            return work

        def commit(wave: list[BuiltShards]) -> None:
            nonlocal done
            shards = {key: shard for one in wave for key, shard in one.shards.items()}
            properties = {**context.properties(self.record), BUILT: json.dumps(shards)}
            fragments = [fragment for one in wave for fragment in one.fragments]
            context.commit(lambda: append(suffixes, fragments, properties))
            built.update(shards)
            context.tally.rows += len(shards)
            done += sum(item.plan.tokens for item in items if item.key in shards)
            context.progress(done, total, "tokens")

        job = context.job(factory, self.operator.resources, _in_words)
        at_once = min(_TOGETHER, self.operator.shard_tokens)
        context.in_waves(context.engine.map(job, _together(items, at_once)), commit)


def _unfinished(stored: dict[str, Any]) -> str:
    """Rows of a build that has not ended."""
    return f"generation > {stored['found']['generation']}"


class _StandingShards:
    """The shards of ``snapshot`` that count, by tenant, and their documents. ``current`` are those to index."""

    def __init__(self, snapshot: Snapshot, current: KeySet, generation: int) -> None:
        self.shards: dict[str, list[StandingShard]] = defaultdict(list)
        self.documents = KeySet()
        stand = f"generation <= {generation}"
        names = snapshot.table(["shard"], f"{stand} AND part = 0")["shard"].to_pylist()
        for name in sorted(names):
            rows = snapshot.table(
                ["part", "tenant", "size", "documents", "offsets"], f"{stand} AND shard = {quoted(name)}"
            )
            rows = rows.sort_by("part")
            documents = pa.RecordBatch.from_arrays([pc.list_flatten(rows["documents"]).combine_chunks()], ["document"])
            sizes = np.diff(np.append(pc.list_flatten(rows["offsets"]).to_numpy(), rows["size"][0].as_py()))
            removed = np.flatnonzero(~current.has(documents))
            left = int(sizes.sum() - sizes[removed].sum())
            self.shards[rows["tenant"][0].as_py()].append(StandingShard(name, left, tuple(removed.tolist())))
            self.documents |= KeySet([documents])

    @property
    def incomplete(self) -> set[str]:
        """Shards that lost documents."""
        return {one.shard for shards in self.shards.values() for one in shards if one.removed}


def _items(tokens: Snapshot, standing: _StandingShards, limit: int) -> list[ShardToBuild]:
    """What there is to build."""
    columns, parts = ["tenant", "document", "length"], []
    for batch in tokens.scan(columns, row_ids=True, batch_size=65536):
        parts.append(batch.filter(pa.array(~standing.documents.has(batch.select(["document"])))))
    new: dict[str, pa.Table] = {}
    if parts:
        rows = pa.Table.from_batches(parts).sort_by([("tenant", "ascending"), ("document", "ascending")])
        first = 0
        for entry in rows["tenant"].combine_chunks().value_counts().to_pylist():  # in the order in which they come
            new[entry["values"]] = rows.slice(first, entry["counts"])
            first += entry["counts"]
    sizes = {tenant: (table["length"].to_numpy() + 1).tolist() for tenant, table in new.items()}
    items = []
    for plan in planned(standing.shards, sizes, limit):
        first, last = plan.added
        some = new[plan.tenant].slice(first, last - first) if last > first else _NOTHING
        absorbed = json.dumps([(one.shard, one.removed) for one in plan.absorbs])
        key = hash_parts("shard to build", plan.tenant, absorbed, "\n".join(some["document"].to_pylist()))
        items.append(ShardToBuild(key, plan, some["_rowid"].to_numpy().astype(np.uint64)))
    return items


_NOTHING = pa.table({"document": pa.array([], pa.string()), "_rowid": pa.array([], pa.uint64())})


def _together(items: list[ShardToBuild], at_once: int) -> Iterator[list[ShardToBuild]]:
    """``items`` in their order, so many at a time that they have ``at_once`` tokens, or one of them."""
    some, tokens = list[ShardToBuild](), 0
    for item in items:
        if some and tokens + item.plan.tokens > at_once:
            yield some
            some, tokens = [], 0
        some.append(item)
        tokens += item.plan.tokens
    if some:
        yield some


def _in_words(items: list[ShardToBuild]) -> str:
    tokens = sum(item.plan.tokens for item in items)
    return f"{len(items):,} shards of the suffix index ({tokens:,} tokens)"


def _shard(item: ShardToBuild, tokens: Snapshot, shards: Snapshot, generation: int) -> tuple[Shard, str]:
    """The shard of ``item``, and the tokenizer of its tokens."""
    parts, tokenizer = list[Documents](), ""
    for one in item.plan.absorbs:
        rows = shards.table(SUFFIXES.names, f"generation < {generation} AND shard = {quoted(one.shard)}")
        tokenizer = rows["tokenizer"][0].as_py()
        parts.append(Documents.of_shard(shard_of(rows)).without(one.removed))
    if len(item.rows):
        rows = tokens.take_rows(item.rows, ["document", "tokenizer", "tokens"])
        tokenizer = rows["tokenizer"][0].as_py()
        parts.append(Documents.of_lists(rows["document"], rows["tokens"]))
    return joined(parts).indexed(item.plan.tenant), tokenizer
