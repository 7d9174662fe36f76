"""Documents that feed the language-model memory, and documents that are held out to measure it.

A memory is measured on text that it has not stored, as kNN-LM is (Khandelwal et al. 2020). Whole collections are held
out too, because a document next to stored ones of its own collection is an easier case than a new collection.
Near-copies leak: RETRO (Borgeaud et al. 2022, section 2.1) removes training documents whose 13-gram Jaccard similarity
to a test document is 0.8 or more. A document that is half copied is already an easy one, so here a held-out document
whose word 5-grams have a similarity of 0.5 or more to any stored document is not used.

Every draw depends on the seed and the row's own id or collection alone. Documents fill a part in the order of their
draws until its budget is reached, so rows that come later in that order change nothing, and are not held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa

from mnemic.arrays import Hashes
from mnemic.canaries import planted
from mnemic.ids import unit_draw
from mnemic.kept import KEPT
from mnemic.languagemodel.windows import CHARACTERS_PER_TOKEN
from mnemic.splits import HELD_OUT, STORED
from operators.contracts import Corpus, Progress, Resources, bounds, refuse
from operators.deduplicate.lookup import ColumnById
from operators.deduplicate.shingles import Shingler
from operators.draws import Drawn, FirstDrawn, HeldOutCollections
from operators.sections import Fit, Section, shared_field

HELD_OUT_SHARE = 0.2
"""Of collections, and of the documents of the others."""

VALIDATION_SHARE = 1 / 3
"""Of what is held out; the rest is for the test."""

FEWEST_COLLECTIONS = 5
"""With fewer named collections that have usable documents no collection is held out."""

PARTS = (STORED, *HELD_OUT)
"""In the order in which they are filled: what is held out must not resemble what is stored."""

FEWEST_DRAWN = 1 << 14
"""Documents of a part that are held, for its budget to be filled from: more where they may be too few."""

_TEXTS = 64  # read at once


@dataclass(frozen=True)
class Split:
    """Adds `split` to kept documents: "store", one of `HELD_OUT`, or "" for a document that is not used.

    ``tokens`` is about how many tokens of text go into the store, ``held_out_tokens`` into the four held-out parts
    together, at `CHARACTERS_PER_TOKEN`. A document counts, and is compared, up to ``max_document_tokens``; those of
    fewer than ``min_characters`` characters or ``ngram`` words are not used. Documents of the source ``planted`` are
    stored beside them.
    """

    tokens: int = 40_000
    held_out_tokens: int = 20_000
    max_document_tokens: int = 1024
    min_characters: int = 200
    held_out_similarity: float = 0.5
    ngram: int = 5
    seed: int = 0
    planted: str = shared_field("", said_by="curate.planted", identity=False)
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()

    def __post_init__(self) -> None:
        similarity = self.held_out_similarity
        refuse(
            bounds(
                self,
                "The split's {name} is {value}; give {bound}.",
                (
                    ("tokens", self.tokens >= 1, "a number of at least 1"),
                    ("held_out_tokens", self.held_out_tokens >= 0, "a number of at least 0"),
                    ("max_document_tokens", self.max_document_tokens >= 1, "a number of at least 1"),
                    ("min_characters", self.min_characters >= 0, "a number of at least 0"),
                    ("ngram", self.ngram >= 1, "a number of at least 1"),
                    ("held_out_similarity", 0 < similarity <= 1, "a similarity above 0 and up to 1, such as 0.5"),
                ),
            )
        )

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field("split", pa.string(), nullable=False)])

    def restore(self, state: pa.Table, corpus: Corpus, device: str) -> ColumnById:
        """What was chosen, in another process."""
        return ColumnById.restore("split", state, "")

    def fit(self, corpus: Corpus, device: str, progress: Progress) -> ColumnById:
        """Choose among all documents.

        ``summary`` has for each part its documents, their estimated tokens, and how many were too similar to it.
        """
        most = {part: max(FEWEST_DRAWN, 4 * int(self._budget(part)) // self.max_document_tokens) for part in PARTS}
        while True:
            drawn = self._drawn(corpus, most)
            fitted, lacking = self._filled(corpus, drawn, progress)
            if not lacking:
                return fitted
            most |= {part: 8 * most[part] for part in lacking}

    def _drawn(self, corpus: Corpus, most: Mapping[str, int]) -> _DrawnParts:
        """The first documents of each part, in one pass, or two where few collections have names."""
        collections = HeldOutCollections(self.seed, HELD_OUT_SHARE, FEWEST_COLLECTIONS)
        drawn = self._read(corpus, most, collections.guess, collections.meet)
        rule = collections.rule()
        return drawn if rule == collections.guess else self._read(corpus, most, rule, lambda name: None)

    def _read(
        self,
        corpus: Corpus,
        most: Mapping[str, int],
        held_out: Callable[[str], bool],
        meet: Callable[[str], None],
    ) -> _DrawnParts:
        drawn, place = _DrawnParts({part: FirstDrawn(number) for part, number in most.items()}), 0
        for batch in corpus.batches(["id", "collection", "length", *(["source"] if self.planted else [])]):
            lengths = batch.column("length").to_numpy(zero_copy_only=False)
            estimates = -(-np.minimum(lengths, self._characters) // CHARACTERS_PER_TOKEN)
            canaries = planted(batch.column("source")) if self.planted else np.zeros(batch.num_rows, np.bool_)
            ids, collections = (batch.column(name).to_pylist() for name in ("id", "collection"))
            for row in np.flatnonzero((lengths >= self.min_characters) & ~canaries).tolist():
                meet(collections[row])
                draw = unit_draw(self.seed, "order", ids[row])
                part = drawn.parts[self._part(ids[row], held_out(collections[row]))]
                if part.wants(draw):
                    part.add(Drawn(draw, ids[row], place + row, int(estimates[row])))
            drawn.planted += [ids[row] for row in np.flatnonzero(canaries).tolist()]
            drawn.planted_tokens += int(estimates[canaries].sum())
            place += batch.num_rows
        return drawn

    def _filled(self, corpus: Corpus, drawn: _DrawnParts, progress: Progress) -> tuple[ColumnById, list[str]]:
        """The split of these documents, and the parts that more of them would fill further."""
        ids, split, lacking = list[str](), list[str](), list[str]()
        summary: dict[str, dict[str, int]] = {}
        stored = StoredShingles([])
        for done, (part, documents) in enumerate(drawn.parts.items()):
            progress(done, len(drawn.parts))
            chosen = self._fill(corpus, documents.in_order(), self._budget(part), stored)
            if part == STORED:
                stored = StoredShingles(chosen.sets)
            if chosen.tokens < self._budget(part) and documents.left_out:
                lacking.append(part)
            ids += chosen.ids
            split += [part] * len(chosen.ids)
            summary[part] = {
                "documents": len(chosen.ids),
                "tokens": chosen.tokens,
                "too_similar": chosen.too_similar,
            }
        if self.planted:
            ids += drawn.planted
            split += [STORED] * len(drawn.planted)
            summary[self.planted] = {"documents": len(drawn.planted), "tokens": drawn.planted_tokens}
        progress(len(drawn.parts), len(drawn.parts))
        column = ColumnById.build("split", pa.array(ids, pa.string()), pa.array(split, pa.string()), {}, summary, "")
        return column, lacking

    @property
    def _characters(self) -> int:
        return self.max_document_tokens * CHARACTERS_PER_TOKEN

    def _part(self, document: str, of_held_out: bool) -> str:
        if not of_held_out and unit_draw(self.seed, "document", document) >= HELD_OUT_SHARE:
            return STORED
        kind = "collection" if of_held_out else "document"
        purpose = "validation" if unit_draw(self.seed, "validation", document) < VALIDATION_SHARE else "test"
        return f"{purpose}-{kind}"

    def _budget(self, part: str) -> float:
        """Estimated tokens at which the part is full."""
        if part == STORED:
            return self.tokens
        return self.held_out_tokens / (6 if part.startswith("validation") else 3)  # half a kind, then by the share

    def _fill(self, corpus: Corpus, documents: Sequence[Drawn], budget: float, stored: StoredShingles) -> _Chosen:
        """Take documents in order, but for those that resemble a stored one, until the budget is reached."""
        chosen, shingles_of = _Chosen(), Shingler(self.ngram, "words")
        for start in range(0, len(documents), _TEXTS):
            some = documents[start : start + _TEXTS]
            texts = corpus.take([document.place for document in some], ["text"]).column("text").to_pylist()
            sets = shingles_of.distinct(pa.array([text[: self._characters] for text in texts], pa.large_string()))
            for document, shingles in zip(some, sets, strict=True):
                if chosen.tokens >= budget:
                    return chosen
                if len(shingles) == 0:
                    continue
                if stored.highest_similarity(shingles) >= self.held_out_similarity:
                    chosen.too_similar += 1
                    continue
                chosen.ids.append(document.id)
                chosen.sets.append(shingles)
                chosen.tokens += document.tokens
        return chosen


SECTION = Section(
    "split",
    Split,
    Fit("documents", key=("id",), columns=("id",), after=("deduplicate",), where=KEPT, needs=("duplicate_of",)),
    on="language_model",
    reads=("read",),
)


@dataclass
class _DrawnParts:
    """The first documents of each part, and those of the source of canaries."""

    parts: dict[str, FirstDrawn]
    planted: list[str] = field(default_factory=list)  # ids
    planted_tokens: int = 0


@dataclass
class _Chosen:
    ids: list[str] = field(default_factory=list)
    sets: list[Hashes] = field(default_factory=list)
    tokens: int = 0
    too_similar: int = 0


class StoredShingles:
    """Inverted index of shingle sets: every shingle with the document that has it, sorted by shingle."""

    def __init__(self, sets: Sequence[Hashes]) -> None:
        self._sizes = np.fromiter((len(shingles) for shingles in sets), np.int64, len(sets))
        hashes = np.concatenate([np.empty(0, np.uint64), *sets])
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._owners = np.repeat(np.arange(len(sets)), self._sizes)[order]

    def highest_similarity(self, shingles: Hashes) -> float:
        """Exact Jaccard similarity of a set, uint64 [n], sorted, to the stored set that is most like it; 0 for none."""
        first = np.searchsorted(self._hashes, shingles, side="left")
        counts = np.searchsorted(self._hashes, shingles, side="right") - first
        total = int(counts.sum())
        if total == 0:
            return 0.0
        before = np.cumsum(counts) - counts
        places = np.arange(total) + np.repeat(first - before, counts)
        owners, common = np.unique(self._owners[places], return_counts=True)
        return float((common / (len(shingles) + self._sizes[owners] - common)).max())
