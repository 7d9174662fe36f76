"""Deduplication of a corpus: keys propose, the exact Jaccard similarity decides, and comparisons are kept.

Bands alone remove far too much (precision 0.49 for 20 x 6 on 111,930 technical documents); judged exactly the same
candidates give precision 1.000 at a recall of 0.999. Every document that falls points at a document that is kept, and
the pairs that were compared are rows of `pairs`, so each removal can be explained. (Of a document's rejected ones they
are the nearest, which are all unless it is one of many of a template: `operators.deduplicate.listing`.) The answer
depends on the set of documents, the shape of the bands and the documents that an earlier release kept. It never depends
on order, batches or workers, and on memory only where that chooses the shape. Documents of two tenants are never
compared: a tenant must find its own text, also where another tenant has it.

The work is cut twice, so that no process holds all documents. Shards are ranges of keys, in which the shared ones are
found. Packs are whole components of documents that share keys, about which everything can be decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Flags, Hashes, Integers, RowIds, Signatures
from mnemic.canaries import planted
from mnemic.catalogue import CATALOGUE
from mnemic.errors import RecipeError, StepError
from mnemic.schema import PAIRS
from mnemic.vectors import vectors
from operators.contracts import Progress, Resources, RowCorpus, refuse
from operators.deduplicate.bands import MOST_BANDS, Bounds, keys_of, run_of, shard_bounds, tenant_salts, within
from operators.deduplicate.candidates import (
    SHAPES,
    BandPlan,
    Components,
    Shared,
    concatenated,
    divided,
    plan,
    shared_keys,
)
from operators.deduplicate.estimate import least_shared
from operators.deduplicate.lookup import ColumnById
from operators.deduplicate.protect import Protected
from operators.deduplicate.shingles import Shingler
from operators.deduplicate.signature import from_hexadecimal
from operators.sections import Driven, Section, shared_field

if TYPE_CHECKING:
    from operators.deduplicate.resolve import JudgedPairs

METHODS = ("auto", "exact", "minhash", "lshbloom")
PACK = 10_000
"""Documents decided about at once, about 1 KB each; a larger component is a pack of its own."""

_UNSIGNED = "Some documents have no signature yet; run the signature step to its end first."
_RANKED = ("id", "tenant", "content", "time", "length", "normalised")


@dataclass(frozen=True)
class Deduplicate:
    """Adds `duplicate_of` to documents: the id of the kept document that a row duplicates, "" for a kept one.

    ``method`` "exact" compares normalised texts only. "minhash", "lshbloom" and "auto" also drop a document whose
    shingle set has a Jaccard similarity of at least ``threshold`` to a better-ranked kept one. "minhash" finds the
    candidates by sorting keys, "lshbloom" with Bloom filters, "auto" by sorting where ``memory_gb`` allows it; the
    answer is the same. Without ``bands`` and ``rows`` their shape depends on the number of documents and on
    ``memory_gb``, wide where it can be. Protected documents are never dropped: those with one of ``protected_ids``,
    whose `locator` matches a pattern of ``protected_locators``, or whose text a regular expression of
    ``protected_texts``. Documents of the source ``planted`` are compared with nothing. ``ngram``, ``unspaced``,
    ``permutations`` and ``scheme`` are those of the signatures; a recipe says them there.
    """

    method: str = "auto"
    threshold: float = 0.8
    bands: int | None = None
    rows: int | None = None
    memory_gb: float = field(default=4.0, metadata={"identity": False})
    protected_ids: tuple[str, ...] = ()
    protected_locators: tuple[str, ...] = ()
    protected_texts: tuple[str, ...] = ()
    ngram: int = shared_field(5, said_by="signature.ngram")
    unspaced: str = shared_field("characters", said_by="signature.unspaced")
    permutations: int | None = shared_field(None, said_by="signature.permutations", identity=False)
    scheme: str = shared_field("", said_by="signature.scheme", identity=False)
    planted: str = shared_field("", said_by="curate.planted", identity=False)
    version: ClassVar[int] = 2
    resources: ClassVar[Resources] = Resources()

    def __post_init__(self) -> None:
        problems = []
        if self.method not in METHODS:
            problems.append(
                f'The method of deduplication is "{self.method}"; use "auto", "exact", "minhash" or "lshbloom".'
            )
        if not 0 < self.threshold <= 1:
            problems.append(
                f"The threshold of deduplication is {self.threshold}; "
                "give a similarity above 0 and up to 1, such as 0.8."
            )
        if (self.bands is None) != (self.rows is None):
            problems.append("Deduplication needs both bands and rows, such as 20 and 6, or neither.")
        elif self.bands is not None and self.rows is not None and not (1 <= self.bands < MOST_BANDS and self.rows > 0):
            problems.append(
                f"Deduplication needs 1 to {MOST_BANDS - 1} bands of at least 1 row, but they are {self.bands} of "
                f"{self.rows}; leave both out of the recipe to have them chosen."
            )
        problems += self._too_many_bands()
        if not self.memory_gb > 0:
            problems.append(f"Deduplication cannot do with memory_gb: {self.memory_gb}; give it 1 or more.")
        refuse(problems)
        self.tokenizer, self.protected  # noqa: B018  # which refuse what they cannot be

    def _too_many_bands(self) -> list[str]:
        bands, rows = (self.bands, self.rows) if self.bands else SHAPES[0]
        needed = (bands or 0) * (rows or 0)
        if self.method == "exact" or self.permutations is None or needed <= self.permutations:
            return []
        return [
            f"{bands} bands of {rows} rows need {needed} permutations and `signature.permutations` is "
            f"{self.permutations}; use fewer bands or rows, or more permutations."
        ]

    @property
    def tokenizer(self) -> Shingler:
        return Shingler(self.ngram, self.unspaced)

    @property
    def protected(self) -> Protected:
        return Protected(self.protected_ids, self.protected_locators, self.protected_texts)

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field("duplicate_of", pa.string(), nullable=False)])

    def plan(self, documents: int) -> BandPlan:
        """How it goes about this many documents."""
        shape = None if self.bands is None or self.rows is None else (self.bands, self.rows)
        return plan(documents, int(self.memory_gb * 1e9), self.method, shape)

    @property
    def columns(self) -> list[str]:
        """The columns that `keys` reads."""
        return ["tenant", "normalised", *([] if self.method == "exact" else ["signature"])]

    def keys(
        self, batch: pa.RecordBatch, rows: RowIds, chosen: BandPlan, ascending: bool = True
    ) -> tuple[Hashes, RowIds]:
        """The keys of a batch's documents, uint64 [n], band after band, and the one of ``rows`` that has each."""
        if batch.column("normalised").null_count:
            raise StepError(_UNSIGNED)
        signatures = _signatures(batch.column("signature"), chosen) if chosen.bands else None
        salts, forms = tenant_salts(batch.column("tenant")), from_hexadecimal(batch.column("normalised"))
        return run_of(keys_of(forms, signatures, salts, chosen.bands, chosen.rows), rows, ascending)

    def decide(self, corpus: RowCorpus, pack: Shared, chosen: BandPlan, progress: Progress) -> JudgedPairs:
        """Decide about the documents of a pack; returns the pairs that were judged.

        Every document that falls has one pair with the verdict "duplicate"; for what it falls to see `keepers`.
        """
        from operators.deduplicate.resolve import DROPPED, NEW, PROTECTED, SETTLED, resolve

        rows, places = np.unique(pack.rows, return_inverse=True)
        keys = pack.keys
        if self.planted:
            own = ~planted(corpus.take_rows(rows, ["source"]).column("source").combine_chunks())
            rows, keys, places = _only(own, rows, keys, places)
        earlier, dropped = corpus.earlier(rows), corpus.dropped(rows)
        if earlier is not None:  # what has fallen stays so, and is compared with nothing, nor is what rules drop
            stands = np.asarray(pc.fill_null(pc.equal(earlier, ""), True), np.bool_)
            stays = stands & ~(dropped & np.asarray(pc.is_valid(earlier), np.bool_))
            rows, keys, places = _only(stays, rows, keys, places)
            earlier, dropped = earlier.filter(pa.array(stays)), dropped[stays]
        protected, signed = self.protected, ["signature"] if chosen.bands else []
        documents = corpus.take_rows(rows, [*_RANKED, *signed, *protected.columns])
        standing = np.where(dropped, DROPPED, NEW)
        standing[protected.flags(documents)] = PROTECTED
        if earlier is not None:
            standing[np.asarray(pc.is_valid(earlier), np.bool_)] = SETTLED

        def texts(numbers: Sequence[int]) -> pa.Array:
            return corpus.take_rows(rows[np.asarray(numbers, np.int64)], ["text"]).column("text").combine_chunks()

        least = least_shared(self.threshold, chosen.bands, chosen.rows) if chosen.bands else 0
        signatures = _signatures(documents["signature"].combine_chunks(), chosen) if chosen.bands else None
        return resolve(
            documents, places, keys, standing, texts, self.tokenizer, signatures, self.threshold, least, progress
        )

    def fit(self, corpus: RowCorpus, device: str, progress: Progress) -> ColumnById:
        """Decide about all documents at once, in this process.

        The result has the table `pairs` (mnemic.schema.PAIRS); for ``summary`` see `summary_of`.
        """
        chosen = self.plan(len(corpus))

        def runs(bounds: Bounds) -> Iterator[tuple[Hashes, RowIds]]:
            for rows, batch in corpus.rows(self.columns):
                keys, owners = self.keys(batch, rows, chosen, chosen.shards > 1)
                part = within(keys, bounds) if chosen.shards > 1 else slice(None)
                yield keys[part], owners[part]

        by_shard = [
            shared_keys(partial(runs, bounds), bounds, chosen.method, len(corpus))
            for bounds in shard_bounds(chosen.bands, chosen.shards)
        ]
        shared = Shared(*concatenated((one.keys, one.rows) for one in by_shard))
        linked = Components([shared.rows])
        linked.link(shared)
        packs = divided(shared, linked.rows, linked.packs(PACK))
        decided = [self.decide(corpus, pack, chosen, progress) for _, pack in packs]
        pairs = pa.concat_tables([PAIRS.empty_table(), *(judged.pairs for judged in decided)])
        pairs = pairs.sort_by([("document", "ascending"), ("other", "ascending")]).combine_chunks()
        fallen = pairs.filter(pc.equal(pairs["verdict"], "duplicate"))
        exact = int(pc.sum(pc.equal(fallen["rule"], "exact")).as_py() or 0)
        unlisted = sum(judged.unlisted for judged in decided)
        summary = summary_of(len(corpus), len(fallen), exact, len(pairs), unlisted, chosen)
        return duplicates_of(pairs, {"pairs": pairs}, summary)


SECTION = Section(
    "deduplicate",
    Deduplicate,
    Driven(
        "pipelines.steps.deduplicate.step:DeduplicateStep",
        after=("signature",),
        datasets=tuple(CATALOGUE[name] for name in ("pairs", "bands", "filters")),
        optional=("curate",),
    ),
    on=True,
)


def duplicates_of(
    pairs: pa.Table, tables: Mapping[str, pa.Table] | None = None, summary: Mapping[str, Any] | None = None
) -> ColumnById:
    """The column `duplicate_of` that follows from judged pairs: "" but for documents that fell.

    A document falls to the other one of its pair with the verdict "duplicate". A copy of a document that has itself
    fallen falls to the keeper of that.
    """
    fallen = pairs.filter(pc.equal(pairs["verdict"], "duplicate"))
    documents, others = fallen["document"].combine_chunks(), fallen["other"].combine_chunks()
    behind = pc.index_in(others, value_set=documents)
    keeper = pc.coalesce(others.take(behind), others)
    return ColumnById.build("duplicate_of", documents, keeper, tables or {}, summary or {}, otherwise="")


def summary_of(documents: int, fallen: int, exact: int, pairs: int, unlisted: int, chosen: BandPlan) -> dict[str, Any]:
    """Counts of documents, of those kept, of exact copies, near-duplicates and pairs; and the shape of the bands.

    Of ``documents`` so many have ``fallen``, ``exact`` of them as exact copies. ``unlisted`` comparisons are no pairs;
    their number is in the summary where there are some.
    """
    return {
        "documents": documents,
        "kept": documents - fallen,
        "exact": exact,
        "near": fallen - exact,
        "pairs": pairs,
        **({"unlisted": unlisted} if unlisted else {}),
        "shape": [chosen.bands, chosen.rows],
    }


def _only(stays: Flags, rows: RowIds, keys: Hashes, places: Integers) -> tuple[RowIds, Hashes, Integers]:
    """The ``rows`` that stay, bool [n], and the ``keys`` [m] of those; ``places`` [m] say of each key whose it is."""
    number = np.where(stays, np.cumsum(stays) - 1, -1)[places]
    return rows[stays], keys[number >= 0], number[number >= 0]


def _signatures(column: pa.Array, chosen: BandPlan) -> Signatures:
    length = column.type.list_size
    if chosen.bands * chosen.rows > length:
        raise RecipeError(
            f"{chosen.bands} bands of {chosen.rows} rows need signatures of {chosen.bands * chosen.rows} "
            f"permutations, but they have {length}; use fewer bands or rows, or more permutations."
        )
    if column.null_count:
        raise StepError(_UNSIGNED)
    return vectors(column, np.uint32, copy=False)
