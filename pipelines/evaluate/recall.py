"""How much of the evidence of questions a search finds, under budgets of words.

Recall at k means nothing over units of different length (a session answers everything and costs six thousand words), so
the measure is the share of a question's evidence that is in what a budget holds, averaged over questions, with the
interval of a bootstrap over them. Recall at k stands beside it, with the words that it costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mnemic.bank import Bank
from mnemic.errors import QueryError
from mnemic.search import Hit
from mnemic.search.people import names_of
from mnemic.terminal import one_line
from pipelines.evaluate.bootstrap import Interval, mean_interval
from pipelines.evaluate.questions import Question

BUDGETS = (250, 500, 1000, 2000)
COUNTS = (5, 10, 25)


@dataclass(frozen=True)
class Recall:
    """Recall of evidence, 0 to 1, and the words that what was found has on average."""

    name: str  # "250 words", "10 events"
    questions: int
    recall: Interval
    words: float
    categories: dict[str, float]


@dataclass(frozen=True)
class Recalls:
    """``unknown`` are ids of evidence that no text of the bank has; questions with no other are left out."""

    level: str
    questions: int
    left_out: int
    unknown: tuple[str, ...]
    under_words: tuple[Recall, ...]
    at_k: tuple[Recall, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def evidence_recall(
    bank: Bank,
    questions: Sequence[Question],
    level: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    **settings: Any,
) -> Recalls:
    """Ask ``questions`` of ``bank``, each of its tenant, under the ``BUDGETS`` and for the best ``COUNTS`` events.

    Evidence may be the id of a turn, session, event or document, or a locator. ``settings`` go to `Bank.search`. Raises
    `QueryError` where no question has evidence in the bank.
    """
    _check_tenants(bank, questions)
    evidence_ids = _known_evidence(bank)
    measured, unknown = [], []
    for question in questions:
        evidence = {
            one for one in question.evidence if (question.tenant, one) in evidence_ids or (None, one) in evidence_ids
        }
        unknown += sorted(question.evidence - evidence)
        if evidence:
            measured.append((question, evidence))
    if not measured:
        raise QueryError(
            f"None of the evidence of {len(questions)} questions is in {bank.path}: its ids are of turns, sessions, "
            "events or documents (`mnemic export` shows them), of the tenant that the question names."
        )
    vectors = bank.encoder.encode_queries([question.text for question, _ in measured])
    shape = (len(measured), len(BUDGETS) + len(COUNTS))
    shares, words = np.zeros(shape), np.zeros(shape)
    for row, (question, evidence) in enumerate(measured):
        where = None if question.tenant is None else {"tenant": question.tenant}
        common = {"where": where, "level": level, "vector": vectors[row], **settings}
        searches: list[list[Hit]] = [bank.search(question.text, words=budget, **common) for budget in BUDGETS]
        best = bank.search(question.text, words=None, k=max(COUNTS), **common)
        best_first = sorted(best, key=lambda event: (-event.score, event.id))
        searches += [best_first[:count] for count in COUNTS]
        for column, events in enumerate(searches):
            shares[row, column] = len(evidence & _names(events)) / len(evidence)
            words[row, column] = sum(event.words for event in events)
        progress(row + 1, len(measured))
    categories = [question.category for question, _ in measured]
    names = [*(f"{budget:,} words" for budget in BUDGETS), *(f"{count} events" for count in COUNTS)]
    recalls = tuple(_recall(name, shares[:, column], words[:, column], categories) for column, name in enumerate(names))
    left_out = len(questions) - len(measured)
    return Recalls(
        level or "leaf", len(measured), left_out, tuple(unknown), recalls[: len(BUDGETS)], recalls[len(BUDGETS) :]
    )


def _names(events: Sequence[Hit]) -> set[str]:
    """All that the evidence may be called that these events are or hold."""
    names: set[str] = set()
    for event in events:
        names.update((event.id, event.document, event.locator, event.session, *event.turns))
    return names


def _check_tenants(bank: Bank, questions: Sequence[Question]) -> None:
    """Raise `QueryError` where the questions name tenants and the bank has none of them: nothing could be found."""
    asked_of = {question.tenant for question in questions}
    there = names_of(bank.view, "tenant")
    if None in asked_of or not asked_of or not asked_of.isdisjoint(there):
        return
    names = [", ".join(one_line(str(one), 60) for one in names[:5]) for names in (sorted(map(str, asked_of)), there)]
    raise QueryError(
        f"The questions are asked of the tenants {names[0]}, and {bank.path} has {names[1] or 'none'}; give the file "
        'of this bank\'s questions, or leave "tenant" out of it.'
    )


def _known_evidence(bank: Bank) -> set[tuple[str | None, str]]:
    """(tenant, id) of everything in the bank; tenant None for ids that are the same for all."""
    documents = bank.dataset("documents")
    pairs: set[tuple[str | None, str]] = set()
    columns = [name for name in ("id", "locator", "tenant", "session", "turns") if name in documents.schema.names]
    for batch in documents.scan(columns):
        for row in batch.to_pylist():
            ids = [row["id"], row["locator"], row["session"], *(turn["id"] for turn in row.get("turns") or ())]
            pairs.update((tenant, one) for one in ids if one for tenant in (None, row["tenant"]))
    for batch in bank.dataset("events").scan(["id"]):
        pairs.update((None, one) for one in batch["id"].to_pylist())
    return pairs


def _recall(name: str, shares: npt.NDArray[np.float64], words: npt.NDArray[np.float64], kinds: list[Any]) -> Recall:
    by_kind = {
        str(kind): float(np.mean([share for share, one in zip(shares, kinds, strict=True) if one == kind]))
        for kind in sorted({kind for kind in kinds if kind is not None})
    }
    return Recall(name, len(shares), mean_interval(shares), float(words.mean()), by_kind)
