"""Hand items to actors, and decide what the death of one means.

An actor holds at most two items: the one it works on and the next. When it dies another takes its place, twice at most
unless work succeeds in between, and its items go to free workers. An item on which three actors died is taken for the
cause: the results of the others still come, and then the step fails with the last words of the actor. A lost node is
nobody's fault but the node's; its items are done elsewhere.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from mnemic import inside
from mnemic.errors import MnemicError, StepError, Unreachable
from operators.contracts import Progress, Resources
from pipelines.engine.code import code_digest, shared_packages
from pipelines.engine.contracts import ItemT, Job, ResultT, failed, last_lines
from pipelines.engine.pool import RESTARTS, Pool, Slot, last_words

IN_FLIGHT = 2
WATCH_SECONDS = 2.0
"""How long nothing may be heard before the node of this process is looked at."""

PATIENCE_SECONDS = 300.0
"""How long all actors of a step may wait to be placed; a cluster that grows on demand takes minutes to start a node."""


class Mapped(Generic[ResultT]):
    """`Results` of one result for each item. Items are taken up as workers come free, and forgotten once done."""

    def __init__(self, pool: Pool, job: Job[Callable[[ItemT], ResultT]], payload: Any, items: Iterable[ItemT]) -> None:
        self._pool, self._job, self._payload = pool, job, payload
        self._coming = enumerate(items)
        self._items: dict[int, Any] = dict(itertools.islice(self._coming, pool.size))  # of the queue, and under way
        self._queue = deque(self._items)
        self._slots = pool.slots(len(self._items))
        self._ready: deque[ResultT] = deque()
        self._deaths: Counter[int] = Counter()
        self._failure: MnemicError | None = None
        self._cancelled = False
        self._heard = time.monotonic()
        self._asked: dict[int, Any] = {}  # place of a slot -> reference of how far it is
        self._inside: dict[int, int] = {}  # place of a slot -> rows of its item that are computed

    def __iter__(self) -> Iterator[ResultT]:
        return self

    def cancel(self) -> None:
        self._cancelled = True

    def __next__(self) -> ResultT:
        while not self._ready:
            self._feed()
            working = any(slot.in_flight for slot in self._slots)
            if not working and self._failure is not None:
                raise self._failure
            if not working and (self._cancelled or not self._queue):
                raise StopIteration
            waiting = {slot.arming: slot for slot in self._slots if slot.arming is not None}
            waiting |= {slot.in_flight[0][0]: slot for slot in self._slots if slot.in_flight}
            if not waiting:
                raise Unreachable(
                    f"All workers of the step {self._job.step} died more than {RESTARTS} times before any work was "
                    "done. `mnemic show BANK --failures` has their last lines. Committed work is kept: look after "
                    "the cluster, and run the same build again."
                )
            ready = answered(list(waiting), WATCH_SECONDS)
            if ready:
                self._heard = time.monotonic()
                self._settle(waiting[ready[0]])
            else:
                check_cluster(self._job)
                self._ask()
                if not working and time.monotonic() - self._heard > PATIENCE_SECONDS:
                    raise no_room(self._job, self._pool.shape, PATIENCE_SECONDS)
        return self._ready.popleft()

    def _ask(self) -> None:
        """Pass on how far the actors are in their items, as they last told."""
        for place, slot in enumerate(self._slots):
            reference = self._asked.get(place)
            if reference is not None and answered([reference], 0):
                del self._asked[place]
                with contextlib.suppress(RayError):
                    self._inside[place] = ray.get(reference)[0]
            if not slot.in_flight:
                self._inside.pop(place, None)
            elif place not in self._asked:
                self._asked[place] = slot.actor.progress.options(concurrency_group="watch").remote()
        if self._inside:
            inside.tell(sum(self._inside.values()))

    def _feed(self) -> None:
        """Arm idle actors while there is work for them, and give each an item, or two while there are enough."""
        if self._cancelled or self._failure is not None:
            return
        for depth in range(IN_FLIGHT):
            for slot in self._slots:
                self._look_ahead()
                if len(self._queue) <= (len(self._slots) if depth else 0):
                    break
                if slot.given_up or slot.arming is not None:
                    continue
                if slot.job is not self._payload:
                    self._pool.arm(slot, self._payload, self._pool.threads)
                elif len(slot.in_flight) == depth:
                    number = self._queue.popleft()
                    slot.in_flight.append((slot.actor.work.remote(self._items[number]), number))

    def _look_ahead(self) -> None:
        """Have an item more in the queue than there are actors, as long as some are coming."""
        for number, item in itertools.islice(self._coming, max(len(self._slots) + 1 - len(self._queue), 0)):
            self._items[number] = item
            self._queue.append(number)

    def _settle(self, slot: Slot) -> None:
        """Take the answer that has come from a slot: of its arming, or of its oldest item."""
        number = slot.in_flight[0][1] if slot.in_flight else None
        try:
            if slot.arming is not None:
                ray.get(slot.arming)
                slot.arming = None
                check_code(slot)
                return
            result = ray.get(slot.in_flight[0][0])
        except RayTaskError as error:
            self._fail(of_operator(self._job, "" if number is None else self._in_words(number), error, slot))
            slot.arming = None
            if number is None:
                slot.deaths = RESTARTS + 1  # what it was armed with fails in every actor
            else:
                slot.in_flight.popleft()
        except MnemicError as error:
            self._fail(error)
            self._pool.drop(slot)
        except RayError as error:
            self._died(slot, error, number)
        else:
            del self._items[slot.in_flight.popleft()[1]]
            slot.deaths = 0
            self._inside = {place: rows for place, rows in self._inside.items() if self._slots[place] is not slot}
            self._ready.append(result)

    def _died(self, slot: Slot, error: RayError, number: int | None) -> None:
        check_cluster(self._job)
        identity = slot.identity()
        self._queue.extendleft(item for _, item in reversed(slot.in_flight))
        self._pool.drop(slot)
        if lost_node(error):
            return
        slot.deaths += 1
        if number is not None:
            self._deaths[number] += 1
        if slot.given_up or (number is not None and self._deaths[number] > RESTARTS):
            self._fail(of_death(self._job, self._in_words(number), error, last_words(identity)))

    def _in_words(self, number: int | None) -> str:
        return "" if number is None else self._job.describe(self._items[number])

    def _fail(self, error: MnemicError) -> None:
        self._failure = self._failure or error


class Streamed(Generic[ResultT]):
    """`Results` of what one actor yields; a new actor begins anew when it dies."""

    def __init__(
        self, pool: Pool, job: Job[Callable[[Progress], Iterator[ResultT]]], payload: Any, progress: Progress
    ) -> None:
        self._pool, self._job, self._payload, self._progress = pool, job, payload, progress
        self._slot = pool.slots(1)[0]
        self._refs: Any = None
        self._asked: Any = None
        self._told = (0, 0)
        self._cancelled = False

    def __iter__(self) -> Iterator[ResultT]:
        return self

    def cancel(self) -> None:
        """The stream ends at once: it would go on for long, and only the results that it yielded count."""
        self._cancelled = True
        self._pool.drop(self._slot)

    def __next__(self) -> ResultT:
        while True:
            if self._cancelled:
                raise StopIteration
            try:
                if self._refs is None:
                    self._begin()
                ready = answered([self._refs], WATCH_SECONDS)
                if not ready:
                    check_cluster(self._job)
                    self._ask()
                    continue
                result: ResultT = ray.get(next(self._refs))
                self._slot.deaths = 0
                return result
            except RayTaskError as error:
                failure = of_operator(self._job, "", error, self._slot)
                self._pool.drop(self._slot)
                raise failure from error
            except RayError as error:
                self._died(error)

    def _begin(self) -> None:
        self._pool.arm(self._slot, self._payload, self._pool.wide)
        waited = time.monotonic()
        while not answered([self._slot.arming], WATCH_SECONDS):
            check_cluster(self._job)
            if self._slot.identity() is None and time.monotonic() - waited > PATIENCE_SECONDS:
                raise no_room(self._job, self._pool.shape, PATIENCE_SECONDS)
        ray.get(self._slot.arming)
        self._slot.arming = None
        check_code(self._slot)
        self._refs = self._slot.actor.stream.options(num_returns="streaming").remote()

    def _ask(self) -> None:
        """Pass on how far the actor is, as it last told."""
        if self._asked is not None and answered([self._asked], 0):
            progress = ray.get(self._asked)
            self._asked = None
            if progress != self._told:
                self._told = progress
                self._progress(*progress)
        if self._asked is None:
            self._asked = self._slot.actor.progress.options(concurrency_group="watch").remote()

    def _died(self, error: RayError) -> None:
        check_cluster(self._job)
        identity = self._slot.identity()
        self._pool.drop(self._slot)
        self._refs = self._asked = None
        if not lost_node(error):
            self._slot.deaths += 1
        if self._slot.given_up:
            raise of_death(self._job, "", error, last_words(identity)) from error


def answered(references: list[Any], seconds: float) -> list[Any]:
    """The first of these whose value has come, or none within so many seconds.

    An interruption that arrives meanwhile is raised as what it is: Ray makes a SystemError of it.
    """
    try:
        ready: list[Any] = ray.wait(references, num_returns=1, timeout=seconds)[0]
        return ready
    except SystemError as error:
        cause: BaseException | None = error
        while isinstance(cause, Exception):
            cause = cause.__cause__ or cause.__context__
        raise cause or error from None


def of_operator(job: Job[Any], item: str, error: RayTaskError, slot: Slot) -> MnemicError:
    """The operator's own error, with its traceback in the worker and what the worker printed."""
    cause = error.cause if isinstance(error.cause, BaseException) else error
    failure = failed(job.step, item, cause)
    failure.log = (*last_lines(error), *last_words(slot.identity()))
    return failure


def of_death(job: Job[Any], item: str, error: RayError, words: tuple[str, ...]) -> MnemicError:
    """An item, or a job, that no actor survives."""
    message = str(error)
    if "memory" in message.lower() and "oom" in message.lower() and "killed due to" in message.lower():
        cause = "the node ran out of memory"
    else:
        crash = next((line for line in words if "SIG" in line and "received" in line), "")
        fatal = next((line for line in words if line.startswith("Fatal Python error")), "")
        cause = fatal or crash or "it was killed from outside, or ran out of memory"
    on = f" on {item}" if item else ""
    failure = StepError(
        f"The step {job.step} lost {RESTARTS + 1} workers{on}: {cause}. `mnemic show BANK --failures` has the last "
        "lines of the worker. Committed work is kept: leave that input out of the source or mend it, or give the "
        "build fewer workers if memory was short, and run the same build again."
    )
    failure.log = (*message.splitlines()[:8], *words)
    return failure


def lost_node(error: RayError) -> bool:
    """Whether the actor died with its node."""
    return isinstance(error, RayActorError) and "node has died" in str(error)


def own_node_lives() -> bool:
    """Whether the Ray node is there through which this process speaks to the cluster."""
    mine = ray.get_runtime_context().get_node_id()
    return any(node["NodeID"] == mine and node["Alive"] for node in ray.nodes())


def check_cluster(job: Job[Any]) -> None:
    """Raise when this process has lost its node.

    This is the first check after an actor's death: Ray ends a process that uses the object store of a node that is
    gone.
    """
    if not own_node_lives():
        raise Unreachable(
            f"Ray died on this machine during the step {job.step}. Committed work is kept: run the same build "
            "again, which starts Ray anew or finds the cluster again."
        )


def check_code(slot: Slot) -> None:
    """Raise when a worker runs other code than this process."""
    identity = slot.identity()
    if identity is not None and identity.code != code_digest(shared_packages()):
        raise StepError(
            f"The workers on {identity.host} have another mnemic than this process, or another version of a package "
            f"that joined it ({', '.join(shared_packages())}), so their results would not be what this code makes. "
            "Install the same versions in the cluster's image, or build from checkouts: those are shipped to workers."
        )


def no_room(job: Job[Any], shape: Resources, waited: float) -> Unreachable:
    """A worker that could not be placed within ``waited`` seconds."""
    there = ray.available_resources()
    return Unreachable(
        f"There was no room for a worker of the step {job.step} within {waited:.0f} s: it wants {shape.cpus:g} CPUs, "
        f"{shape.gpus:g} GPUs and {shape.memory / 1e9:.1f} GB, and free are {there.get('CPU', 0):g} CPUs, "
        f"{there.get('GPU', 0):g} GPUs and {there.get('memory', 0) / 1e9:.1f} GB. Wait for other work to end, or add "
        "nodes, and run the same build again."
    )
