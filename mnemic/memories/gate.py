"""The gate: weights of the model and of memories that depend on the context.

A fixed weight asks a memory as much where it has the text itself as where it has never seen it. The gate reads how sure
everybody is, before the token is seen, and gives each its share: p = sum of share(features) p_component, the shares a
softmax over the model and the components of the memories. It is linear, or has a layer of tanh units; its features are
standardised on the rows that it is trained on. He et al. (arXiv 2109.04212) weigh kNN-LM so; with five features of a
suffix, the gate is worth more than a further memory (documentation, SmolLM2: an MLP memory alone 12.79 -> 12.04).

Everything is float64, in nats. Nothing is random but a seed: equal rows in an equal order give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.arrays import Floats
from mnemic.errors import ModelError
from mnemic.facts import check_types, mapping

BASE = "base"
"""The component that is the model itself, always the first."""

_FORMAT = "mnemic-gate-1"
_LIMIT = 1 << 16  # numbers of one array of a stored gate


@dataclass(frozen=True)
class Gate:
    """Shares of ``components`` (the model first) for ``features``, by name.

    ``mean`` and ``deviation`` [f] standardise features; each layer is (weights [in, out], bias [out]), tanh between.
    """

    components: tuple[str, ...]
    features: tuple[str, ...]
    mean: Floats
    deviation: Floats
    layers: tuple[tuple[Floats, Floats], ...]

    def shares(self, features: Floats) -> Floats:
        """The share of each component for rows of ``features`` [n, f]: [n, c], each row sums to 1."""
        return softmax(self.logits(features))

    def logits(self, features: Floats) -> Floats:
        """Of the shares, [n, c]."""
        state = (np.asarray(features, np.float64) - self.mean) / self.deviation
        *hidden, (weights, bias) = self.layers
        for inner, offset in hidden:
            state = np.tanh(state @ inner + offset)
        logits: Floats = state @ weights + bias
        return logits

    def as_json(self) -> str:
        """The gate as it is stored."""
        layers = [{"weights": weights.tolist(), "bias": bias.tolist()} for weights, bias in self.layers]
        values = {"mean": self.mean.tolist(), "deviation": self.deviation.tolist(), "layers": layers}
        return json.dumps({"format": _FORMAT, "components": self.components, "features": self.features, **values})

    @classmethod
    def from_json(cls, text: str) -> Gate:
        """The gate of `as_json`. Raises `ModelError` for anything else."""
        facts = mapping(text, "The gate")
        if facts.get("format") != _FORMAT:
            raise ModelError(
                f"The gate has the format {facts.get('format')!r:.40} and this version reads {_FORMAT!r}; install the "
                "mnemic that wrote it, or build the gate again."
            )
        check_types(facts, {"components": list, "features": list, "layers": list}, "The gate")
        try:
            layers = tuple((_array(one["weights"], 2), _array(one["bias"], 1)) for one in facts["layers"])
            gate = cls(
                tuple(map(str, facts["components"])),
                tuple(map(str, facts["features"])),
                _array(facts["mean"], 1),
                _array(facts["deviation"], 1),
                layers,
            )
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise ModelError("The gate holds arrays that are none; build it again.") from error
        gate._refuse_shapes()
        return gate

    def _refuse_shapes(self) -> None:
        sizes = [len(self.features), *(len(bias) for _, bias in self.layers)]
        shapes = [weights.shape for weights, _ in self.layers]
        fits = shapes == list(pairwise(sizes)) and sizes[-1] == len(self.components)
        if not (self.layers and fits and len(self.mean) == len(self.deviation) == sizes[0]):
            raise ModelError("The gate has arrays that do not fit together; build it again.")
        if not (self.deviation > 0).all() or self.components[:1] != (BASE,):
            raise ModelError("The gate has deviations that are none, or no share for the model; build it again.")


@dataclass(frozen=True)
class ScoredRows:
    """What a gate is trained and measured on: ``logs`` [n, c] are log p of the true token, -inf where it has none.

    ``components`` name the columns of ``logs``, the model first; ``names`` those of ``features`` [n, f]. ``document``
    [n] says whose token a row is: documents are what cross-validation leaves out.
    """

    components: tuple[str, ...]
    names: tuple[str, ...]
    logs: Floats
    features: Floats
    document: NDArray[Any]

    def __len__(self) -> int:
        return len(self.logs)

    def rows(self, chosen: NDArray[Any]) -> ScoredRows:
        return ScoredRows(self.components, self.names, self.logs[chosen], self.features[chosen], self.document[chosen])


def losses(gate: Gate, rows: ScoredRows) -> Floats:
    """Negative log-probability of each row under the gated mixture, float64 [n].

    Raises `ModelError` where the rows have other features than the gate was trained on.
    """
    if rows.names != gate.features or rows.components != gate.components:
        raise ModelError(
            f"The gate of {' + '.join(gate.components)} was trained on other features than these rows have; build the "
            "gates of the bank again (`mnemic build --anew gate`)."
        )
    return -_log_sum(np.log(np.maximum(gate.shares(rows.features), 1e-300)) + rows.logs)


def fixed_losses(weights: Sequence[float], logs: Floats) -> Floats:
    """The same for fixed ``weights`` of the memories' components; the model has the rest."""
    shares = np.array([max(0.0, 1.0 - sum(weights)), *weights])
    with np.errstate(divide="ignore"):
        return -_log_sum(np.log(shares) + logs)


def softmax(logits: Floats) -> Floats:
    """Shares of ``logits`` [n, c], each row sums to 1."""
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = weights / weights.sum(axis=1, keepdims=True)
    return shares


def _log_sum(logs: Floats) -> Floats:
    """log of the sum of exp, [n], for ``logs`` [n, c]; -inf where all are."""
    largest = logs.max(axis=1)
    finite = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(divide="ignore"):
        total: Floats = finite + np.log(np.exp(logs - finite[:, None]).sum(axis=1))
    return total


def _array(values: Any, dimensions: int) -> Floats:
    array = np.asarray(values, np.float64)
    if array.ndim != dimensions or array.size > _LIMIT or not np.isfinite(array).all():
        raise ValueError("an array of another form")
    return array
