"""Whether memories have forgotten what was removed: their gain on removed documents, and on documents never seen.

A memory that has learnt a document lowers the model's loss on it more than on others like it. Each removed document is
beside a twin, the held-out document on whose tokens the model alone has the nearest loss. The difference of the two
gains is 0 for a memory that never saw either, within its interval; a bootstrap draws pairs.

The rows of removed documents are those of the newest release that still has them: an erased document has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from mnemic.bank import Bank
from mnemic.errors import BankError
from mnemic.memories.classifier import NAME as CLASSIFIER
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.kinds import Memory
from mnemic.memories.trained import stored_rows
from mnemic.mixture import WEIGHT_WITHOUT_VALIDATION, mixture_nll
from mnemic.quoting import one_of
from mnemic.removals import rows_of
from mnemic.splits import STORE, TEST, VALIDATION
from mnemic.view import View
from pipelines.evaluate.bootstrap import Interval, interval

SAMPLES = 1000
FEWEST = 5
"""Pairs below which an interval says little."""


@dataclass(frozen=True)
class Forgotten:
    """Nats a token that a memory saves on ``removed`` documents and on their ``twins``, and the ``difference``.

    ``documents`` are the pairs. ``stale``: it was trained on removed documents, and not again.
    """

    memory: str
    documents: int
    removed: float
    twins: float
    difference: Interval
    stale: bool

    @property
    def covers_zero(self) -> bool:
        return self.difference.low <= 0.0 <= self.difference.high

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "covers_zero": self.covers_zero}


def forgotten(bank: Bank) -> list[Forgotten]:
    """The trained memories of a bank on the documents that were removed from its store.

    Raises ``BankError`` where no release has rows of them, or nothing was held out.
    """
    view = bank.view
    rows = rows_of(view)
    removed = _removed_rows(view, rows.filter(pc.greater(rows["rows"], 0))["document"].to_pylist())
    twins = HeldOutRows.read(view, TEST) if removed is not None else None
    if twins is not None and not len(twins):
        twins = HeldOutRows.read(view, VALIDATION)
    if removed is None or not twins:
        raise BankError(
            f"{view.path} has no rows of removed documents in an earlier release, or none that were held out, so "
            "nothing can be compared. Removed documents of the store can be asked about until they are erased."
        )
    infos = [info for info in stored_rows(view) if info.kind != CLASSIFIER]
    stale = bank.stale()
    outcomes = []
    for info in infos:
        weight = float(info.metrics.get("weight") or WEIGHT_WITHOUT_VALIDATION)
        memory = bank.memory(info.name)
        sides = [_by_document(rows, memory, weight) for rows in (removed, twins)]
        if all(side is not None for side in sides):
            pairs = twins_of(*(side for side in sides if side is not None))
            outcomes.append(_compared(info.name, pairs, info.name in stale))
    return outcomes


def _removed_rows(view: View, ids: list[str]) -> HeldOutRows | None:
    """The rows that removed documents had in the store, of the newest release that has some of the same model."""
    if not ids:
        return None
    mark = view.record("datastore").get("fingerprint")
    for release in reversed(view.releases()):
        earlier = View(view.store, release)
        if "datastore" in earlier and earlier.record("datastore").get("fingerprint") == mark:
            rows = HeldOutRows.read(earlier, f"{STORE} AND {one_of('document', ids)}")
            if len(rows):
                return rows
    return None


@dataclass(frozen=True)
class DocumentGains:
    """Of documents [n]: tokens, the model's summed loss, and the loss that a memory saves, in nats."""

    tokens: NDArray[np.float64]
    base: NDArray[np.float64]
    gain: NDArray[np.float64]


def _by_document(rows: HeldOutRows, memory: Memory, weight: float) -> DocumentGains | None:
    scores = memory.scores(rows)
    if scores is None:
        return None
    owner = np.unique(rows.table["document"].to_numpy(), return_inverse=True)[1]
    gain = -rows.base - mixture_nll(rows.base, scores, weight)
    tokens, base, saved = (np.bincount(owner, one) for one in (np.ones(len(owner)), -rows.base, gain))
    return DocumentGains(tokens.astype(np.float64), base.astype(np.float64), saved.astype(np.float64))


def twins_of(removed: DocumentGains, others: DocumentGains) -> Mapping[str, NDArray[np.float64]]:
    """Each removed document with the other one of the nearest mean loss; one is a twin twice only where they are few.

    Columns [pairs]: tokens and gain of both.
    """
    order = np.argsort(removed.base / removed.tokens, kind="stable")
    levels = others.base / others.tokens
    uses = np.zeros(len(levels), np.int64)
    partner = np.empty(len(order), np.int64)
    for place in order:
        level = removed.base[place] / removed.tokens[place]
        free = np.flatnonzero(uses == uses.min())
        partner[place] = free[np.argmin(np.abs(levels[free] - level))]
        uses[partner[place]] += 1
    return {
        "tokens": removed.tokens,
        "gain": removed.gain,
        "twin_tokens": others.tokens[partner],
        "twin_gain": others.gain[partner],
    }


def _compared(name: str, pairs: Mapping[str, NDArray[np.float64]], stale: bool, seed: int = 0) -> Forgotten:
    count = len(pairs["tokens"])
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=SAMPLES)
    sums = {column: draws @ values for column, values in pairs.items()}
    whole = {column: float(values.sum()) for column, values in pairs.items()}
    mine, twin = whole["gain"] / whole["tokens"], whole["twin_gain"] / whole["twin_tokens"]
    differences = sums["gain"] / sums["tokens"] - sums["twin_gain"] / sums["twin_tokens"]
    return Forgotten(name, count, mine, twin, interval(mine - twin, differences), stale)


def shown(outcomes: list[Forgotten], path: str) -> str:
    """As lines for a person."""
    lines = [f"{path}: nats a token saved on removed documents, and on their never-seen twins"]
    for one in outcomes:
        verdict = "0 is in the interval" if one.covers_zero else "it may still know them"
        state = "; stale: the next build trains it again" if one.stale else ""
        lines.append(
            f"  {one.memory:<16} {one.removed:7.3f} and {one.twins:7.3f}, difference {one.difference.value:+.3f} "
            f"(95 % {one.difference.low:+.3f} to {one.difference.high:+.3f}; {one.documents} pairs): {verdict}{state}"
        )
    if outcomes and outcomes[0].documents < FEWEST:
        lines.append(f"  {outcomes[0].documents} pairs are few: remove or keep more documents for a sure answer")
    return "\n".join(lines)
