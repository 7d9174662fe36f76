"""One writer a bank: a lease row that is taken by compare-and-swap and kept by a heartbeat.

The row is claimed by a conditional update (`holder` empty, expired, or a dead process of this very host); Lance runs
concurrent updates of one row one after another, so exactly one claimant sees an updated row. A holder that lives
refreshes its heartbeat every 20 seconds; one that was killed is recognised at once on its own host and after two
minutes everywhere else.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from datetime import timedelta
from pathlib import Path
from types import TracebackType

import lance
import pyarrow as pa
from lance.fragment import FragmentMetadata

from mnemic.dataset.failures import readable_errors
from mnemic.dataset.store import Dataset, with_record
from mnemic.dataset.write import write_whole
from mnemic.errors import BankInUse, NoSpace, Unreachable
from mnemic.schema import LEASES

EXPIRES = 120.0
HEARTBEAT = 20.0

_held: set[str] = set()
"""Holders that are leases of this process."""


def host_identity() -> str:
    """Name of this process space: host, boot and pid namespace, so that containers on one machine differ."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    space = Path("/proc/self/ns/pid")
    parts = [socket.gethostname(), boot.read_text().strip() if boot.exists() else ""]
    parts.append(os.readlink(space) if space.is_symlink() else "")
    return "/".join(part.replace("'", "") for part in parts)


def process_identity(pid: int) -> str:
    """Start time of a process in clock ticks since boot; "" when there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


class Lease:
    """Context manager that holds the lease of a bank; ``BankInUse`` says who holds it otherwise."""

    def __init__(self, dataset: Dataset, run: str) -> None:
        self._dataset = dataset
        self._run = run
        self._host = host_identity()
        self._holder = f"{run}@{os.getpid()}@{process_identity(os.getpid())}"
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._beaten = 0.0
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Lease:
        self._make_row()
        row = self._dataset.require().table(LEASES.names).to_pylist()[0]
        free = ["holder = ''", f"heartbeat < {time.time() - EXPIRES}"]
        if row["holder"] and row["host"] == self._host and not self._alive(row["holder"], row["pid"]):
            free.append(f"holder = '{row['holder']}'")
        if not self._update(self._values(time.time()), " OR ".join(free)):
            row = self._dataset.require().table(LEASES.names).to_pylist()[0]
            age = time.time() - row["heartbeat"]
            raise BankInUse(
                f"The bank {self._dataset.uri.rsplit('/', 1)[0]} is being built by process {row['pid']} on "
                f"{row['host'].split('/')[0]} (run {row['run']}, last sign of life {age:.0f} s ago). "
                f"Wait for it to end, or stop it; a dead builder's lease expires after {EXPIRES:.0f} s."
            )
        self._beaten = time.time()
        _held.add(self._holder)
        self._thread = threading.Thread(target=self._beat, name="mnemic-lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if isinstance(error, Unreachable):
            # Neither a beat under way nor the row is waited for: each takes a minute of an object store that hangs.
            _held.discard(self._holder)
            return
        if self._thread is not None:
            self._thread.join()
        _held.discard(self._holder)
        # On a full disk the row cannot be changed; the lease then ends with this process, or expires.
        with contextlib.suppress(NoSpace, Unreachable):
            self._update({"holder": "''", "run": "''", "pid": "0"}, f"holder = '{self._holder}'")
            self._dataset.forget_before(timedelta(minutes=10))

    def check(self) -> None:
        """Raise when the lease was lost (this process slept longer than it lasts); called before every commit."""
        if self._lost.is_set() or time.time() - self._beaten > EXPIRES:
            raise BankInUse(
                f"The lease on {self._dataset.uri.rsplit('/', 1)[0]} expired while this build was stopped, and another "
                "build may have begun. What was committed is kept: run the same build again."
            )

    def _make_row(self) -> None:
        if self._dataset.snapshot() is not None:
            return
        row = {"name": "bank", "holder": "", "host": "", "pid": 0, "run": "", "heartbeat": 0.0}
        rows = pa.Table.from_pylist([row], schema=with_record(LEASES, {}))
        try:
            written = [FragmentMetadata.from_json(fragment) for fragment in write_whole(self._dataset, rows)]
            with readable_errors(self._dataset.uri):
                # Without retries: Lance would put a second row in the place of one that is held by now.
                lance.LanceDataset.commit(
                    self._dataset.uri,
                    lance.LanceOperation.Overwrite(rows.schema, written),
                    read_version=0,
                    storage_options=self._dataset.storage_options,
                    enable_stable_row_ids=True,
                    max_retries=0,
                )
        except (OSError, ValueError, RuntimeError):
            if self._dataset.snapshot() is None:
                raise

    def _values(self, now: float) -> dict[str, str]:
        text = {"holder": self._holder, "host": self._host, "run": self._run}
        return {**{name: f"'{value}'" for name, value in text.items()}, "pid": str(os.getpid()), "heartbeat": repr(now)}

    def _update(self, values: dict[str, str], where: str) -> bool:
        with readable_errors(self._dataset.uri):
            result = self._dataset.require().native.update(values, where=where)
        return int(result["num_rows_updated"]) == 1

    @staticmethod
    def _alive(holder: str, pid: int) -> bool:
        if pid == os.getpid():
            return holder in _held
        return process_identity(pid) == holder.rpartition("@")[2] != ""

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT):
            now = time.time()
            try:
                if self._update({"heartbeat": repr(now)}, f"holder = '{self._holder}'"):
                    self._beaten = now
                    continue
            except Exception:  # whatever it was, the next beat may succeed; `check` sees when none did for too long
                continue
            self._lost.set()
            return
