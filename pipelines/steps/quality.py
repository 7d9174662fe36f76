"""The step `quality`: a classifier trained on documents and files that the recipe names, and its scores as a column.

Which documents are examples follows from columns that are there; of very many those with the lowest ids are taken,
which are hashes. One worker trains, in the order of ids, so the weights depend on nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from mnemic.canaries import NOT_PLANTED, PLANTED
from mnemic.catalogue import CATALOGUE, DatasetSpec
from mnemic.conditions.rewrite import rewritten
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.growth import add_fields, drop_fields
from mnemic.dataset.write import WrittenFragment, append, write_rows
from mnemic.errors import StepError
from mnemic.ids import hash_parts
from mnemic.memories.classifier import NAME as CLASSIFIER
from mnemic.metadata import metadata_fields
from mnemic.quoting import one_of
from mnemic.rules import judge
from mnemic.rules.rule import rules_of
from mnemic.rules.values import OF_COLUMNS, values_of
from mnemic.schema import DOCUMENTS, MEMORIES
from operators.contracts import Progress
from operators.quality.linear import LinearModel, separation
from operators.quality.operator import MEMORY, Quality
from operators.quality.texts import example_files, examples_in
from pipelines import faults
from pipelines.identity import Record
from pipelines.steps.contracts import Context, RecordedStep, Status, require_columns
from pipelines.steps.curate import CONTAMINATION, matches_counted
from pipelines.steps.grow import Compute, grow_columns, growth_state, must_add
from pipelines.steps.owners import owned_rows

MOST = 10_000
"""Examples of a kind."""

FEWEST = 10
"""Examples of a kind below which nothing is learnt."""

HELD_OUT = 10
"""One example in so many is not trained on, and tells how well the kinds are parted."""

_ROWS = 512
"""Documents whose texts are read at once."""


@dataclass(frozen=True)
class Examples:
    """Ids of documents, ascending; ``good`` and ``bad`` share none."""

    good: tuple[str, ...]
    bad: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class WrittenClassifier:
    """A row of `memories`, written and not committed."""

    fragments: tuple[WrittenFragment, ...]
    examples: int


@dataclass(frozen=True)
class QualityStep(RecordedStep):
    operator: Quality
    after: tuple[str, ...]
    memory: str = MEMORY

    @property
    def datasets(self) -> tuple[str, ...]:
        return ("memories", "documents")

    @property
    def specs(self) -> tuple[DatasetSpec, ...]:
        return (CATALOGUE["memories"],)

    def state(self, store: Store) -> Status:
        documents, memories = store["documents"].snapshot(), store["memories"].snapshot()
        if documents is None or "statistics" not in documents.schema.names:
            return Status("new")
        total = documents.count()
        record = self._with_examples(store, documents)
        status = growth_state(documents, record, ["quality"], record.corpus)
        ours = "false" if memories is None else f"{self._mine(memories)} AND state = '{record.state}'"
        if status.done and (memories is None or not memories.count(ours)):
            return Status("due", total, total, reasons=("its classifier is lost",))
        return status

    def _mine(self, memories: Snapshot) -> str:
        return owned_rows(memories, self.name, self.memory)

    def _with_examples(self, store: Store, documents: Snapshot) -> Record:
        return replace(self.record, corpus=self._examples(store, documents).digest)

    def _examples(self, store: Store, documents: Snapshot) -> Examples:
        """The documents that are examples. Negatives come first: what is both is bad."""
        operator = self.operator
        bad = self._ids(documents, operator.negatives) if operator.negatives else self._dropped(store, documents)
        negatives = set(bad)
        good = [one for one in self._ids(documents, operator.positives) if one not in negatives]
        files = hash_parts("files", operator.digest)
        digest = hash_parts("quality", files, *good[:MOST], "|", *bad[:MOST])
        return Examples(tuple(good[:MOST]), tuple(bad[:MOST]), digest)

    def _ids(self, documents: Snapshot, examples: Sequence[str]) -> list[str]:
        """The ids of the documents that satisfy one of the conditions, ascending, the first `2 * MOST`."""
        fields = [*(documents.schema.field(name) for name in DOCUMENTS.names), *metadata_fields(documents.schema)]
        lowest: list[str] = []
        for condition in Quality.conditions(examples):
            where = rewritten(condition, pa.schema(fields), "documents")
            where = f"({where}) AND {NOT_PLANTED}" if self.operator.planted else where
            for batch in documents.scan(["id"], where, batch_size=65536):
                lowest = sorted({*lowest, *batch["id"].to_pylist()})[: 2 * MOST]
        return lowest

    def _dropped(self, store: Store, documents: Snapshot) -> list[str]:
        """The ids of the documents that the other rules drop, ascending, the first `2 * MOST`."""
        rules, lowest = rules_of(self.operator.rules), list[str]()
        names = {name for rule in rules for name in rule.formula.names}
        counting: Compute | None = None
        if CONTAMINATION in self.after:
            counting = matches_counted(store[CONTAMINATION].require())
        columns = ["id", "statistics", *(name for name in OF_COLUMNS if name in self.after)]
        if self.operator.planted:
            columns, names = [*columns, "source"], {*names, PLANTED}
        for batch in documents.scan(columns, batch_size=65536):
            fired = judge(rules, values_of(batch if counting is None else counting(batch), names)).fired.any(axis=1)
            lowest = sorted([*lowest, *batch["id"].filter(pa.array(fired)).to_pylist()])[: 2 * MOST]
        return lowest

    def run(self, context: Context) -> None:
        documents = context.store["documents"].require()
        require_columns(self.name, documents, "documents", ("id", "text", "statistics"))
        record = self._with_examples(context.store, documents)
        memories = context.store["memories"]
        if memories.snapshot() is None:
            context.commit(lambda: memories.create(MEMORIES, {}, context.properties(record)))
        mine = self._mine(memories.require())
        old = f"{mine} AND state <> '{record.state}'"
        if memories.require().count(old):
            context.commit(lambda: memories.delete(old))
        if not memories.require().count(mine):

            def keep(written: WrittenClassifier) -> None:
                context.commit(lambda: append(memories, written.fragments, context.properties(record)))

            job = context.job(self._trainer(context.store, documents.version, record), self.operator.resources)
            stream = context.engine.stream(job, partial(context.progress, unit="examples"))
            context.in_waves(stream, lambda wave: None, keep)
        fields = self.operator.output(documents.schema)
        if must_add(context.store["documents"].require(), record, fields.names):
            context.commit(lambda: add_fields(context.store["documents"], fields, record.as_json()))
        scorer = self._scorer(context.store, memories.require().version)
        grow_columns(context, record, "documents", ("id", "text"), fields.names, scorer, self.operator.resources)

    def forget(self, context: Context) -> None:
        """Drop the column, and delete the classifier."""
        documents, memories = context.store["documents"], context.store["memories"]
        columns, rows = documents.snapshot(), memories.snapshot()
        if columns is not None and "quality" in columns.schema.names:
            context.commit(lambda: drop_fields(documents, ["quality"]))
        if rows is not None:
            mine = self._mine(rows)
            context.commit(lambda: memories.delete(mine))

    def _trainer(
        self, store: Store, version: int, record: Record
    ) -> Callable[[], Callable[[Progress], Iterator[WrittenClassifier]]]:
        step = self

        def factory() -> Callable[[Progress], Iterator[WrittenClassifier]]:
            def train(progress: Progress) -> Iterator[WrittenClassifier]:
                row, count = step._trained(store, store["documents"].require(version), record)
                faults.reach(step.name, "before-write")
                memories = store["memories"]
                table = pa.Table.from_pylist([row], schema=MEMORIES)
                fragments = write_rows(memories.uri, table, MEMORIES, memories.storage_options)
                faults.reach(step.name, "after-write")
                progress(count, count)
                yield WrittenClassifier(tuple(fragments), count)

            return train

        return factory

    def _trained(self, store: Store, documents: Snapshot, record: Record) -> tuple[dict[str, Any], int]:
        """The row of the classifier, and the number of its examples."""
        from safetensors.numpy import save

        examples = self._examples(store, documents)
        texts = dict(_texts(documents, [*examples.good, *examples.bad]))
        keyed = [(one, texts[one], True) for one in examples.good] + [(one, texts[one], False) for one in examples.bad]
        keyed += self._from_files(self.operator.positives, True) + self._from_files(self.operator.negatives, False)
        keyed.sort(key=lambda one: (one[0], one[2]))
        column = pa.array([text for _, text, _ in keyed], pa.large_string())
        good = np.array([one for *_, one in keyed], np.bool_)
        counts = {"positives": int(good.sum()), "negatives": int((~good).sum())}
        for name, count in counts.items():
            if count < FEWEST:
                raise StepError(
                    f"Quality has {count} {name}, and nothing is learnt from fewer than {FEWEST}; name more examples, "
                    "or leave `quality` out."
                )
        later = np.array([int(hash_parts("held out", one), 16) % HELD_OUT == 0 for one, *_ in keyed])
        operator = self.operator
        trained = LinearModel.train(column.filter(pa.array(~later)), good[~later], operator.epochs, operator.rate)
        apart = separation(trained.scores(column.filter(pa.array(later))), good[later]) if later.any() else float("nan")
        metrics = {**counts, **({} if np.isnan(apart) else {"auc": round(apart, 6)})}
        tensors = {"weights": trained.weights, "bias": np.array([trained.bias])}
        own = replace(record, found={"examples": sorted({*examples.good, *examples.bad})})  # no part of a bank's digest
        return {
            "id": hash_parts("memory", record.state, self.memory),
            "name": self.memory,
            "kind": CLASSIFIER,
            "record": json.dumps(own.as_json(), sort_keys=True),
            "state": record.state,
            "epoch": operator.epochs,
            "final": True,
            "config": json.dumps({"epochs": operator.epochs, "rate": operator.rate}, sort_keys=True),
            "lock": "{}",
            "metrics": json.dumps(metrics, sort_keys=True),
            "weights": save(tensors),
        }, len(keyed)

    def _from_files(self, examples: Sequence[str], good: bool) -> list[tuple[str, str, bool]]:
        """(key, text, whether it is good) of the files; the key is a hash of the text."""
        files = example_files(Quality.files(examples), self.operator.root)
        texts = [text for file in files for text in examples_in(file, MOST)][:MOST]
        return [(hash_parts("example", text), text, good) for text in texts]

    def _scorer(self, store: Store, version: int) -> Callable[[], Compute]:
        mine, added = self._mine(store["memories"].require(version)), self.operator.output(pa.schema([]))

        def factory() -> Compute:
            from safetensors.numpy import load

            (weights,) = store["memories"].require(version).table(["weights"], mine)["weights"].to_pylist()
            tensors = load(weights)
            trained = LinearModel(tensors["weights"], float(tensors["bias"][0]))

            def compute(batch: pa.RecordBatch) -> pa.RecordBatch:
                return pa.RecordBatch.from_arrays([pa.array(trained.scores(batch["text"]))], schema=added)

            return compute

        return factory


def _texts(documents: Snapshot, ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(id, text) of the documents with these ids."""
    for first in range(0, len(ids), _ROWS):
        rows = documents.table(["id", "text"], one_of("id", ids[first : first + _ROWS]))
        yield from zip(rows["id"].to_pylist(), rows["text"].to_pylist(), strict=True)
