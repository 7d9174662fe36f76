"""Make the rows of one dataset from the rows of another: documents -> units -> events, documents -> scored tokens.

What is left to do is the difference of two sets read from the datasets themselves: inputs wanted, and inputs whose rows
(or whose reject) stand already. Rows of inputs that are no longer wanted, such as a document that became a duplicate,
are deleted. All rows of one input are written into one fragment and committed at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.dataset import Dataset, Snapshot, Store
from mnemic.dataset.write import WrittenFragment, append, write_rows
from mnemic.hardware import default_device
from operators.contracts import RowOperator
from pipelines import faults
from pipelines.identity import Record
from pipelines.steps.contracts import Context, Status, check_rejects, forget_rejects, rejected_inputs


@dataclass(frozen=True)
class DerivedRows:
    fragment: int  # of the origin
    fragments: tuple[WrittenFragment, ...]
    rejects: pa.Table
    rows: int
    inputs: int
    seconds: float


@dataclass(frozen=True)
class DeriveStep:
    """A step that makes ``target`` from ``origin``.

    ``key`` are the columns of the origin that identify an input, ``target_key`` the columns of the target that repeat
    them (in the same order; the first is the input's id), ``where`` says which rows of the origin are inputs.
    """

    record: Record
    operator: RowOperator
    origin: str
    target: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    target_key: tuple[str, ...]
    after: tuple[str, ...]
    where: str | None = None
    needs: tuple[str, ...] = ()  # columns of the origin that an earlier step must have finished

    @property
    def name(self) -> str:
        return self.record.step

    @property
    def unit(self) -> str:
        """What its inputs are, in words."""
        return "documents" if self.key[0] in ("id", "document") else self.origin

    @property
    def datasets(self) -> tuple[str, ...]:
        return (self.target,)

    def check(self, store: Store, max_rejects: float) -> None:
        """Raise when too many inputs were rejected."""
        target = store[self.target].require()
        check_rejects(store, self.record, lambda: len(_distinct(target, self.target_key, None)), max_rejects)

    def state(self, store: Store) -> Status:
        origin, target = store[self.origin].snapshot(), store[self.target].snapshot()
        if origin is None or any(column not in origin.schema.names for column in self.needs):
            return Status("new")
        wanted = self._wanted(origin)
        if target is None:
            return Status("new", len(wanted), len(wanted), self.unit)
        stale = self.record.changes_from(target.record or {})
        if stale:
            return Status("stale", len(wanted), len(wanted), self.unit, tuple(stale))
        missing, vanished = self._difference(store, wanted, target)
        if not missing and not vanished:
            return Status("done", 0, len(wanted), self.unit)
        reasons = [f"{len(missing):,} without {self.target}"] if missing else []
        reasons += [f"{len(vanished):,} no longer wanted"] if vanished else []
        return Status("pending", len(missing) + len(vanished), len(wanted), self.unit, tuple(reasons))

    def run(self, context: Context) -> None:
        origin = context.store[self.origin].require()
        dataset = context.store[self.target]
        target = dataset.snapshot()
        if target is None or self.record.changes_from(target.record or {}):
            rows = self.operator.output(origin.schema)
            context.commit(lambda: forget_rejects(context.store, f"step = '{self.name}'"))
            context.commit(lambda: dataset.create(rows, self.record.as_json(), context.properties(self.record)))
        wanted = self._wanted(origin)
        missing, vanished = self._difference(context.store, wanted, dataset.require())
        if vanished:
            context.commit(lambda: self._forget(context.store, dataset, vanished))
            missing, _ = self._difference(context.store, wanted, dataset.require())
        done = 0

        def commit(wave: list[DerivedRows]) -> None:
            nonlocal done
            context.reject(self.record, pa.concat_tables([outcome.rejects for outcome in wave]))
            fragments = [fragment for outcome in wave for fragment in outcome.fragments]
            if fragments:
                context.commit(lambda: append(dataset, fragments, context.properties(self.record)))
            done += sum(outcome.inputs for outcome in wave)
            context.tally.rows += sum(outcome.rows for outcome in wave)
            context.progress(done, len(missing), self.unit)

        def seen(outcome: DerivedRows) -> None:
            context.emit("fragment", fragment=outcome.fragment, done=outcome.rows, seconds=outcome.seconds)

        work = self._work(origin, {key[0] for key in missing})
        job = context.job(self._worker(context, origin.version, dataset), self.operator.resources, self._told)
        context.in_waves(context.engine.map(job, work), commit, seen)

    def _told(self, item: tuple[int, pa.Array]) -> str:
        fragment, keys = item
        return f"fragment {fragment} of {self.origin} ({len(keys):,} {self.unit}, the first is {keys[0]})"

    def _wanted(self, origin: Snapshot) -> set[tuple[str, ...]]:
        return _distinct(origin, self.key, self.where)

    def _difference(
        self, store: Store, wanted: set[tuple[str, ...]], target: Snapshot
    ) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
        present = _distinct(target, self.target_key, None)
        rejected = rejected_inputs(store, self.record)
        missing = {key for key in wanted - present if key[0] not in rejected}
        inputs = {key[0] for key in wanted}
        return missing, (present - wanted) | {(key,) for key in rejected - inputs}

    def _forget(self, store: Store, dataset: Dataset, keys: set[tuple[str, ...]]) -> None:
        """Rejects first: a kill between the two leaves rows, by which the next build knows what to forget."""
        inputs = sorted({key[0] for key in keys})
        if store["rejects"].snapshot() is not None:
            for start in range(0, len(inputs), 2000):
                quoted = ",".join(f"'{value}'" for value in inputs[start : start + 2000])
                forget_rejects(store, f"step = '{self.name}' AND input IN ({quoted})")
        dataset.delete_keys(self.target_key[0], inputs)

    def _work(self, origin: Snapshot, missing: set[str]) -> list[tuple[int, pa.Array]]:
        """(fragment, keys of its inputs that are missing) for every fragment that holds one."""
        work = []
        wanted = pa.array(sorted(missing), pa.string())
        for fragment in origin.fragments if missing else ():
            batches = origin.scan([self.key[0]], self.where, fragments=[fragment.id])
            keys = pa.chunked_array([batch[self.key[0]] for batch in batches], pa.string()).unique()
            here = keys.filter(pc.is_in(keys, value_set=wanted))
            if len(here):
                work.append((fragment.id, here))
        return work

    def _worker(
        self, context: Context, version: int, dataset: Dataset
    ) -> Callable[[], Callable[[tuple[int, pa.Array]], DerivedRows]]:
        origin, device = context.store[self.origin], context.device
        schema = self.operator.output(origin.require(version).schema)  # not the dataset's: that may have grown

        def factory() -> Callable[[tuple[int, pa.Array]], DerivedRows]:
            process = self.operator.open(device or default_device())
            snapshot = origin.require(version)

            def work(item: tuple[int, pa.Array]) -> DerivedRows:
                started = time.monotonic()
                fragment, keys = item
                columns = list(dict.fromkeys((*self.key, *self.columns)))
                table = pa.Table.from_batches(list(snapshot.scan(columns, self.where, fragments=[fragment])))
                table = table.filter(pc.is_in(table[self.key[0]], value_set=keys))
                rows, rejects = process(table.combine_chunks().to_batches()[0])
                faults.reach(self.name, "before-write")
                made = pa.Table.from_batches([rows])
                fragments = write_rows(dataset.uri, made, schema, dataset.storage_options)
                faults.reach(self.name, "after-write")
                seconds = time.monotonic() - started
                return DerivedRows(
                    fragment, tuple(fragments), pa.Table.from_batches([rejects]), len(made), len(keys), seconds
                )

            return work

        return factory


def _distinct(snapshot: Snapshot, columns: Sequence[str], where: str | None) -> set[tuple[str, ...]]:
    """The distinct values of ``columns``, streamed."""
    found: set[tuple[str, ...]] = set()
    for batch in snapshot.scan(columns, where, batch_size=65536):
        unique = pa.Table.from_batches([batch]).group_by(list(columns)).aggregate([])
        found.update(zip(*(unique[column].to_pylist() for column in columns), strict=True))
    return found
