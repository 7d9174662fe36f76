"""Work on pieces side by side: one piece a thread, and one thread a piece.

The products of a tree, or of one list of a search, are small. Two threads on each of them wait for one another longer
than they multiply, the more so on a machine that does other things too; two threads on products of their own do not.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

PieceT = TypeVar("PieceT")
ResultT = TypeVar("ResultT")


def side_by_side(work: Callable[[PieceT], ResultT], pieces: Iterable[PieceT], device: str) -> list[ResultT]:
    """The results of ``work`` in the order of ``pieces``, with as many threads as torch is allowed; on a GPU one."""
    import torch

    pieces, threads = list(pieces), torch.get_num_threads()
    if device != "cpu" or threads == 1 or len(pieces) < 2:
        return [work(piece) for piece in pieces]
    with ThreadPoolExecutor(min(threads, len(pieces)), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            return list(pool.map(work, pieces))
        finally:
            torch.set_num_threads(threads)  # what the threads set for themselves is what later threads begin with


@functools.cache
def survive_forks() -> None:
    """From now on a process that is forked off computes with one thread of torch.

    It has none of its parent's threads, and would wait for them for ever.
    """
    import torch

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=functools.partial(torch.set_num_threads, 1))
