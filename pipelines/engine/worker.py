"""The body of an actor: it is armed with the job of a step, and then works on one item after another.

Nothing heavy is imported here: the thread budget has to stand in the environment before numpy, torch and Lance are
loaded, which happens when the first job is unpickled.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mnemic import inside
from pipelines.engine.code import code_digest

_POOLS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "LANCE_CPU_THREADS",
    "LANCE_IO_THREADS",
)


@dataclass(frozen=True)
class Identity:
    """Where an actor runs: its node, process, the files of its output, and the digest of its code."""

    node: str
    host: str
    process: int
    outputs: tuple[str, ...]
    code: str


class Worker:
    """One actor. ``threads`` is the budget of each thread pool in its process."""

    def __init__(self, threads: int) -> None:
        for name in _POOLS:
            os.environ[name] = str(threads)
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        faulthandler.enable()
        self._work: Any = None
        self._told = (0, 0)

    def identity(self, packages: tuple[str, ...]) -> Identity:
        """Where this actor runs, and what it has of the code of ``packages``."""
        import ray

        outputs = [os.path.realpath(f"/proc/self/fd/{number}") for number in (2, 1)]
        files = tuple(output for output in outputs if os.path.isfile(output))
        node = ray.get_runtime_context().get_node_id()
        return Identity(node, socket.gethostname(), os.getpid(), files, code_digest(packages))

    def arm(self, job: bytes, threads: int) -> None:
        """Take up the job of a step; a model is loaded here. The job before it is forgotten first."""
        import cloudpickle

        self._work = None
        _free_memory()
        threads = min(threads, len(os.sched_getaffinity(0)))  # more workers than cores must not mean more threads
        os.environ["OMP_NUM_THREADS"] = str(threads)  # read by torch when it is loaded; set below where it is already
        factory = cloudpickle.loads(job)  # of the driver, which holds the cluster's secret; never read from a bank
        self._work = factory()
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)

    def work(self, item: Any) -> Any:
        self._told = (0, 0)
        with inside.heard_by(lambda rows: self._tell(rows, 0)):
            return self._work(item)

    def stream(self) -> Iterator[Any]:
        self._told = (0, 0)
        yield from self._work(self._tell)

    def rendezvous(self) -> str:
        """An address at which the other processes of a group can find this one; its port is free at this moment."""
        import ray

        host = ray.util.get_node_ip_address()
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
            port = probe.getsockname()[1]
        return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"

    def join(self, process: Any) -> Iterator[Any]:
        """`stream`, as one process of a group."""
        self._told = (0, 0)
        yield from self._work(self._tell, process)

    def _tell(self, done: int, total: int) -> None:
        self._told = (done, total)

    def progress(self) -> tuple[int, int]:
        """(done, total) as last told; answered while `stream` or `work` runs, which has no total."""
        return self._told


def tail(paths: tuple[str, ...], lines: int) -> list[str]:
    """The last lines of the files of an actor's output, as far as they can be read here."""
    output: list[str] = []
    for path in paths:
        with contextlib.suppress(OSError), open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - 200 * lines))
            output += file.read().decode("utf-8", "replace").splitlines()[-lines:]
    return output[-lines:]


def _free_memory() -> None:
    """Give back what the last job held, on the GPU too."""
    import gc

    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def wait_for_output(paths: tuple[str, ...], seconds: float = 1.0) -> None:
    """A process that was killed may still be writing its last words."""
    deadline = time.monotonic() + seconds
    size = -1
    while time.monotonic() < deadline:
        now = sum(os.path.getsize(path) for path in paths if os.path.exists(path))
        if now == size:
            return
        size = now
        time.sleep(0.1)
