"""The steps of a recipe, in the order in which they run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from mnemic.catalogue import CATALOGUE
from mnemic.hardware import likely_device, resolve_dtype
from mnemic.kept import KEPT
from mnemic.languagemodel import student_layer
from mnemic.schema import UNITS
from operators.train import Training
from pipelines.identity import Record, resolved_fields
from pipelines.recipe import Recipe
from pipelines.steps.cluster import ClusterStep, InClustersStep
from pipelines.steps.contracts import Context, Status, Step
from pipelines.steps.deduplicate import DeduplicateStep
from pipelines.steps.derive import DeriveStep
from pipelines.steps.embedding import embedding_step
from pipelines.steps.fit import FitStep
from pipelines.steps.grow import GrowStep
from pipelines.steps.neighbours import neighbours_step, teacher_step
from pipelines.steps.read import ReadStep
from pipelines.steps.train import TrainStep

__all__ = ["Context", "Status", "Step", "steps_of"]

LEAVES = "leaf"
"""Of the levels of events those rows that tile the documents, so that nothing counts twice."""


def steps_of(recipe: Recipe, device: str | None = None, rebalance: bool = False, recluster: bool = False) -> list[Step]:
    """All steps of a recipe on ``device`` (by default what this machine has), which decides what `dtype: auto` means.

    Each step's record is made of its operator's fields and of the records of the steps that it reads.

    With ``rebalance`` deduplication decides anew about all documents, also those of earlier releases; with
    ``recluster`` the tree of clusters is fitted anew.

    A step "reads" another one here when it takes values that the other computed. Which rows it takes is no part of the
    record: a document that becomes a duplicate costs its own rows downstream, not those of all others.
    """
    recipe = _with_types(recipe, device or likely_device())
    records: dict[str, Record] = {}

    def record(step: str, operator: Any, *reads: str) -> Record:
        upstream = {name: records[name].fingerprint for name in reads}
        records[step] = Record(step, operator.version, resolved_fields(operator), upstream)
        return records[step]

    read = ReadStep(recipe.sources, recipe.max_document_bytes, recipe.fragment_characters)
    records["read"] = read.record
    steps: list[Step] = [read]
    text = ("id", "text")
    steps.append(
        GrowStep(record("signature", recipe.signature, "read"), recipe.signature, "documents", text, ("read",))
    )
    steps.append(
        DeduplicateStep(
            record("deduplicate", recipe.deduplicate, "signature"),
            recipe.deduplicate,
            recipe.signature.scheme,
            rebalance,
        )
    )
    steps.append(
        DeriveStep(
            record("units", recipe.units, "read"),
            recipe.units,
            origin="documents",
            target=CATALOGUE["units"],
            columns=("id", "source", "collection", "tenant", "session", "text", "speaker", "time", "turns"),
            key=("id",),
            target_key=("document",),
            after=("deduplicate",),
            where=KEPT,
            needs=("duplicate_of",),
        )
    )
    steps.append(embedding_step(recipe.embed, record))
    signals: tuple[str, ...] = ()
    if recipe.surprise is not None:
        signals = recipe.surprise.signals
        steps.append(
            GrowStep(
                record("surprise", recipe.surprise, "units"),
                recipe.surprise,
                "units",
                ("document", "ordinal", "start", "end", "text"),
                ("units",),
                whole_fragments=True,  # a document's units are in one
            )
        )
    seen_by = ("embed", "surprise") if signals else ("embed",)
    steps.append(
        DeriveStep(
            record("segment", recipe.segment, *seen_by),
            recipe.segment,
            origin="units",
            target=CATALOGUE["events"],
            columns=(*UNITS.names, "embedding", *signals),
            key=("document",),
            target_key=("document",),
            after=seen_by,
            needs=("embedding", *signals),
        )
    )
    if recipe.denoise is not None:
        denoise = record("denoise", recipe.denoise, "segment")
        steps.append(GrowStep(denoise, recipe.denoise, "events", ("text", "leaf"), ("segment",)))
    steps.append(ClusterStep(record("cluster", recipe.cluster, "segment"), recipe.cluster, LEAVES, recluster))
    if recipe.semantic is not None:
        steps.append(
            InClustersStep(
                record("semantic", recipe.semantic, "segment", "cluster"),
                recipe.semantic,
                "events",
                key=("id",),
                columns=("id",),
                after=("cluster",),
                where=LEAVES,
                needs=("cluster",),
            )
        )
    if recipe.language_model is not None:
        steps.extend(_parametric(recipe, record))
    return steps


def _with_types(recipe: Recipe, device: str) -> Recipe:
    """The recipe with the types that `dtype: auto` stands for; operators run with what their records say."""
    models = {
        name: getattr(recipe, name) for name in ("embed", "datastore", "imitate", "decoder", "surprise", "denoise")
    }
    return recipe.model_copy(
        update={
            name: dataclasses.replace(operator, dtype=resolve_dtype(operator.dtype, device))
            for name, operator in models.items()
            if operator is not None
        }
    )


def _parametric(recipe: Recipe, record: Callable[..., Record]) -> list[Step]:
    """The steps that need a language model: which text, its scored tokens, their neighbours and teacher, the memory."""
    return [
        FitStep(
            record("split", recipe.split, "read"),
            recipe.split,
            "documents",
            key=("id",),
            columns=("id",),
            after=("deduplicate",),
            where=KEPT,
            needs=("duplicate_of",),
        ),
        DeriveStep(
            record("datastore", recipe.datastore, "read"),
            recipe.datastore,
            origin="documents",
            target=CATALOGUE["datastore"],
            columns=("id", "text", "split"),
            key=("id", "split"),
            target_key=("document", "split"),
            after=("split",),
            where=f"{KEPT} AND split <> ''",
            needs=("duplicate_of", "split"),
        ),
        neighbours_step(record("neighbours", recipe.neighbours, "datastore"), recipe.neighbours),
        teacher_step(record("teacher", recipe.teacher, "neighbours"), recipe.teacher),
        *_memories(recipe, record),
    ]


def _memories(recipe: Recipe, record: Callable[..., Record]) -> list[Step]:
    """The steps that train a memory each, the first of which clears away what the recipe no longer makes."""
    depth = recipe.datastore.student_depth

    def vectors(layers: int) -> dict[str, Any]:
        return {"student_layer": student_layer(layers, depth)}

    wanted: list[tuple[str, str, str, Training, Callable[[int], dict[str, Any]]]] = [
        ("imitate", "mlp", "mlp", recipe.imitate, vectors)
    ]
    if recipe.control:  # the same network and budget without the teacher
        wanted.append(("control", "cross-entropy", "mlp", dataclasses.replace(recipe.imitate, alpha=0.0), vectors))
    if recipe.decoder is not None:
        decoder = recipe.decoder
        context = {"window": decoder.window, "stride": decoder.stride, "tokens": decoder.max_document_tokens}
        wanted.append(("decode", "decoder", "decoder", decoder, lambda layers: context))
    named = tuple(memory for _, memory, *_ in wanted)
    return [
        TrainStep(record(step, operator, "teacher"), operator, ("teacher",), memory, kind, config, named)
        for step, memory, kind, operator, config in wanted
    ]
