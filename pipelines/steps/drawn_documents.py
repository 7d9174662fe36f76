"""A draw of documents, of all or of one tenant's, and the beginnings of their texts."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mnemic.conditions import all_of
from mnemic.dataset import Snapshot
from mnemic.edits import readable
from mnemic.ids import hash_parts
from mnemic.kept import KEPT
from mnemic.quoting import one_of, quoted


def drawn_documents(documents: Snapshot, most: int, tenant: str | None = None) -> list[str]:
    """Ids of kept documents, ``most`` of them at most: the first ones in an order that hashes of their ids draw.

    With a ``tenant`` only its documents are drawn, so those of others decide nothing.
    """
    where = all_of(KEPT, None if tenant is None else f"tenant = {quoted(tenant)}")
    ids = (of for batch in documents.scan(["id"], where, batch_size=65536) for of in batch["id"].to_pylist())
    return [of for _, of in heapq.nsmallest(most, ((hash_parts("drawn", of), of) for of in ids))]


def texts_of(documents: Snapshot, ids: Sequence[str]) -> dict[str, str]:
    """The readable texts of these documents, by id, in the order of ids."""
    edits = ["edits"] if "edits" in documents.schema.names else []
    rows = readable(documents.table(["id", "text", *edits], one_of("id", ids)))
    return dict(sorted(zip(rows["id"].to_pylist(), rows["text"].to_pylist(), strict=True)))


def beginnings(tokenizer: Any, texts: Iterable[str], tokens: int) -> Iterator[list[int]]:
    """The first token ids of each text."""
    for text in texts:
        yield tokenizer(text[: tokens * 64], add_special_tokens=False, verbose=False)["input_ids"][:tokens]
