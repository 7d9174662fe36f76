"""Engines: where the workers of a step run. `inline` runs them in this process, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Protocol, TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Engine(Protocol):
    """A context manager that maps work over workers. A worker is made once per process by its factory."""

    name: str

    def __enter__(self) -> Engine: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def map(self, factory: Callable[[], Callable[[ItemT], ResultT]], items: Iterable[ItemT]) -> Iterator[ResultT]:
        """Results in any order; the factory is not called when there are no items."""


class InlineEngine:
    """This process: tests, debugging, machines without Ray."""

    name = "inline"

    def __enter__(self) -> InlineEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def map(self, factory: Callable[[], Callable[[ItemT], ResultT]], items: Iterable[ItemT]) -> Iterator[ResultT]:
        worker: Callable[[ItemT], ResultT] | None = None
        for item in items:
            worker = worker or factory()
            yield worker(item)
