"""Ray: the workers of a step are actors, on this machine or on a cluster.

Rows never pass through Ray. Actors get fragment ids, read and write Lance, and return what is to be committed, about a
kilobyte each; this process commits. Ray is started, or found, when the first job has items, so that a build with
nothing to do costs nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import os
import re
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

import cloudpickle
import ray
from ray.exceptions import AuthenticationError

from mnemic.errors import StepError, Unreachable
from mnemic.terminal import one_line
from operators.contracts import ProcessRank, Progress, Resources
from pipelines.engine.code import shared_packages, shipped_code
from pipelines.engine.contracts import ItemT, Job, ResultStream, ResultT
from pipelines.engine.dispatch import Mapped, Streamed, no_room, own_node_lives
from pipelines.engine.inline import InlineEngine
from pipelines.engine.pool import Pool
from pipelines.engine.process_group import GroupStream
from pipelines.engine.stderr import withheld

LARGEST_JOB = 64 << 20
"""Bytes that may travel with a job; more belongs into a dataset."""

_INLINE = 100_000  # bytes of an argument that Ray sends along with the call; more goes through the object store
_OBJECT_STORE = 256 << 20  # no rows go through it: jobs of at most 64 MB, and results of about a kilobyte

_RETRIES = re.compile(rb"\[[^\]]{1,80}\] gcs_client\.cc:\d+: ")
"""What Ray's own part in C++ writes each second that it cannot connect."""
_DATED = re.compile(rb"\[(\d|$)")
"""How every line of that part begins."""

_REFUSAL = "InvalidAuthToken"

_HEALTH_CHECK = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
"""On one machine no network can be slow: a dead node is reported after 3 s, and not after 20."""


class RayEngine:
    """``address`` of a cluster, or None: RAY_ADDRESS, else Ray on this machine. ``workers``: most actors of a step."""

    name = "ray"

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        self._address = address or os.environ.get("RAY_ADDRESS") or None
        self._workers = workers
        self._pool: Pool | None = None
        self._connected = self._ours = False

    @property
    def distributed(self) -> bool:
        return self._address is not None

    @property
    def size(self) -> int:
        return 0 if self._pool is None else self._pool.size

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._disconnect()

    def _disconnect(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        if self._ours:
            with _undisturbed():
                ray.shutdown()
        self._connected = self._ours = False

    def map(self, job: Job[Callable[[ItemT], ResultT]], items: Iterable[ItemT]) -> ResultStream[ResultT]:
        coming = iter(items)
        first = list(itertools.islice(coming, 1))
        if not first:
            return InlineEngine().map(job, first)
        return Mapped(self._pool_for(job), job, self._shipped(job), itertools.chain(first, coming))

    def stream(self, job: Job[Callable[[Progress], Iterator[ResultT]]], progress: Progress) -> ResultStream[ResultT]:
        return Streamed(self._pool_for(job), job, self._shipped(job), progress)

    def group(
        self, job: Job[Callable[[Progress, ProcessRank], Iterator[ResultT]]], size: int, progress: Progress
    ) -> ResultStream[ResultT]:
        pool = self._pool_for(job)
        if pool.size < size and self.distributed and self._workers is None:
            pool.resize(size, pool.wide)  # a cluster may grow when more is asked of it
        return GroupStream(pool, job, self._shipped(job), size, progress)

    def _shipped(self, job: Job[Any]) -> Any:
        """The job's factory, pickled; or a reference to it, which workers fetch once per node."""
        payload = cloudpickle.dumps(job.factory)
        if len(payload) > LARGEST_JOB:
            raise StepError(
                f"The step {job.step} would send {len(payload) / 1e6:.0f} MB to each worker; what is larger than "
                f"{LARGEST_JOB / 1e6:.0f} MB is to be written to a dataset that workers read. This is a fault of the "
                "step, not of the recipe."
            )
        return payload if len(payload) <= _INLINE else ray.put(payload)

    def _pool_for(self, job: Job[Any]) -> Pool:
        """The pool at hand if its actors will do, else a new one in its place."""
        self._connect()
        shape = self._shape(job.resources)
        fitting = self._fitting(shape)
        if self.distributed:  # a cluster may grow when more is asked of it
            size = self._workers or max(fitting, 1)
        elif fitting:
            size = min(fitting, self._workers or fitting)
        else:
            raise no_room(job, shape, 0.0)
        if self._pool is None or not _covers(self._pool.shape, shape):
            if self._pool is not None:
                self._pool.close()
            self._pool = Pool(shape)
        self._pool.resize(size, max(1, int(min(shape.cpus * size, _largest_node("CPU")))))
        return self._pool

    def _shape(self, resources: Resources) -> Resources:
        """The share of an actor in Ray's resources: GPUs where there are any; here alone, cores between the workers."""
        total = ray.cluster_resources()
        if not total.get("GPU"):
            resources = dataclasses.replace(resources, gpus=0.0)
        if self._workers is not None and not self.distributed:
            cpus = max(resources.cpus, total.get("CPU", 1.0) // self._workers)
            resources = dataclasses.replace(resources, cpus=cpus)
        return resources

    def _fitting(self, shape: Resources) -> int:
        """How many actors of this shape fit into the cluster, node by node."""
        count = 0
        for node in ray.nodes():
            if node["Alive"]:
                there = node["Resources"]
                wants = (("CPU", shape.cpus), ("GPU", shape.gpus), ("memory", shape.memory))
                count += int(min(there.get(name, 0.0) // amount for name, amount in wants if amount))
        return count

    def _connect(self) -> None:
        """Find the cluster, or start Ray here; a Ray that this process has started itself is used and left alone.

        One that died since the last job is started, or found, again.
        """
        if self._connected and self._ours and not own_node_lives():
            self._disconnect()
        if self._connected:
            return
        if not ray.is_initialized():
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
            with _undisturbed():
                if self._address is None:
                    self._start(quiet)
                else:
                    if "RAY_AUTH_TOKEN" in os.environ:
                        os.environ.setdefault("RAY_AUTH_MODE", "token")
                    self._join(self._address, quiet)
            self._ours = True
        self._connected = True

    def _start(self, quiet: dict[str, Any]) -> None:
        """Start Ray on this machine, or raise `Unreachable`: a busy machine may not start it in time."""
        for name, milliseconds in _HEALTH_CHECK.items():
            os.environ.setdefault(name, milliseconds)
        cores = max(os.cpu_count() or 1, self._workers or 1)
        try:
            ray.init("local", num_cpus=cores, include_dashboard=False, object_store_memory=_OBJECT_STORE, **quiet)
        except Exception as error:  # Ray raises a bare one where its own processes do not answer
            raise Unreachable(
                f"Ray does not start on this machine ({_words_of(error)}). Where much else runs here, "
                "run the same build again later; or build in this process (--engine inline)."
            ) from error

    def _join(self, address: str, quiet: dict[str, Any]) -> None:
        """Connect to a cluster, or raise `Unreachable` in place of the warning that Ray writes every second."""
        with withheld(_RETRIES, _DATED) as retries:
            try:
                ray.init(address, runtime_env=shipped_code(shared_packages()), **quiet)
                return
            except (AuthenticationError, ConnectionError, RuntimeError, ValueError) as error:
                reason = error
        refused = isinstance(reason, AuthenticationError) or any(_REFUSAL in line for line in retries.lines)
        if refused or _listens(address):
            raise Unreachable(
                f"The Ray cluster at {address} does not let this process in: it refuses the token of RAY_AUTH_TOKEN"
                f"{'' if refused else ', or has another version of Ray'}. Set the token that its head was started with "
                "(RAY_AUTH_MODE=token there), or build without --address."
            )
        raise Unreachable(
            f"No Ray cluster answers at {address} ({_words_of(reason)}). Start one with `ray start "
            "--head`, check the address and the token, or build without --address."
        ) from reason


def _words_of(error: Exception) -> str:
    return one_line(str(error) or type(error).__name__, 200)


def _listens(address: str) -> bool:
    """Whether anybody takes a connection at the address of a cluster."""
    host, separator, port = address.rpartition("://")[2].rpartition(":")
    if not separator or not port.isdigit():
        return False
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=3.0):
            return True
    except (OSError, OverflowError):
        return False


def _covers(pool: Resources, shape: Resources) -> bool:
    return pool.cpus >= shape.cpus and pool.gpus == shape.gpus and pool.memory >= shape.memory


def _largest_node(name: str) -> float:
    return max((node["Resources"].get(name, 0.0) for node in ray.nodes() if node["Alive"]), default=1.0)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Ray's changes to this process are undone: its handler of SIGTERM would end a build before it commits.

    Lance warns of a fork, which Ray uses here only to start other programs.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="lance is not fork-safe")
        with _signals_kept():
            yield


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    # Ray's programs inherit the mask: a SIGTERM to the whole process group, with which Prefect cancels, spares them.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
