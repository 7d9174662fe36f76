"""An operator with a dataset of its own: the dates that documents name.

The operator makes rows of a batch of documents, and `SECTION` says the rest: the key of the recipe that runs it, the
shape of its step, and the dataset that it fills, with key and parent. Plan, build, release, digest, export and removal
follow from that. A document without a date makes no row and is not asked again.
"""

from __future__ import annotations

import dataclasses
import re
from datetime import date
from typing import ClassVar

import pyarrow as pa

from mnemic.contracts import (
    KEPT,
    NO_REJECTS,
    REJECTED,
    BatchFunction,
    DatasetSpec,
    Derive,
    Parent,
    Resources,
    Section,
    refuse,
)

ROWS = pa.schema(
    [
        pa.field("document", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),  # first character in the document
        pa.field("date", pa.date32(), nullable=False),
    ]
)
_DATE = re.compile(r"\b(\d{4})-(\d\d)-(\d\d)\b")


@dataclasses.dataclass(frozen=True)
class Dates:
    """Dates such as 2026-03-02, from ``earliest_year`` on. The fields are the identity of the step."""

    version: ClassVar[int] = 1  # raise it when the same text gives other rows
    resources: ClassVar[Resources] = Resources()

    earliest_year: int = 1970

    def __post_init__(self) -> None:
        refuse([f"There is no year {self.earliest_year}; give one of at least 1."] if self.earliest_year < 1 else [])

    def output(self, schema: pa.Schema) -> pa.Schema:
        return ROWS

    def open(self, device: str) -> BatchFunction:
        return self._dates

    def _dates(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        rows, rejects = [], []
        for document in batch.to_pylist():
            try:
                rows += self._rows(document["id"], document["text"])
            except ValueError as error:
                reason = f"It names a day that does not exist ({error}); correct the date."
                rejects.append({"input": document["id"], "locator": "", "reason": reason, "severity": "reject"})
        rejected = pa.RecordBatch.from_pylist(rejects, schema=REJECTED) if rejects else NO_REJECTS
        return pa.RecordBatch.from_pylist(rows, schema=ROWS), rejected

    def _rows(self, document: str, text: str) -> list[dict[str, object]]:
        days = [(match.start(), date(*map(int, match.groups()))) for match in _DATE.finditer(text)]
        return [
            {"document": document, "start": start, "date": day} for start, day in days if day.year >= self.earliest_year
        ]


SECTION = Section(
    "dates",
    Dates,
    Derive(
        origin="documents",
        target=DatasetSpec("dates", ROWS, ("document", "start"), (Parent("documents", "document", "delete"),)),
        columns=("id", "text"),
        key=("id",),
        target_key=("document",),
        after=("deduplicate",),
        where=KEPT,
        needs=("duplicate_of",),
    ),
)
