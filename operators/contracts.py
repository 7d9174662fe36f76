"""What an operator is. Operators compute on Arrow batches; they do no I/O but loading a model.

An operator is a frozen dataclass whose fields are its identity: they and ``version`` go into the fingerprint that
decides whether a bank's data is stale. A field that names a model is declared with ``model_field()``; the fingerprint
then takes the hash of the model's weights and tokenizer instead of its address.

* A **row operator** maps rows to rows: it either adds columns to the rows it gets (same rows, same order) or makes new
  rows from them. What it returns for one input row may depend on the other rows of the batch only in ways that leave
  the result unchanged, so any split into batches gives the same output.
* A **corpus operator** looks at all rows once (`fit`), and then computes its columns batch by batch.

Rows that cannot be processed are returned as rejects, never raised and never dropped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.errors import RecipeError, StepError

REJECTED = pa.schema(
    [
        pa.field("input", pa.string(), nullable=False),  # key of the input row
        pa.field("locator", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),  # a sentence
        pa.field("severity", pa.string(), nullable=False),  # "reject", or "empty": nothing to take, nothing wrong
    ]
)
"""Rows that an operator gives back instead of results."""

NO_REJECTS = pa.RecordBatch.from_pylist([], schema=REJECTED)

Numbers = npt.NDArray[np.uint64]

BatchFunction = Callable[[pa.RecordBatch], tuple[pa.RecordBatch, pa.RecordBatch]]
"""Rows in; (rows, rejects) out."""

Progress = Callable[[int, int], None]
"""Called with (done, total) while long work runs."""


@dataclasses.dataclass(frozen=True)
class Member:
    """The ``rank`` of ``size`` processes that do one thing together, and the address where they find one another.

    Without a ``meeting`` ("tcp://host:port") this process is alone, and does the shares of all of them.
    """

    rank: int = 0
    size: int = 1
    meeting: str = ""


class LostMember(StepError):
    """The others of a `Member` are no longer heard: one of them died or was cut off."""


@dataclasses.dataclass(frozen=True)
class Resources:
    """What one worker of an operator asks of a cluster; no part of its identity.

    ``memory`` is in bytes, and with it a cluster packs workers; it is no limit. GPUs are asked for where there are any.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory: int = 1 << 30


def model_field(default: str, said_by: str = "", overridable: bool = False) -> Any:
    """A dataclass field that holds a model's address; its weights' hash, not the address, is its identity.

    A recipe writes it once, where it is ``said_by`` ("language_model"); an ``overridable`` one its section may say too.
    """
    shared = {"said_by": said_by, "overridable": overridable} if said_by else {}
    return dataclasses.field(default=default, metadata={"model": True, **shared})


def refuse(problems: Iterable[str]) -> None:
    """Raise all that is wrong with an operator's settings, as sentences; empty ones are nothing."""
    told = " ".join(problem for problem in problems if problem)
    if told:
        raise RecipeError(told)


class RowOperator(Protocol):
    version: ClassVar[int]
    resources: ClassVar[Resources]

    def output(self, schema: pa.Schema) -> pa.Schema:
        """The fields that it adds to rows of ``schema``, or the schema of the rows that it makes."""

    def open(self, device: str) -> BatchFunction:
        """Load what it needs (a model) and return the function that processes a batch."""


class Corpus(Protocol):
    """The rows that a corpus operator reasons about, always in ascending order of their key."""

    def __len__(self) -> int: ...

    def batches(self, columns: Sequence[str], size: int = 8192) -> Iterator[pa.RecordBatch]:
        """All rows in key order, ``size`` at a time."""

    def take(self, positions: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """The rows at these positions of the key order, in the order asked for."""

    def table(self, name: str) -> pa.Table:
        """What the step reads beside the rows, by name; to `restore`, also a table that `fit` made."""


class RowCorpus(Protocol):
    """The rows that an operator reasons about, in no order, each with a number that stays the same while it lives."""

    def __len__(self) -> int: ...

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[Numbers, pa.RecordBatch]]:
        """All rows, some thousands at a time, and their numbers, uint64."""

    def take_rows(self, numbers: Numbers, columns: Sequence[str]) -> pa.Table:
        """The rows with these numbers, in the order asked for."""

    def earlier(self, numbers: Numbers) -> pa.Array | None:
        """What the newest release holds in the operator's column for these rows, null for one to decide about anew.

        None where there is no such release.
        """


class Fitted(Protocol):
    """What `fit` learned.

    ``tables`` are datasets to write whole (such as the judged pairs), by name; ``summary`` is what it counted or chose
    (such as a temperature), as values of JSON for lineage. ``state`` is what another process needs beside the corpus to
    compute the same columns.
    """

    @property
    def tables(self) -> Mapping[str, pa.Table]: ...

    @property
    def summary(self) -> Mapping[str, Any]: ...

    @property
    def state(self) -> pa.Table: ...

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The operator's columns for the rows of ``batch``, in their order."""


PartT = TypeVar("PartT")
ResultT_co = TypeVar("ResultT_co", covariant=True)


class Reduction(Protocol[PartT, ResultT_co]):
    """Something computed of all rows by looking at parts of them, wherever they are: partial, merge, finish.

    `merge` is associative and commutative, and exact: how rows are divided into batches, which worker looks at them and
    in what order parts come together leave the result as it is. A part is small enough to travel (64 MB).
    """

    def partial(self, batch: pa.RecordBatch) -> PartT:
        """What some rows say."""

    def merge(self, one: PartT, other: PartT) -> PartT:
        """What the rows of both say."""

    def finish(self, whole: PartT) -> ResultT_co:
        """The result, of what all rows say."""


class CorpusOperator(Protocol):
    version: ClassVar[int]
    resources: ClassVar[Resources]

    def output(self, schema: pa.Schema) -> pa.Schema: ...

    def fit(self, corpus: Corpus, device: str, progress: Progress) -> Fitted: ...

    def restore(self, state: pa.Table, corpus: Corpus, device: str) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
        """What `fit` made of this corpus, from its ``state``: computes the same columns, and decides nothing anew."""
