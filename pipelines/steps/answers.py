"""Whether an operator gave back what its contract says.

Else a wrong answer would be an error of Arrow that names neither step nor operator, or no error at all: rows of an
input that was not asked about are deleted at the next build, and made again by the one after.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.catalogue import NOTHING
from mnemic.errors import StepError
from operators.contracts import REJECTED

_SEVERITIES = ("reject", "note", "empty", NOTHING)


def rows_and_rejects(step: str, answer: Any, names: Collection[str]) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """The two tables of an ``answer``. The first has the columns ``names``.

    Raises ``StepError`` where it is something else.
    """
    if not (isinstance(answer, tuple) and len(answer) == 2 and all(isinstance(one, pa.RecordBatch) for one in answer)):
        kinds = ", ".join(type(one).__name__ for one in answer) if isinstance(answer, tuple) else type(answer).__name__
        raise _wrong(step, f"gave back {kinds}", "return (rows, rejects), two record batches")
    rows, rejects = answer
    lacking = [name for name in names if name not in rows.schema.names]
    if lacking:
        raise _wrong(
            step,
            f"gave back rows with {', '.join(rows.schema.names)} and without {', '.join(lacking)}",
            "return the columns that its `output` names",
        )
    if lacking := [name for name in REJECTED.names if name not in rejects.schema.names]:
        raise _wrong(step, f"gave back rejects without {', '.join(lacking)}", "give them the schema REJECTED")
    unknown = {*rejects["severity"].to_pylist()} - {*_SEVERITIES}
    if unknown:
        raise _wrong(step, f"gave a reject the severity {min(unknown)!r}", f"use one of {', '.join(_SEVERITIES)}")
    return rows, rejects


def of_inputs(step: str, rows: pa.RecordBatch, rejects: pa.RecordBatch, input: str, ids: Collection[str]) -> None:
    """Raise ``StepError`` for a row (whose ``input`` column names its input) or a reject of an input not in ``ids``."""
    asked_about = pa.array(ids, pa.string())
    for column, word in ((rows[input], "a row"), (rejects["input"], "a reject")):
        strangers = column.filter(pc.invert(pc.is_in(column.cast(pa.string()), value_set=asked_about)))
        if len(strangers):
            raise _wrong(
                step,
                f"gave back {word} of the input {strangers[0].as_py()!r}, which it was not asked about",
                "name the input of each row and reject as the batch does",
            )


def each_once(step: str, rows: pa.RecordBatch, key: Collection[str]) -> None:
    """Raise ``StepError`` where two rows have the same ``key``."""
    names = list(key)
    if pa.Table.from_batches([rows]).group_by(names).aggregate([]).num_rows < rows.num_rows:
        raise _wrong(
            step,
            f"made several rows of one key ({', '.join(names)})",
            "let the key of the dataset name more columns, or make one row of each",
        )


def _wrong(step: str, fact: str, way_out: str) -> StepError:
    return StepError(f"The operator of step {step} {fact}. Repair the operator: {way_out}.")
