"""The documents that a recipe plants (`curate: {canaries: ...}`), as a source beside those that the recipe names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mnemic.canaries import SOURCE
from mnemic.ids import hash_parts
from operators.canaries.operator import Canaries
from pipelines.sources.contracts import Document, Item, Reject
from pipelines.sources.text import too_large


@dataclass(frozen=True)
class PlantedDocuments:
    """Implements `Source`. An item is all documents that are planted equally often."""

    canaries: Canaries
    kind: str = SOURCE
    name: str = SOURCE
    version: ClassVar[int] = 1

    def identity(self) -> Mapping[str, object]:
        own = self.canaries
        return {
            "count": own.count,
            "tokens": own.tokens,
            "repeats": list(own.repeats),
            "tenant": own.tenant,
            "seed": own.seed,
            "version": own.version,
        }

    def manifest(self) -> list[Item]:
        own = self.canaries
        stamp = hash_parts("canaries", own.version, own.count, own.tokens, own.tenant, own.seed)
        sizes = {repeats: len(own.text(repeats, 0)) * own.count * repeats for repeats in own.repeats}
        items = [Item(f"{repeats}/", size, stamp) for repeats, size in sizes.items()]
        return sorted(items, key=lambda item: item.locator)

    def read(self, item: Item, max_document_bytes: int) -> Iterator[Document | Reject]:
        for locator, text in self.canaries.copies(int(item.locator.rstrip("/"))):
            if len(text) > max_document_bytes:
                yield Reject(locator, too_large(len(text), max_document_bytes))
            else:
                yield Document(locator, text, tenant=self.canaries.tenant)

    def notes(self, items: Sequence[Item]) -> Iterator[str]:
        """What a plan says of them."""
        own = self.canaries
        times = ", ".join(map(str, own.repeats))
        yield f"{own.documents:,} documents of about {own.tokens} tokens are planted ({own.count} texts {times} times)"
