"""How many words of LoCoMo's answers stand in what a search hands to a model, with and without the days of its times.

`python -m bench.written.answers`. The measure is that of `mnemic eval --questions` (`pipelines.evaluate.answer_words`),
over the questions of categories 1 to 4; the adversarial ones have no answer. Differences are paired by question.

Expected on machine C of LOG.md: 55.4, 62.3 and 67.4 % in 250, 500 and 1,000 words of rows, 72.0, 80.2 and 85.6 of dated
ones; of questions about time 11.8, 14.1, 15.4 and 83.3, 87.8, 89.8.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from bench import data
from bench.report import Row, main
from bench.search.recall import build
from bench.written.passages import Scores, interval
from pipelines.evaluate.answer_words import BUDGETS, word_shares
from pipelines.evaluate.questions import CATEGORIES, Question

BOUNDS = {250: (71.0, 74.0), 500: (79.0, 82.0), 1000: (85.0, 87.0)}
TEMPORAL = {250: (82.0, 87.0), 500: (87.0, 91.0), 1000: (89.0, 93.0)}
_ASKED = ("1", "2", "3", "4")


def rows(quick: bool) -> list[Row]:
    """Shares in percent, of all questions and of those about time. Raises `bench.data.MissingData`."""
    file = data.path("locomo")
    questions = answered(file)
    with tempfile.TemporaryDirectory() as folder:
        shares = word_shares(build(file, Path(folder)), questions)
    kinds = np.array([question.category for question in questions])
    tell_shares(shares, kinds)
    measured = []
    for place, budget in enumerate(BUDGETS):
        dated = shares["dated rows"][:, place]
        for suffix, here, bounds in (("", dated, BOUNDS), ("_temporal", dated[kinds == "temporal"], TEMPORAL)):
            metric = f"words of answers in {budget} words of dated texts, {len(here)} questions"
            measured.append(Row(f"dated{suffix}_{budget}", metric, 100 * float(here.mean()), "%", *bounds[budget]))
    return measured


def answered(file: Path) -> list[Question]:
    """LoCoMo's questions that have an answer, also those without evidence."""
    return [
        Question(one["question"], sample["sample_id"], frozenset(), CATEGORIES[str(one["category"])], "", text)
        for sample in json.loads(file.read_text())
        for one in sample["qa"]
        if str(one["category"]) in _ASKED and (text := str(one.get("answer", "")))
    ]


def tell_shares(shares: dict[str, Scores], kinds: np.ndarray) -> None:
    """Print the shares of each way, by category and half of the questions, and what it gains over the way before it."""
    even = np.arange(len(kinds)) % 2 == 0
    parts = {"all": even | ~even, "even": even, "odd": ~even}
    parts |= {str(kind): kinds == kind for kind in sorted(set(kinds))}
    before: Scores | None = None
    for way, one in shares.items():
        for part, here in parts.items():
            figures = "  ".join(f"{100 * value:5.1f}" for value in one[here].mean(axis=0))
            print(f"answer words in {BUDGETS} words, {way:<16} {part:<12} {figures}  ({here.sum()})", flush=True)
            if before is not None:
                gains = [(one - before)[here, place] for place in range(len(BUDGETS))]
                intervals = [(gain.mean(), *interval(gain)) for gain in gains]
                told_gains = "  ".join(f"{100 * m:+.1f} [{100 * a:+.1f}, {100 * b:+.1f}]" for m, a, b in intervals)
                print(f"    against the way before it: {told_gains}", flush=True)
        before = one


if __name__ == "__main__":
    sys.exit(main("written.answers", __doc__ or "", rows))
