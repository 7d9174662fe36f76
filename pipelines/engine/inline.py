"""This process: tests, debugging, machines without Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Generic

from mnemic.errors import MnemicError
from operators.contracts import ProcessRank, Progress
from pipelines.engine.contracts import ItemT, Job, ResultStream, ResultT, failed


class InlineEngine:
    name = "inline"
    distributed = False
    size = 1

    def __enter__(self) -> InlineEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def map(self, job: Job[Callable[[ItemT], ResultT]], items: Iterable[ItemT]) -> ResultStream[ResultT]:
        return _Cancellable(job, _mapped(job, items))

    def stream(self, job: Job[Callable[[Progress], Iterator[ResultT]]], progress: Progress) -> ResultStream[ResultT]:
        return _Cancellable(job, _streamed(job, progress))

    def group(
        self, job: Job[Callable[[Progress, ProcessRank], Iterator[ResultT]]], size: int, progress: Progress
    ) -> ResultStream[ResultT]:
        return _Cancellable(job, _single_process(job, ProcessRank(size=size), progress))


def _mapped(job: Job[Callable[[ItemT], ResultT]], items: Iterable[ItemT]) -> Iterator[ResultT]:
    worker: Callable[[ItemT], ResultT] | None = None
    for item in items:
        worker = worker or job.factory()
        try:
            result = worker(item)
        except Exception as error:
            raise failed(job.step, job.describe(item), error) from error
        yield result


def _streamed(job: Job[Callable[[Progress], Iterator[ResultT]]], progress: Progress) -> Iterator[ResultT]:
    yield from job.factory()(progress)


def _single_process(
    job: Job[Callable[[Progress, ProcessRank], Iterator[ResultT]]], process: ProcessRank, progress: Progress
) -> Iterator[ResultT]:
    yield from job.factory()(progress, process)


class _Cancellable(Generic[ResultT]):
    def __init__(self, job: Job[Any], results: Iterator[ResultT]) -> None:
        self._job = job
        self._results = results
        self._cancelled = False

    def __iter__(self) -> Iterator[ResultT]:
        return self

    def __next__(self) -> ResultT:
        if self._cancelled:
            raise StopIteration
        try:
            return next(self._results)
        except (StopIteration, MnemicError):
            raise
        except Exception as error:
            raise failed(self._job.step, "", error) from error

    def cancel(self) -> None:
        self._cancelled = True
