"""The numbers of a bank: the funnel of deduplication, and perplexity on held-out text with and without memory.

The datastore holds, for every held-out token, the model's own log-probability, the student's input, and what the
retriever says of it, so the language model does not run here. Documents of packages that the store has are held out,
and so are whole packages (collections). Weights are chosen on the validation part of both and then frozen; the
intervals are bootstraps over documents. The report also has the share of kNN-LM's gain that a memory has, the loss by
how often the store has a token (memory pays in the tails), and the cost of a training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.bank import Bank, open_bank
from mnemic.continued import Continuation, continuations
from mnemic.funnel import funnel
from mnemic.memories.blocks import NAME as BLOCKS
from mnemic.memories.datastore import NAME as RETRIEVER
from mnemic.memories.gate_training import Weighing
from mnemic.memories.gates import stored as stored_gates
from mnemic.memories.kinds import of_models
from mnemic.memories.slots import NAME as SLOTS
from mnemic.mixture import WEIGHT_WITHOUT_VALIDATION, perplexity
from mnemic.splits import STORE, VALIDATION, in_part
from mnemic.suffixes.evidence import contexts_of
from mnemic.suffixes.stored import evaluated_index, has_suffixes, index_of
from operators.deduplicate.repetition import repetition
from pipelines.corpus_reader import corpus_digest
from pipelines.evaluate.blocks import BlockPerplexity, block_perplexities
from pipelines.evaluate.bootstrap import Comparison, Interval, bootstrap
from pipelines.evaluate.copies import by_length, copied, match_lengths
from pipelines.evaluate.gain import Bucket, by_frequency, recovered
from pipelines.evaluate.held_out import HeldOut, loaded
from pipelines.evaluate.latents import CartridgeReport, MemoryTokenReport, cartridge_report, memory_token_report
from pipelines.evaluate.repeated import RepeatedSpans, repeated_spans
from pipelines.evaluate.rewrites import EditReport, edit_report
from pipelines.evaluate.speed import Speed, speeds

COSTS = ("parameters", "trained_tokens", "training_flops")
"""The metrics of a memory that describe its training."""

PARTS = {"document": "held-out documents", "collection": "held-out collections"}


@dataclass(frozen=True)
class GatedSet:
    """Memories under their gate, against the base.

    ``recovered`` is the share of kNN-LM's gain at its fixed weight, ``recovered_gated`` that of its gain under a gate
    of its own; None where such a share is not sure.
    """

    comparison: Comparison
    recovered: Interval | None
    recovered_gated: Interval | None


@dataclass(frozen=True)
class Perplexity:
    """Perplexity on one held-out part.

    ``comparisons`` are each memory against the base, ``recovered`` the share of kNN-LM's gain that each has (without
    those that are not sure, as where it gains nothing), both with 95 % intervals; ``frequencies`` are mean losses by
    how often the store has the token.

    ``gated`` are sets of memories, such as "mlp+suffix", under their gate. ``matches`` are mean losses by the length of
    the text before the token that also stands in the index of suffixes, ``copied`` is the share of tokens in spans of
    8 and more that stand there.
    """

    part: str
    documents: int
    tokens: int
    base: float
    comparisons: dict[str, Comparison]
    recovered: dict[str, Interval]
    frequencies: tuple[Bucket, ...]
    gated: dict[str, GatedSet] = field(default_factory=dict)
    matches: tuple[Bucket, ...] = ()
    copied: float | None = None


@dataclass(frozen=True)
class Evaluation:
    bank: str
    release: str
    digest: str  # of the ids of its documents: which text this was
    funnel: dict[str, int]
    repetition: dict[str, Any]  # operators.deduplicate.repetition
    weights: dict[str, float]  # memory -> mixing weight chosen on validation text
    training: dict[str, dict[str, float]]  # memory -> parameters, trained_tokens, training_flops
    perplexities: tuple[Perplexity, ...]
    speeds: tuple[Speed, ...] = ()  # where they were asked for
    gates: dict[str, str] = field(default_factory=dict)  # set of memories -> why it is weighed by a gate, or is not
    blocks: tuple[BlockPerplexity, ...] = ()  # where they were asked for and the bank has blocks
    continuations: tuple[Continuation, ...] = ()  # where they were asked for
    repeated: RepeatedSpans | None = None  # spans of its documents that others have, where it has an index of suffixes
    cartridges: CartridgeReport | None = None  # where the bank has some
    memory_tokens: MemoryTokenReport | None = None
    edits: EditReport | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(
    bank: str | Path | Bank,
    *,
    release: str | None = None,
    storage_options: Mapping[str, str] | None = None,
    speed: bool = False,
    blocks: bool = False,
    generate: bool = False,
    doing: Callable[[str], None] = lambda words: None,
) -> Evaluation:
    """Evaluate a bank, or the one at a path. Without a language model in its recipe there is only the funnel.

    With ``speed`` the model generates too, alone and with each memory. With ``blocks`` it reads the held-out documents
    with blocks of their topics and slots, where the bank has them. With ``generate`` the model continues some texts,
    alone and with each memory. ``doing`` is told what comes next, in words.
    """
    doing("reading the documents")
    opened = bank if isinstance(bank, Bank) else open_bank(bank, release, storage_options)
    digest = corpus_digest(opened.dataset("documents"), ("id",))[0]
    counts, repeats = funnel(opened), _repetition(opened)
    if has_suffixes(opened.view):
        doing("repeated spans")
    repeated = repeated_spans(index_of(opened.view)) if has_suffixes(opened.view) else None
    infos = of_models(opened.memories())
    blocks = blocks and any(info.name in (BLOCKS, SLOTS) for info in infos)
    if blocks:
        doing("perplexity with memories inside the model")
    topical = tuple(block_perplexities(opened)) if blocks else ()
    if not infos or "datastore" not in opened.view:
        return Evaluation(
            *(opened.path, opened.release.name, digest, counts, repeats, {}, {}, ()),
            blocks=topical,
            repeated=repeated,
            cartridges=cartridge_report(opened),
            memory_tokens=memory_token_report(opened),
            edits=edit_report(opened),
        )
    doing("loading the memories")
    memories = loaded(opened)
    doing("mixing weights on validation text")
    validation = HeldOut.read(opened, VALIDATION, memories)
    tuned = {info.name: info.metrics.get("weight", WEIGHT_WITHOUT_VALIDATION) for info in infos}
    weights = validation.weights() if len(validation) else {name: tuned[name] for name in validation.memories}
    training = {info.name: {cost: info.metrics[cost] for cost in COSTS if cost in info.metrics} for info in infos}
    tokens = opened.table("datastore", ["token"], STORE)["token"].to_numpy().astype(np.int32)
    weighings = stored_gates(opened.view)
    perplexities = []
    for part, words in PARTS.items():
        doing(f"perplexity on {words}")
        rows = HeldOut.read(opened, in_part(f"test-{part}"), memories)
        if len(rows):
            perplexities.append(_measured(part, rows, weights, tokens, weighings))
    if speed:
        doing("generating with the language model")
    measured = tuple(speeds(opened, [info.name for info in infos])) if speed else ()
    texts = tuple(continuations(opened, doing=doing)) if generate else ()
    return Evaluation(
        opened.path,
        opened.release.name,
        digest,
        counts,
        repeats,
        weights,
        training,
        tuple(perplexities),
        measured,
        {name: weighing.reason for name, weighing in weighings.items()},
        topical,
        texts,
        repeated,
        cartridge_report(opened),
        memory_token_report(opened),
        edit_report(opened),
    )


def _measured(
    part: str,
    rows: HeldOut,
    weights: dict[str, float],
    stored: npt.NDArray[np.int32],
    weighings: Mapping[str, Weighing],
) -> Perplexity:
    losses, gated = rows.losses(weights), rows.gated(weighings)
    base = losses["base"]

    def share(retriever: npt.NDArray[np.float64] | None, loss: npt.NDArray[np.float64]) -> Interval | None:
        """Of the retriever's gain; None where there is none to share, or it is not sure."""
        if retriever is None:
            return None
        interval = recovered(base, retriever, loss, rows.document)
        return interval if math.isfinite(interval.high) else None

    retriever, gated_retriever = losses.get(RETRIEVER), gated.get(RETRIEVER)
    shares = {name: share(retriever, losses[name]) for name in rows.memories if name != RETRIEVER}
    sets = {
        name: GatedSet(
            bootstrap(base, loss, rows.document),
            share(retriever, loss),
            None if name == RETRIEVER else share(gated_retriever, loss),
        )
        for name, loss in gated.items()
    }
    return Perplexity(
        part,
        len(np.unique(rows.document)),
        len(rows),
        perplexity(base),
        {name: bootstrap(base, losses[name], rows.document) for name in rows.memories},
        {name: one for name, one in shares.items() if one is not None},
        tuple(by_frequency(rows.token, stored, losses)),
        sets,
        *_copies(rows, losses | {f"{name}, gated": loss for name, loss in gated.items()}),
    )


def _copies(rows: HeldOut, losses: Mapping[str, npt.NDArray[np.float64]]) -> tuple[tuple[Bucket, ...], float | None]:
    """Losses by the length of the match, and the share of tokens that are copied; nothing without suffixes."""
    if not has_suffixes(rows.rows.view):
        return (), None
    index, before = evaluated_index(rows.rows.view), contexts_of(rows.rows)
    return by_length(match_lengths(index, before), losses), float(copied(index, before).mean())


def _repetition(bank: Bank) -> dict[str, Any]:
    """How often the texts of the bank repeat, by what deduplication found."""
    documents = bank.dataset("documents")
    fallen = documents.table(["duplicate_of", "length"], "duplicate_of <> ''").rename_columns(["keeper", "length"])
    ids, lengths, characters = [], [], 0
    keepers = fallen["keeper"].combine_chunks().unique()
    for batch in documents.scan(["id", "length"], batch_size=65536):
        characters += int(pc.sum(batch["length"]).as_py() or 0)
        is_keeper = pc.is_in(batch["id"], value_set=keepers)
        ids.append(batch["id"].filter(is_keeper))
        lengths.append(batch["length"].filter(is_keeper))
    places = pc.index_in(
        fallen["keeper"].combine_chunks(), value_set=pa.chunked_array(ids, pa.string()).combine_chunks()
    )
    of_keeper = pa.chunked_array(lengths, pa.int64()).combine_chunks().take(places)
    return repetition(fallen.append_column("keeper_length", of_keeper), characters)
