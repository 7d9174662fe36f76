"""Recall of passages: `Bank.search` with links, without, and before `context`, against rules that rank whole passages.

Two banks are built of each set, every setting at its default: one with `context: {}` in its recipe and one without.
`NAME_5` is the share of gold passages among the five best of a search for whole documents (`level="session"`) of the
first, which follows links; `NAME_5_bare` without links, whose bound is that of both signals of the peers, fused by
reciprocal ranks in the same run; `NAME_5_leaf` among the documents of its smallest rows, best first. Peers are BM25,
vectors of whole passages, both, and LinearRAG's rule (`bench.written.linear_rag`). Differences are paired, with the
middle 95 % of a bootstrap, and shares also stand for the even questions, on which constants were chosen, and for the
odd ones. `PUBLISHED` is printed as it was published: other encoders, larger corpora, a thousand questions.

`links_p95` is what following links adds to a search, in milliseconds, at the 95th percentile.

`chapters_3` is the same of made chapters (`bench.written.chapters`), whose cues are words: the bound is BM25's.

`dated_*` are the words of LoCoMo's answers in the context (`bench.written.answers`).

Expected on machine C of LOG.md (2 busy cores of an Intel Xeon): hotpotqa_5 93.5, musique_5 68.4, without links 82.0
and 61.8, where both signals over whole passages have 82.0 and 60.0 %.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import mnemic
from bench import data
from bench.report import Row, main, tell
from bench.written import passages as sets
from bench.written.answers import answer_rows
from bench.written.chapters import chapters
from bench.written.linear_rag import LinearRag
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

PUBLISHED = (
    "HotpotQA 96.3, MuSiQue 74.7 @5: HippoRAG 2 with NV-Embed-v2 (7 B) and triples by Llama-3.3-70B",
    "HotpotQA 94.5, MuSiQue 69.7 @5: NV-Embed-v2 (7 B) alone",
    "HotpotQA 77.7, MuSiQue 51.9 @5: HippoRAG with ColBERTv2",
)


def build(passages: Passages, folder: Path, context: bool) -> Bank:
    """A bank of the passages, every step with its defaults."""
    bank = folder / f"{passages.name}-{'context' if context else 'bare'}"
    source = {"kind": "folder", "path": str(sets.save(passages, folder)), "id_field": "id"}
    recipe = {"name": passages.name, "bank": str(bank), "sources": [source]}
    mnemic.build({**recipe, "context": {}} if context else recipe, engine="inline")
    return mnemic.open_bank(bank)


def searched(bank: Bank, passages: Passages, level: str | None, links: bool = False) -> tuple[list[list[int]], Scores]:
    """The passages that a search gives for each question, best first, and its milliseconds; the second of two runs."""
    questions = [question for question, _ in passages.questions]
    vectors = bank.encoder.encode_queries(questions)
    settings: dict[str, Any] = {"words": None, "k": LEAVES if level is None else max(DEPTHS), "level": level}
    for _ in range(2):
        orders, times = [], []
        for question, vector in zip(questions, vectors, strict=True):
            start = time.perf_counter()
            hits = bank.search(question, vector=vector, links=links, **settings)
            times.append(1000 * (time.perf_counter() - start))
            first = sorted(hits, key=lambda hit: (-hit.score, hit.id))
            orders.append(list(dict.fromkeys(int(hit.locator.rpartition("#")[2]) for hit in first)))
    return orders, np.array(times)


def measure_set(passages: Passages, quick: bool, depths: tuple[int, ...] = DEPTHS, bound: str = BOTH) -> list[Row]:
    """``bound`` is the peer that the search without links must reach at the last of ``depths``."""
    questions = [question for question, _ in passages.questions]
    most, titled = depths[-1], any(passages.titles)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        after = build(passages, folder, context=True)
        words = sets.bm25(passages.whole, questions)
        meaning = sets.dense(after.encoder, passages.whole, questions)
        orders: dict[str, Sequence[Sequence[int]]] = {
            "BM25": sets.best(words, most),
            "vectors of whole passages": sets.best(meaning, most),
            BOTH: sets.best(sets.fused(meaning, words), most),
        }
        if titled and not quick:
            peer = LinearRag(after.encoder, passages).scores(questions, meaning)
            orders["LinearRAG's rule"] = sets.best(peer, most)
        times: dict[str, Scores] = {}
        for name, level in LEVELS.items():
            for links in (False, True) if titled else (False,):
                title = f"search, {name}{', links' if links else ''}"
                orders[title], times[title] = searched(after, passages, level, links)
        if not quick:
            before = build(passages, folder, context=False)
            for name, level in LEVELS.items():
                orders[f"without context, {name}"], _ = searched(before, passages, level)
    shares = {name: {k: sets.recall(order, passages, k) for k in depths} for name, order in orders.items()}
    _print(passages, shares, depths, times)
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
            slowest = [float(np.quantile(times[one], 0.95)) for one in (title, bare)]
            metric = f"95th percentile of a search with links ({slowest[0]:.1f} ms) less that without, {name}"
            links_id = f"{passages.name}_links_p95{suffix}"
            rows.append(Row(links_id, metric, slowest[0] - slowest[1], "ms", MILLISECONDS, higher_is_better=False))
    return rows


def _print(
    passages: Passages, shares: dict[str, dict[int, Scores]], depths: tuple[int, ...], times: dict[str, Scores]
) -> None:
    even = np.arange(len(passages.questions)) % 2 == 0
    for name, one in shares.items():
        figures = "   ".join(f"@{k} {100 * one[k].mean():5.1f}{_difference(one[k], shares[BOTH][k])}" for k in depths)
        last = one[depths[-1]]
        halves = f"even {100 * last[even].mean():5.1f} odd {100 * last[~even].mean():5.1f}"
        speed = f"   {np.median(times[name]):.1f} ms, p95 {np.quantile(times[name], 0.95):.1f}" if name in times else ""
        print(f"{passages.name:<10} {name:<34} {figures}   {halves}{speed}", flush=True)
    for level in LEVELS:
        bare, links = (f"search, {level}{suffix}" for suffix in ("", ", links"))
        for half, here in (("all", even | ~even), ("odd", ~even)) if links in shares else ():
            gain = _difference(shares[links][depths[-1]][here], shares[bare][depths[-1]][here])
            print(f"{passages.name:<10} links against none, {level}, {half} questions: @{depths[-1]}{gain}", flush=True)


def _difference(shares: Scores, peer: Scores) -> str:
    low, high = sets.interval(shares - peer)
    return f" ({100 * float((shares - peer).mean()):+.1f} [{100 * low:+.1f}, {100 * high:+.1f}])"


def measure(quick: bool) -> list[Row]:
    rows = []
    for line in PUBLISHED:
        print(f"as published: {line}", flush=True)
    for read in (sets.hotpotqa, sets.musique):
        try:
            rows += measure_set(read(), quick)
        except data.MissingData as error:
            tell(f"{read.__name__} was not measured. {error}")
    try:
        rows += [] if quick else measure_set(chapters(), quick, (1, 3), "BM25")
    except data.MissingData as error:
        tell(f"Chapters were not measured. {error}")
    try:
        rows += answer_rows()
    except data.MissingData as error:
        tell(f"Answers were not measured. {error}")
    return rows


if __name__ == "__main__":
    sys.exit(main("written", __doc__ or "", measure))
