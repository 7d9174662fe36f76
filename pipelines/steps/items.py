"""The documents of one item of a manifest, as rows of `documents`, and what was left out of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from mnemic.ids import content_hash, document_id
from mnemic.removals import mark_of
from pipelines.seen import SeenIds
from pipelines.sources.columns import Columns, typed
from pipelines.sources.contracts import Item, Reject, Source
from pipelines.sources.masked import masked
from pipelines.steps.tombstones import REASON

if TYPE_CHECKING:
    from operators.pii.masking import Masking


def rows_of_item(
    source: Source, key: str, item: Item, limit: int, masking: Masking | None, removed: Mapping[str, bool]
) -> Iterator[dict[str, object]]:
    """Rows and rejects of one item. An item without documents gets a reject, or it would be read again each time.

    Documents whose marks are ``removed`` are left out; of those that were erased the place is not told either.
    """
    seen = SeenIds()
    empty = True
    columns: Columns = getattr(source, "columns", {})
    for result in source.read(item, limit):
        empty, locator = False, result.locator
        if masking is not None:
            result = masked(result, masking)  # noqa: PLW2901
        if isinstance(result, Reject):
            yield {"input": key, "locator": result.locator, "reason": result.reason, "severity": result.severity}
            continue
        content = content_hash(result.text)
        stated = [result.collection, result.tenant, result.session, result.speaker, str(result.time or "")]
        stated += [str(value or "") for turn in result.turns for value in dataclasses.astuple(turn)]
        values, faults = typed(result.metadata, columns)
        stated += [f"{name}={value}" for name, value in values.items() if value is not None]
        if item.part is not None and item.part.number and getattr(source, "id_field", None):
            stated.append(f"part {item.part.number}")  # an id that an earlier part has too is another row
        identity = document_id(source.name, locator, content, *stated)
        if not seen.add(identity):
            reason = (
                "The same locator and text stand twice in this item; the first is kept. Give records ids that differ."
            )
            yield {"input": key, "locator": result.locator, "reason": reason, "severity": "reject"}
            continue
        mark = mark_of(source.name, result.locator, content) if removed else ""
        if mark in removed:
            locator, reason = identity if removed[mark] else result.locator, REASON.format(document=identity)
            yield {"input": key, "locator": locator, "reason": reason, "severity": "note"}
            continue
        yield {
            "id": identity,
            "content": content,
            "source": source.name,
            "locator": result.locator,
            "item": key,
            "collection": result.collection,
            "tenant": result.tenant,
            "session": result.session,
            "speaker": result.speaker,
            "time": result.time,
            "length": len(result.text),
            "text": result.text,
            "turns": [vars(turn) for turn in result.turns] or None,
            **values,
        }
        for reason in faults:
            yield {"input": key, "locator": result.locator, "reason": reason, "severity": "note"}
    if empty:
        reason = "It holds no documentation, docstring or text."
        locator = item.locator if masking is None else masking.text(item.locator)
        yield {"input": key, "locator": locator, "reason": reason, "severity": "empty"}
