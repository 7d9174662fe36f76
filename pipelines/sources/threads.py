"""Letters become threads: those that name each other, directly or over letters that are not there, are one session.

Threads are the connected parts of the graph of ids and references (the first step of Zawinski's algorithm; subjects are
not compared, since "Hello" is no thread). All that is held of a letter is 40 bytes; the letters are read again, thread
by thread. The order is that of the dates; a letter without one stands behind the letter before it in the file.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from pipelines.sources.letters import Head


def thread_orders(heads: Iterable[Head | None]) -> Iterator[NDArray[np.int64]]:
    """Numbers of the letters of each thread in their order, the thread of the first letter first; None is no letter."""
    own, child, answered, times = array("Q"), array("Q"), array("Q"), array("q")
    last = 0
    for number, head in enumerate(heads):
        time = None if head is None else head.time
        last = int(time.timestamp()) if time is not None else last
        times.append(last if head is not None else np.iinfo(np.int64).min)
        own.append(_key(head.id if head is not None and head.id else f"\0{number}"))
        for reference in head.references if head is not None else ():
            child.append(number)
            answered.append(_key(reference))
    if not own:
        return
    ids = np.frombuffer(own, np.uint64)
    ends = np.frombuffer(answered, np.uint64) if answered else np.empty(0, np.uint64)
    keys, nodes = np.unique(np.concatenate([ids, ends]), return_inverse=True)
    begins = nodes[np.frombuffer(child, np.uint64).astype(np.int64)] if child else np.empty(0, np.int64)
    labels = _components(len(keys), begins, nodes[len(ids) :])[nodes[: len(ids)]]
    clock = np.frombuffer(times, np.int64)
    first = np.full(len(keys), len(ids), np.int64)
    np.minimum.at(first, labels, np.arange(len(ids)))
    order = np.lexsort((np.arange(len(ids)), clock, first[labels]))
    order = order[clock[order] != np.iinfo(np.int64).min]
    cuts = np.flatnonzero(np.diff(labels[order])) + 1
    yield from np.split(order, cuts) if len(order) else ()


def _components(count: int, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """The least node that each of ``count`` nodes reaches over the edges ``left`` [e] - ``right`` [e]."""
    labels = np.arange(count)
    while len(left):
        a, b = labels[left], labels[right]
        apart = a != b
        if not apart.any():
            break
        left, right, a, b = left[apart], right[apart], a[apart], b[apart]
        np.minimum.at(labels, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(labels, shorter := labels[labels]):
            labels = shorter
    return labels


def _key(identity: str) -> int:
    return int.from_bytes(hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


Load = Callable[[int], bytes]
"""The bytes of a letter by its number."""
