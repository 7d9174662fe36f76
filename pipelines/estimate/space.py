"""Memory and disk that a build needs, by what the datasets of banks take a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.estimate.amounts import Amounts, measured, model_sizes
from pipelines.steps import Step

_DRIVER = 0.4e9
_WORKER = 0.45e9
_TORCH = 0.5e9
_ALONE = frozenset({"cluster", "split", "imitate", "control", "decode", "gate"})
"""Steps of one worker."""

_HOLDING = frozenset({"neighbours", "imitate", "control", "decode", "teacher", "gate"})
"""Steps that hold the keys of the datastore."""

_WITH_TORCH = frozenset({"embed", "surprise", "perplexity", "denoise", "datastore"}) | _HOLDING | {"blocks", "calls"}

_VERSIONS = 1.15
"""Of the bytes of a bank: what older versions, indexes and logs take."""


@dataclass(frozen=True)
class Space:
    """Bytes of ``memory`` at the most costly step, all processes together, and of ``disk`` that are added."""

    memory: float = 0.0
    disk: float = 0.0


def space(
    amounts: Amounts, parts: Mapping[str, float], steps: Mapping[str, Step], processors: int, engine: str
) -> Space:
    """The memory and disk of a build whose steps have these ``parts`` of ``amounts`` to do."""
    working = [name for name, part in parts.items() if part and name in steps]
    disk = sum(parts[name] * _disk(name, amounts, steps) for name in working) * _VERSIONS
    workers = processors if engine == "ray" else 1
    own = [_memory(name, amounts, steps) * (1 if name in _ALONE else workers) for name in working]
    return Space(_DRIVER + max(own, default=0.0), disk)


def _disk(name: str, amounts: Amounts, steps: Mapping[str, Step]) -> float:
    """Bytes that a step writes."""
    step = steps[name]
    scored = measured("scored", amounts, step, steps)
    operator = getattr(step, "operator", None)
    match name:
        case "read":
            return amounts.characters + 200 * amounts.documents
        case "signature":
            return 270 * amounts.documents
        case "deduplicate":
            return 300 * amounts.documents
        case "units":
            return amounts.characters + 60 * amounts.units
        case "embed":
            return 2.0 * _width(operator) * amounts.units
        case "segment":
            return amounts.characters * 1.5 + (4.0 * 384 + 200) * amounts.events
        case "tokens" | "suffixes":
            return 1.3 * amounts.characters
        case "datastore":
            return 4.2 * _width(operator) * scored
        case "neighbours":
            return 8.0 * getattr(operator, "k", 256) * scored
        case "teacher":
            return 3.2 * getattr(operator, "support", 64) * scored
        case "imitate" | "control" | "decode" | "blocks":
            return 48.0 * _width(operator) ** 2 * getattr(operator, "blocks", 2)
        case "release":
            return 400 * amounts.events
    return 0.0


def _memory(name: str, amounts: Amounts, steps: Mapping[str, Step]) -> float:
    """Bytes of one worker."""
    operator = getattr(steps[name], "operator", None)
    if name in _WITH_TORCH:
        model = 4.0 * _parameters(operator)
        rows = 4.0 * _width(operator) * measured("scored", amounts, steps[name], steps) if name in _HOLDING else 0.0
        return _WORKER + _TORCH + 1.5 * model + rows
    return _WORKER


def _width(operator: object) -> float:
    return model_sizes(operator)[0]


def _parameters(operator: object) -> float:
    hidden, layers, vocabulary = model_sizes(operator)
    return 12.0 * hidden * hidden * layers + hidden * vocabulary if getattr(operator, "model", None) else 0.0
