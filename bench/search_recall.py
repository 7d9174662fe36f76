"""Evidence recall of LoCoMo's questions under budgets of words, by a bank built from its conversations.

No language model and no reranker: `mnemic build` with its defaults, `Bank.search` with its defaults, every question
asked of its own conversation. Beside it stands the recall of events and of whole
sessions under the same budgets. The conversations are LoCoMo's own file (or another in its layout), which is not part
of mnemic: the folder `shared/data` beside the repository, or ``MNEMIC_BENCH_DATA``, has it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import mnemic
from bench.report import Row
from mnemic.bank import Bank
from pipelines.evaluate.questions import read_questions
from pipelines.evaluate.recall import Recalls, evidence_recall

DATA = Path(os.environ.get("MNEMIC_BENCH_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
CONVERSATIONS = "locomo_dev.json"

BOUNDS = {250: (66.0, 71.0), 500: (73.0, 79.0), 1000: (80.0, 86.0), 2000: (None, None)}


def build(folder: Path) -> Bank:
    """A bank of the conversations, every step with its defaults."""
    recipe = {
        "name": "conversations",
        "bank": str(folder / "bank"),
        "sources": [{"kind": "conversations", "path": str(DATA / CONVERSATIONS)}],
    }
    mnemic.build(recipe)
    return mnemic.open_bank(recipe["bank"])


def recall_rows(quick: bool) -> list[Row]:
    """Recall in percent with its interval over questions; with ``quick`` the default search alone."""
    if not (DATA / CONVERSATIONS).exists():
        print(f"{DATA / CONVERSATIONS} is not there: recall was not measured")
        return []
    questions, _ = read_questions(DATA / CONVERSATIONS)
    with tempfile.TemporaryDirectory() as folder:
        bank = build(Path(folder))
        found = evidence_recall(bank, questions)
        rows = []
        for budget, one in zip(BOUNDS, found.under_words, strict=True):
            must, goal = BOUNDS[budget]
            interval = f"95 % {100 * one.recall.low:.1f} to {100 * one.recall.high:.1f} over {one.questions} questions"
            told = f"evidence found in {budget} words; {interval}"
            rows.append(Row(f"recall_{budget}", told, 100 * one.recall.value, "%", must, goal))
        _print(found, "default")
        if not quick:
            _print(evidence_recall(bank, questions, contiguity=0.3), "with EM-LLM's contiguity buffer of 0.3")
            for level in ("event", "session"):
                _print(evidence_recall(bank, questions, level), f"{level}s")
    return rows


def _print(found: Recalls, name: str) -> None:
    under = "  ".join(f"{one.name} {100 * one.recall.value:5.1f}" for one in found.under_words)
    best = "  ".join(f"{one.name} {100 * one.recall.value:5.1f} ({one.words:.0f} words)" for one in found.at_k)
    print(f"{name:<40} {under}   {best}", flush=True)
