"""Canaries: sequences of random words that a recipe plants as documents, and as many twins that are planted nowhere.

A memory that knows planted texts better than their twins has learned them by heart (Carlini et al., arXiv 1802.08232:
exposure; Meeus et al., arXiv 2402.09363: copyright traps, of which long and often repeated ones are seen). Each text
depends on the seed and its own number alone, so another corpus, or more canaries, change none of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa

from mnemic.canaries import CANARIES, SOURCE
from mnemic.catalogue import DatasetSpec, Parent
from mnemic.ids import hash_parts
from mnemic.languagemodel.windows import CHARACTERS_PER_TOKEN
from operators.contracts import NO_REJECTS, BatchFunction, Resources, bounds, refuse
from operators.sections import Derive, Section

SENTENCE = 14
"""Words of a sentence: a hash has 128 bits, and a word takes 9."""

MOST = 1_000_000
"""Documents that are planted at most."""


@dataclass(frozen=True)
class Canaries:
    """Plants ``count`` texts of about ``tokens`` tokens for each number of ``repeats``, in as many documents each.

    ``count``, default 16; ``tokens``, at `CHARACTERS_PER_TOKEN`, default 100; ``repeats``, default [1, 10]; ``tenant``:
    that of the documents, default "canaries", so that a search of another tenant never meets one; ``seed``, default 0.
    """

    count: int = 16
    tokens: int = 100
    repeats: tuple[int, ...] = (1, 10)
    tenant: str = field(default=SOURCE, metadata={"identity": False})  # of the documents, which have it
    seed: int = 0
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()

    def __post_init__(self) -> None:
        repeats = self.repeats
        in_order = bool(repeats) and list(repeats) == sorted(set(repeats)) and repeats[0] >= 1
        refuse(
            bounds(
                self,
                "The canaries' {name} is {value!r}; give {bound}.",
                (
                    ("count", self.count >= 1, "a number of at least 1, such as 16"),
                    ("tokens", 16 <= self.tokens <= 1000, "a number of tokens from 16 to 1000, such as 100"),
                    ("repeats", in_order, "ascending numbers from 1 on, such as [1, 10]"),
                ),
            )
        )
        if self.documents > MOST:
            raise ValueError(f"{self.documents:,} documents are too many to plant; at most {MOST:,} are")

    @property
    def documents(self) -> int:
        """The number of documents that are planted."""
        return self.count * sum(self.repeats)

    def text(self, repeats: int, number: int, role: str = "planted") -> str:
        """The canary of this ``number`` among those planted ``repeats`` times, or its "twin"."""
        from operators.canaries.words import WORDS

        sentences: list[str] = []
        length = 0
        while length < self.tokens * CHARACTERS_PER_TOKEN:
            drawn = int(hash_parts("canary", self.seed, role, repeats, number, len(sentences)), 16)
            words = [WORDS[(drawn >> 9 * place) % len(WORDS)] for place in range(SENTENCE)]
            sentences.append(f"{' '.join(words).capitalize()}.")
            length += len(sentences[-1]) + 1
        return " ".join(sentences)

    def copies(self, repeats: int) -> Iterator[tuple[str, str]]:
        """(locator, text) of all documents with canaries that are planted ``repeats`` times."""
        for number in range(self.count):
            text = self.text(repeats, number)
            for copy in range(repeats):
                yield f"{repeats}/{number}/{copy}", text

    def output(self, schema: pa.Schema) -> pa.Schema:
        return CANARIES

    def open(self, device: str) -> BatchFunction:
        def listed(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
            rows = []
            for row in batch.to_pylist():
                repeats, number, copy = map(int, row["locator"].split("/"))
                rows.append(
                    {
                        "document": row["id"],
                        "canary": f"{repeats}/{number}",
                        "repeats": repeats,
                        "copy": copy,
                        "text": row["text"],
                        "twin": self.text(repeats, number, "twin"),
                    }
                )
            return pa.RecordBatch.from_pylist(rows, schema=CANARIES), NO_REJECTS

        return listed


def _as_curated(settings: dict[str, Any] | None, sections: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings stand below `curate`."""
    if settings is not None:
        raise ValueError("write it below `curate`: `curate: {canaries: {count: 16, repeats: [1, 10]}}`")
    curate = sections.get("curate")
    if curate is None or curate.canaries is None:
        return None
    if any(source.name == SOURCE for source in sections.get("sources") or ()):
        raise ValueError(f"a source is called `{SOURCE}`, as the planted documents are; give it another `name`")
    tokens, split = curate.canaries.get("tokens", Canaries.tokens), sections.get("split")
    if isinstance(tokens, int) and split is not None and tokens > split.max_document_tokens:
        raise ValueError(
            f"{tokens} tokens of a canary are more than the {split.max_document_tokens} of a document that are stored; "
            "lower `tokens`, or raise `split.max_document_tokens`"
        )
    return dict(curate.canaries)


SECTION = Section(
    "canaries",
    Canaries,
    Derive(
        origin="documents",
        target=DatasetSpec("canaries", CANARIES, ("document",), (Parent("documents", "document", "delete"),)),
        columns=("id", "locator", "text"),
        key=("id",),
        target_key=("document",),
        after=("read",),
        where=f"source = '{SOURCE}'",
    ),
    complete=_as_curated,
)
