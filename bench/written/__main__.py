"""Recall of passages: `Bank.search` before and after `context`, against BM25, vectors of whole passages, and both.

Two banks are built of each set, every setting at its default: one with `context: {}` in its recipe and one without.
`NAME_5` is the share of gold passages among the five best of a search for whole documents (`level="session"`) of the
first, `NAME_5_leaf` among the documents of its smallest rows, best first. The bounds are the peer's: both signals over
whole passages, fused by reciprocal ranks in the same run. Differences are paired, with the middle 95 % of a bootstrap.

`chapters_3` is the same of made chapters (`bench.written.chapters`), whose cues are words: the bound is BM25's.

`dated_*` are the words of LoCoMo's answers in the context (`bench.written.answers`).

Expected on machine C of LOG.md (2 busy cores of an Intel Xeon), from the signals that banks had stored: hotpotqa_5 81.5
and musique_5 61.3 %, where both signals over whole passages have 82.0 and 60.0. The whole command was not run yet.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import mnemic
from bench import data
from bench.report import Row, main, tell
from bench.written import passages as sets
from bench.written.answers import answer_rows
from bench.written.chapters import chapters
from bench.written.passages import Passages, Scores
from mnemic.bank import Bank

DEPTHS = (2, 5)
BOTH = "both, reciprocal ranks"
LEAVES = 40
"""Rows that are asked for to have five documents."""


def build(passages: Passages, folder: Path, context: bool) -> Bank:
    """A bank of the passages, every step with its defaults."""
    bank = folder / f"{passages.name}-{'context' if context else 'bare'}"
    source = {"kind": "folder", "path": str(sets.save(passages, folder)), "id_field": "id"}
    recipe = {"name": passages.name, "bank": str(bank), "sources": [source]}
    mnemic.build({**recipe, "context": {}} if context else recipe, engine="inline")
    return mnemic.open_bank(bank)


def searched(bank: Bank, passages: Passages, level: str | None) -> list[list[int]]:
    """The passages that a search gives for each question, best first."""
    questions = [question for question, _ in passages.questions]
    vectors = bank.encoder.encode_queries(questions)
    orders = []
    for question, vector in zip(questions, vectors, strict=True):
        hits = bank.search(question, words=None, k=LEAVES if level is None else max(DEPTHS), level=level, vector=vector)
        first = sorted(hits, key=lambda hit: (-hit.score, hit.id))
        orders.append(list(dict.fromkeys(int(hit.locator.rpartition("#")[2]) for hit in first)))
    return orders


def measure_set(passages: Passages, quick: bool, depths: tuple[int, ...] = DEPTHS, bound: str = BOTH) -> list[Row]:
    """``bound`` is the peer that the search for whole documents must reach at the last of ``depths``."""
    questions = [question for question, _ in passages.questions]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        after = build(passages, folder, context=True)
        words = sets.bm25(passages.whole, questions)
        meaning = sets.dense(after.encoder, passages.whole, questions)
        most = depths[-1]
        orders: dict[str, Sequence[Sequence[int]]] = {
            "BM25": sets.best(words, most),
            "vectors of whole passages": sets.best(meaning, most),
            BOTH: sets.best(sets.fused(meaning, words), most),
            "search, whole documents": searched(after, passages, "session"),
            "search, smallest rows": searched(after, passages, None),
        }
        if not quick:
            before = build(passages, folder, context=False)
            orders["without context, whole documents"] = searched(before, passages, "session")
            orders["without context, smallest rows"] = searched(before, passages, None)
    shares = {name: {k: sets.recall(order, passages, k) for k in depths} for name, order in orders.items()}
    peer = shares[BOTH]
    for name, one in shares.items():
        figures = "   ".join(f"@{k} {100 * one[k].mean():5.1f}{_difference(one[k], peer[k])}" for k in depths)
        print(f"{passages.name:<10} {name:<34} {figures}", flush=True)
    must = 100 * float(shares[bound][most].mean())
    rows = []
    for suffix, name in (("", "search, whole documents"), ("_leaf", "search, smallest rows")):
        metric = f"gold passages among the {most} best of {len(questions)} questions: {name}"
        value = 100 * float(shares[name][most].mean())
        least, goal = (None, None) if suffix else (must, must + 3)
        rows.append(Row(f"{passages.name}_{most}{suffix}", metric, value, "%", least, goal, peer=bound))
    return rows


def _difference(shares: Scores, peer: Scores) -> str:
    low, high = sets.interval(shares - peer)
    return f" ({100 * float((shares - peer).mean()):+.1f} [{100 * low:+.1f}, {100 * high:+.1f}])"


def measure(quick: bool) -> list[Row]:
    rows = []
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
