"""Inputs of which a step made no rows: rejects, with their reasons, and marks of inputs that rightly gave nothing.

Both say that an input is done with. A mark is a row of `rejects` of the severity `NOTHING`: nothing is wrong with its
input, an extractor of facts found none in it, and it is not asked again. Marks are counted and shown nowhere, and are
forgotten as rejects are: where the input vanishes, or the step becomes another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mnemic.catalogue import NOTHING
from mnemic.dataset import Dataset, Store
from mnemic.dataset.write import WrittenFragment, write_ahead
from mnemic.errors import BankError, TooManyRejects
from mnemic.facts import ADVICE, parsed
from mnemic.ids import hash_parts
from mnemic.schema import REJECTS
from operators.contracts import REJECTED
from pipelines.identity import Record

REJECTS_AT_ONCE = 16_384
"""Rejects that a process holds before it writes them."""

ALWAYS_TOLERATED = 10
"""A step never fails for this few rejects, whatever their share."""


@dataclass(frozen=True)
class WrittenRejects:
    """Rejects that a worker has written and not committed: their inputs, and the number of the severity "reject"."""

    fragments: tuple[WrittenFragment, ...] = ()
    inputs: frozenset[str] = frozenset()
    rejects: int = 0
    first: str = ""  # its locator


class RejectsWriter:
    """Takes rejects as they come, and writes them in waves where they are many.

    The last one is never written, but left for the driver to commit, after the others: of an input that is not read to
    its end nobody knows yet whether something of it is taken, and so its rejects are written without saying `whole`.
    """

    def __init__(self, record: Record, run: str, dataset: Dataset) -> None:
        self._record, self._run, self._dataset = record, run, dataset
        self._waiting: list[dict[str, str]] = []
        self.written = WrittenRejects()

    def add(self, reject: dict[str, str], accepted: Collection[str]) -> None:
        """``accepted`` are the inputs that gave a row so far."""
        self._waiting.append(reject)
        if len(self._waiting) > REJECTS_AT_ONCE:
            *full, last = self._waiting
            self._waiting = [last]
            self._write(full, {*accepted, last["input"]})

    def rest(self) -> pa.Table:
        """Those that were not written, `operators.contracts.REJECTED`."""
        return pa.Table.from_pylist(self._waiting, schema=REJECTED)

    def _write(self, rejects: list[dict[str, str]], accepted: Collection[str]) -> None:
        rows = reject_rows(self._record, self._run, pa.Table.from_pylist(rejects, schema=REJECTED), accepted)
        fragments = write_ahead(self._dataset, rows, REJECTS)
        self.written = WrittenRejects(
            (*self.written.fragments, *fragments),
            self.written.inputs | {reject["input"] for reject in rejects},
            self.written.rejects + sum(reject["severity"] == "reject" for reject in rejects),
            self.written.first or rejects[0]["locator"],
        )


def check_rejects(store: Store, record: Record, accepted: Callable[[], int], allowed: float) -> None:
    """Raise when the step, as it stands, rejected a larger share of its inputs than ``allowed``, in whatever run.

    ``accepted`` counts the other inputs; it is asked only where there are more rejects than are always tolerated.
    """
    snapshot = store["rejects"].snapshot()
    if snapshot is None:
        return
    where = f"step = '{record.step}' AND fingerprint = '{record.fingerprint}' AND severity = 'reject'"
    rejects = snapshot.count(where)
    if rejects <= ALWAYS_TOLERATED:
        return
    inputs = accepted() + rejects
    if rejects > allowed * inputs:
        raise TooManyRejects(
            f"The step {record.step} rejected {rejects:,} of {inputs:,} inputs, more than the share of "
            f"{allowed:g} that `max_rejects` allows. `mnemic show BANK --failures` lists them with their reasons; mend "
            "the source, or raise `max_rejects` in the recipe."
        )


def rejected_inputs(store: Store, record: Record) -> set[str]:
    """Inputs that this step, as it stands, has rejected whole; `rejected_ids` has them where they may be very many."""
    return {one for ids in rejected_ids(store, record) for one in ids["input"].unique().to_pylist()}


def rejected_ids(store: Store, record: Record) -> Iterator[pa.RecordBatch]:
    """The column ``input`` of this step's rejects of whole inputs, in batches; an input may come more than once."""
    snapshot = store["rejects"].snapshot()
    if snapshot is not None:
        yield from snapshot.scan(["input"], f"{_whole(record)} AND severity <> '{NOTHING}'", batch_size=65536)


def mark_of(key: tuple[Any, ...]) -> dict[str, str]:
    """The row of `rejects` that says that a step was asked about the input of this key and made nothing of it.

    The first column of the key is the input, by which marks are forgotten like rejects; the others are its locator.
    """
    locator = json.dumps(key[1:]) if len(key) > 1 else ""
    return {"input": key[0], "locator": locator, "reason": "The step made no row of it.", "severity": NOTHING}


def marked_keys(store: Store, record: Record, columns: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Keys of the inputs that this step, as it stands, made nothing of, as batches of their ``columns``."""
    snapshot = store["rejects"].snapshot()
    if snapshot is None:
        return
    for batch in snapshot.scan(["input", "locator"], f"{_whole(record)} AND severity = '{NOTHING}'"):
        place = f"A mark of {snapshot.uri}"
        rest = [parsed(locator, place) if locator else [] for locator in batch["locator"].to_pylist()]
        try:
            others = [
                pa.array([values[number] for values in rest], field.type)
                for number, field in enumerate(list(columns)[1:])
            ]
        except (LookupError, TypeError, pa.ArrowException) as error:
            raise BankError(f"{place} is no key of an input. {ADVICE}") from error
        yield pa.RecordBatch.from_arrays([batch["input"], *others], names=columns.names)


def reject_rows(record: Record, run: str, rejects: pa.Table, accepted: Collection[str]) -> pa.Table:
    """``rejects`` of a step as rows of `mnemic.schema.REJECTS`; `whole` where the input is not in ``accepted``.

    Each is there once.
    """
    step = (record.step, record.fingerprint)
    rows = {}
    for row in rejects.to_pylist():
        identity = hash_parts("reject", *step, row["input"], row["locator"], row["reason"])
        whole = row["severity"] == NOTHING or row["input"] not in accepted
        rows[identity] = {
            "id": identity,
            "step": record.step,
            "fingerprint": record.fingerprint,
            "run": run,
            "whole": whole,
            **row,
        }
    return pa.Table.from_pylist(list(rows.values()), schema=REJECTS)


def _whole(record: Record) -> str:
    return f"step = '{record.step}' AND fingerprint = '{record.fingerprint}' AND whole"


def forget_rejects(store: Store, where: str) -> None:
    """Delete rejects that no longer describe an input of the step."""
    if store["rejects"].snapshot() is not None:
        store["rejects"].delete(where)
