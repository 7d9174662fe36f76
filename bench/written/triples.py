"""Relations as edges: recall of MuSiQue's passages with GPT-3.5's recorded triples, and without.

`python -m bench.written.triples` builds one bank with `context`, `names` and `relations`, whose language model is a
server that answers each passage with the triples that HippoRAG published (`bench.data`), and searches it for whole
documents: with the names alone, with relations too, without the seeds of facts, and without the edges between names.
Shares are also of the even questions, on which constants were chosen, and of the odd ones; differences are paired.

Expected (LOG.md, 2026-11-30): 16,008 of 17,419 triples pass the checks; recall@5 69.8 with names, 72.5 with relations.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import mnemic
from bench import data
from bench.written import passages as sets
from bench.written.passages import Passages, Scores
from bench.written.recorded import RecordedServer
from mnemic.bank import Bank
from mnemic.links.graph import Graph
from operators.written.triples import TRIPLES

Triple = Sequence[Any]


class TripleServer(RecordedServer):
    """Answers with the recorded triples of a passage, and with no facts."""

    def __init__(self, triples: Mapping[str, Sequence[Triple]]) -> None:
        """``triples`` by the letters and digits of their passage."""
        super().__init__(())
        self._triples = triples

    def answer(self, order: str, prompt: dict[str, Any]) -> dict[str, Any]:
        if order != TRIPLES.system:
            return {"facts": []}
        units = [(unit["n"], _words(unit["text"])) for unit in prompt["units"]]
        whole = letters("".join(unit["text"] for unit in prompt["units"]))
        relations = []
        for triple in self._triples.get(whole, ()):
            if len(triple) != 3 or not all(isinstance(part, str) and part.strip() for part in triple):
                continue
            subject, label, end = (part.strip() for part in triple)
            if len(subject) > 120 or len(label) > 80 or len(end) > 160:
                continue
            both = _words(subject) | _words(end)
            n = [number for number, words in units if both <= words] or [
                number for number, words in units if both & words
            ]
            place = {"n": n[:8] or [units[0][0]], "when": None}
            relations.append({"subject": subject, "label": label, "object": end, **place})
        return {"relations": relations[:80]}


def letters(text: str) -> str:
    return re.sub(r"\W+", "", text).lower()


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def build(passages: Passages, folder: Path, address: str) -> Bank:
    source = {"kind": "folder", "path": str(sets.save(passages, folder)), "id_field": "id"}
    recipe: dict[str, Any] = {
        "name": "triples",
        "bank": str(folder / "bank"),
        "sources": [source],
        "context": {},
        "names": {},
        "cluster": False,
        "packs": {"tokens": 2000, "context": 0},
        "relations": {"max_rejected": 1.0},
        "written": {"server": address, "name": "recorded", "relations": True, "concurrent": 1, "max_tokens": 8000},
    }
    mnemic.build(recipe, engine="inline")
    return mnemic.open_bank(recipe["bank"])


def searched(bank: Bank, passages: Passages, graph: Graph) -> tuple[Scores, Scores, list[float]]:
    """Recall at 2 and 5 of each question, float64 [n] each, and the CPU milliseconds of each search."""
    questions = [question for question, _ in passages.questions]
    searcher = bank._searcher
    assert searcher.links is not None
    searcher.__dict__["links"] = replace(searcher.links, graph=graph)
    orders, times = [], []
    for question, vector in zip(questions, bank.encoder.encode_queries(questions), strict=True):
        start = time.process_time()
        hits = bank.search(question, words=None, k=5, level="session", vector=vector, links=True)
        times.append(1000 * (time.process_time() - start))
        first = sorted(hits, key=lambda hit: (-hit.score, hit.id))
        orders.append([int(hit.locator.rpartition("#")[2]) for hit in first])
    return sets.recall(orders, passages, 2), sets.recall(orders, passages, 5), times


def measure(bank: Bank, passages: Passages) -> None:
    """Print the recall of each graph, and the gain over names alone."""
    searcher = bank._searcher
    assert searcher.links is not None
    titles, edges, relations = searcher.links.titles, bank.dataset("edges"), bank.dataset("relations")
    whole = Graph.of(edges, titles, relations)
    graphs = {
        "names": Graph.of(edges, titles),
        "names and relations": whole,
        "without the seeds of facts": replace(whole, facts=None),
        "without edges between names": replace(whole, pairs=None),
        "relations alone": Graph.of(None, titles, relations),
    }
    even = np.arange(len(passages.questions)) % 2 == 0
    bare: Scores | None = None
    for name, graph in graphs.items():
        two, five, times = searched(bank, passages, graph)
        bare = five if bare is None else bare
        halves = f"even {100 * five[even].mean():5.1f} odd {100 * five[~even].mean():5.1f}"
        low, high = sets.interval(five - bare)
        gain = f"{100 * float((five - bare).mean()):+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
        speed = f"{np.median(times):.1f} CPU ms, p95 {np.quantile(times, 0.95):.1f}"
        print(
            f"{name:<28} @2 {100 * two.mean():5.1f} @5 {100 * five.mean():5.1f} ({gain})   {halves}   {speed}",
            flush=True,
        )


def run() -> None:
    passages = sets.musique()
    triples: dict[str, list[Triple]] = {}
    for one in json.loads(data.path("triples").read_text())["docs"]:
        triples.setdefault(letters(one["text"]), []).extend(one["extracted_triples"])
    with tempfile.TemporaryDirectory() as place:
        with TripleServer(triples) as address:
            bank = build(passages, Path(place), address)
        count = sum(len(one) for one in triples.values())
        print(f"{bank.release.counts['relations']:,} relations of {count:,} triples", flush=True)
        measure(bank, passages)


if __name__ == "__main__":
    run()
