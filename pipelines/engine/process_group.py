"""Actors that form a process group, as the processes of a distributed training do.

All are armed before any begins, and rank 0 names the address of the rendezvous. From then on the first to end, to fail
or to die decides. A death ends all, because the others would wait for the dead one, and the group begins anew from what
is committed, twice at most unless results come in between. A process that merely lost the others is not the cause: for
some seconds the others are asked first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Generic

import ray
from ray.exceptions import RayError, RayTaskError

from mnemic.errors import Unreachable
from operators.contracts import LostProcess, ProcessRank, Progress
from pipelines.engine.contracts import Job, ResultT
from pipelines.engine.dispatch import (
    PATIENCE_SECONDS,
    WATCH_SECONDS,
    answered,
    check_cluster,
    check_code,
    lost_node,
    no_room,
    of_death,
    of_operator,
)
from pipelines.engine.pool import RESTARTS, Pool, Slot, last_words

GRACE_SECONDS = 10.0
"""How long after a process has lost the others it may take to learn which of them died, or why."""


class GroupStream(Generic[ResultT]):
    """The results that the processes of a group yield."""

    def __init__(
        self,
        pool: Pool,
        job: Job[Callable[[Progress, ProcessRank], Iterator[ResultT]]],
        payload: Any,
        size: int,
        progress: Progress,
    ) -> None:
        self._pool, self._job, self._payload, self._size, self._progress = pool, job, payload, size, progress
        self._slots = pool.slots(size)
        if len(self._slots) < size:
            raise Unreachable(
                f"The step {job.step} wants {size} processes at once, and there is room for {len(self._slots)} of "
                f"{pool.shape.cpus:g} CPUs, {pool.shape.gpus:g} GPUs and {pool.shape.memory / 1e9:.1f} GB each. Set "
                "`processes` in the recipe to what there is, or build with more workers, or on more machines."
            )
        self._streams: dict[Any, Slot] = {}  # of the processes at work
        self._deaths = 0
        self._begun = self._cancelled = False
        self._answer: Any = None
        self._reported = (0, 0)

    def __iter__(self) -> Iterator[ResultT]:
        return self

    def cancel(self) -> None:
        """The group ends at once: it would go on for long, and only the results that it yielded count."""
        self._cancelled = True
        self._end()

    def __next__(self) -> ResultT:
        while True:
            if self._cancelled:
                raise StopIteration
            try:
                if not self._begun:
                    self._begin()
                if not self._streams:
                    raise StopIteration
                ready = answered(list(self._streams), WATCH_SECONDS)
                if not ready:
                    check_cluster(self._job)
                    self._report()
                    continue
                result = self._take(ready[0])
                if result is not None:
                    self._deaths = 0
                    return result
            except RayError as error:
                self._failed(error, self._slots[0])

    def _take(self, stream: Any) -> ResultT | None:
        """The next result of a process; None when it has ended, or failed and the group is to begin anew."""
        slot = self._streams[stream]
        try:
            result: ResultT = ray.get(next(stream))
            return result
        except StopIteration:
            del self._streams[stream]
        except RayError as error:
            self._failed(error, slot)
        return None

    def _begin(self) -> None:
        """Arm all processes, let rank 0 name the rendezvous, and start them."""
        for slot in self._slots:
            self._pool.arm(slot, self._payload, self._pool.threads)
        waited = time.monotonic()
        for slot in self._slots:
            while not answered([slot.arming], WATCH_SECONDS):
                check_cluster(self._job)
                if time.monotonic() - waited > PATIENCE_SECONDS and slot.identity() is None:
                    raise no_room(self._job, self._pool.shape, PATIENCE_SECONDS)
            ray.get(slot.arming)
            slot.arming = None
            check_code(slot)
        rendezvous = ray.get(self._slots[0].actor.rendezvous.remote())
        for rank, slot in enumerate(self._slots):
            process = ProcessRank(rank, self._size, rendezvous)
            self._streams[slot.actor.join.options(num_returns="streaming").remote(process)] = slot
        self._begun = True

    def _failed(self, error: RayError, slot: Slot) -> None:
        """A process's own error is raised; after a death, or where processes lost one another, all begin anew."""
        error, slot = self._cause(error, slot)
        if isinstance(error, RayTaskError) and not isinstance(error.cause, LostProcess):
            failure = of_operator(self._job, "", error, slot)
            self._end()
            raise failure from error
        check_cluster(self._job)
        identity = slot.identity()
        self._end()
        if not lost_node(error):
            self._deaths += 1
        if self._deaths > RESTARTS:
            if isinstance(error, RayTaskError):
                raise of_operator(self._job, "", error, slot) from error
            raise of_death(self._job, "", error, last_words(identity)) from error

    def _cause(self, error: RayError, slot: Slot) -> tuple[RayError, Slot]:
        """Where a process has lost the others: the error of the one that it lost, if that comes soon."""
        deadline = time.monotonic() + GRACE_SECONDS
        waiting = {stream: other for stream, other in self._streams.items() if other is not slot}
        while isinstance(error, RayTaskError) and isinstance(error.cause, LostProcess) and waiting:
            ready = answered(list(waiting), max(0.0, deadline - time.monotonic()))
            if not ready:
                break
            try:
                ray.get(next(ready[0]))
            except StopIteration:
                del waiting[ready[0]]
            except RayError as cause:
                if not isinstance(cause, RayTaskError) or not isinstance(cause.cause, LostProcess):
                    return cause, waiting[ready[0]]
                del waiting[ready[0]]
        return error, slot

    def _end(self) -> None:
        for slot in self._slots:
            self._pool.drop(slot)
        self._streams.clear()
        self._begun, self._answer = False, None

    def _report(self) -> None:
        """Pass on how far rank 0 is, as it last reported."""
        if self._answer is not None and answered([self._answer], 0):
            progress = ray.get(self._answer)
            self._answer = None
            if progress != self._reported:
                self._reported = progress
                self._progress(*progress)
        if self._answer is None:
            self._answer = self._slots[0].actor.progress.options(concurrency_group="watch").remote()
