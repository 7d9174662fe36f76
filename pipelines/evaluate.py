"""The numbers of a bank: the funnel of deduplication, and perplexity on held-out text with and without memory.

The datastore holds, for every held-out token, the model's own log-probability, the student's input, and what the
retriever says of it, so no language model runs here. Held out are documents of packages that the store knows, and
whole packages (collections) that it does not. Weights are chosen on the validation part of both and then frozen; the
intervals are bootstraps over documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.bank import Bank, open_bank
from mnemic.command.show import funnel
from operators.deduplicate.repetition import repetition
from operators.perplexity import Comparison, best_weight, bootstrap, mixture_nll, perplexity
from pipelines.corpus_reader import corpus_digest

PARTS = {"document": "held-out documents", "collection": "held-out collections"}
NOTHING = 1e-38
"""Probability of a token that no neighbour has; its logarithm is finite, which keeps the mixture's arithmetic plain."""


@dataclass(frozen=True)
class Perplexity:
    """Perplexity on one held-out part. ``comparisons`` are each memory against the base, with 95 % intervals."""

    part: str
    documents: int
    tokens: int
    base: float
    comparisons: dict[str, Comparison]


@dataclass(frozen=True)
class Evaluation:
    bank: str
    release: str
    digest: str  # of the ids of its documents: which text this was
    funnel: dict[str, int]
    repetition: dict[str, Any]  # operators.deduplicate.repetition
    weights: dict[str, float]  # memory -> mixing weight chosen on validation text
    perplexities: tuple[Perplexity, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(
    bank: str | Path | Bank, *, release: str | None = None, storage_options: Mapping[str, str] | None = None
) -> Evaluation:
    """Evaluate a bank, or the one at a path. Without a language model in its recipe there is only the funnel."""
    opened = bank if isinstance(bank, Bank) else open_bank(bank, release, storage_options)
    digest = corpus_digest(opened.dataset("documents"), ("id",))[0]
    if "memories" not in opened.release.versions or not opened.memories():
        return Evaluation(opened.path, opened.release.name, digest, funnel(opened), _repetition(opened), {}, ())
    validation = _Held.read(opened, "split LIKE 'validation-%'")
    weights = {
        name: best_weight(validation.base, scores)[0]
        if len(validation.base)
        else opened.memories()[0]["metrics"]["weight"]
        for name, scores in validation.memories.items()
    }
    perplexities = []
    for part in PARTS:
        held = _Held.read(opened, f"split = 'test-{part}'")
        if not len(held.base):
            continue
        comparisons = {
            name: bootstrap(-held.base.astype(np.float64), mixture_nll(held.base, scores, weights[name]), held.document)
            for name, scores in held.memories.items()
        }
        documents = len(np.unique(held.document))
        perplexities.append(
            Perplexity(part, documents, len(held.base), perplexity(-held.base.astype(np.float64)), comparisons)
        )
    counts, repeats = funnel(opened), _repetition(opened)
    return Evaluation(opened.path, opened.release.name, digest, counts, repeats, weights, tuple(perplexities))


def _repetition(bank: Bank) -> dict[str, Any]:
    """How often the texts of the bank repeat, by what deduplication found."""
    documents = bank.dataset("documents")
    fallen = documents.table(["duplicate_of", "length"], "duplicate_of <> ''").rename_columns(["keeper", "length"])
    ids, lengths, characters = [], [], 0
    wanted = fallen["keeper"].combine_chunks().unique()
    for batch in documents.scan(["id", "length"], batch_size=65536):
        characters += int(pc.sum(batch["length"]).as_py() or 0)
        kept = pc.is_in(batch["id"], value_set=wanted)
        ids.append(batch["id"].filter(kept))
        lengths.append(batch["length"].filter(kept))
    found = pc.index_in(
        fallen["keeper"].combine_chunks(), value_set=pa.chunked_array(ids, pa.string()).combine_chunks()
    )
    of_keeper = pa.chunked_array(lengths, pa.int64()).combine_chunks().take(found)
    return repetition(fallen.append_column("keeper_length", of_keeper), characters)


@dataclass(frozen=True)
class _Held:
    """Held-out tokens: the base's log-probability of each, each memory's, and the document it is in."""

    document: npt.NDArray[np.object_]
    base: npt.NDArray[np.float32]
    memories: dict[str, npt.NDArray[np.float64]]

    @classmethod
    def read(cls, bank: Bank, where: str) -> _Held:
        import torch

        columns = ["document", "position", "token", "base_logprob", "input", "teacher_label"]
        rows = bank.table("datastore", columns, where).sort_by([("document", "ascending"), ("position", "ascending")])
        label = rows["teacher_label"].to_numpy().astype(np.float64)
        scores = {"knn-lm": np.log(np.maximum(label, NOTHING))}
        memory, _ = bank.memory()
        width = rows["input"].type.list_size
        values = rows["input"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        with torch.inference_mode():
            hidden = torch.from_numpy(np.array(values, dtype=np.float16).reshape(-1, width))
            token = torch.from_numpy(rows["token"].to_numpy().astype(np.int64))
            scores["mlp"] = memory.token_log_prob(hidden, token).double().numpy() if len(rows) else np.zeros(0)
        return cls(rows["document"].to_numpy(), rows["base_logprob"].to_numpy(), scores)
