"""The step `slots`: a table of slots beside a language model, its values as rows of `slots`.

One worker trains. Every epoch ends with a checkpoint, a row of `memories` that is not final, so a kill costs at most an
epoch; the last one is kept. Then the rows of the table are written whole, and last the memory as one final row: by it
the step is done.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mnemic import languagemodel
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.write import WrittenFragment, append, write_records, write_whole
from mnemic.edits import readable
from mnemic.facts import mapping
from mnemic.ids import hash_parts
from mnemic.languagemodel.windows import encode
from mnemic.memories.slots import NAME
from mnemic.schema import MEMORIES, METRICS
from operators.blocks.packing import PackedSequences, packed
from operators.contracts import Progress
from operators.slots.operator import TrainSlots
from operators.slots.training import PATH, SlotTraining, layout_of
from operators.train import Checkpoint
from pipelines import faults
from pipelines.corpus_reader import corpus_digest
from pipelines.identity import Record
from pipelines.steps.block_texts import TRAINING
from pipelines.steps.contracts import Context, RecordedStep, Status
from pipelines.steps.learnt_slots import LearntSlots, learnt_before
from pipelines.steps.memory_rows import (
    checkpoint_row,
    create_missing,
    curve_rows,
    drop,
    forget_memory,
    forget_versions,
)
from pipelines.steps.owners import owned_rows

if TYPE_CHECKING:
    from operators.slots.continual import SlotUse

_TEXTS = 512


@dataclass(frozen=True)
class WrittenEpoch:
    """Rows of `metrics` and of `memories`, and after the last epoch of `slots`; written and not committed.

    ``form`` is the schema of `slots`, None before the last.
    """

    epoch: int
    curve: tuple[WrittenFragment, ...]
    memory: tuple[WrittenFragment, ...]
    slots: tuple[WrittenFragment, ...] = ()
    form: pa.Schema | None = None
    rows: int = 0


@dataclass(frozen=True)
class SlotsStep(RecordedStep):
    operator: TrainSlots
    after: tuple[str, ...]
    memory: str = NAME
    datasets: tuple[str, ...] = ("slots", "memories", "metrics")

    def state(self, store: Store) -> Status:
        documents = store["documents"].snapshot()
        if documents is None or "split" not in documents.schema.names:
            return Status("new")
        total = documents.count(TRAINING)
        memories = store["memories"].snapshot()
        stored = self._stored(memories)
        if total == 0:
            return Status("due" if stored else "done", 0, 0, "documents", ("there is no text to train on",))
        if memories is None or stored is None:
            return Status("new", total, total, "documents")
        changes = self.record.changes_from(stored)
        if changes:
            return Status("stale", total, total, "documents", tuple(changes))
        if stored["corpus"] != self.with_corpus(documents).corpus:
            return Status("due", total, total, "documents", ("the text that it looks at changed",))
        mine = self.mine(memories)
        if not memories.count(f"{mine} AND final"):
            done = f"{self._epochs(memories)} of {self.operator.epochs} epochs done"
            return Status("pending", total, total, "documents", (done,))
        return Status("done", 0, total, "documents")

    def _stored(self, memories: Snapshot | None) -> dict[str, Any] | None:
        """The record of the memory's rows."""
        if memories is None or "record" not in memories.schema.names:
            return None
        rows = memories.table(["record"], self.mine(memories))["record"].to_pylist()
        return mapping(rows[-1], f"A record of {memories.uri}") if rows else None

    def mine(self, memories: Snapshot) -> str:
        """SQL for the rows of `memories` that are this step's."""
        return owned_rows(memories, self.name, self.memory)

    def _epochs(self, memories: Snapshot) -> int:
        """The epochs that the last checkpoint has."""
        epochs = memories.table(["epoch"], f"{self.mine(memories)} AND NOT final")["epoch"].to_pylist()
        return int(max(epochs, default=0))

    def with_corpus(self, documents: Snapshot) -> Record:
        """The record, with the documents that it is made of."""
        return replace(self.record, corpus=hash_parts("slots", corpus_digest(documents, ("id",), TRAINING)[0]))

    def run(self, context: Context) -> None:
        store = context.store
        documents = store["documents"].require()
        record = self.with_corpus(documents)
        create_missing(context, record, {"memories": MEMORIES, "metrics": METRICS})
        if documents.count(TRAINING) == 0:
            self.forget(context)
            return
        learnt = learnt_before(self, store, documents) if self.operator.update == "sparse" else None
        self._clear(context, record)
        mine = self.mine(store["memories"].require())
        if not store["memories"].require().count(f"{mine} AND final"):
            job = context.job(self._worker(context, record, documents.version, learnt), self.operator.resources)
            keep = partial(self._commit, context, record)
            context.in_waves(context.engine.stream(job, context.progress), lambda wave: None, keep)
        self._forget_checkpoints(context)

    def _clear(self, context: Context, record: Record) -> None:
        """Drop what no longer holds: rows of other states, and points of no checkpoint.

        A curve is committed before its checkpoint, so a kill between the two leaves points that the epoch makes again.
        """
        store = context.store
        memories = store["memories"].require()
        mine = self.mine(memories)
        drop(context, "memories", f"{mine} AND state <> '{record.state}'")
        beyond = ""
        if not store["memories"].require().count(f"{mine} AND final"):
            beyond = f" OR epoch > {self._epochs(store['memories'].require())}"
        drop(context, "metrics", f"memory = '{self.memory}' AND (state <> '{record.state}'{beyond})")

    def _commit(self, context: Context, record: Record, one: WrittenEpoch) -> None:
        """Commit an epoch, then drop the checkpoint before it; of the last one the table first, whole."""
        store, properties = context.store, context.properties(record)
        if one.curve:
            context.commit(lambda: append(store["metrics"], one.curve, properties))
        form = one.form
        if form is not None:
            context.commit(lambda: store["slots"].replace(form, one.slots, record.as_json(), properties))
            context.tally.rows += one.rows
        context.commit(lambda: append(store["memories"], one.memory, properties))
        mine = self.mine(store["memories"].require())
        drop(context, "memories", f"{mine} AND NOT final AND epoch < {one.epoch}")

    def _worker(
        self, context: Context, record: Record, version: int, learnt: LearntSlots | None
    ) -> Callable[[], Callable[[Progress], Iterator[WrittenEpoch]]]:
        step, store, wanted_device = self, context.store, context.device

        def factory() -> Callable[[Progress], Iterator[WrittenEpoch]]:
            from operators.blocks.frozen import FrozenModel
            from operators.slots.continual import begin_sparse, slot_use

            operator = step.operator
            model, tokenizer = languagemodel.shared(
                operator.model, operator.dtype, operator.resources.device(wanted_device)
            )

            def train(progress: Progress) -> Iterator[WrittenEpoch]:
                earlier = frozenset[str]() if learnt is None else learnt.documents(store)
                sequences = training_sequences(store["documents"].require(version), tokenizer, operator, earlier)
                frozen = FrozenModel(model, layout_of(operator, model).layers)
                saved = step._checkpoint(store["memories"].require())
                training = SlotTraining(operator, frozen, tokenizer, sequences)
                with frozen.states(sequences) as states:
                    before = None if learnt is None else begin_sparse(training, states, learnt.read(store))
                    if saved is not None:
                        training.resume(saved.state)
                    for saved in training.epochs(states, progress):
                        yield step._write_epoch(store, record, saved)
                    assert saved is not None  # there is an epoch, done now or before
                    use = slot_use(training.student(states))
                    use = use if before is None else before + use
                    rounding = training.rounding_loss(states)
                yield step._write_final(
                    store, record, training, saved, use, rounding, languagemodel.lock(model, tokenizer)
                )

            return train

        return factory

    def _checkpoint(self, memories: Snapshot) -> Checkpoint | None:
        epoch = self._epochs(memories)
        if epoch == 0:
            return None
        where = f"{self.mine(memories)} AND NOT final AND epoch = {epoch}"
        row = memories.table(["metrics", "weights"], where).to_pylist()[0]
        return Checkpoint(epoch, b"", row["weights"], mapping(row["metrics"], "A checkpoint's metrics"))

    def _write_epoch(self, store: Store, record: Record, checkpoint: Checkpoint) -> WrittenEpoch:
        faults.reach(self.name, "before-write")
        points = curve_rows(self.memory, record.state, checkpoint)
        curve = write_records(store["metrics"], points, METRICS)
        memory = write_records(store["memories"], [self._row(record, checkpoint, checkpoint.state)], MEMORIES)
        faults.reach(self.name, "after-write")
        return WrittenEpoch(checkpoint.epoch, curve, memory)

    def _write_final(
        self,
        store: Store,
        record: Record,
        training: SlotTraining,
        checkpoint: Checkpoint,
        use: SlotUse,
        rounding: float,
        lock: dict[str, str],
    ) -> WrittenEpoch:
        from mnemic.slots.finders import usage
        from mnemic.slots.rows import packed as packed_values
        from operators.train.checkpoint import memory_tensors

        layout, own = training.memory.config, memory_tensors(checkpoint.state)
        form = layout.schema
        slots = own["slots"]
        counts = [column.numpy() for column in (slots, use.uses[slots], use.sequences[slots])]
        table = pa.Table.from_arrays([*map(pa.array, counts), packed_values(own["values"], layout)], schema=form)
        computed = replace(record, found={"function": lock.pop("function")})  # no part of a bank's digest
        measured = {"rounding_loss": rounding, "weight": 1.0, "sequences": float(use.total)}
        whole = replace(checkpoint, metrics=checkpoint.metrics | measured | usage(use.uses))
        row = {
            **self._row(computed, whole, training.memory.to_bytes()),
            "id": hash_parts("memory", record.state, self.memory),
            "final": True,
            "config": json.dumps(layout.config() | {"sequence": self.operator.sequence}, sort_keys=True),
            "lock": json.dumps(lock, sort_keys=True),
        }
        faults.reach(self.name, "before-write")
        rows = tuple(write_whole(store["slots"], table))
        memory = write_records(store["memories"], [row], MEMORIES)
        faults.reach(self.name, "after-write")
        return WrittenEpoch(checkpoint.epoch, (), memory, rows, form, len(table))

    def _row(self, record: Record, checkpoint: Checkpoint, weights: bytes) -> dict[str, Any]:
        return checkpoint_row(self.memory, self.memory, record, record.state, checkpoint, weights)

    def _forget_checkpoints(self, context: Context) -> None:
        drop(context, "memories", f"{self.mine(context.store['memories'].require())} AND NOT final")
        forget_versions(context.store)

    def forget(self, context: Context) -> None:
        forget_memory(context, self.name, self.memory, "slots")


def training_sequences(
    documents: Snapshot, tokenizer: Any, settings: TrainSlots, earlier: Collection[str] = ()
) -> PackedSequences:
    """The documents that train but those of ``earlier``, in the order of their ids, packed."""
    edits = ["edits"] if "edits" in documents.schema.names else []
    texts: dict[str, Any] = {}
    for batch in documents.scan(["id", "text", *edits], TRAINING, batch_size=_TEXTS):
        rows = readable(pa.Table.from_batches([batch]))
        tokens, _ = encode(rows["text"].to_pylist(), tokenizer, settings.max_document_tokens)
        texts.update(zip(rows["id"].to_pylist(), tokens, strict=True))
    return packed({PATH: [texts[one] for one in sorted(texts.keys() - set(earlier))]}, settings.sequence)
