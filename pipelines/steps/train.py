"""Train a parametric memory into `memories`.

One worker trains, and writes each row; this process commits it. Every epoch ends with a checkpoint row, so a kill costs
at most one epoch; the last two and the best are kept while the training runs. The finished memory is the best epoch, as
one row with its lock on the model, its metrics and its weights; then the checkpoints go.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

import pyarrow as pa

from mnemic import languagemodel
from mnemic.dataset import Dataset, Snapshot, Store
from mnemic.dataset.write import WrittenFragment, append, write_rows
from mnemic.hardware import default_device
from mnemic.ids import hash_parts
from mnemic.schema import KEYS, MEMORIES
from operators.contracts import Progress
from operators.imitate import Checkpoint, Imitate, TrainingRows, finished_weights
from pipelines import faults
from pipelines.corpus_reader import KeyOrder, corpus_digest
from pipelines.identity import Record
from pipelines.steps.contracts import Context, Status

STORE = "split = 'store'"
VALIDATION = "split LIKE 'validation-%'"
KEY = KEYS["datastore"]
CHECKPOINTS_KEPT = 2
WEIGHT_WITHOUT_VALIDATION = 0.25
"""The mixing weight of kNN-LM in its own domain (Khandelwal et al. 2020), where no held-out text can choose one."""


@dataclass(frozen=True)
class Trained:
    """A row of `memories`, written and not committed."""

    fragments: tuple[WrittenFragment, ...]
    epoch: int
    rows: int  # that were trained on


@dataclass(frozen=True)
class Train:
    """The step `imitate`: an MLP memory from the datastore and its teacher. ``student_depth`` is the datastore's."""

    record: Record
    operator: Imitate
    after: tuple[str, ...]
    student_depth: float
    memory: str = "mlp"

    @property
    def name(self) -> str:
        return self.record.step

    @property
    def datasets(self) -> tuple[str, ...]:
        return ("memories",)

    def check(self, store: Store, max_rejects: float) -> None:
        """It rejects nothing."""

    def state(self, store: Store) -> Status:
        datastore = store["datastore"].snapshot()
        if datastore is None:
            return Status("new")
        rows = datastore.count(STORE)
        memories = store["memories"].snapshot()
        if rows == 0:
            left = memories is not None and memories.count() > 0
            return Status("due" if left else "done", 0, 0, "rows", ("the store is empty",))
        if "teacher_ids" not in datastore.schema.names:
            return Status("new")
        record = self._with_corpus(datastore)
        stored = None if memories is None else memories.record
        if memories is None or stored is None:
            return Status("new", rows, rows)
        changes = self.record.changes_from(stored)
        if changes:
            return Status("stale", rows, rows, reasons=tuple(changes))
        if stored["corpus"] != record.corpus:
            return Status("due", rows, rows, reasons=("the rows that it looks at changed",))
        if memories.count(f"final AND state = '{record.state}'"):
            checkpoints = memories.count("final = false")
            return Status("pending", 0, rows, reasons=("old checkpoints",)) if checkpoints else Status("done", 0, rows)
        return Status("pending", rows, rows, reasons=(f"{memories.count()} of {self.operator.epochs} epochs done",))

    def _with_corpus(self, datastore: Snapshot) -> Record:
        """The rows that it looks at, and what the teacher says of them: its masks may change where no row does."""
        used = f"{STORE} OR {VALIDATION}"
        said = (datastore.column_record("teacher_ids") or {}).get("state", "")
        return replace(
            self.record, corpus=hash_parts("trained", corpus_digest(datastore, (*KEY, "split"), used)[0], said)
        )

    def run(self, context: Context) -> None:
        datastore = context.store["datastore"].require()
        record = self._with_corpus(datastore)
        dataset = context.store["memories"]
        current = dataset.snapshot()
        if current is None or (current.record or {}).get("state") != record.state:
            context.commit(lambda: dataset.create(MEMORIES, record.as_json(), context.properties(record)))
        if datastore.count(STORE) and not dataset.require().count("final"):
            job = context.job(self._worker(context, record, datastore.version), self.operator.resources)
            results = context.engine.stream(job, partial(context.progress, unit="batches"))

            def keep(trained: Trained) -> None:
                """Commit a row, then drop the checkpoints before the last two, but for the best."""
                context.commit(lambda: append(dataset, trained.fragments, context.properties(record)))
                best = _best_epoch(dataset.require())
                old = f"final = false AND epoch <= {trained.epoch - CHECKPOINTS_KEPT} AND epoch <> {best}"
                context.commit(lambda: dataset.delete(old))
                context.tally.rows = trained.rows

            context.in_waves(results, lambda wave: None, keep)
        context.commit(lambda: self._forget_checkpoints(dataset))

    def _worker(
        self, context: Context, record: Record, version: int
    ) -> Callable[[], Callable[[Progress], Iterator[Trained]]]:
        operator, step, memory, depth = self.operator, self.name, self.memory, self.student_depth
        store, wanted_device = context.store, context.device

        def factory() -> Callable[[Progress], Iterator[Trained]]:
            device = wanted_device or default_device()
            datastore, dataset = store["datastore"].require(version), store["memories"]

            def write(row: dict[str, Any], rows: int) -> Trained:
                faults.reach(step, "before-write")
                table = pa.Table.from_pylist([row], schema=MEMORIES)
                fragments = write_rows(dataset.uri, table, MEMORIES, dataset.storage_options)
                faults.reach(step, "after-write")
                return Trained(tuple(fragments), row["epoch"], rows)

            def train(progress: Progress) -> Iterator[Trained]:
                rows = TrainingRows.from_arrow(
                    _ordered(datastore, STORE, ("input", "token", "teacher_ids", "teacher_probs")),
                    _ordered(datastore, VALIDATION, ("input", "token", "base_logprob")),
                )
                count = len(rows.token)
                saved = _checkpoint(dataset.require(), _last_epoch(dataset.require()))
                final = _checkpoint(dataset.require(), _best_epoch(dataset.require()))
                for made in operator.train(rows, saved.state if saved else None, device, progress):
                    final = made if final is None or not _better(final, made) else final
                    yield write(_row(record, memory, made, made.state), count)
                assert final is not None  # an operator trains for at least one epoch
                model, tokenizer = languagemodel.shared(operator.model, operator.dtype, device)
                layer = languagemodel.student_layer(len(languagemodel.blocks(model)), depth)
                row = {
                    **_row(record, memory, final, final.weights),
                    "id": hash_parts("memory", record.state, memory),
                    "final": True,
                    "config": json.dumps({"student_layer": layer}),
                    "lock": json.dumps(languagemodel.lock(model, tokenizer), sort_keys=True),
                }
                yield write(row, count)

            return train

        return factory

    def _forget_checkpoints(self, dataset: Dataset) -> None:
        dataset.delete("final = false")
        dataset.forget_before(timedelta(0))  # the bytes of the checkpoints; releases keep their own versions


def _row(record: Record, memory: str, checkpoint: Checkpoint, weights: bytes) -> dict[str, Any]:
    metrics = {"weight": WEIGHT_WITHOUT_VALIDATION, **checkpoint.metrics}
    return {
        "id": hash_parts("checkpoint", record.state, memory, checkpoint.epoch),
        "name": memory,
        "kind": "mlp",
        "state": record.state,
        "epoch": checkpoint.epoch,
        "final": False,
        "config": "{}",
        "lock": "{}",
        "metrics": json.dumps(metrics, sort_keys=True),
        "weights": weights,
    }


def _ordered(datastore: Snapshot, where: str, columns: Sequence[str]) -> pa.Table:
    order = KeyOrder(datastore, KEY, where)
    return order.take(range(len(order)), columns)


def _better(one: Checkpoint, other: Checkpoint) -> bool:
    """Whether validation says that the earlier ``one`` is at least as good as ``other``; without it, no."""
    scores = [made.metrics.get("validation_perplexity") for made in (one, other)]
    return scores[0] is not None and scores[1] is not None and scores[0] <= scores[1]


def _last_epoch(memories: Snapshot) -> int:
    epochs = memories.table(["epoch"])["epoch"].to_pylist()
    return int(max(epochs, default=0))


def _best_epoch(memories: Snapshot) -> int:
    """The epoch of the best of the checkpoints, the first of equals; the last where nothing was validated. 0: none."""
    found = memories.table(["epoch", "metrics"], "final = false").to_pylist()
    scores = [(json.loads(row["metrics"]).get("validation_perplexity"), row["epoch"]) for row in found]
    if any(score is None for score, _ in scores):
        return int(max(epoch for _, epoch in scores))
    best: tuple[float, int] = min(scores, default=(0.0, 0))
    return best[1]


def _checkpoint(memories: Snapshot, epoch: int) -> Checkpoint | None:
    if epoch == 0:
        return None
    where = f"final = false AND epoch = {epoch}"
    found = memories.table(["epoch", "metrics", "weights"], where).to_pylist()[0]
    state: bytes = found["weights"]
    return Checkpoint(found["epoch"], finished_weights(state), state, json.loads(found["metrics"]))
