"""How far a long call is: told inside its loop, heard by whoever shows it.

A small corpus is one fragment, which may take minutes of a model. In one process a word is heard at once; an actor of
Ray keeps its own, and is asked for it while nothing else comes from it. Nothing of a result depends on any of this.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

Listener = Callable[[int], None]

_listeners: list[Listener] = []


def tell(rows: int) -> None:
    """``rows`` of what was called for are computed."""
    if _listeners:
        _listeners[-1](rows)


@contextlib.contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Within, ``listener`` hears what is told in this process."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.pop()


@contextlib.contextmanager
def told_as(rows: Callable[[int], int]) -> Iterator[None]:
    """Within, the number that is told is passed on as what ``rows`` makes of it."""
    if not _listeners:
        yield
        return
    outer = _listeners[-1]
    with heard_by(lambda number: outer(rows(number))):
        yield
