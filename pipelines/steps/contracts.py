"""The contract of a step: its members, its context while it runs, and its commits.

`plan` and `run` ask a step the same question, ``state``: what is left to do, and why. Nothing is remembered anywhere
but in the committed datasets themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import pyarrow as pa

from mnemic.catalogue import DatasetSpec
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.commit import Conflict
from mnemic.dataset.write import append, append_rows
from mnemic.errors import BankError, MnemicError, StepError
from mnemic.schema import REJECTS
from operators.contracts import Progress, Resources
from pipelines import faults
from pipelines.engine import Engine, Job, ResultStream
from pipelines.identity import Record
from pipelines.keyset import KeySet
from pipelines.progress import ProgressEvent, ProgressKind, Sink
from pipelines.steps.rejects import REJECTS_AT_ONCE, WrittenRejects, reject_rows

if TYPE_CHECKING:
    from mnemic.dataset.lease import Lease

ResultT = TypeVar("ResultT")
WorkT = TypeVar("WorkT")


WAVES = 256
"""Results of a step after which its commits grow with what is there: by a sixteenth of it as a rule."""

StatusKind = Literal["done", "new", "pending", "stale", "due"]


@dataclass(frozen=True)
class Status:
    """The work that a step has left. ``kind`` is "due" where the corpus of a corpus step changed."""

    kind: StatusKind
    todo: int = 0
    total: int = 0
    unit: str = "rows"
    reasons: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        return self.kind == "done"


@dataclass
class Tally:
    """Counts of a running step."""

    rows: int = 0
    rejects: int = 0
    rejected: KeySet | None = None  # ids of rejects that are in the bank already
    stopping: bool = False  # an interruption was taken note of


@dataclass(frozen=True)
class Context:
    """What a running step works with."""

    store: Store
    lease: Lease
    engine: Engine
    run: str
    sink: Sink
    revision: str
    device: str | None = None  # None: the best that a worker finds
    commit_every: int = 16
    commit_seconds: float = 60.0
    step: str = ""
    tally: Tally = field(default_factory=Tally)

    def of(self, step: str) -> Context:
        return replace(self, step=step, tally=Tally())

    def properties(self, record: Record) -> dict[str, str]:
        """Transaction properties of every commit of this step."""
        return {
            "mnemic.step": record.step,
            "mnemic.fingerprint": record.fingerprint,
            "mnemic.state": record.state,
            "mnemic.run": self.run,
            "mnemic.revision": self.revision,
        }

    def emit(self, kind: ProgressKind, **values: Any) -> None:
        """Send an event to the sinks. Once the step is stopping, further interrupts from a sink are ignored."""
        try:
            self.sink(ProgressEvent(kind, self.run, self.step, **values))
        except BaseException as error:
            if isinstance(error, Exception) or not self.tally.stopping:
                raise

    def progress(self, done: int, total: int, unit: str = "rows") -> None:
        where = {"workers": self.engine.size, "device": self.device or ""}
        self.emit("progress", done=done, total=total, unit=unit, **where)

    def commit(self, action: Callable[[], ResultT]) -> ResultT:
        """Run a commit between its fault points, if the lease is still ours.

        A commit that met one of a builder without the lease is run once more: the other's change is undone by then.
        """
        self.lease.check()
        faults.reach(self.step, "before-commit")
        try:
            result = action()
        except Conflict:
            result = action()
        faults.reach(self.step, "after-commit")
        return result

    def own(self, versions: Mapping[str, int]) -> None:
        """Raise where a builder that had lost the lease made one of these versions of datasets."""
        for name, version in versions.items():
            dataset = self.store[name]
            if dataset.guard is not None:
                dataset.guard.expect(dataset, version)

    def job(
        self, factory: Callable[[], WorkT], resources: Resources, describe: Callable[[Any], str] = str
    ) -> Job[WorkT]:
        """The job of this step's workers, which first check that they see the bank. ``describe`` names an item."""
        root = self.store.root

        def in_sight() -> WorkT:
            if "://" not in root and not Path(root).is_dir():
                raise BankError(
                    f"A worker does not see the bank {root}. On a cluster, keep it on a volume that all nodes "
                    "share, or in an object store (`bank: s3://...`)."
                )
            return factory()

        return Job(self.step, in_sight, resources, describe)

    def computed(self, compute: Callable[[], ResultT], resources: Resources) -> ResultT:
        """What ``compute`` returns in a worker with these ``resources``; nothing of it is committed."""

        def factory() -> Callable[[Progress], Iterator[ResultT]]:
            def run(progress: Progress) -> Iterator[ResultT]:
                yield compute()

            return run

        results: list[ResultT] = []
        self.in_waves(
            self.engine.stream(self.job(factory, resources), self.progress), lambda wave: None, results.append
        )
        return results[-1]

    def in_waves(
        self,
        results: ResultStream[ResultT],
        commit: Callable[[list[ResultT]], None],
        seen: Callable[[ResultT], None] = lambda result: None,
    ) -> None:
        """Commit results 16 at a time or every minute; ``seen`` is called with each as it comes.

        Every commit writes a manifest of all fragments. So that manifests do not grow with the square of the fragments,
        a commit takes a sixteenth of what was committed before it, once that is more than 16.

        An interruption (whatever is no `Exception`) or an error begins nothing more: what is under way is finished and
        committed, and then it is raised. A second one is raised at once.
        """
        wave: list[ResultT] = []
        committed, opened = 0, time.monotonic()
        stopped: BaseException | None = None
        while True:
            try:
                for result in results:
                    wave.append(result)
                    seen(result)
                    full_at = self.commit_every * max(committed // WAVES, 1)
                    if len(wave) >= full_at or time.monotonic() - opened >= self.commit_seconds:
                        full, wave = wave, []
                        committed += len(full)
                        commit(full)
                        self.emit("commit", done=len(full), unit="fragments")
                        opened = time.monotonic()
                if wave:
                    full, wave = wave, []
                    commit(full)
                    self.emit("commit", done=len(full), unit="fragments")
                break
            except BaseException as error:
                if stopped is not None:
                    raise (stopped if isinstance(error, MnemicError) else error) from error
                stopped = error
                self.tally.stopping = True
                results.cancel()
        if stopped is not None:
            raise stopped

    def reject(self, record: Record, rejects: pa.Table, accepted: Collection[str] = ()) -> None:
        """Add rejects to the bank, each once, however often it is met.

        They are committed before the rows of the same inputs, so a reject alone does not say that its input is done
        with; only inputs that are not in ``accepted`` are.
        """
        for start in range(0, len(rejects), REJECTS_AT_ONCE):
            self._reject(record, reject_rows(record, self.run, rejects.slice(start, REJECTS_AT_ONCE), accepted))

    def _reject(self, record: Record, rows: pa.Table) -> None:
        dataset = self.store["rejects"]
        if self.tally.rejected is None:
            snapshot = dataset.snapshot()
            self.tally.rejected = KeySet(snapshot.scan(["id"], f"step = '{record.step}'") if snapshot else ())
        ids = rows.select(["id"]).combine_chunks().to_batches()[0]
        fresh = rows.filter(pa.array(~self.tally.rejected.has(ids)))
        if len(fresh) == 0:
            return
        self.commit(lambda: append_rows(dataset, fresh, REJECTS, self.properties(record)))
        self.tally.rejected |= KeySet([ids])
        for row in fresh.select(["severity", "locator", "reason"]).to_pylist():
            if row["severity"] == "reject":
                self.tally.rejects += 1
                self.emit("reject", message=f"  left out: {row['locator']}: {row['reason']}")
            elif row["severity"] == "note":
                self.emit("reject", message=f"  {row['locator']}: {row['reason']}")

    def reject_written(self, record: Record, written: Sequence[WrittenRejects]) -> None:
        """Add rejects that workers have written, since they were too many to hand over.

        Rejects that an interrupted build left of the same inputs go first, so that each is there once.
        """
        fragments = [fragment for one in written for fragment in one.fragments]
        if not fragments:
            return
        dataset = self.store["rejects"]
        quoted = ",".join(f"'{value}'" for value in sorted(set().union(*(one.inputs for one in written))))
        earlier, snapshot = f"step = '{record.step}' AND input IN ({quoted})", dataset.snapshot()
        if snapshot is None:
            self.commit(lambda: dataset.create(REJECTS, {}, {}))
        elif snapshot.count(earlier):
            self.commit(lambda: dataset.delete(earlier))
        self.commit(lambda: append(dataset, fragments, self.properties(record)))
        self.tally.rejected = None
        for one in written:
            self.tally.rejects += one.rejects
            if one.rejects:
                message = f"  left out: {one.rejects:,} more, the first is {one.first}; `mnemic show BANK --failures`"
                self.emit("reject", message=message)


def require_columns(step: str, snapshot: Snapshot, dataset: str, columns: Collection[str]) -> None:
    """Raise ``StepError`` where rows of ``dataset`` lack columns that the section of ``step`` names."""
    lacking = [name for name in dict.fromkeys(columns) if name.partition(".")[0] not in snapshot.schema.names]
    if lacking and snapshot.count():
        raise StepError(
            f"The step {step} reads {', '.join(lacking)} of {dataset}, which no step before it has added. Name columns "
            f"that are there in its section, or the step that adds them in `after`; there are "
            f"{', '.join(snapshot.schema.names)}."
        )


def require_key(step: str, dataset: str, key: Collection[str], names: Collection[str]) -> None:
    """Raise ``StepError`` where rows with the columns ``names`` lack one that the section of ``step`` has in a key."""
    lacking = sorted({*key} - {*names})
    if lacking:
        raise StepError(
            f"The step {step} makes rows of {dataset} without {', '.join(lacking)}, which its section names as key. "
            f"Let the operator's output have them; it has {', '.join(names)}."
        )


def state_of(step: Step, store: Store) -> Status:
    """What ``step`` has left to do. An error that is no sentence becomes one that names the step."""
    try:
        return step.state(store)
    except (MnemicError, OSError):
        raise
    except Exception as error:
        fault = str(error).splitlines()[0][:300] if str(error) else ""
        raise StepError(
            f"What the step {step.name} has left to do cannot be told ({type(error).__name__}: {fault}). If another "
            "package offers its section, repair the columns and conditions that it names, or uninstall the package; "
            f"else `mnemic verify {store.root} --deep` says whether a file of the bank has changed."
        ) from error


class Step(Protocol):
    """One step of a recipe. ``name`` is its word in the recipe, in `plan` and in lineage.

    One whose settings name further datasets that it reads, and hashes the rows of, has them in ``inputs``: it then
    comes after the steps that make these too, and their fingerprints are no part of its own.
    """

    @property
    def name(self) -> str: ...

    @property
    def record(self) -> Record: ...

    @property
    def after(self) -> tuple[str, ...]:
        """Steps whose rows or columns it reads."""

    @property
    def datasets(self) -> tuple[str, ...]:
        """Datasets that it makes, or grows."""

    @property
    def specs(self) -> tuple[DatasetSpec, ...]:
        """The declarations of the datasets that it makes; mnemic's own may be left out, the catalogue has them."""

    def state(self, store: Store) -> Status: ...

    def run(self, context: Context) -> None: ...

    def check(self, store: Store, max_rejects: float) -> None:
        """Raise when what it committed is nothing to go on with. Asked in every build, whether it ran or not."""


@dataclass(frozen=True)
class RecordedStep:
    """The members of a `Step` that is named by its ``record``, makes datasets of mnemic's own, and rejects nothing."""

    record: Record

    @property
    def name(self) -> str:
        return self.record.step

    @property
    def specs(self) -> tuple[DatasetSpec, ...]:
        """None beside the catalogue's."""
        return ()

    def check(self, store: Store, max_rejects: float) -> None:
        """It rejects nothing."""
