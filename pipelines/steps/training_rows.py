"""The training rows of a memory, read from a bank: each student's own view of the datastore and its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from mnemic import languagemodel
from mnemic.catalogue import CATALOGUE
from mnemic.dataset import Snapshot, Store
from mnemic.edits import readable_documents
from mnemic.errors import StepError
from mnemic.splits import STORE, VALIDATION
from operators.imitate.rows import TrainingRows
from operators.imitate.texts import TextRows
from operators.sections import RowKind
from operators.train import Training
from pipelines.corpus_reader import KeyOrder

_TAUGHT = ("token", "teacher_ids", "teacher_probs")
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
    vectors = TrainingRows.from_arrow(
        _ordered(datastore, STORE, ("input", *_TAUGHT)), _ordered(datastore, VALIDATION, ("input", *_HELD_OUT))
    )
    return vectors, len(vectors.token)


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
    return order.take(range(len(order)), columns)
