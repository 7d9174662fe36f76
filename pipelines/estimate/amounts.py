"""How much there is of what steps work on: what is committed is counted, the rest is judged by its bytes."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from mnemic.dataset import Snapshot, Store
from mnemic.errors import MnemicError
from mnemic.languagemodel.describe import describe
from pipelines.estimate.pace import MachinePace
from pipelines.estimate.rates import (
    CHARACTERS_OF_A_TOKEN,
    CHARACTERS_OF_A_UNIT,
    KINDS,
    UNITS_OF_AN_EVENT,
    Measure,
    TextOfKind,
)
from pipelines.steps import Step
from pipelines.steps.read import ReadStep

LARGEST_EXACT = 20_000
"""Rows of a datastore that every query is compared with; of larger ones lists leave most out."""

SERVED = 1.5e8
"""Parameters of a local model that takes as long over a request as a server's, whatever that is."""


@dataclass(frozen=True)
class Amounts:
    """What a corpus comes to. ``bytes`` are those that are still to be read."""

    bytes: float = 0.0
    characters: float = 0.0
    documents: float = 0.0
    units: float = 0.0
    events: float = 0.0

    def plus(self, other: Amounts) -> Amounts:
        mine, others = dataclasses.asdict(self), dataclasses.asdict(other)
        return Amounts(**{name: mine[name] + others[name] for name in mine})


def committed(store: Store) -> Amounts:
    """What the datasets of a bank hold. Counts and one column of lengths are read."""
    documents, units, events = (store[name].snapshot() for name in ("documents", "units", "events"))
    if documents is None:
        return Amounts()
    characters = float(sum(pc.sum(batch["length"]).as_py() or 0 for batch in documents.scan(["length"])))
    sizes = {"characters": characters, "documents": float(documents.count())}
    return Amounts(units=_rows(units), events=_rows(events), **sizes)


def _rows(snapshot: Snapshot | None) -> float:
    return 0.0 if snapshot is None else float(snapshot.count())


def unread(read: ReadStep, left: float, pace: MachinePace) -> Amounts:
    """What the share ``left`` of the items of ``read`` may come to, by their sizes and what their kinds give."""
    total, manifest = Amounts(), read.manifest
    for source, (first, end) in zip(read.sources, itertools.pairwise([0, *manifest.ends]), strict=True):
        if first == end:
            continue
        items, kind = float(end - first), source.kind
        size = sum(item.size / (item.part.of if item.part else 1) for item in manifest.items[first:end])
        text = KINDS.get(kind, TextOfKind())
        characters = size * text.characters * (pace.ratio(f"text {kind} characters") or 1.0)
        documents = max(characters / text.document, 1.0) if text.document else items
        documents *= pace.ratio(f"text {kind} documents") or 1.0
        total = total.plus(Amounts(size, characters, documents))
    units = total.characters / CHARACTERS_OF_A_UNIT * (pace.ratio("text units") or 1.0)
    events = units / UNITS_OF_AN_EVENT * (pace.ratio("text events") or 1.0)
    return Amounts(
        *(left * value for value in (total.bytes, total.characters, total.documents, max(units, 1.0), max(events, 1.0)))
    )


def with_rows_to_come(there: Amounts) -> Amounts:
    """``there``, with the units and events that its documents will have where none are made yet."""
    units = there.units or there.characters / CHARACTERS_OF_A_UNIT
    return dataclasses.replace(there, units=units, events=there.events or units / UNITS_OF_AN_EVENT)


def measured(measure: Measure, amounts: Amounts, step: Step, steps: Mapping[str, Step]) -> float:
    """How much of ``measure`` there is in ``amounts`` for ``step``, by its settings and those of ``steps``."""
    operator = getattr(step, "operator", None)
    tokens = amounts.characters / CHARACTERS_OF_A_TOKEN
    stored, scored = _split(steps, tokens)
    match measure:
        case "bytes" | "characters" | "documents" | "units" | "events":
            return float(getattr(amounts, measure))
        case "encoding" | "reading":
            return tokens * _parameters(operator) * (_passes(operator) if measure == "reading" else 1.0)
        case "scoring" | "rescoring":
            read = scored if measure == "scoring" else scored - stored
            return read * _parameters(operator) * _passes(operator)
        case "comparing":
            least = min(stored, LARGEST_EXACT)
            width = model_sizes(getattr(steps.get("datastore"), "operator", None))[0]
            return scored * least * math.sqrt(max(stored / LARGEST_EXACT, 1.0)) * width
        case "training":
            trained = stored * _number(operator, "epochs", 4) * 3
            hidden, _, vocabulary = model_sizes(operator)
            return trained * (2 * hidden * hidden * _number(operator, "blocks", 4) + hidden * vocabulary)
        case "scored":
            return scored
        case "packs":
            return _requests(steps, tokens, operator)
        case "writing":
            requests = _requests(steps, tokens, operator)
            if getattr(operator, "model", None) is None:
                return requests * SERVED / _number(operator, "concurrent", 1)
            return requests * _parameters(operator)


def _split(steps: Mapping[str, Step], tokens: float) -> tuple[float, float]:
    """Tokens of the datastore, and those that the model scores: with the held-out ones."""
    split = getattr(steps.get("split"), "operator", None)
    if split is None:
        return 0.0, 0.0
    stored = min(float(_number(split, "tokens", 40_000)), 0.8 * tokens)
    return stored, stored + min(float(_number(split, "held_out_tokens", 20_000)), 0.2 * tokens)


def _number(operator: Any, name: str, default: float) -> float:
    value = getattr(operator, name, None)
    return float(value) if isinstance(value, int | float) and value > 0 else default


def _passes(operator: Any) -> float:
    """How often a model reads a token whose windows overlap."""
    window, stride = _number(operator, "window", 1), _number(operator, "stride", 1)
    return max(1.0, window / stride)


def model_sizes(operator: Any) -> tuple[float, float, float]:
    """(hidden width, layers, vocabulary) of an operator's model, or of a middling one where its files say nothing."""
    return _sizes_at(str(getattr(operator, "model", None)))


@functools.lru_cache(64)  # the header of a GGUF file takes 20 ms, and a plan asks thirty times
def _sizes_at(address: str) -> tuple[float, float, float]:
    try:
        sizes = describe(address)
        return float(sizes["hidden"]), float(sizes["layers"]), float(sizes["vocabulary"])
    except MnemicError:
        return 768.0, 12.0, 30_000.0


def _parameters(operator: Any) -> float:
    """Parameters that a token is multiplied with; a language model's head is among them."""
    hidden, layers, vocabulary = model_sizes(operator)
    return 12.0 * hidden * hidden * layers + (hidden * vocabulary if hasattr(operator, "window") else 0)


def loading(operator: Any) -> float:
    """The share of the seconds that a model of 150 million parameters takes to be loaded."""
    return min(0.1 + 0.9 * math.sqrt(_parameters(operator) / 1.5e8), 20.0)


def _requests(steps: Mapping[str, Step], tokens: float, operator: Any) -> float:
    """Requests to a language model that writes: every prompt about every pack."""
    packs = getattr(steps.get("packs"), "operator", None)
    prompts = getattr(operator, "prompts", (None,))
    return (max(tokens / _number(packs, "tokens", 1500), 1.0) if tokens else 0.0) * len(prompts)
