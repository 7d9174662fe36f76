"""The training text of blocks, read from a bank: which leaf a document is of, and the documents of a job as tokens.

A document's leaf is that of its longest session. Documents without a session have no leaf and train no block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemic import languagemodel
from mnemic.blocks.layout import CONTROL, FALLBACK, NO_TOPICS, SHARED, above
from mnemic.dataset import Snapshot, Store
from mnemic.edits import readable
from mnemic.errors import StepError
from mnemic.ids import hash_parts
from mnemic.kept import KEPT, TRAINED
from mnemic.languagemodel.windows import encode
from mnemic.quoting import one_of
from mnemic.splits import STORE
from operators.blocks.operator import TrainBlocks
from operators.blocks.packing import PackedSequences, Path, packed
from operators.blocks.plan import BlockJob, in_fallback, nodes_with_blocks, path_of, rows_by_level, subtrees
from operators.blocks.training import ModelShape

TRAINING = f"{KEPT} AND {STORE} AND {TRAINED}"
"""The documents that blocks are trained on."""

SESSIONS = "level = 'session'"

_TEXTS = 512


@dataclass(frozen=True)
class BlockPlan:
    """The jobs of a bank, in the order of their names; ``rows`` of a block by level, of a model of this ``shape``."""

    jobs: tuple[BlockJob, ...]
    rows: tuple[int, ...]
    shape: ModelShape


@dataclass(frozen=True)
class BlockTexts:
    """Documents and events of a bank at these versions, and the tokenizer that reads them."""

    documents: Snapshot
    events: Snapshot
    tokenizer: Any
    settings: TrainBlocks

    @classmethod
    def open(cls, store: Store, versions: Mapping[str, int], settings: TrainBlocks) -> BlockTexts:
        documents, events = (store[name].require(versions[name]) for name in ("documents", "events"))
        return cls(documents, events, languagemodel.tokenizer(settings.model), settings)

    def leaves(self, job: str | None = None) -> dict[str, str]:
        """The leaf of every document that has one, by id; those of the subtree of ``job`` alone, if it is one."""
        longest: dict[str, tuple[int, str]] = {}
        for batch in self.events.scan(["document", "cluster", "ordinal", "words"], SESSIONS):
            for row in batch.to_pylist():
                size = (row["words"], row["cluster"])
                if row["cluster"] is not None and size > longest.get(row["document"], (-1, "")):
                    longest[row["document"]] = size
        every = job in (None, *NO_TOPICS)
        return {one: leaf for one, (_, leaf) in longest.items() if every or above(leaf)[:1] == (job,)}

    def encoded(self, ids: Sequence[str] | None = None) -> Iterator[tuple[str, NDArray[np.int32]]]:
        """Id and tokens int32 [n] of documents: all that train, or those ``ids`` in their order."""
        edits = ["edits"] if "edits" in self.documents.schema.names else []
        columns = ["id", "text", *edits]
        if ids is None:
            batches = (
                pa.Table.from_batches([one]) for one in self.documents.scan(columns, TRAINING, batch_size=_TEXTS)
            )
        else:
            batches = (
                self.documents.table(columns, f"{TRAINING} AND {one_of('id', ids[at : at + _TEXTS])}").sort_by("id")
                for at in range(0, len(ids), _TEXTS)
            )
        for batch in batches:
            rows = readable(batch)
            tokens, _ = encode(rows["text"].to_pylist(), self.tokenizer, self.settings.max_document_tokens)
            yield from zip(rows["id"].to_pylist(), tokens, strict=True)

    def plan(self, depth: int, model: Any) -> BlockPlan:
        """The jobs of a tree of ``depth`` levels, for ``model``."""
        settings, leaves = self.settings, self.leaves()
        counts: dict[str, int] = {}
        for document, tokens in self.encoded():
            if len(tokens) > 1 and document in leaves:
                counts[document] = len(tokens)
        topical = {document: leaves[document] for document in counts if not in_fallback(settings.seed, document)}
        totals: dict[str, int] = {}
        for document, leaf in topical.items():
            totals[leaf] = totals.get(leaf, 0) + counts[document]
        shape = ModelShape.of(model, settings.layers)
        rows = rows_by_level(settings, depth, shape.parameters, shape.row)
        nodes = nodes_with_blocks(totals, rows, settings.min_tokens)
        jobs, generic = subtrees(nodes), max(1, sum(rows))

        def job(name: str, blocks: Mapping[str, int], members: Mapping[str, str]) -> BlockJob:
            digest = hash_parts("documents", *(f"{one} {members[one]}" for one in sorted(members)))
            return BlockJob(name, blocks, sum(counts[one] for one in members), digest)

        served = {one: leaf for one, leaf in topical.items() if path_of(leaf, "", nodes)}
        topics = [
            job(name, blocks, {one: leaf for one, leaf in served.items() if above(leaf)[:1] == (name,)})
            for name, blocks in jobs.items()
        ]
        others = {one: leaves[one] for one in counts if one not in topical}
        fallback = [job(FALLBACK, {FALLBACK: generic}, others)] if others else []
        control = [job(CONTROL, {CONTROL: generic}, served)] if settings.control and served else []
        shared = [job(SHARED, {SHARED: rows[0]}, served)] if settings.shared_epochs and served else []
        if settings.model_rate and not shared:
            raise StepError(
                "No topic has enough text for a block, so nothing can change the model; lower the blocks' "
                "`min_tokens`, or leave `model_rate` out."
            )
        for first in shared:
            topics = [_after(first, one) for one in topics]
            fallback = [_after(first, one) for one in fallback] if settings.model_rate else fallback
        return BlockPlan((*topics, *fallback, *control, *shared), rows, shape)

    def sequences(self, name: str, blocks: Mapping[str, int], nodes: Sequence[str]) -> PackedSequences:
        """The documents of a job, packed. ``nodes`` are all that have a block, whichever job trains it."""
        leaves, seed = self.leaves(name), self.settings.seed
        documents: dict[Path, list[NDArray[np.int32]]] = {}
        chosen = sorted(one for one in leaves if in_fallback(seed, one) == (name == FALLBACK))
        for document, tokens in self.encoded(chosen):
            leaf = leaves[document]
            served = name == FALLBACK or path_of(leaf, "", nodes)
            path = path_of(leaf, name, blocks) if served else ()
            if path:
                documents.setdefault(path, []).append(tokens)
        return packed(documents, self.settings.sequence)


def _after(first: BlockJob, job: BlockJob) -> BlockJob:
    """The ``job`` as one that depends on the documents of ``first`` too."""
    return replace(job, documents=hash_parts("after", first.documents, job.documents))
