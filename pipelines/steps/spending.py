"""The budget of a bank's calls: paid, reserved for those under way, and what the rest may cost."""

from __future__ import annotations

from collections.abc import Mapping

from mnemic.dataset import Store
from mnemic.notes.ledger import PAID, Ledger, ledger
from mnemic.writing import WritingRequest
from operators.written.operator import WrittenMemory


def paid_by(store: Store) -> Ledger:
    """All calls that a bank has paid, whatever they were about, also by a recipe that asked about more."""
    every = Store(store.root, store.storage_options)
    return ledger(*(every[name].snapshot() for name in PAID))


class Spending:
    """Sums of `Ledger` and of upper bounds of the requests under way. One thread uses it.

    A request is allowed where it would stay within the budget even if it cost its upper bound.
    """

    def __init__(self, operator: WrittenMemory, paid: Ledger) -> None:
        self._operator = operator
        self._spent = {"calls": float(paid.calls), "tokens": float(paid.tokens), "money": paid.money}

    def bound(self, request: WritingRequest) -> dict[str, float]:
        """The most that a request can cost."""
        money = self._operator.cost(request.prompt_bound, request.max_tokens)
        return {"calls": 1.0, "tokens": float(request.token_bound), "money": money}

    def exceeded(self, bound: Mapping[str, float]) -> str:
        """The limit that a request of ``bound`` could exceed; "" where it is allowed."""
        for name, most in self._operator.budget.items():
            if self._spent[name] + bound[name] > most:
                return name
        return ""

    def change(self, amounts: Mapping[str, float], sign: int) -> None:
        """Reserve ``amounts`` (1), or give them back (-1)."""
        for name, amount in amounts.items():
            self._spent[name] += sign * amount


def estimate(operator: WrittenMemory, left: int, prompt: int, paid: Ledger) -> str:
    """Requests, tokens and money of what is ``left``, with ``prompt`` tokens, as a phrase.

    Answers are as long as those that were ``paid``, or a third of the prompt.
    """
    answer = prompt // 3 if not paid.calls else left * paid.answer_tokens // paid.calls
    money = operator.cost(prompt, answer)
    priced = f", about {money:,.2f} in money" if operator.price else ""
    return f"about {left:,} requests, {prompt:,} + {answer:,} tokens{priced}; paid so far: {paid.calls:,} calls"
