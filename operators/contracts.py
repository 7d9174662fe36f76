"""The contracts of operators. An operator computes on Arrow batches; it does no I/O but loading a model.

An operator is a frozen dataclass whose fields are its identity: they and ``version`` go into the fingerprint that
decides whether a bank's data is stale. A field that names a model is declared with ``model_field()``; the fingerprint
then takes the hash of the model's weights and tokenizer instead of its address.

* A **row operator** maps rows to rows: it either adds columns to the rows it gets (same rows, same order) or makes new
  rows from them. The output for a row must not depend on the other rows of its batch, so any split into
  batches gives the same output.
* A **corpus operator** looks at all rows once (`fit`), and then computes its columns batch by batch.

Rows that cannot be processed are returned as rejects, never raised and never dropped. Of a row that is right and holds
nothing for it, an operator that makes new rows returns neither: the step marks it as asked and does not ask again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

import pyarrow as pa

from mnemic.arrays import Flags, RowIds
from mnemic.errors import RecipeError, StepError
from mnemic.hardware import default_device

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


BatchFunction = Callable[[pa.RecordBatch], tuple[pa.RecordBatch, pa.RecordBatch]]
"""Rows in; (rows, rejects) out."""

Progress = Callable[[int, int], None]
"""Called with (done, total) while long work runs."""


@dataclasses.dataclass(frozen=True)
class ProcessRank:
    """The ``rank`` of this process in a group of ``size`` processes, and the address where they find one another.

    Without a ``rendezvous`` ("tcp://host:port") this process runs alone, and computes the shards of all ranks.
    """

    rank: int = 0
    size: int = 1
    rendezvous: str = ""


class LostProcess(StepError):
    """Another process of the group does not answer: it died or was cut off."""


@dataclasses.dataclass(frozen=True)
class Resources:
    """The resources of one worker on a cluster; no part of an operator's identity.

    ``memory`` is in bytes: a cluster packs workers by it, and does not enforce it. ``gpus`` count where there are GPUs.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory: int = 1 << 30

    def device(self, name: str | None) -> str:
        """The device of a worker with these: ``name``, else a GPU where it asks for one and there is one, else "cpu".

        A worker that asks for none imports no torch to look for one.
        """
        return name or (default_device() if self.gpus else "cpu")


def model_field(default: str, said_by: str = "", overridable: bool = False) -> Any:
    """A dataclass field that holds a model's address; its weights' hash, not the address, is its identity.

    A recipe writes it once, where it is ``said_by`` ("language_model"); an ``overridable`` one its section may say too.
    """
    shared = {"said_by": said_by, "overridable": overridable} if said_by else {}
    return dataclasses.field(default=default, metadata={"model": True, **shared})


def tokenizer_field(default: str, said_by: str = "") -> Any:
    """A dataclass field that holds a model's address of which only the tokenizer is read: its hash is the identity."""
    return dataclasses.field(default=default, metadata={"tokenizer": True, **({"said_by": said_by} if said_by else {})})


def refuse(problems: Iterable[str]) -> None:
    """Raise `RecipeError` with all sentences of ``problems``, if there are any; empty ones are none."""
    sentences = " ".join(problem for problem in problems if problem)
    if sentences:
        raise RecipeError(sentences)


def later_field(default: Any) -> Any:
    """A dataclass field that came after banks were built without it: at its default it enters no fingerprint."""
    return dataclasses.field(default=default, metadata={"later": True})


def bounds(settings: Any, sentence: str, rules: Iterable[tuple[str, bool, str]]) -> list[str]:
    """Sentences about the fields of ``settings`` that are out of bounds.

    A rule is (field, whether its value is within, the bound in words). ``sentence`` is a format with the places
    ``{name}``, ``{value}`` and ``{bound}``.
    """
    return [
        sentence.format(name=name, value=getattr(settings, name), bound=bound)
        for name, within, bound in rules
        if not within
    ]


def unknown_settings(operator: type, settings: Iterable[str], place: str) -> list[str]:
    """Sentences about the names of ``settings``, which stand at ``place``, that no field of ``operator`` has."""
    names = [field.name for field in dataclasses.fields(operator)]
    return [
        f"`{place}` has no setting {str(name)[:40]!r}; it has {', '.join(names)}."
        for name in settings
        if name not in names
    ]


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
        """A dataset that the step reads beside the rows, by name; in `restore`, also a table that `fit` made."""


class RowCorpus(Protocol):
    """The rows that an operator reasons about, in no order, each with a number that stays the same while it lives."""

    def __len__(self) -> int: ...

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[RowIds, pa.RecordBatch]]:
        """All rows, some thousands at a time, and their numbers, uint64."""

    def take_rows(self, numbers: RowIds, columns: Sequence[str]) -> pa.Table:
        """The rows with these ``numbers`` uint64 [n], in their order."""

    def earlier(self, numbers: RowIds) -> pa.Array | None:
        """The newest release's values of the operator's column for the rows ``numbers`` uint64 [n].

        Null for a row to decide about anew; None where there is no such release.
        """

    def dropped(self, numbers: RowIds) -> Flags:
        """Whether a rule drops the rows with these ``numbers`` uint64 [n], bool [n]."""


class Fitted(Protocol):
    """The result of `fit`.

    ``tables`` are datasets to write whole (such as the judged pairs), by name. ``summary`` are counts and choices (such
    as a temperature), as values of JSON for lineage. ``state`` and the corpus are enough for another process to compute
    the same columns.
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
    """A result of all rows that is computed from parts of them, wherever they are: partial, merge, finish.

    `merge` is associative, commutative and exact: the division into batches, the workers and the order of the parts do
    not change the result. A part is small enough to travel (64 MB).
    """

    def partial(self, batch: pa.RecordBatch) -> PartT:
        """The part of some rows."""

    def merge(self, one: PartT, other: PartT) -> PartT:
        """The part of the rows of both."""

    def finish(self, whole: PartT) -> ResultT_co:
        """The result, from the part of all rows."""


class CorpusOperator(Protocol):
    version: ClassVar[int]
    resources: ClassVar[Resources]

    def output(self, schema: pa.Schema) -> pa.Schema: ...

    def fit(self, corpus: Corpus, device: str, progress: Progress) -> Fitted: ...

    def restore(self, state: pa.Table, corpus: Corpus, device: str) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
        """The result of `fit` on this corpus, from its ``state``: computes the same columns, decides nothing anew."""
