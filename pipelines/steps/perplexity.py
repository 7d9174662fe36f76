"""The step `perplexity`: rules over the surprise of documents, from units that are scored already.

It writes a column of documents and one of units, so that whoever reads either leaves out what these rules drop. The
rows of `units` stay: they are what the decision is made of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.dataset import Snapshot, Store
from mnemic.kept import PASSING
from mnemic.rules.values import OF_COLUMNS
from operators.perplexity import JudgedPerplexity, JudgedUnits, Sums
from pipelines.steps.contracts import Context, RecordedStep, Status
from pipelines.steps.curate import CONTAMINATION, matches_counted
from pipelines.steps.grow import Compute, GrowStep


@dataclass(frozen=True)
class _Documents(GrowStep):
    """Grows `perplexity` of the documents that the other rules let pass."""

    def factory(self, context: Context, before: Snapshot) -> Callable[[], Compute]:
        deciding, store = super().factory(context, before), context.store
        units = store["units"].require().version
        contaminated = store[CONTAMINATION].require().version if CONTAMINATION in self.after else None

        def made_of_units() -> Compute:
            decide, sums = deciding(), Sums()
            for batch in store["units"].require(units).scan(["document", "start", "end", "surprisal"]):
                sums.add(batch)
            count = None if contaminated is None else matches_counted(store[CONTAMINATION].require(contaminated))

            def compute(batch: pa.RecordBatch) -> pa.RecordBatch:
                values = sums.perplexity(batch["id"])
                column = pa.StructArray.from_arrays([pa.array(values, mask=np.isnan(values))], ["perplexity"])
                rows = batch if count is None else count(batch)
                return decide(rows.append_column("perplexity", column))

            return compute

        return made_of_units


@dataclass(frozen=True)
class _Units(GrowStep):
    """Grows `perplexity` of units from that of their documents."""

    def factory(self, context: Context, before: Snapshot) -> Callable[[], Compute]:
        taking, store = super().factory(context, before), context.store
        documents = store["documents"].require().version

        def made_of_documents() -> Compute:
            take = taking()
            dropped = store["documents"].require(documents).table(["id", "perplexity"], "perplexity.rule <> ''")
            ids = dropped["id"].combine_chunks()
            rules = pa.array([row["rule"] for row in dropped["perplexity"].to_pylist()], pa.string())

            def compute(batch: pa.RecordBatch) -> pa.RecordBatch:
                rule = pc.fill_null(rules.take(pc.index_in(batch["document"], value_set=ids)), "")
                return take(batch.append_column("rule", rule))

            return compute

        return made_of_documents


@dataclass(frozen=True)
class PerplexityStep(RecordedStep):
    operator: JudgedPerplexity
    after: tuple[str, ...]

    @property
    def datasets(self) -> tuple[str, ...]:
        return ("documents", "units")

    @property
    def parts(self) -> tuple[GrowStep, GrowStep]:
        """The documents first: units take what is decided about them."""
        source = ("source",) if self.operator.planted else ()
        columns = ("id", *source, "statistics", *(name for name in OF_COLUMNS if name in self.after))
        documents = _Documents(self.record, self.operator, "documents", columns, self.after, where=PASSING)
        return documents, _Units(self.record, JudgedUnits(), "units", ("document",), self.after)

    def state(self, store: Store) -> Status:
        documents, units = (part.state(store) for part in self.parts)
        return units if documents.done else documents

    def run(self, context: Context) -> None:
        for part in self.parts:
            part.run(context)
