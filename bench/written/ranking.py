"""Banks of passages with `context`, with `names` too and without, searched for documents and smallest rows, and peers.

Banks are kept in `bench.places.CACHE`: a run finds those of the run before it, and builds what its code would make
otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import mnemic
from bench.places import CACHE
from bench.report import Row
from bench.written import passages as sets
from bench.written.linear_rag import SCRIPTED, LinearRag
from bench.written.passages import Passages, Scores
from mnemic.bank import Bank

DEPTHS = (2, 5)
BOTH = "both, reciprocal ranks"
LEVELS = {"whole documents": "session", "smallest rows": None}
LEAVES = 40
"""Rows that are asked for to have five documents."""

BOUNDS = {"hotpotqa": (88.0, 92.0), "musique": (64.5, 68.0)}

MILLISECONDS = 10.0
"""Of a search, at most, for its links."""

PEER = "LinearRAG's rule"
WITH_NAMES = "search, whole documents, links and names"


SECTIONS: dict[str, tuple[str, ...]] = {"bare": (), "context": ("context",), "names": ("context", "names")}
"""Sections of the recipe of a bank, beside those that run unnamed."""


def build(passages: Passages, kind: str) -> Bank:
    """A bank of the passages, every step with its defaults; ``kind`` is a key of `SECTIONS`."""
    folder = CACHE / "written"
    folder.mkdir(parents=True, exist_ok=True)
    bank = folder / f"{passages.name}-{kind}"
    source = {"kind": "folder", "path": str(sets.save(passages, folder)), "id_field": "id"}
    sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS[kind]}
    mnemic.build({"name": passages.name, "bank": str(bank), "sources": [source], **sections}, engine="inline")
    return mnemic.open_bank(bank)


ROUNDS = 3
"""Of each search; its time is the least of them, for there is always other work on a machine."""


@dataclass(frozen=True)
class Searches:
    """``orders`` are the passages that a search gives for each question, best first.

    ``clock`` and ``processor`` float64 [questions] are its milliseconds, by the clock and of the processor in all
    threads; the second says little of other work on the machine.
    """

    orders: list[list[int]]
    clock: Scores
    processor: Scores


def searched(bank: Bank, passages: Passages, level: str | None, ways: Sequence[bool]) -> list[Searches]:
    """The searches of all questions for each of ``ways``, links or none.

    The ways take turns question by question, so that all of them meet the same other work.
    """
    questions = [question for question, _ in passages.questions]
    vectors = bank.encoder.encode_queries(questions)
    settings: dict[str, Any] = {"words": None, "k": LEAVES if level is None else max(DEPTHS), "level": level}
    times = np.full((2, len(ways), len(questions)), np.inf)
    orders: list[list[list[int]]] = [[] for _ in ways]
    for attempt in range(ROUNDS):
        for place, (question, vector) in enumerate(zip(questions, vectors, strict=True)):
            for way, links in enumerate(ways):
                start = time.perf_counter(), time.process_time()
                hits = bank.search(question, vector=vector, links=links, **settings)
                end = time.perf_counter(), time.process_time()
                spent = 1000 * (np.array(end) - start)
                times[:, way, place] = np.minimum(times[:, way, place], spent)
                if attempt == 0:
                    first = sorted(hits, key=lambda hit: (-hit.score, hit.id))
                    orders[way].append(list(dict.fromkeys(int(hit.locator.rpartition("#")[2]) for hit in first)))
    return [Searches(order, times[0, way], times[1, way]) for way, order in enumerate(orders)]


def measure_set(passages: Passages, quick: bool, depths: tuple[int, ...] = DEPTHS, bound: str = BOTH) -> list[Row]:
    """``bound`` is the peer that the search without links must reach at the last of ``depths``."""
    questions = [question for question, _ in passages.questions]
    most, titled = depths[-1], any(passages.titles)
    after = build(passages, "context")
    words = sets.bm25(passages.whole, questions)
    meaning = sets.dense(after.encoder, passages.whole, questions)
    orders: dict[str, Sequence[Sequence[int]]] = {
        "BM25": sets.best(words, most),
        "vectors of whole passages": sets.best(meaning, most),
        BOTH: sets.best(sets.fused(meaning, words), most),
    }
    if titled and not quick:
        peer = LinearRag(after.encoder, passages)
        orders[PEER] = sets.best(peer.scores(questions, meaning), most)
        scripted = peer.scores(questions, meaning, SCRIPTED[passages.name])
        orders[f"{PEER}, as its script"] = sets.best(scripted, most)
    searches: dict[str, Searches] = {}
    for name, level in LEVELS.items():
        ways = (False, True) if titled else (False,)
        for links, one in zip(ways, searched(after, passages, level, ways), strict=True):
            title = f"search, {name}{', links' if links else ''}"
            orders[title], searches[title] = one.orders, one
    if titled and not quick:
        [one] = searched(build(passages, "names"), passages, "session", (True,))
        orders[WITH_NAMES], searches[WITH_NAMES] = one.orders, one
    shares = {name: {k: sets.recall(order, passages, k) for k in depths} for name, order in orders.items()}
    _print(passages, shares, depths, searches)
    if not quick:
        before = build(passages, "bare")
        bare_orders = {
            f"without context, {name}": searched(before, passages, level, (False,))[0].orders
            for name, level in LEVELS.items()
        }
        bare_shares = {name: {k: sets.recall(one, passages, k) for k in depths} for name, one in bare_orders.items()}
        _print(passages, {BOTH: shares[BOTH], **bare_shares}, depths, {})
    rows = []
    for suffix, name, level in (("", "whole documents", "session"), ("_leaf", "smallest rows", None)):
        bare, title = f"search, {name}", f"search, {name}, links"
        metric = f"gold passages among the {most} best of {len(questions)} questions: "
        value = 100 * float(shares[bare][most].mean())
        must = 100 * float(shares[bound][most].mean()) if level else None
        bare_id = f"{passages.name}_{most}{suffix}{'_bare' if titled else ''}"
        rows.append(Row(bare_id, metric + bare, value, "%", must, must and must + 3, peer=bound))
        if titled:
            must, goal = BOUNDS[passages.name] if level else (None, None)
            value = 100 * float(shares[title][most].mean())
            rows.append(Row(f"{passages.name}_{most}{suffix}", metric + title, value, "%", must, goal, peer=bound))
            for clock in ("clock", "processor"):
                with_links, without = (_slowest(getattr(searches[one], clock)) for one in (title, bare))
                metric = f"95th percentile by the {clock}: with links ({with_links:.1f}) less without, {name}"
                links_id = f"{passages.name}_links_p95{'_cpu' if clock == 'processor' else ''}{suffix}"
                rows.append(Row(links_id, metric, with_links - without, "ms", MILLISECONDS, higher_is_better=False))
    return rows


def _print(
    passages: Passages, shares: dict[str, dict[int, Scores]], depths: tuple[int, ...], searches: dict[str, Searches]
) -> None:
    even = np.arange(len(passages.questions)) % 2 == 0
    for name, one in shares.items():
        figures = "   ".join(f"@{k} {100 * one[k].mean():5.1f}{_difference(one[k], shares[BOTH][k])}" for k in depths)
        last = one[depths[-1]]
        halves = f"even {100 * last[even].mean():5.1f} odd {100 * last[~even].mean():5.1f}"
        speed = _speed(searches[name]) if name in searches else ""
        print(f"{passages.name:<10} {name:<40} {figures}   {halves}{speed}", flush=True)
    for level in LEVELS:
        bare, links = (f"search, {level}{suffix}" for suffix in ("", ", links"))
        peers = {"none": bare} | {name: name for name in shares if name.startswith(PEER)}
        for peer, name in peers.items() if links in shares else ():
            for half, here in (("all", even | ~even), ("odd", ~even)):
                gain = _difference(shares[links][depths[-1]][here], shares[name][depths[-1]][here])
                title = f"links against {peer}, {level}, {half} questions"
                print(f"{passages.name:<10} {title}: @{depths[-1]}{gain}", flush=True)
    for peer in (name for name in shares if name.startswith(PEER) and WITH_NAMES in shares):
        gain = _difference(shares[WITH_NAMES][depths[-1]], shares[peer][depths[-1]])
        print(f"{passages.name:<10} links and names against {peer}, whole documents: @{depths[-1]}{gain}", flush=True)


def _slowest(times: Scores) -> float:
    return float(np.quantile(times, 0.95))


def _speed(searches: Searches) -> str:
    return "".join(
        f"   {name} {np.median(times):.1f} ms, p95 {_slowest(times):.1f}"
        for name, times in (("clock", searches.clock), ("processor", searches.processor))
    )


def _difference(shares: Scores, peer: Scores) -> str:
    low, high = sets.interval(shares - peer)
    return f" ({100 * float((shares - peer).mean()):+.1f} [{100 * low:+.1f}, {100 * high:+.1f}])"
