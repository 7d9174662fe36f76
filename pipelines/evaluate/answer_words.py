"""How many words of known answers stand in what a search hands to a model.

The measure is the share of an answer's content words, as stems, that stand in the texts of a search under a budget of
words, averaged over questions. It rewards words, not truth: no model reads, and none judges. An answer to "when?" is a
date that no turn says, since people say "yesterday"; so rows are measured as they are, with their days, and, in banks
with notes, with half of the budget for notes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from mnemic.bank import Bank
from mnemic.notes.datasets import CALLS_SPEC, NOTES_SPEC
from mnemic.notes.ledger import ledger
from mnemic.search.noting import can_rank
from mnemic.terminal import one_line
from pipelines.evaluate.bootstrap import Interval, mean_interval
from pipelines.evaluate.questions import Question

BUDGETS = (250, 500, 1000)
NOTES_SHARE = 0.5

WAYS: dict[str, dict[str, Any]] = {
    "rows": {"notes": False},
    "dated rows": {"notes": False, "dated": True},
    "rows with notes": {"notes": NOTES_SHARE, "dated": True},
}
"""What is handed to a model, and the settings of the search for it."""

_WORD = re.compile(r"[a-z][a-z']*[a-z]|[a-z]|\d[\d,.:/-]*\d|\d")
_ENDINGS = (("sses", "ss"), ("ies", "y"), ("ing", ""), ("edly", ""), ("ed", ""), ("ly", ""), ("s", ""))
_FUNCTION_WORDS = frozenset(
    """
    a about above after again against ain all also although always am amazing an and another any anybody anyone
    anything are aren around as at away awesome be became because been before being between both but by came can
    cannot cool could couldn d did didn didnt do does doesn doing don done dont down during each either else ever
    every everybody everyone everything few for from further gave get gets getting give given glad go goes going
    gone gonna good got great had hadn has hasn have haven having he hello her here hers herself hey hi him
    himself his how however i if im in into is isn it its itself ive just keep kind know let lets like ll lot lots
    m made make makes making many maybe me might more most much must my myself need never nice no nobody none nor
    not nothing now o of off often oh ok okay on once one only onto or other others our ours ourselves out over
    own perhaps please pretty put quite rather re really right s said same say see seem seems shall she should
    shouldn since so some somebody someone something soon still such sure t take taken than thank thanks that
    thats the their theirs them themselves then there theres these they thing things think this those though
    through till to together too took totally toward truly try two un under until up upon us use used using ve
    very want wanted was wasn way we well went were weren what whatever when whenever where whether which while
    who whoever whole whom whose why will with within without won would wouldn wow y yeah yes yet you your youre
    yours yourself yourselves
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True)
class AnswerShare:
    """The share of answers' words, 0 to 1, in ``words`` words of one way, by category too."""

    way: str
    words: int
    share: Interval
    categories: dict[str, float]


@dataclass(frozen=True)
class WritingCost:
    """What notes have cost for each thousand of the smallest rows of events."""

    calls: float
    tokens: float
    money: float


@dataclass(frozen=True)
class AnswerWords:
    """``gains``: interval over questions of each way against the one before it, in ``shares``' order of budgets."""

    questions: int
    shares: tuple[AnswerShare, ...]
    gains: dict[str, tuple[Interval, ...]]
    cost: WritingCost | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def answer_words(
    bank: Bank, questions: Sequence[Question], progress: Callable[[int, int], None] = lambda done, total: None
) -> AnswerWords | None:
    """The shares of those ``questions`` that have an answer, each asked of its tenant; None where none has one."""
    answered = [question for question in questions if content(question.answer)]
    if not answered:
        return None
    shares = word_shares(bank, answered, progress)
    kinds = [question.category for question in answered]
    rows = [
        AnswerShare(way, budget, mean_interval(one[:, column]), _by_kind(one[:, column], kinds))
        for way, one in shares.items()
        for column, budget in enumerate(BUDGETS)
    ]
    names = list(shares)
    gains = {
        way: tuple(mean_interval((shares[way] - shares[before])[:, column]) for column in range(len(BUDGETS)))
        for before, way in pairwise(names)
    }
    return AnswerWords(len(answered), tuple(rows), gains, writing_cost(bank))


def word_shares(
    bank: Bank, questions: Sequence[Question], progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, npt.NDArray[np.float64]]:
    """Way -> the share of each answer's words in the texts of each budget, float64 [questions, budgets].

    An answer without words that say something counts as there.
    """
    noted = NOTES_SPEC.name in bank.view and can_rank(bank.dataset(NOTES_SPEC.name))
    ways = {way: settings for way, settings in WAYS.items() if noted or way != "rows with notes"}
    vectors = bank.encoder.encode_queries([question.text for question in questions])
    shares = {way: np.ones((len(questions), len(BUDGETS))) for way in ways}
    for row, question in enumerate(questions):
        words = content(question.answer)
        where = None if question.tenant is None else {"tenant": question.tenant}
        for way, settings in ways.items() if words else ():
            for column, budget in enumerate(BUDGETS):
                results = bank.search(question.text, words=budget, where=where, vector=vectors[row], **settings)
                dated = bool(settings.get("dated"))
                texts = [one.dated if dated else one.text for one in results.notes]
                texts += results.dated if dated else [hit.text for hit in results]
                shares[way][row, column] = len(words & content("\n".join(texts))) / len(words)
        progress(row + 1, len(questions))
    return shares


def writing_cost(bank: Bank) -> WritingCost | None:
    """None for a bank without calls to a language model."""
    rows = bank.dataset("events").count("leaf") if CALLS_SPEC.name in bank.view else 0
    if not rows:
        return None
    paid = ledger(bank.dataset(CALLS_SPEC.name))
    return WritingCost(1000 * paid.calls / rows, 1000 * paid.tokens / rows, 1000 * paid.money / rows)


def content(text: str) -> frozenset[str]:
    """The stems of the words of a text that say something."""
    words = _WORD.findall(text.lower().replace("\u2019", "'"))
    return frozenset(
        _stem(word) for word in words if word.split("'")[0] not in _FUNCTION_WORDS and (len(word) > 1 or word.isdigit())
    )


def _stem(word: str) -> str:
    word = word.removesuffix("'s").replace("'", "")
    if len(word) <= 3:
        return word
    for ending, other in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith(("ss", "us", "is")):
            word = word[: len(word) - len(ending)] + other
            if ending in ("ing", "ed") and len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    return word[:-1] if len(word) > 4 and word.endswith("e") else word


def _by_kind(shares: npt.NDArray[np.float64], kinds: Sequence[str | None]) -> dict[str, float]:
    names = sorted({kind for kind in kinds if kind is not None})
    return {name: float(shares[[kind == name for kind in kinds]].mean()) for name in names}


def shown_answers(words: AnswerWords) -> str:
    """The shares as lines for a person, and the cost of notes."""
    budgets = ", ".join(f"{budget:,}" for budget in BUDGETS)
    lines = [f"words of answers that stand in {budgets} words of a search ({words.questions:,} questions)"]
    for way in dict.fromkeys(one.way for one in words.shares):
        rows = [one for one in words.shares if one.way == way]
        intervals = [f"{one.share.value:6.1%} ({one.share.low:.1%} to {one.share.high:.1%})" for one in rows]
        lines.append(f"  {way:<16} {'  '.join(intervals)}")
        if way in words.gains:
            gains = [f"{one.value:+.1%} ({one.low:+.1%} to {one.high:+.1%})" for one in words.gains[way]]
            lines.append(f"    against those above  {'  '.join(gains)}")
        lines += [
            f"    {one_line(kind, 40):<14} {'  '.join(f'{one.categories[kind]:6.1%}' for one in rows)}"
            for kind in rows[0].categories
        ]
    if words.cost is not None:
        cost = words.cost
        lines.append(
            f"notes cost {cost.calls:,.0f} calls, {cost.tokens:,.0f} tokens and {cost.money:,.4f} in money for each "
            "thousand turns"
        )
    return "\n".join(lines)
