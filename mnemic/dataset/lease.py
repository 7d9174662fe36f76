"""One writer a bank: a lease row that is taken by compare-and-swap and kept by a heartbeat.

The row is claimed by a conditional update; Lance runs concurrent updates of one row one after another, so exactly one
claimant sees an updated row. A holder that lives changes its heartbeat every 20 seconds. A lease that was given back is
free at once, and so is that of a process that is proven dead, which only its own host can know. For any other a
claimant waits: a heartbeat that changes ends it with `BankInUse`, one that stays for two minutes of the claimant's own
clock lets it claim. Clocks of two hosts are never compared.

Every claim takes the next number of the row. What a builder commits carries it (`mnemic.dataset.fence`), so that one
that slept through the loss of its lease is known by its older number.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any

import lance
import pyarrow as pa
from lance.fragment import FragmentMetadata

from mnemic.dataset.failures import readable_errors
from mnemic.dataset.process import Life, clock, host_identity, life, process_identity, proves
from mnemic.dataset.snapshot import with_record
from mnemic.dataset.store import Dataset
from mnemic.dataset.write import write_whole
from mnemic.errors import BankInUse, NoSpace, Unreachable
from mnemic.schema import LEASES

EXPIRES = 120.0
"""Seconds without a change of the heartbeat after which another host may claim."""

HEARTBEAT = 20.0
"""Seconds between two beats."""

LOOKS = 5
"""How often a claimant that waits looks at the row between two beats of its holder."""

_held: set[str] = set()
"""Holders that are leases of this process."""

Row = Mapping[str, Any]


class Lease:
    """Context manager that holds the lease of a bank; ``BankInUse`` says who holds it otherwise.

    ``tell`` gets a sentence now and then while it waits for the row of a holder that may be dead. Once it is held,
    ``number`` is that of the claim, and ``settled`` says that nobody can be left who held it before and commits: it was
    given back, or its process is proven dead, and whoever came before that is fenced. ``begun`` says that the row was
    made for this claim.
    """

    number: int
    settled: bool
    begun: bool

    def __init__(self, dataset: Dataset, run: str, tell: Callable[[str], None] = lambda sentence: None) -> None:
        self._dataset = dataset
        self._run = run
        self._tell = tell
        self._host = host_identity()
        self._holder = f"{run}@{os.getpid()}@{process_identity(os.getpid())}"
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._beaten = self._day = 0.0
        self._thread: threading.Thread | None = None

    @property
    def bank(self) -> str:
        return self._dataset.uri.rsplit("/", 1)[0]

    def __enter__(self) -> Lease:
        self.begun = self._make_row()
        _held.add(self._holder)
        try:
            self._claim()
        except BaseException:
            _held.discard(self._holder)
            raise
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
            if self._update({"holder": "''", "run": "''", "pid": "0"}, self._mine):
                self._dataset.forget_before(timedelta(minutes=10))

    def check(self) -> None:
        """Raise when the lease was lost; called before and after every change of the bank.

        The time in which this process was suspended counts, and so does that in which its machine was: where the clock
        of the day ran on without the other. A holder without a beat for almost as long as a claimant waits (no two
        clocks run alike) beats now. The beat succeeds where nobody has claimed.
        """
        silent = max(clock() - self._beaten, time.time() - self._day)
        if self._lost.is_set() or (silent > EXPIRES - min(HEARTBEAT, EXPIRES / 4) and not self._renewed()):
            raise BankInUse(
                f"The lease on {self.bank} expired while this build was stopped, and another build may have begun. "
                "Committed work is kept: run the same build again."
            )

    def confirm(self) -> None:
        """Ask the row itself; raises when another has claimed it, whatever the clocks of this process say."""
        self.check()
        row = self._row()
        if row["holder"] != self._holder or row["number"] != self.number:
            self._lost.set()
            raise BankInUse(
                f"The lease on {self.bank} expired while this build was stopped: process {row['pid']} on "
                f"{_name(row)} (run {row['run']}) has claimed it since. Committed work is kept: run the same build "
                "again when that one has ended."
            )

    def fenced(self) -> None:
        """Note that no former holder can commit any more, so that the next claimant need not see to it."""
        if not self._update({"unfenced": "false"}, self._mine):
            self.confirm()

    def renumber(self, number: int) -> None:
        """Go on as ``number``, a larger one: the row was lost with the numbers of earlier claims."""
        if not self._update({"number": str(number)}, self._mine):
            self.confirm()
        self.number = number

    # -- claiming ----------------------------------------------------------------------------------------------------

    def _claim(self) -> None:
        while True:
            row = self._row()
            free = self._free(row)
            if free is None and not self._expired(row):
                continue  # it was given back, or its holder has died
            self.settled, self.number = free is not None and not row["unfenced"], row["number"] + 1
            values = {**self._values(), "number": str(self.number), "unfenced": str(not self.settled).lower()}
            self._beaten, self._day = clock(), time.time()
            if self._update(values, f"{free or _condition(row)} AND number = {row['number']}"):
                return

    def _free(self, row: Row) -> str | None:
        """The condition under which the row may be claimed at once; None when its holder has to be watched."""
        if row["holder"] == "":
            return "holder = ''"
        if row["host"] != self._host:
            return None
        if row["holder"] in _held:
            state = Life.RUNS
        elif not proves(self._host):
            return None
        else:
            state = life(row["pid"], row["holder"].rpartition("@")[2]) if row["pid"] != os.getpid() else Life.DEAD
        if state is Life.DEAD:
            return _condition(row)
        if state is Life.RUNS and 0 <= clock() - row["uptime"] < EXPIRES:  # one host, one boot: one clock
            raise self._refusal(row)
        return None

    def _expired(self, row: Row) -> bool:
        """Watch the row of a holder that may be dead, until it has given no sign of life for long enough.

        False when the row is to be looked at again; raises when the holder lives.
        """
        began = reported = clock()
        self._tell(self._waiting(row, EXPIRES))
        while clock() - began < EXPIRES:
            time.sleep(min(HEARTBEAT, EXPIRES) / LOOKS)
            now = self._row()
            if now["holder"] == "":
                return False
            if _condition(now) != _condition(row):
                raise self._refusal(now)
            if self._free(now) is not None:
                return False
            if clock() - reported > HEARTBEAT:
                reported = clock()
                self._tell(self._waiting(row, EXPIRES - (reported - began)))
        return True

    def _refusal(self, row: Row) -> BankInUse:
        return BankInUse(
            f"The bank {self.bank} is being built by process {row['pid']} on {_name(row)} (run {row['run']}, which "
            "shows signs of life). Wait for it to end, or stop it; a dead builder's lease expires after "
            f"{EXPIRES:.0f} s."
        )

    def _waiting(self, row: Row, left: float) -> str:
        return (
            f"waiting for the lease of process {row['pid']} on {_name(row)} (run {row['run']}): it is taken over in "
            f"{max(0.0, left):.0f} s if no sign of life comes"
        )

    # -- the row -----------------------------------------------------------------------------------------------------

    @property
    def _mine(self) -> str:
        return f"holder = '{self._holder}'"

    def _row(self) -> dict[str, Any]:
        row: dict[str, Any] = self._dataset.require().table(LEASES.names).to_pylist()[0]
        return row

    def _make_row(self) -> bool:
        """Make the row where there is none; whether it was made here."""
        snapshot = self._dataset.snapshot()
        if snapshot is not None:
            self._complete(snapshot.schema.names)
            return False
        row = {"name": "bank", "holder": "", "host": "", "pid": 0, "run": "", "heartbeat": 0.0}
        row |= {"number": 0, "unfenced": False, "uptime": 0.0}
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
            return False
        return True

    def _complete(self, names: list[str]) -> None:
        """Give the row of a bank of before there were numbers the columns that it lacks."""
        missing = [name for name in LEASES.names if name not in names]
        if not missing:
            return
        values = {"number": "cast(0 as bigint)", "unfenced": "false", "uptime": "cast(0 as double)"}
        try:
            with readable_errors(self._dataset.uri):
                self._dataset.require().native.add_columns({name: values[name] for name in missing})
        except (OSError, ValueError, RuntimeError):  # another claimant has done so meanwhile
            if set(LEASES.names) - set(self._dataset.require().schema.names):
                raise

    def _values(self) -> dict[str, str]:
        text = {"holder": self._holder, "host": self._host, "run": self._run}
        return {**{name: f"'{value}'" for name, value in text.items()}, "pid": str(os.getpid()), **self._signs()}

    def _signs(self) -> dict[str, str]:
        """A sign of life: the heartbeat. Others only look whether it changed."""
        return {"heartbeat": repr(time.time()), "uptime": repr(clock())}

    def _update(self, values: dict[str, str], where: str) -> bool:
        with readable_errors(self._dataset.uri):
            result = self._dataset.require().native.update(values, where=where)
        return int(result["num_rows_updated"]) == 1

    # -- the heartbeat -----------------------------------------------------------------------------------------------

    def _renewed(self) -> bool:
        """Beat now; whether the row is still this lease's."""
        began, day = clock(), time.time()
        try:
            if not self._update(self._signs(), self._mine):
                self._lost.set()
                return False
        except Exception:  # whatever it was: a lease that cannot be renewed in time is not trusted
            return False
        self._beaten, self._day = began, day
        return True

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT):
            self._renewed()  # where it failed, the next may succeed; `check` sees when none did for too long
            if self._lost.is_set():
                return


def _condition(row: Row) -> str:
    """Holds as long as the row's holder is the same and has given no other sign of life."""
    return f"holder = '{row['holder']}' AND heartbeat = {row['heartbeat']!r}"


def _name(row: Row) -> str:
    return str(row["host"].split("/")[0])
