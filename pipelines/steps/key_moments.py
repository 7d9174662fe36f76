"""The step `key_moments`: sums of k k^T over a draw of documents, in a few parts that add up.

A part has its own documents, and is counted by one job in their order, so neither workers nor kills change a sum. It
names the documents and the state that it holds for. A document that joins or leaves the draw moves those behind it in
the draw's order to other parts, and parts with other documents are counted again.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from mnemic import languagemodel
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.write import WrittenFragment, append, write_records
from mnemic.edits import readable
from mnemic.errors import StepError
from mnemic.ids import hash_parts
from mnemic.kept import KEPT
from mnemic.quoting import one_of
from mnemic.rewrites.datasets import KEY_MOMENTS
from operators.rewrites.moments import PARTS, KeyMoments
from pipelines import faults
from pipelines.identity import Record
from pipelines.steps.contracts import Context, RecordedStep, Status
from pipelines.steps.memory_rows import create_missing, drop, drop_other_states

NAME = "key_moments"


def drawn_documents(documents: Snapshot, most: int) -> list[str]:
    """Ids of kept documents, ``most`` of them at most: the first ones in an order that hashes of their ids draw."""
    ids = (of for batch in documents.scan(["id"], KEPT, batch_size=65536) for of in batch["id"].to_pylist())
    return [of for _, of in heapq.nsmallest(most, ((hash_parts("drawn", of), of) for of in ids))]


def texts_of(documents: Snapshot, ids: list[str]) -> dict[str, str]:
    """The readable texts of these documents, by id, in the order of ids."""
    edits = ["edits"] if "edits" in documents.schema.names else []
    rows = readable(documents.table(["id", "text", *edits], one_of("id", ids))) if ids else None
    return dict(sorted(zip(rows["id"].to_pylist(), rows["text"].to_pylist(), strict=True))) if rows is not None else {}


@dataclass(frozen=True)
class MomentPart:
    """A part that is to be counted, over ``documents``; it holds for ``state``."""

    part: int
    documents: tuple[str, ...]
    state: str


@dataclass(frozen=True)
class KeyMomentsStep(RecordedStep):
    operator: KeyMoments
    after: tuple[str, ...]
    datasets: tuple[str, ...] = (NAME,)

    def state(self, store: Store) -> Status:
        documents = store["documents"].snapshot()
        if documents is None or "duplicate_of" not in documents.schema.names:
            return Status("new")
        parts, there = self._parts(documents), store[NAME].snapshot()
        if there is None:
            return Status("new", len(parts), len(parts), "parts")
        changes = self.record.changes_from(there.record or {})
        if changes:
            return Status("stale", len(parts), len(parts), "parts", tuple(changes))
        states = self._states(there)
        left = sum(part.state not in states for part in parts)
        if left or states - {part.state for part in parts}:
            return Status("due", left, len(parts), "parts", ("other documents are drawn",))
        return Status("done", 0, len(parts), "parts")

    def _states(self, there: Snapshot) -> set[str]:
        return set(there.table(["state"])["state"].to_pylist())

    def _parts(self, documents: Snapshot) -> list[MomentPart]:
        ids = drawn_documents(documents, self.operator.documents)
        lots = [tuple(sorted(ids[part::PARTS])) for part in range(PARTS)]
        fields, version = json.dumps(dict(self.record.fields), sort_keys=True), self.record.version
        own = hash_parts(NAME, version, fields, *self._reads())
        return [MomentPart(part, lot, hash_parts(own, part, *lot)) for part, lot in enumerate(lots) if lot]

    def _reads(self) -> tuple[str, ...]:
        """Spans that are cut out of texts change what is read."""
        return tuple(value for name, value in sorted(self.record.reads.items()) if name == "edits")

    def run(self, context: Context) -> None:
        store = context.store
        documents = store["documents"].require()
        parts = self._parts(documents)
        create_missing(context, self.record, {NAME: KEY_MOMENTS})
        drop_other_states(context, NAME, {part.state for part in parts})
        states = self._states(store[NAME].require())
        left = [part for part in parts if part.state not in states]

        def keep(wave: list[tuple[WrittenFragment, ...]]) -> None:
            fragments = [fragment for one in wave for fragment in one]
            context.commit(lambda: append(store[NAME], fragments, context.properties(self.record)))
            context.tally.rows += len(wave) * len(self.operator.layers)
            context.progress(context.tally.rows, len(left) * len(self.operator.layers), "sums")

        if left:
            job = context.job(
                self._worker(context, documents.version), self.operator.resources, lambda one: f"part {one.part}"
            )
            replace(context, commit_every=1).in_waves(context.engine.map(job, left), keep)
        if (store[NAME].require().record or {}).get("state") != self.record.state:
            context.commit(lambda: store[NAME].annotate(self.record.as_json()))

    def _worker(
        self, context: Context, version: int
    ) -> Callable[[], Callable[[MomentPart], tuple[WrittenFragment, ...]]]:
        store, operator, step, wanted_device = context.store, self.operator, self, context.device

        def factory() -> Callable[[MomentPart], tuple[WrittenFragment, ...]]:
            from operators.rewrites.moment_sums import MomentSums

            device = operator.resources.device(wanted_device)
            model, tokenizer = languagemodel.shared(operator.model, operator.dtype, device)
            refuse_layers(model, operator.layers)

            def count(part: MomentPart) -> tuple[WrittenFragment, ...]:
                texts = texts_of(store["documents"].require(version), list(part.documents))
                sums = MomentSums(model, operator.layers)
                sums.add_all(beginnings(tokenizer, texts.values(), operator.tokens))
                of = {"part": part.part, "documents": list(part.documents), "state": part.state}
                rows = [{"id": f"{row['layer']}/{part.part}", **row, **of} for row in sums.rows()]
                faults.reach(step.name, "before-write")
                fragments = write_records(store[NAME], rows, KEY_MOMENTS)
                faults.reach(step.name, "after-write")
                return fragments

            return count

        return factory

    def forget(self, context: Context) -> None:
        drop(context, NAME, "true")


def beginnings(tokenizer: Any, texts: Any, tokens: int) -> Iterator[list[int]]:
    """The first token ids of each text."""
    for text in texts:
        yield tokenizer(text[: tokens * 64], add_special_tokens=False, verbose=False)["input_ids"][:tokens]


def refuse_layers(model: Any, layers: tuple[int, ...]) -> None:
    """Raise `StepError` for layers that the model does not have."""
    blocks = len(languagemodel.blocks(model))
    if layers[-1] >= blocks:
        raise StepError(
            f"`layers` of `rewrites` name block {layers[-1]} and the model has {blocks}, from 0 on; name some of these."
        )


def key_moments_step(record: Record, operator: KeyMoments, after: tuple[str, ...]) -> KeyMomentsStep:
    """The step of the section `key_moments`."""
    return KeyMomentsStep(record, operator, after)
