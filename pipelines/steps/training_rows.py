"""The training rows of a memory, read from a bank: each student's own view of the datastore and its teacher.

Rows are read a batch at a time, in the order of their key. Where they are large they lie in a file of the process that
trains (`pipelines.spill`), and a batch of the training reads its own rows. The order of an epoch is the same in a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

from mnemic import languagemodel
from mnemic.catalogue import CATALOGUE
from mnemic.dataset import Snapshot, Store
from mnemic.edits import readable_documents
from mnemic.errors import StepError
from mnemic.splits import STORE, VALIDATION
from mnemic.vectors import vectors
from operators.imitate.rows import UNTAUGHT, TrainingRows
from operators.imitate.texts import TextRows
from operators.sections import RowKind
from operators.train import Training
from pipelines.corpus_reader import KeyOrder
from pipelines.spill import Appended

_TEACHER = {"teacher_ids": np.int32, "teacher_probs": np.uint8}
_TAUGHT = ("token", *_TEACHER)
_HELD_OUT = ("token", "base_logprob")


def training_rows(
    store: Store, version: int, operator: Training, device: str, rows: RowKind = "vectors"
) -> tuple[Any, int]:
    """The training rows of ``operator`` in this version of the datastore, and their number of rows of the store.

    ``rows`` is "vectors" for `TrainingRows`, or "text" for `TextRows`.
    """
    datastore = store["datastore"].require(version)
    if rows == "text":
        texts = _texts(store, datastore, operator, device)
        return texts, len(texts.store.document)
    if rows != "vectors":
        raise StepError(f"No memory can be trained on {rows!r}; a section that learns names vectors or text.")
    trained = _arrays(datastore, STORE, {"input": np.float16, "token": np.int32, **_TEACHER})
    held_out = _arrays(datastore, VALIDATION, {"input": np.float16, "token": np.int32, "base_logprob": np.float32})
    return TrainingRows(*trained, *held_out), len(trained[1])


def _arrays(datastore: Snapshot, where: str, dtypes: Mapping[str, DTypeLike]) -> list[NDArray[Any]]:
    """Columns of numbers, or of lists of one size, as arrays [n] or [n, size] in the order of ``dtypes``.

    Raises `StepError` where the teacher has not seen a row.
    """
    kinds = [datastore.schema.field(name).type for name in dtypes]
    widths = [(kind.list_size,) if pa.types.is_fixed_size_list(kind) else () for kind in kinds]
    grown = [Appended(dtype, width) for dtype, width in zip(dtypes.values(), widths, strict=True)]
    for batch in KeyOrder(datastore, CATALOGUE["datastore"].key, where).batches(list(dtypes)):
        for column, width, into in zip(batch.columns, widths, grown, strict=True):
            if column.null_count:
                raise StepError(UNTAUGHT)
            into.append(vectors(column, copy=False) if width else column.to_numpy(zero_copy_only=False))
    return [one.array() for one in grown]


def _texts(store: Store, datastore: Snapshot, operator: Any, device: str) -> TextRows:
    """The documents of the store and of validation as tokens, as far as the datastore has scored them."""
    _, tokenizer = languagemodel.shared(operator.model, operator.dtype, device)
    place = ("document", "position")
    return TextRows.from_arrow(
        readable_documents(store["documents"].require(), f"{STORE} OR {VALIDATION}"),
        _ordered(datastore, STORE, (*place, *_TAUGHT)),
        _ordered(datastore, VALIDATION, (*place, *_HELD_OUT)),
        tokenizer,
        operator.max_document_tokens,
    )


def _ordered(datastore: Snapshot, where: str, columns: Sequence[str]) -> pa.Table:
    order = KeyOrder(datastore, CATALOGUE["datastore"].key, where)
    schema = pa.schema([datastore.schema.field(name) for name in columns])
    return pa.Table.from_batches(list(order.batches(columns)), schema.remove_metadata())
