"""How a gate is trained, and whether it is used: never where fixed weights are as good on documents left out.

L-BFGS finds the gate in seconds, since it has some hundred numbers. It begins as the mixture at the best fixed weights,
and decays to it where the features say nothing. Cross-validation leaves out a fifth of the documents at a time; gate
and fixed weights are both chosen on the rest, and compared on what was left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnemic.arrays import Floats
from mnemic.memories.gate import Gate, ScoredRows, fixed_losses, losses
from mnemic.mixture import best_shares, perplexity

if TYPE_CHECKING:
    import torch

_SMALLEST = 1e-6  # deviation below which a feature says nothing
_LEAST = 1e-3  # share of a component that training begins with
_HISTORY = 10  # steps that L-BFGS remembers; each costs two dot products a step
_SCALE = 0.3  # of the first layer's random weights, in standard deviations of its input


@dataclass(frozen=True)
class GateSettings:
    """``units`` of tanh (0: a linear gate), ``decay`` of the weights, ``folds`` of documents.

    ``steps`` are those of L-BFGS at most, ``seed`` draws the first layer and the folds.
    """

    units: int = 16
    decay: float = 1e-3
    folds: int = 5
    steps: int = 80
    seed: int = 0


@dataclass(frozen=True)
class Weighing:
    """How memories are weighed: by ``gate``, or where it is None by fixed ``weights`` of their components.

    ``components`` are those of a gate, the model first; the model has what ``weights`` leave. ``fixed`` and ``gated``
    are the perplexities of both in cross-validation (None: there were too few documents), on so many ``rows`` of
    ``documents``.
    """

    components: tuple[str, ...]
    weights: tuple[float, ...]
    gate: Gate | None
    fixed: float | None = None
    gated: float | None = None
    rows: int = 0
    documents: int = 0

    def losses(self, rows: ScoredRows) -> Floats:
        """Negative log-probability of each row of ``rows``, which has the same components, [n]."""
        return fixed_losses(self.weights, rows.logs) if self.gate is None else losses(self.gate, rows)

    @property
    def shares(self) -> Gate:
        """As a gate: its own, or one whose shares are the weights whatever the context."""
        if self.gate is not None:
            return self.gate
        logits = np.log(np.maximum([1.0 - sum(self.weights), *self.weights], 1e-30))
        return Gate(self.components, (), np.zeros(0), np.ones(0), ((np.zeros((0, len(logits))), logits),))

    @property
    def reason(self) -> str:
        """Why it is one or the other, as a sentence."""
        if self.fixed is None or self.gated is None:
            return "Too few documents are held out to try a gate on some of them, so the weights are fixed."
        compared = f"{self.gated:.4g} against {self.fixed:.4g} in cross-validation by document"
        if self.gate is None:
            return f"A gate was no better than fixed weights ({compared}), so the weights are fixed."
        return f"A gate was better than fixed weights ({compared})."


def weigh(rows: ScoredRows, settings: GateSettings = GateSettings()) -> Weighing:
    """The gate of these components, or fixed weights where it is not better in cross-validation by document."""
    weights, sizes = best_fixed(rows), (len(rows), len(np.unique(rows.document)))
    compared = cross_validated(rows, settings)
    if compared is None:
        return Weighing(rows.components, weights, None, None, None, *sizes)
    fixed, gated = (perplexity(loss) for loss in compared)
    gate = train(rows, weights, settings) if gated < fixed else None
    return Weighing(rows.components, weights, gate, fixed, gated, *sizes)


def cross_validated(rows: ScoredRows, settings: GateSettings) -> tuple[Floats, Floats] | None:
    """The loss of each row, [n], at fixed weights and under a gate that were chosen without its document.

    None for less than two documents.
    """
    names, owner = np.unique(rows.document, return_inverse=True)
    folds = min(settings.folds, len(names))
    if folds < 2:
        return None
    fold = np.empty(len(names), np.int64)
    fold[np.random.default_rng(settings.seed).permutation(len(names))] = np.arange(len(names)) % folds
    fixed, gated = np.empty(len(rows)), np.empty(len(rows))
    for number in range(folds):
        out = fold[owner] == number
        rest, left_out = rows.rows(~out), rows.rows(out)
        weights = best_fixed(rest)
        fixed[out] = fixed_losses(weights, left_out.logs)
        gated[out] = losses(train(rest, weights, settings), left_out)
    return fixed, gated


def best_fixed(rows: ScoredRows) -> tuple[float, ...]:
    """The fixed weights of the memories' components that are best on these rows."""
    base, *memories = rows.logs.T
    return tuple(best_shares(base, memories)[0])


def train(rows: ScoredRows, weights: tuple[float, ...], settings: GateSettings = GateSettings()) -> Gate:
    """The gate that is best on ``rows`` under weight decay, from the fixed ``weights`` on."""
    import torch

    mean, deviation = rows.features.mean(0), rows.features.std(0)
    deviation = np.where(deviation > _SMALLEST, deviation, 1.0)
    inputs = torch.from_numpy((rows.features - mean) / deviation)
    likelihood = torch.from_numpy(np.exp(rows.logs - rows.logs.max(axis=1, keepdims=True)))
    layers = _start(len(rows.names), weights, settings)
    optimiser = torch.optim.LBFGS(
        layers,
        max_iter=settings.steps,
        tolerance_grad=1e-6,
        tolerance_change=1e-6,
        history_size=_HISTORY,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Any:
        value, gradients = loss_and_gradients(layers, inputs, likelihood, settings.decay)
        for layer, gradient in zip(layers, gradients, strict=True):
            layer.grad = gradient
        return value

    with _one_thread(), torch.no_grad():
        optimiser.step(loss)  # type: ignore[no-untyped-call]
    arrays = [layer.detach().numpy().copy() for layer in layers]
    pairs = tuple(zip(arrays[::2], arrays[1::2], strict=True))
    return Gate(rows.components, rows.names, mean, deviation, pairs)


def loss_and_gradients(
    layers: Sequence[torch.Tensor], inputs: torch.Tensor, likelihood: torch.Tensor, decay: float
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Mean of -log sum(share x ``likelihood``) with ``decay``, and its gradient by each layer: float64.

    ``inputs`` [n, f] are standardised, ``likelihood`` [n, c] is that of the true token, up to a factor for each row.
    By hand, since a graph takes longer than the products: the gradient by a logit is its share less its posterior.
    """
    import torch

    *hidden, last, bias = layers
    state = torch.tanh(torch.addmm(hidden[1], inputs, hidden[0])) if hidden else inputs
    shares = torch.softmax(torch.addmm(bias, state, last), dim=1)
    joint = shares * likelihood
    mixed = joint.sum(1, keepdim=True)
    value = -mixed.log().mean() + decay * sum((layer * layer).sum() for layer in layers[::2])
    by_logit = (shares - joint / mixed) / len(inputs)
    gradients = [state.T @ by_logit + 2 * decay * last, by_logit.sum(0)]
    if hidden:
        by_state = (by_logit @ last.T) * (1 - state * state)
        gradients = [inputs.T @ by_state + 2 * decay * hidden[0], by_state.sum(0), *gradients]
    return value, gradients


def _start(features: int, weights: tuple[float, ...], settings: GateSettings) -> list[torch.Tensor]:
    """Weights and biases, layer by layer, of a gate whose shares are ``weights`` whatever the features."""
    import torch

    shares = np.array([1.0 - sum(weights), *weights])
    bias, layers, width = np.log(np.maximum(shares, _LEAST)), list[NDArray[np.float64]](), features
    if settings.units:
        draw = np.random.default_rng(settings.seed)
        layers += [draw.normal(0.0, _SCALE / max(1, features) ** 0.5, (features, settings.units))]
        layers += [np.zeros(settings.units)]
        width = settings.units
    layers += [np.zeros((width, len(bias))), bias]
    return [torch.from_numpy(layer) for layer in layers]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums of one thread of torch, so that the bytes of a gate do not depend on the number of processors."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
