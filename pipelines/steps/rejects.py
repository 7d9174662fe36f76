"""Inputs of which a step made no rows: rejects, with their reasons, and marks of what was asked to no avail.

Both say that an input is done with. A mark is a row of `rejects` of the severity `NOTHING`: nothing is wrong with its
input, an extractor of facts found none in it, and it is not asked again. Marks are counted and shown nowhere, and are
forgotten as rejects are: where the input vanishes, or the step becomes another.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from mnemic.catalogue import NOTHING
from mnemic.dataset import Store
from mnemic.errors import TooManyRejects
from pipelines.identity import Record

ALWAYS_TOLERATED = 10
"""A step never fails for this few rejects, whatever their share."""


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
    """Inputs that this step, as it stands, has rejected whole."""
    snapshot = store["rejects"].snapshot()
    if snapshot is None:
        return set()
    return set(snapshot.table(["input"], f"{_whole(record)} AND severity <> '{NOTHING}'")["input"].to_pylist())


def mark_of(key: tuple[Any, ...]) -> dict[str, str]:
    """The row of `rejects` that says that a step was asked about the input of this key and made nothing of it.

    The first column of the key is the input, by which marks are forgotten like rejects; the others are its locator.
    """
    locator = json.dumps(key[1:]) if len(key) > 1 else ""
    return {"input": key[0], "locator": locator, "reason": "The step made no row of it.", "severity": NOTHING}


def marked_keys(store: Store, record: Record) -> set[tuple[Any, ...]]:
    """Keys of the inputs that this step, as it stands, made nothing of."""
    snapshot = store["rejects"].snapshot()
    if snapshot is None:
        return set()
    marks = snapshot.table(["input", "locator"], f"{_whole(record)} AND severity = '{NOTHING}'").to_pylist()
    return {(mark["input"], *(json.loads(mark["locator"]) if mark["locator"] else ())) for mark in marks}


def _whole(record: Record) -> str:
    return f"step = '{record.step}' AND fingerprint = '{record.fingerprint}' AND whole"


def forget_rejects(store: Store, where: str) -> None:
    """Delete rejects that no longer describe an input of the step."""
    if store["rejects"].snapshot() is not None:
        store["rejects"].delete(where)
