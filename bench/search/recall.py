"""Evidence recall of LoCoMo's questions under budgets of words, by a bank built from its conversations.

No language model and no reranker: `mnemic build` with its defaults, `Bank.search` with its defaults, every question
asked of its own conversation. Beside it stands the recall of events and of whole sessions under the same budgets. The
conversations are three of LoCoMo's; `bench.data` says where the file comes from.

Expected on machine A of LOG.md (2 cores of an AMD EPYC), 498 questions: 72.9, 80.7, 88.0 and 91.8 % in 250, 500, 1,000
and 2,000 words.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import mnemic
from bench import data
from bench.report import Row, main, tell
from mnemic.bank import Bank
from pipelines.evaluate.questions import read_questions
from pipelines.evaluate.recall import Recalls, evidence_recall

BOUNDS = {250: (66.0, 71.0), 500: (73.0, 79.0), 1000: (80.0, 86.0), 2000: (None, None)}


def build(conversations: Path, folder: Path) -> Bank:
    """A bank of the conversations, every step with its defaults."""
    place = folder / "bank"
    sources = [{"kind": "conversations", "path": str(conversations)}]
    mnemic.build({"name": "conversations", "bank": str(place), "sources": sources})
    return mnemic.open_bank(place)


def recall_rows(quick: bool) -> list[Row]:
    """Recall in percent with its interval over questions; with ``quick`` the default search alone."""
    try:
        conversations = data.path("locomo")
    except data.MissingData as error:
        tell(f"Recall was not measured. {error}")
        return []
    questions, _ = read_questions(conversations)
    with tempfile.TemporaryDirectory() as folder:
        bank = build(conversations, Path(folder))
        recalls = evidence_recall(bank, questions)
        rows = []
        for budget, one in zip(BOUNDS, recalls.under_words, strict=True):
            must, goal = BOUNDS[budget]
            interval = f"95 % {100 * one.recall.low:.1f} to {100 * one.recall.high:.1f} over {one.questions} questions"
            metric = f"evidence found in {budget} words; {interval}"
            rows.append(Row(f"recall_{budget}", metric, 100 * one.recall.value, "%", must, goal))
        _print(recalls, "default")
        if not quick:
            _print(evidence_recall(bank, questions, contiguity=0.3), "with EM-LLM's contiguity buffer of 0.3")
            for level in ("event", "session"):
                _print(evidence_recall(bank, questions, level), f"{level}s")
    return rows


def _print(recalls: Recalls, name: str) -> None:
    under = "  ".join(f"{one.name} {100 * one.recall.value:5.1f}" for one in recalls.under_words)
    best = "  ".join(f"{one.name} {100 * one.recall.value:5.1f} ({one.words:.0f} words)" for one in recalls.at_k)
    print(f"{name:<40} {under}   {best}", flush=True)


if __name__ == "__main__":
    sys.exit(main("search.recall", __doc__ or "", recall_rows))
