"""Several actors that work on one thing together, as the processes of a distributed training do.

All are armed before any begins, and the first names the address at which they meet. From then on the first to end, to
fail or to die decides: a death ends all, because the others would wait for the dead one, and the gang begins anew from
what is committed, twice at most unless results come in between. A member that merely lost the others is not the cause:
for some seconds the others are asked first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Generic

import ray
from ray.exceptions import RayError, RayTaskError

from mnemic.errors import Unreachable
from operators.contracts import LostMember, Member, Progress
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
"""How long after a member has lost the others it may take to hear which of them died, or why."""


class Ganged(Generic[ResultT]):
    """`Results` of what the members of a gang yield."""

    def __init__(
        self,
        pool: Pool,
        job: Job[Callable[[Progress, Member], Iterator[ResultT]]],
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
        self._streams: dict[Any, Slot] = {}  # of the members that are at work
        self._deaths = 0
        self._begun = self._cancelled = False
        self._asked: Any = None
        self._told = (0, 0)

    def __iter__(self) -> Iterator[ResultT]:
        return self

    def cancel(self) -> None:
        """What is under way would go on for long; only what was yielded counts."""
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
                    self._ask()
                    continue
                result = self._take(ready[0])
                if result is not None:
                    self._deaths = 0
                    return result
            except RayError as error:
                self._failed(error, self._slots[0])

    def _take(self, stream: Any) -> ResultT | None:
        """The next result of a member; None when it has come to its end, or failed and the gang is to begin anew."""
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
        """Arm all members, let the first say where they meet, and start them."""
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
        meeting = ray.get(self._slots[0].actor.meeting.remote())
        for rank, slot in enumerate(self._slots):
            member = Member(rank, self._size, meeting)
            self._streams[slot.actor.join.options(num_returns="streaming").remote(member)] = slot
        self._begun = True

    def _failed(self, error: RayError, slot: Slot) -> None:
        """A member's own error is raised; after a death, or where the members lost one another, all begin anew."""
        error, slot = self._cause(error, slot)
        if isinstance(error, RayTaskError) and not isinstance(error.cause, LostMember):
            found = of_operator(self._job, "", error, slot)
            self._end()
            raise found from error
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
        """Where a member says that it lost the others: the error of the one that it lost, if it is heard of soon."""
        deadline = time.monotonic() + GRACE_SECONDS
        waiting = {stream: member for stream, member in self._streams.items() if member is not slot}
        while isinstance(error, RayTaskError) and isinstance(error.cause, LostMember) and waiting:
            ready = answered(list(waiting), max(0.0, deadline - time.monotonic()))
            if not ready:
                break
            try:
                ray.get(next(ready[0]))
            except StopIteration:
                del waiting[ready[0]]
            except RayError as other:
                if not isinstance(other, RayTaskError) or not isinstance(other.cause, LostMember):
                    return other, waiting[ready[0]]
                del waiting[ready[0]]
        return error, slot

    def _end(self) -> None:
        for slot in self._slots:
            self._pool.drop(slot)
        self._streams.clear()
        self._begun, self._asked = False, None

    def _ask(self) -> None:
        """Pass on how far the first member is, as it last told."""
        if self._asked is not None and answered([self._asked], 0):
            told = ray.get(self._asked)
            self._asked = None
            if told != self._told:
                self._told = told
                self._progress(*told)
        if self._asked is None:
            self._asked = self._slots[0].actor.progress.options(concurrency_group="watch").remote()
