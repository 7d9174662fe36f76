"""The documents of another bank, as it was read: with tenants, sessions, turns, times and metadata.

An item is a fragment of its documents, and its stamp are the files that it stands in. Documents that the bank dropped
are read too: the bank that is built decides itself. What was removed from the bank is not there, and so is not read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from mnemic.errors import BankError, SourceError
from mnemic.metadata import metadata_fields
from pipelines.sources.columns import Columns
from pipelines.sources.contracts import Document, Item, Reject, Turn
from pipelines.sources.text import text_fault

BANK, ORIGIN = "bank", "origin"
"""Metadata of each document: the name of this source, and the source that the document had in its bank."""

_ROWS = 256


class BankDocuments(BaseModel):
    """The bank at ``path``, through its newest release or the one called ``release``. ``name`` stands for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: ClassVar[int] = 1

    kind: Literal["bank"] = "bank"
    name: str = "bank"
    path: str
    release: str | None = None
    root: str = Field(default="", exclude=True)
    columns: Columns = Field(default={}, validate_default=True)

    def identity(self) -> Mapping[str, object]:
        return {"columns": self.model_dump(mode="json")["columns"]}

    def manifest(self) -> list[Item]:
        try:
            return [
                Item(f"documents/{fragment.id}", fragment.bytes, " ".join(fragment.files))
                for fragment in self._documents().fragments
                if fragment.rows
            ]
        except BankError as error:
            raise SourceError(
                f"The bank of the source '{self.name}' cannot be opened ({error}); correct `path` or `release`."
            ) from error

    def read(self, item: Item, max_document_bytes: int) -> Iterator[Document | Reject]:
        try:
            snapshot = self._documents()
            own = [field.name for field in metadata_fields(snapshot.schema)]
            names = [name for name in (*_COLUMNS, *own) if name in snapshot.schema.names]
            fragment = int(item.locator.rpartition("/")[2])
            for batch in snapshot.scan(names, fragments=[fragment], batch_size=_ROWS):
                for row in batch.to_pylist():
                    yield self._document(row, own, max_document_bytes)
        except BankError as error:
            yield Reject(item.locator, str(error))

    def _document(self, row: dict[str, Any], own: list[str], most: int) -> Document | Reject:
        locator, text = f"{row['source']}/{row['locator']}", row["text"]
        size = len(text.encode("utf-8", "replace"))
        if size > most:
            return Reject(locator, f"It has {size:,} bytes, and `max_document_bytes` is {most:,}; raise it to take it.")
        if fault := text_fault(text):
            return Reject(locator, fault)
        turns = tuple(Turn(**turn) for turn in row.get("turns") or ())
        places = [place for turn in turns for place in (turn.start, turn.end)]
        if places != sorted(places) or (places and not 0 <= places[0] <= places[-1] <= len(text)):
            return Reject(locator, "Its turns are no parts of its text, one after another; build its bank again.")
        metadata = {name: row[name] for name in own if row[name] is not None}
        return Document(
            locator,
            text,
            row["collection"],
            row["tenant"],
            row["session"],
            row["speaker"],
            row["time"],
            turns=turns,
            metadata={**metadata, BANK: self.name, ORIGIN: row["source"]},
        )

    def _documents(self) -> Any:
        from mnemic.bank import open_bank

        path = self.path
        if "://" not in path:
            path = os.path.normpath(os.path.join(os.path.expanduser(self.root), os.path.expanduser(path)))
        return open_bank(path, self.release).dataset("documents")


_COLUMNS = ("source", "locator", "text", "collection", "tenant", "session", "speaker", "time", "turns")
