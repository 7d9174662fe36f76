"""The step `node_summaries`: ask a language model about the nodes of the tree, from the leaves up, and write the rows.

Answers are committed to `node_calls` before anything is made of them, as `calls` has them (`pipelines.steps.asking`),
and are what a build carries on from. When all are there, `node_summaries` is written whole. Answers that were shown an
event which is no more go, with all that was made of them; what they cost stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.catalogue import DatasetSpec, declared
from mnemic.dataset import Dataset, Snapshot, Store
from mnemic.dataset.write import write_whole
from mnemic.errors import TooManyRejects
from mnemic.models import weights_hash
from mnemic.notes.datasets import (
    ANSWER,
    NODE_CALLS,
    NODE_CALLS_SPEC,
    NODE_SUMMARIES,
    NODE_SUMMARIES_SPEC,
)
from mnemic.notes.ledger import ledger
from operators.contracts import REJECTED
from operators.written.node_summaries import NodePack, NodeSummaries
from operators.written.operator import WrittenMemory
from operators.written.prompts import NODE
from pipelines import faults
from pipelines.keyset import KeySet
from pipelines.steps.ancestry import names_any, with_above
from pipelines.steps.asking import Asking, settle_calls
from pipelines.steps.contracts import Context, RecordedStep, Status
from pipelines.steps.node_ascent import NodeAnswers, NodeAscent
from pipelines.steps.rejects import ALWAYS_TOLERATED, forget_rejects
from pipelines.steps.spending import estimate
from pipelines.steps.tree_leaves import nodes_of, tree_digest


@dataclass(frozen=True)
class NodeSummariesStep(RecordedStep):
    operator: NodeSummaries
    after: tuple[str, ...]

    @property
    def datasets(self) -> tuple[str, ...]:
        return (NODE_CALLS_SPEC.name, NODE_SUMMARIES_SPEC.name)

    @property
    def specs(self) -> tuple[DatasetSpec, ...]:
        return (NODE_CALLS_SPEC, NODE_SUMMARIES_SPEC)

    @property
    def writer(self) -> WrittenMemory:
        assert self.operator.writer is not None, "a recipe without `written` has no `calls`, which this comes after"
        return self.operator.writer

    def check(self, store: Store, max_rejects: float) -> None:
        """A reject is a summary here, and no input: the section has a limit of its own."""
        snapshot, rows = store["rejects"].snapshot(), store[NODE_SUMMARIES_SPEC.name].require().count()
        where = f"step = '{self.name}' AND fingerprint = '{self.record.fingerprint}' AND severity = 'reject'"
        rejects = 0 if snapshot is None else snapshot.count(where)
        if rejects > max(ALWAYS_TOLERATED, self.operator.max_rejected * (rejects + rows)):
            raise TooManyRejects(
                f"Of {rejects + rows:,} summaries of nodes {rejects:,} do not stand in their sources, more than the "
                f"share of {self.operator.max_rejected:g} that `max_rejected` of `{self.name}` allows. `mnemic show "
                "BANK --failures` lists them; take a stronger model, or raise `max_rejected`."
            )

    def state(self, store: Store) -> Status:
        clusters, events = store["clusters"].snapshot(), store["events"].snapshot()
        if clusters is None or events is None or store["node_excerpts"].snapshot() is None:
            return Status("new")
        calls, rows = store[NODE_CALLS_SPEC.name].snapshot(), store[NODE_SUMMARIES_SPEC.name].snapshot()
        stored = {} if rows is None else rows.record or {}
        same = stored.get("fingerprint") == self.record.fingerprint
        if same and stored.get("corpus") == tree_digest(nodes_of(clusters), events):
            if len(_shown_and_gone(calls, events)):
                return Status("pending", 0, 0, "nodes", ("answers about events that are gone",))
            return Status("done", 0, rows.count() if rows else 0, "nodes")
        ascent = NodeAscent(self.operator, store, NodeAnswers.of(calls, self.record.fingerprint)).go()
        phrases = (estimate(self.writer, ascent.left, ascent.tokens, ledger(calls)),) if ascent.left else ()
        if rows is None:
            return Status("new" if calls is None else "pending", ascent.left, ascent.total, "nodes", phrases)
        if not same:
            changes = tuple(self.record.changes_from(stored))
            return Status("stale", ascent.left, ascent.total, "nodes", (*changes, *phrases))
        return Status("due", ascent.left, ascent.total, "nodes", ("the tree or its events changed", *phrases))

    def run(self, context: Context) -> None:
        store = context.store
        nodes, events = nodes_of(store["clusters"].require()), store["events"].require()
        record = replace(self.record, corpus=tree_digest(nodes, events))
        dataset = store[NODE_CALLS_SPEC.name]
        settle_calls(context, self.record, dataset, NODE_CALLS, NODE_CALLS_SPEC)
        answers = NodeAnswers.of(dataset.require(), self.record.fingerprint)
        ascent = NodeAscent(self.operator, store, answers).go()
        if left := ascent.left:
            ascent = NodeAscent(self.operator, store, answers)
            self._ask(context, dataset, ascent, left)
        # Only now: the answer about an event that came back with another id was taken over.
        self._forget_gone(context, dataset, events)
        rejects = pa.Table.from_pylist(ascent.rejects, schema=REJECTED)
        context.commit(partial(forget_rejects, store, f"step = '{self.name}'"))
        context.reject(self.record, rejects)
        target = store[NODE_SUMMARIES_SPEC.name]
        faults.reach(self.name, "before-write")
        fragments = write_whole(target, pa.Table.from_pylist(ascent.rows, schema=NODE_SUMMARIES))
        faults.reach(self.name, "after-write")
        schema, properties = declared(NODE_SUMMARIES, NODE_SUMMARIES_SPEC), context.properties(record)
        context.commit(lambda: target.replace(schema, fragments, record.as_json(), properties))
        context.tally.rows += len(ascent.rows)

    def forget(self, context: Context) -> None:
        """Delete the answers of this step, so that all is asked and paid again; what they cost stays."""
        rows, calls = (context.store[name] for name in (NODE_SUMMARIES_SPEC.name, NODE_CALLS_SPEC.name))
        if rows.snapshot() is not None:
            context.commit(partial(rows.annotate, {}))
        if calls.snapshot() is not None:
            context.commit(partial(forget_rejects, context.store, f"step = '{self.name}'"))
            context.commit(partial(calls.delete, f"kind = '{ANSWER}'"))

    def _ask(self, context: Context, dataset: Dataset, ascent: NodeAscent, left: int) -> None:
        """Go up the tree with a model; each level is asked about when all of it below is answered."""
        writer, answers = self.writer, ascent.answers
        weights = "" if writer.model is None else weights_hash(writer.model)
        model = writer.open_model(weights, writer.resources.device(context.device))
        try:
            asking = Asking(self.record, writer, NODE, context, dataset, model, left, NODE_CALLS, "nodes", answers.add)

            def ask(packs: Sequence[NodePack]) -> None:
                asking.run(part for pack in packs for part in answers.left(pack))

            ascent.go(ask)
        finally:
            model.close()

    def _forget_gone(self, context: Context, dataset: Dataset, events: Snapshot) -> None:
        calls = dataset.require()
        gone = with_above(calls, "call", "below", _shown_and_gone(calls, events))
        if len(gone):
            context.commit(lambda: dataset.delete_keys("call", gone.to_pylist()))


def _shown_and_gone(calls: Snapshot | None, events: Snapshot) -> pa.Array:
    """The calls of answers that were shown an event which is no more."""
    if calls is None:
        return pa.array([], pa.string())
    there = KeySet(events.scan(["id"], batch_size=65536))
    gone = []
    for batch in calls.scan(["call", "events"], f"kind = '{ANSWER}'", batch_size=4096):
        shown = pc.list_flatten(batch["events"])
        missing = shown.filter(pa.array(~there.has(pa.RecordBatch.from_arrays([shown], names=["id"]))))
        if len(missing):
            gone.append(batch["call"].filter(names_any(batch["events"], missing)))
    return pa.chunked_array(gone, pa.string()).combine_chunks()
