"""The step `confidence`: how sure the model is of each held-out token, as columns of the datastore.

It reads the held-out documents once more, with the text that the datastore scored; other rows get nulls. A worker takes
a fragment of the datastore, which holds its documents whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from mnemic.dataset import Snapshot
from mnemic.edits import readable_documents
from mnemic.hardware import default_device
from mnemic.quoting import one_of
from mnemic.splits import STORE
from operators.confidence import Confidence
from pipelines.identity import Record
from pipelines.steps.contracts import Context
from pipelines.steps.grow import Compute, GrowStep


@dataclass(frozen=True)
class _ConfidenceStep(GrowStep):
    operator: Confidence  # type: ignore[assignment]  # it also reads documents

    def factory(self, context: Context, before: Snapshot) -> Callable[[], Compute]:
        operator, device, store = self.operator, context.device, context.store
        version = store["documents"].require().version

        def factory() -> Compute:
            read = operator.open(device or default_device())
            documents = store["documents"].require(version)

            def compute(batch: pa.RecordBatch) -> pa.RecordBatch:
                rows = pa.Table.from_batches([batch])
                ids = rows["document"].unique().to_pylist()
                return read(readable_documents(documents, one_of("id", ids)), rows)

            return compute

        return factory


def confidence_step(record: Record, operator: Confidence, after: tuple[str, ...]) -> GrowStep:
    """The columns of the rows that are no store's, a fragment at a time."""
    columns = ("document", "position", "token")
    where = f"NOT ({STORE})"
    return _ConfidenceStep(record, operator, "datastore", columns, after, whole_fragments=True, where=where)
