"""Hybrid search: recall of evidence, times over a million events, and that no tenant sees another's rows.

`recall_250` to `recall_2000` are LoCoMo's (`bench.search.recall`).

`search_p50` and `search_p95` are of `Bank.search` with its defaults and the query's vector given: warm, one client, a
budget of 500 words. Encoding the query is left out, and printed; so are the two signals alone (the 200 nearest vectors
and the 200 best by BM25 at the same time, fused, with the facts of every row), each signal, and other conditions. The
indexes are built by the house's own functions in this run. `bench.search.corpus` says what the corpus is made of.

`tenant_leaks` counts rows of a foreign tenant, or deleted ones, among all that 100,000 queries of single tenants and of
thirty at a time gave, with rows inserted and deleted, and indexes behind, between them.

Expected on machine A of LOG.md (2 cores of an AMD EPYC; 25 minutes): search_p50 28.8 ms, search_p95 62.9 ms,
search_recall .970, tenant_leaks 0; `bench.search.recall` says its own.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bench.cluster.vectors import ENCODER, sentences
from bench.report import Row, main, tell, timed
from bench.search.corpus import (
    FOLDER,
    FULL,
    QUICK,
    TENANTS,
    Words,
    base_vectors,
    corpus,
    event_tables,
    queries,
    released,
)
from bench.search.recall import recall_rows
from mnemic.bank import Bank
from mnemic.catalogue import DOCUMENT_INDEXES
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.index import (
    build_indexes,
    built,
    hold,
    measure_recall,
    read_rows,
    recall_of,
    search_exact,
    search_text,
    search_vector,
    write_record,
)
from mnemic.dataset.write import append, write_rows
from mnemic.encoder import TextEncoder
from mnemic.release import Release
from mnemic.schema import events

FACTS = ("id", "document", "level", "parent", "words", "start_time")
K, RANK_CONSTANT = 200, 60
SAMPLED = 300
"""Queries whose answers are compared with exact search."""

_pool = ThreadPoolExecutor(1)


def searched(bank: Bank, vector: npt.NDArray[np.float32], query: str, where: str | None) -> object:
    """The search that is timed: the bank's own, with its defaults."""
    return bank.search(query, where=where, vector=vector)


def two_signals(snapshot: Snapshot, vector: npt.NDArray[np.float32], query: str, where: str | None) -> pa.Table:
    """The least that a hybrid search does: two searches at the same time, fused, with the facts of the rows."""
    words = _pool.submit(search_text, snapshot, "text", (), query, K, where)
    near = search_vector(snapshot, "vector", (), vector, K, where)
    rows = [table["_rowid"].to_numpy() for table in (near, words.result())]
    every = np.unique(np.concatenate(rows))
    scores = np.zeros(len(every))
    for ranked in rows:
        scores[np.searchsorted(every, ranked)] += 1.0 / (RANK_CONSTANT + 1 + np.arange(len(ranked)))
    facts = read_rows(snapshot, every, FACTS).append_column("score", pa.array(scores))
    return facts.take(pa.array(np.lexsort((facts["id"].to_numpy(), -scores))))


def measure(quick: bool) -> list[Row]:
    size = QUICK if quick else FULL
    texts, vectors = queries()
    short = [" ".join(text.split()[:10]) for text in texts]
    source = corpus(size)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        store = released(source, Path(folder))
        dataset = store["events"]
        tell(f"{size:,} events; indexes built in {timed(lambda: build_indexes(dataset)):.0f} s, {_load()}")
        build_indexes(store["documents"], DOCUMENT_INDEXES)
        record = measure_recall(dataset.require(), "vector")
        write_record(dataset.require(), "vector", record)
        bank = _opened(store)
        snapshot = bank.dataset("events")
        for column, index in sorted(built(snapshot).items()):
            tell(f"  {column}: {index.kind}, {index.bytes / 1e6:.1f} MB, {len(index.segments)} segment(s)")
        tell(f"  chosen: {record}")
        tell(f"  columns held: {hold(snapshot, FACTS) / 1e6:.0f} MB")
        encoder = TextEncoder.load(ENCODER, batch_tokens=128)
        encoding = [timed(partial(encoder.encode, [text])) for text in short[:60]][10:]
        tell(f"query encoding: {1000 * statistics.median(encoding):.1f} ms")

        def times(name: str, search: Callable[[int], object], count: int) -> tuple[float, float]:
            for number in range(30):
                search(number)
            started = time.process_time()
            seconds = [timed(partial(search, number)) for number in range(count)]
            busy = 1000 * (time.process_time() - started) / count
            p50, p95 = (1000 * float(np.percentile(seconds, q)) for q in (50, 95))
            tell(f"{name}: p50 {p50:.1f} ms, p95 {p95:.1f} ms, {busy:.1f} ms of processor a query, {_load()}")
            return p50, p95

        def whole(number: int, where: str | None = None) -> object:
            return searched(bank, vectors[number], short[number], where)

        def both(number: int, where: str | None = None) -> object:
            return two_signals(snapshot, vectors[number], short[number], where)

        def words(number: int, where: str | None = None) -> object:
            return search_text(snapshot, "text", (), short[number], K, where)

        def near(number: int, where: str | None = None) -> object:
            return search_vector(snapshot, "vector", (), vectors[number], K, where)

        count = 300 if quick else len(texts)
        p50, p95 = times("bank.search", whole, count)
        tenant = "tenant = 'tenant-007'"
        for search, conditions in (
            (whole, (tenant, "source = 'mail'", "start_time > timestamp '2025-10-01'")),
            (both, ("leaf", None, tenant)),
            (words, ("leaf", None, "level = 'event'", "level = 'session'", tenant)),
            (near, ("leaf", None, tenant)),
        ):
            for where in conditions:
                times(f"{search.__name__} where {where}", partial(search, where=where), 100)
        recall = _recall(snapshot, vectors[:SAMPLED], "leaf")
        tell(f"recall@10 of all rows {_recall(snapshot, vectors[:SAMPLED], None):.4f}, of leaves {recall:.4f}")
    leaks = tenant_leaks(2_000 if quick else 100_000)
    return [
        Row("search_p50", f"hybrid search, {size:,} events, median", p50, "ms", 30, 10, higher_is_better=False),
        Row(
            "search_p95", f"hybrid search, {size:,} events, 95th percentile", p95, "ms", 100, 30, higher_is_better=False
        ),
        Row("search_recall", "recall@10 against exact search, held-out sentences", recall, "", 0.95),
        Row("tenant_leaks", "foreign or deleted rows found", leaks, "rows", 0, None, False),
        *recall_rows(quick),
    ]


def tenant_leaks(count: int, rounds: int = 10) -> int:
    """Foreign or deleted rows among the answers to ``count`` queries, half by words and half by vectors."""
    random = np.random.default_rng(5)
    base = base_vectors(QUICK)
    schema = events(base.shape[1])
    fresh = iter(
        pa.concat_tables(event_tables(QUICK, base, Words(sentences().slice(0, len(base)).to_pylist()), seed=99))
        .combine_chunks()
        .to_batches(max_chunksize=500)
    )
    texts, vectors = queries()
    leaks, rows_read = 0, 0
    source = corpus(QUICK)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        dataset = released(source, Path(folder))["events"]
        table = dataset.require().table(["id", "tenant"])
        owner = dict(zip(table["id"].to_pylist(), table["tenant"].to_pylist(), strict=True))
        build_indexes(dataset)
        for turn in range(rounds):
            for _ in range(2):
                rows = pa.Table.from_batches([next(fresh)])
                append(dataset, write_rows(dataset.uri, rows, schema), {})
                owner.update(zip(rows["id"].to_pylist(), rows["tenant"].to_pylist(), strict=True))
            gone = random.choice(sorted(owner), 500, replace=False).tolist()
            dataset.delete_keys("id", gone)
            for row in gone:
                del owner[row]
            if turn % 3 == 2:
                build_indexes(dataset)
            snapshot = dataset.require()

            def foreign(question: tuple[int, list[str]], snapshot: Snapshot = snapshot) -> tuple[int, int]:
                """Rows found, and those of them that are another's or deleted."""
                number, names = question
                where = "tenant IN (" + ", ".join(f"'{name}'" for name in names) + ")"
                near = search_vector(snapshot, "vector", "id", vectors[number], 50, where)["id"].to_pylist()
                words = search_text(snapshot, "text", "id", texts[number], 50, where)["id"].to_pylist()
                return len(near) + len(words), sum(owner.get(row) not in names for row in near + words)

            questions = [
                (
                    int(random.integers(len(texts))),
                    [f"tenant-{n:03d}" for n in random.integers(0, TENANTS, 1 if number % 2 else 30)],
                )
                for number in range(count // rounds // 2)
            ]
            with ThreadPoolExecutor(2) as clients:
                for answered, wrong in clients.map(foreign, questions):
                    rows_read += answered
                    leaks += wrong
            tell(f"tenants: round {turn + 1} of {rounds}, {rows_read:,} rows found, {leaks} foreign or deleted")
    tell(f"{count:,} queries of tenants found {rows_read:,} rows, {leaks} of them foreign or deleted")
    return leaks


def _recall(snapshot: Snapshot, vectors: npt.NDArray[np.float32], where: str | None) -> float:
    rows = [search_vector(snapshot, "vector", (), one, K, where)["_rowid"].to_pylist() for one in vectors]
    return recall_of(rows, *search_exact(snapshot, "vector", vectors, 20, where))


def _opened(store: Store) -> Bank:
    """The bank as its newest versions are; a release without recipe or lineage."""
    versions = {name: store[name].require().version for name in ("events", "documents")}
    return Bank(store, Release("bench", datetime.now(UTC), "", versions, {}, {}, {}))


def _load() -> str:
    return f"load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    sys.exit(main("search", __doc__ or "", measure))
