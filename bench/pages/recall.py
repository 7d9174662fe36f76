"""Which events answer a question: our search, EM-LLM's contiguity buffer, and InfLLM's representative keys.

The first of LoCoMo's development conversations, as a bank with its defaults. An event answers where it has the turn of
the evidence. Representative keys rank all events of the conversation by the model's own queries; both together are
ranked by the sum of their reciprocal ranks.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import mnemic
from bench import data
from bench.pages.representatives import asking, layers_between, representative
from bench.report import Row, tell
from mnemic.bank import Bank
from mnemic.pages.page import Page
from mnemic.pages.reading import PageReader, page_ids
from pipelines.evaluate.questions import CATEGORIES, read_questions

BUDGET = 1024
"""Tokens of pages, as `attach` has by default."""

_FUSED = 60
"""Of reciprocal rank fusion (Cormack et al., SIGIR 2009)."""

Ranks = Callable[[str], Sequence[str]]


def _asked(file: Path) -> tuple[list[Any], list[tuple[str, str]]]:
    """The first conversation, and its (question, turn of the evidence) of category 4."""
    sample = json.loads(file.read_text())[0]
    sessions = [value for name, value in sample["conversation"].items() if isinstance(value, list)]
    turns = {turn["dia_id"]: turn["text"] for session in sessions for turn in session}
    questions = []
    for one in read_questions(file)[0]:
        evidence = sorted(one.evidence & set(turns))
        if one.category == CATEGORIES["4"] and one.tenant == sample["sample_id"] and evidence:
            questions.append((one.text, turns[evidence[0]]))
    return [sample], questions


def recall_rows(model: Any, tokenizer: Any, sink: Page, most: int | None) -> list[Row]:
    """Shares of questions whose evidence is in the best event, the best five, and in as many as have 1,024 tokens."""
    samples, questions = _asked(data.path("locomo"))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "conversation.json").write_text(json.dumps(samples))
        sources = [{"kind": "conversations", "path": str(place / "conversation.json")}]
        recipe = {"name": "one", "bank": str(place / "bank"), "sources": sources, "cluster": False}
        mnemic.build(recipe)
        return _measured(mnemic.open_bank(place / "bank"), model, tokenizer, sink, questions[:most])


def _measured(bank: Bank, model: Any, tokenizer: Any, sink: Page, questions: Sequence[tuple[str, str]]) -> list[Row]:
    events = {row["id"]: row["text"] for row in bank.table("events", ["id", "text"], "level = 'event'").to_pylist()}
    names, reader = list(events), PageReader(model)
    tokens = dict(zip(names, map(len, page_ids(tokenizer, list(events.values()))), strict=True))
    layers, began = layers_between(sink.sizes[0]), time.process_time()
    ids = page_ids(tokenizer, list(events.values()))
    readings = [representative(model, reader.read(one, [sink], queries=True), layers) for one in ids]
    keys = np.stack(readings).reshape(len(names), -1)
    tell(f"{len(names)} events, {sum(tokens.values())} tokens, read in {time.process_time() - began:.0f} s")

    @cache
    def by_text(question: str) -> list[str]:
        hits = bank.search(question, words=None, k=len(names), level="event")
        return [hit.id for hit in sorted(hits, key=lambda hit: -hit.score)]

    @cache
    def by_keys(question: str) -> list[str]:
        reading = reader.read(page_ids(tokenizer, [question])[0], [sink], queries=True)
        scores = keys @ asking(reading, layers).reshape(-1)
        return [names[place] for place in np.argsort(-scores, kind="stable")]

    def both(question: str) -> list[str]:
        scores: dict[str, float] = {}
        for ranking in (by_text(question), by_keys(question)):
            for rank, name in enumerate(ranking):
                scores[name] = scores.get(name, 0.0) + 1 / (_FUSED + rank)
        return sorted(scores, key=lambda name: (-scores[name], name))

    rows = []
    for way, ranking in (("search", by_text), ("keys", by_keys), ("search and keys", both)):
        places = [_place(ranking(question), events, turn) for question, turn in questions]
        budgets = [_within(ranking(question), events, tokens, turn) for question, turn in questions]
        shares = [float(np.mean([place < k for place in places])) for k in (1, 5)]
        rows += [_row(f"{way}: the best event", shares[0], questions), _row(f"{way}: the best 5", shares[1], questions)]
        rows.append(_row(f"{way}: {BUDGET:,} tokens of the best", float(np.mean(budgets)), questions))
        tell(f"{way}: " + ", ".join(f"{row.value:.0f} %" for row in rows[-3:]))
    for share in (0.0, 0.3):
        answered = []
        for question, turn in questions:
            hits = bank.search(
                question,
                tokens=BUDGET,
                contiguity=share,
                level="event",
                tokenizer=lambda text: len(page_ids(tokenizer, [text])[0]),
            )
            answered.append(any(turn in hit.text for hit in hits))
        words = f"{BUDGET:,} tokens of a search with a contiguity buffer of {share:g}"
        rows.append(_row(words, float(np.mean(answered)), questions))
    return rows


def _place(ranking: Sequence[str], events: dict[str, str], turn: str) -> int:
    return next((rank for rank, name in enumerate(ranking) if turn in events[name]), len(events))


def _within(ranking: Sequence[str], events: dict[str, str], tokens: dict[str, int], turn: str) -> bool:
    """Whether the evidence is in the best events that fit into the budget."""
    left = BUDGET
    for name in ranking:
        if tokens[name] <= left:
            left -= tokens[name]
            if turn in events[name]:
                return True
    return False


def _row(words: str, share: float, questions: Sequence[object]) -> Row:
    deviation = 196 * (share * (1 - share) / max(len(questions), 1)) ** 0.5
    return Row("page_recall", f"{words}, {len(questions)} questions, +-{deviation:.0f}", 100 * share, "%")
