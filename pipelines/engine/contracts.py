"""The contract of engines: jobs in, a stream of results out."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from mnemic.errors import MnemicError, StepError
from operators.contracts import ProcessRank, Progress, Resources

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
ResultT_co = TypeVar("ResultT_co", covariant=True)
MadeT = TypeVar("MadeT")

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc", "realloc of size")


@dataclass(frozen=True)
class Job(Generic[MadeT]):
    """The work of a step's workers.

    ``factory`` is called once in each worker, and what it returns is the work. It may be sent to another process: what
    it closes over must be small and picklable. ``describe`` says in words what an item is.
    """

    step: str
    factory: Callable[[], MadeT]
    resources: Resources = field(default_factory=Resources)
    describe: Callable[[Any], str] = str


class ResultStream(Protocol[ResultT_co]):
    """Results of a job, as they come.

    Where an item fails, what is under way still comes, and then the iteration raises: a `MnemicError` of the operator,
    or a `StepError` that names the step and the item.
    """

    def __iter__(self) -> Iterator[ResultT_co]: ...

    def __next__(self) -> ResultT_co: ...

    def cancel(self) -> None:
        """Begin nothing more; what is under way still comes."""


class Engine(Protocol):
    """A context manager that runs jobs."""

    @property
    def name(self) -> str: ...

    @property
    def distributed(self) -> bool:
        """Whether workers may run on other machines than this one."""

    @property
    def size(self) -> int:
        """Workers of the present step at most; 0 before the first has one."""

    def __enter__(self) -> Engine: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def map(self, job: Job[Callable[[ItemT], ResultT]], items: Iterable[ItemT]) -> ResultStream[ResultT]:
        """One result for each item, in any order. Where there are no items no worker is made."""

    def stream(self, job: Job[Callable[[Progress], Iterator[ResultT]]], progress: Progress) -> ResultStream[ResultT]:
        """The results of one worker, in its order.

        When the worker dies, another one begins the job anew: what it yields must follow from what is committed.
        """

    def group(
        self, job: Job[Callable[[Progress, ProcessRank], Iterator[ResultT]]], size: int, progress: Progress
    ) -> ResultStream[ResultT]:
        """What ``size`` workers yield that form a process group, all at once; each gets its `ProcessRank`.

        They speak with one another themselves, at the rendezvous in their `ProcessRank`; by custom rank 0 yields for
        all. When one dies the others cannot go on: all are ended, and a new group begins the job anew, as with
        `stream`. An engine of one process makes one worker without a rendezvous: it computes the shards of all ranks.
        """


def failed(step: str, item: str, error: BaseException) -> MnemicError:
    """The error of an operator as a sentence; errors that are sentences already stay what they are."""
    if isinstance(error, MnemicError):
        return error
    what = f"{type(error).__name__}: {error}".strip().rstrip(":").splitlines()[0][:300]
    where = f"The step {step} failed on {item}" if item else f"The step {step} failed"
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _OUT_OF_MEMORY):
        return StepError(
            f"{where}: its worker ran out of memory ({what}). Give the build fewer workers (--workers), or make "
            "`fragment_characters` or the step's batch smaller in the recipe, and run the same build again."
        )
    return StepError(
        f"{where} ({what}). `mnemic show BANK --failures` has the last lines of its worker. What was committed is "
        "kept: mend the cause, and run the same build again."
    )


def last_lines(error: BaseException, count: int = 40) -> tuple[str, ...]:
    """The end of an error's traceback, its causes included."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    return tuple(lines[-count:])
