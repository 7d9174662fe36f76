"""What the calls of a bank cost: sums over its rows, never a counter that a kill or a thread could falsify."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.dataset import Snapshot
from mnemic.notes.datasets import CALLS_SPEC, COST, NODE_CALLS_SPEC

PAID = (CALLS_SPEC.name, NODE_CALLS_SPEC.name)
"""Datasets that have a row for the cost of each call."""

COLUMNS = ("prompt_tokens", "answer_tokens", "price", "seconds", "counted")


@dataclass(frozen=True)
class Ledger:
    """``calls`` that were paid, their tokens, ``money`` by the recipe's prices of the time, and seconds.

    ``uncounted`` calls are those whose tokens the server did not state: upper bounds stand for them.
    """

    calls: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    money: float = 0.0
    seconds: float = 0.0
    uncounted: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.answer_tokens


def ledger(*calls: Snapshot | None) -> Ledger:
    """The sums over all calls of these datasets that a bank has paid, also for documents that are gone."""
    there = (snapshot for snapshot in calls if snapshot is not None)
    return summed(batch for one in there for batch in one.scan(COLUMNS, f"kind = '{COST}'", batch_size=65536))


def summed(batches: Iterable[pa.RecordBatch]) -> Ledger:
    """The sums over cost rows with the columns `COLUMNS`."""
    total = Ledger()
    for batch in batches:
        prompt, answer, price, seconds = (pc.sum(batch[name]).as_py() or 0 for name in COLUMNS[:4])
        total = Ledger(
            total.calls + batch.num_rows,
            total.prompt_tokens + prompt,
            total.answer_tokens + answer,
            total.money + price,
            total.seconds + seconds,
            total.uncounted + batch.num_rows - (pc.sum(batch["counted"].cast(pa.int64())).as_py() or 0),
        )
    return total
