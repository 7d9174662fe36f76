"""The step `key_moments`: sums of k k^T over a draw of documents, in a few parts that add up.

A part has its own documents, and is counted by one job in their order, so neither workers nor kills change a sum. It
names the documents and the state that it holds for. A document that joins or leaves the draw moves those behind it in
the draw's order to other parts, and parts with other documents are counted again.

In a bank of several tenants each tenant with facts has a draw of its own documents, and parts of its own. Those of a
bank of one, and of facts that no document says, are over a draw of all documents.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from mnemic import languagemodel
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.write import WrittenFragment, append, write_records
from mnemic.errors import StepError
from mnemic.ids import hash_parts
from mnemic.rewrites.datasets import KEY_MOMENTS, TENANT, divided
from operators.rewrites.moments import PARTS, KeyMoments
from pipelines import faults
from pipelines.identity import Record
from pipelines.steps.contracts import Context, RecordedStep, Status
from pipelines.steps.drawn_documents import beginnings, drawn_documents, texts_of
from pipelines.steps.fact_rows import has_tenants, solved_tenants
from pipelines.steps.memory_rows import create_missing, drop, drop_other_states

NAME = "key_moments"


@dataclass(frozen=True)
class MomentPart:
    """A part that is to be counted, over ``documents`` of ``tenant`` (None: of all); it holds for ``state``."""

    part: int
    documents: tuple[str, ...]
    state: str
    tenant: str | None = None

    def id(self, layer: int) -> str:
        """Of its row for ``layer``."""
        return f"{layer}/{self.part}" if self.tenant is None else f"{layer}/{self.part}/{self.tenant}"


@dataclass(frozen=True)
class KeyMomentsStep(RecordedStep):
    operator: KeyMoments
    after: tuple[str, ...]
    datasets: tuple[str, ...] = (NAME,)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Datasets that the settings name."""
        return (self.operator.rewrites.dataset,) if self.operator.rewrites.dataset else ()

    def state(self, store: Store) -> Status:
        documents = store["documents"].snapshot()
        if documents is None or "duplicate_of" not in documents.schema.names:
            return Status("new")
        tenants, there = solved_tenants(store, self.operator.rewrites), store[NAME].snapshot()
        if tenants is None:
            return Status("new")
        parts = self._parts(documents, tenants)
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

    def _parts(self, documents: Snapshot, tenants: Iterable[str | None]) -> list[MomentPart]:
        fields, version = json.dumps(dict(self.record.fields), sort_keys=True), self.record.version
        own, parts = hash_parts(NAME, version, fields, *self._reads()), list[MomentPart]()
        for tenant in tenants:
            ids = drawn_documents(documents, self.operator.documents, tenant)
            whose = () if tenant is None else ("tenant", tenant)
            lots = [tuple(sorted(ids[part::PARTS])) for part in range(PARTS)]
            parts += [
                MomentPart(part, lot, hash_parts(own, part, *whose, *lot), tenant)
                for part, lot in enumerate(lots)
                if lot
            ]
        return parts

    def _reads(self) -> tuple[str, ...]:
        """Spans that are cut out of texts change what is read."""
        return tuple(value for name, value in sorted(self.record.reads.items()) if name == "edits")

    def run(self, context: Context) -> None:
        store = context.store
        documents = store["documents"].require()
        parts = self._parts(documents, solved_tenants(store, self.operator.rewrites) or ())
        create_missing(context, self.record, {NAME: self._schema(documents)})
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

    def _schema(self, documents: Snapshot) -> pa.Schema:
        return divided(KEY_MOMENTS) if has_tenants(documents) else KEY_MOMENTS

    def _worker(
        self, context: Context, version: int
    ) -> Callable[[], Callable[[MomentPart], tuple[WrittenFragment, ...]]]:
        store, operator, step, wanted_device = context.store, self.operator, self, context.device

        def factory() -> Callable[[MomentPart], tuple[WrittenFragment, ...]]:
            from operators.rewrites.moment_sums import MomentSums

            device = operator.resources.device(wanted_device)
            model, tokenizer = languagemodel.shared(operator.model, operator.dtype, device)
            refuse_layers(model, operator.layers)
            documents = store["documents"].require(version)

            def count(part: MomentPart) -> tuple[WrittenFragment, ...]:
                texts = texts_of(documents, part.documents)
                sums = MomentSums(model, operator.layers)
                sums.add_all(beginnings(tokenizer, texts.values(), operator.tokens))
                of = {"part": part.part, "documents": list(part.documents), "state": part.state}
                rows = [{"id": part.id(row["layer"]), **row, **of, TENANT.name: part.tenant} for row in sums.rows()]
                faults.reach(step.name, "before-write")
                fragments = write_records(store[NAME], rows, step._schema(documents))
                faults.reach(step.name, "after-write")
                return fragments

            return count

        return factory

    def forget(self, context: Context) -> None:
        drop(context, NAME, "true")


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
