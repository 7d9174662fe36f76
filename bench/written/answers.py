"""How many words of LoCoMo's answers stand in what a search hands to a model, with and without the days of its times.

An answer to "when?" is a date that no turn says: people say "yesterday". So the measure is the share of the content
words of a gold answer that stand in the context, the texts of a search under a budget of words, averaged over the
questions of categories 1 to 4. It rewards words, not truth; no model reads or judges.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench import data
from bench.report import Row
from bench.search.recall import build
from mnemic.bank import Bank
from mnemic.search import Results
from pipelines.evaluate.questions import CATEGORIES

BUDGETS = (250, 500, 1000)
BOUNDS = {250: (71.0, 74.0), 500: (79.0, 82.0), 1000: (85.0, 87.0)}
TEMPORAL = {250: (82.0, 87.0), 500: (87.0, 91.0), 1000: (89.0, 93.0)}
_ASKED = ("1", "2", "3", "4")
_WORD = re.compile(r"[a-z0-9]+")
_STOP = frozenset(
    _WORD.findall(
        "a an and are as at be been but by did do does for from had has have he her his i in is it its of on or she so "
        "than that the their them they this to was we were what when where which who will with you your"
    )
)


def answer_rows() -> list[Row]:
    """Shares in percent, of all questions and of those about time. Raises `bench.data.MissingData`."""
    file = data.path("locomo")
    questions = [
        (sample["sample_id"], one["question"], str(one["answer"]), str(one["category"]))
        for sample in json.loads(file.read_text())
        for one in sample["qa"]
        if str(one["category"]) in _ASKED and "answer" in one
    ]
    with tempfile.TemporaryDirectory() as folder:
        bank = build(file, Path(folder))
        vectors = bank.encoder.encode_queries([question for _, question, _, _ in questions])
        dated = _shares(bank, questions, vectors, dated=True)
        plain = _shares(bank, questions, vectors, dated=False)
    kinds = np.array([CATEGORIES[category] for _, _, _, category in questions])
    for name, shares in (("texts", plain), ("dated texts", dated)):
        for kind in ("all", *sorted(set(kinds))):
            here = shares if kind == "all" else shares[kinds == kind]
            figures = "  ".join(f"{100 * one:5.1f}" for one in here.mean(axis=0))
            print(f"answer words in {BUDGETS} words, {name:<12} {kind:<12} {figures}  ({len(here)})", flush=True)
    rows = []
    for place, budget in enumerate(BUDGETS):
        for suffix, here, bounds in (("", dated, BOUNDS), ("_temporal", dated[kinds == "temporal"], TEMPORAL)):
            metric = f"words of answers in {budget} words of dated texts, {len(here)} questions"
            value = 100 * float(here[:, place].mean())
            rows.append(Row(f"dated{suffix}_{budget}", metric, value, "%", *bounds[budget]))
    return rows


def _shares(
    bank: Bank, questions: list[tuple[str, str, str, str]], vectors: npt.NDArray[np.float32], dated: bool
) -> npt.NDArray[np.float64]:
    """The share of each answer's words in the context of each budget, [questions, budgets]."""
    shares = np.zeros((len(questions), len(BUDGETS)))
    for row, (tenant, question, answer, _) in enumerate(questions):
        words = content(answer)
        for column, budget in enumerate(BUDGETS):
            where = {"tenant": tenant}
            results = bank.search(question, words=budget, where=where, vector=vectors[row], dated=dated)
            here = content(_context(results, dated))
            shares[row, column] = len(words & here) / len(words) if words else 1.0
    return shares


def _context(results: Results, dated: bool) -> str:
    texts = results.dated if dated else [hit.text for hit in results]
    return "\n".join(texts)


def content(text: str) -> set[str]:
    """The words of a text that say something, in lower case, without a plural's s."""
    words = (word for word in _WORD.findall(text.lower()) if word not in _STOP)
    return {word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words}
