"""The epochs of a training: one loop for all students.

A student gives the units that are shuffled (rows of the datastore, or windows of text), the batch of a step, and the
hidden states that its memory's head reads. Everything else is the same for all students: the loss, the optimisers and
their rates, the measurements, when to stop, and how a checkpoint is made.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import StepError
from mnemic.mixture import best_weight, perplexity
from operators.contracts import Progress
from operators.train.checkpoint import (
    Checkpoint,
    Point,
    Trainable,
    TrainingState,
    pack_state,
    restore_moments,
    unpack_training_state,
)
from operators.train.group import ProcessGroup, SingleProcess
from operators.train.labels import Labels

if TYPE_CHECKING:
    import torch

POINTS = 20
"""Points of a curve in an epoch."""

_BETAS = (0.9, 0.95)
_EPSILON = 1e-8
_HALVINGS = 4
_MATTERS = 0.05  # nats
_BATCHES = (128, 2048)
_STEPS = 20


class LoopSettings(Protocol):
    """What the loop asks of the settings of a training; `Training` says what each means."""

    @property
    def epochs(self) -> int: ...

    @property
    def patience(self) -> int: ...

    @property
    def batch(self) -> int | None: ...

    @property
    def optimiser(self) -> str: ...

    @property
    def learning_rate(self) -> float: ...

    @property
    def matrix_rate(self) -> float: ...

    @property
    def warmup(self) -> int: ...

    @property
    def alpha(self) -> float: ...

    @property
    def weight_decay(self) -> float: ...

    @property
    def seed(self) -> int: ...

    def half(self, device: str) -> bool: ...

    def identity(self) -> dict[str, Any]: ...


class Learner(Protocol):
    """A memory and what it is trained on, on one device."""

    @property
    def memory(self) -> Trainable: ...

    @property
    def rows(self) -> int:
        """Rows of the store: what an epoch trains on."""

    @property
    def units(self) -> int:
        """The number of things that are shuffled."""

    @property
    def matrices(self) -> Sequence[torch.nn.Parameter]:
        """The two-dimensional weights inside, for Muon."""

    @property
    def flops(self) -> float:
        """Floating-point operations of the products of an epoch, forwards and backwards."""

    @property
    def base_logprob(self) -> NDArray[np.float32]:
        """The language model's log-probabilities of the validation tokens, float32 [v]."""

    def batches(self, order: NDArray[np.int64], rows: int) -> list[NDArray[np.int64]]:
        """The shuffled units, int64 [units], as batches of about ``rows`` rows; any order gives as many."""

    def rows_in(self, batch: NDArray[np.int64]) -> int: ...

    def passes(self, batch: NDArray[np.int64]) -> Iterator[tuple[Any, Labels]]:
        """The forward passes of a batch, int64 [units]: the inputs of `trunk`, and the labels of its rows."""

    def trunk(self, inputs: Any) -> torch.Tensor:
        """The hidden states that the head reads, one a row: float [rows, width]."""

    def held_out(self) -> NDArray[np.float32]:
        """The memory's log-probabilities of the validation tokens, float32 [v]."""


@runtime_checkable
class HasTable(Protocol):
    """A `Learner` with a table of which a step moves a few rows."""

    def table_optimiser(self) -> torch.optim.Optimizer:
        """That of its rows, at their peak rate."""


def train(
    settings: LoopSettings,
    student: Learner,
    checkpoint: bytes | None,
    device: str,
    progress: Progress,
    group: ProcessGroup,
) -> Iterator[Checkpoint]:
    """Yield a checkpoint after each epoch that ``checkpoint`` does not cover; only rank 0 of a group yields."""
    optimisers = make_optimisers(settings, student, device)
    state = TrainingState()
    if checkpoint is not None:
        state = unpack_training_state(checkpoint, settings.identity())
        restore_moments(checkpoint, student.memory, optimisers)
    else:
        group.broadcast_weights(student.memory)
    while state.epoch < settings.epochs and state.epoch - state.best < settings.patience:
        metrics, curve = _epoch(settings, student, optimisers, state.epoch, device, progress, group)
        if len(student.base_logprob):
            measured = validate(student.base_logprob, student.held_out()) if group.first else {}
            names = ("weight", "validation_perplexity", "validation_base_perplexity")
            agreed = dict(zip(names, group.broadcast([measured.get(name, 0.0) for name in names]), strict=True))
            end = curve[-1]
            curve += [Point(end.step, end.rows, name, agreed[name]) for name in names[:2]]
            metrics |= agreed
        state = state.after(metrics.get("validation_perplexity"))
        if group.first:
            packed = pack_state(student.memory, optimisers, state, settings.identity())
            cost = {
                "parameters": float(sum(weight.numel() for weight in student.memory.parameters())),
                "trained_tokens": float(student.rows * state.epoch),
                "training_flops": student.flops * state.epoch,
            }
            yield Checkpoint(state.epoch, student.memory.to_bytes(), packed, metrics | cost, tuple(curve))


def _epoch(
    settings: LoopSettings,
    student: Learner,
    optimisers: Sequence[torch.optim.Optimizer],
    epoch: int,
    device: str,
    progress: Progress,
    group: ProcessGroup,
) -> tuple[dict[str, float], list[Point]]:
    """Every row once, in an order drawn from (seed, epoch)."""
    import torch

    student.memory.train()
    count = student.rows
    size = settings.batch or min(_BATCHES[1], max(_BATCHES[0], 1 << round(math.log2(count / _STEPS))))
    order = np.random.default_rng((settings.seed, epoch)).permutation(student.units)
    batches = student.batches(order, size)
    steps = len(batches)
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    seen, last, curve = 0, np.zeros(3), list[Point]()  # last: the two sums and the rows at the last point
    for index, batch in enumerate(batches):
        step = epoch * steps + index
        share = _set_rates(settings, optimisers, step, steps * settings.epochs)
        sums += training_step(student, optimisers, batch, settings.half(device), device, group)
        seen += student.rows_in(batch)
        if (index + 1) * POINTS // steps != index * POINTS // steps:
            now = np.array([*group.all_reduce(sums.clone()).tolist(), seen])
            kl, cross_entropy = (now - last)[:2] / (now - last)[2]
            last = now
            values = {**_losses(settings, kl, cross_entropy), "learning_rate": settings.learning_rate * share}
            curve += [Point(step + 1, epoch * count + seen, name, value) for name, value in values.items()]
        progress(step + 1, steps * settings.epochs)
    metrics = _losses(settings, *(last[:2] / count))
    if not math.isfinite(metrics["train_cross_entropy"]):
        raise StepError(f"The loss became NaN or infinite in epoch {epoch + 1}; lower matrix_rate or learning_rate.")
    return metrics, curve


def next_epoch(
    settings: LoopSettings, student: Learner, checkpoint: bytes | None, device: str, progress: Progress
) -> Checkpoint:
    """The first epoch that ``checkpoint`` does not cover, by one process."""
    (epoch,) = itertools.islice(train(settings, student, checkpoint, device, progress, SingleProcess()), 1)
    return epoch


def training_step(
    student: Learner,
    optimisers: Sequence[torch.optim.Optimizer],
    batch: NDArray[np.int64],
    half: bool,
    device: str,
    group: ProcessGroup,
) -> torch.Tensor:
    """One step on a batch; the sums of KL and cross-entropy over this process's rows, float64 [2]."""
    import torch

    from operators.train.loss import head_loss

    memory, count = student.memory, student.rows_in(batch)
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=True)
    for shard in group.shards(batch):
        for inputs, labels in student.passes(shard):
            with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=half):
                state = student.trunk(inputs)
            state = state.bfloat16() if half else state
            loss, scores = head_loss(state, memory.head.weight, labels.ids, labels.target)
            torch.autograd.backward(loss * (len(state) / count))
            sums += labels.losses(scores)
    group.sum_gradients(
        [weight for optimiser in optimisers for part in optimiser.param_groups for weight in part["params"]]
    )
    for optimiser in optimisers:
        optimiser.step()
    return sums


def make_optimisers(settings: LoopSettings, student: Learner, device: str) -> list[torch.optim.Optimizer]:
    """The optimisers of all weights that are not frozen, each at its peak rate; a step takes a share of it."""
    import torch

    from operators.train.muon import Muon

    matrices = list(student.matrices) if settings.optimiser == "muon" else []
    inside = set(matrices)
    others = [weight for weight in student.memory.parameters() if weight.requires_grad and weight not in inside]
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [{"params": others}],  # a list of its own: there may be none
            lr=settings.learning_rate,
            betas=_BETAS,
            eps=_EPSILON,
            weight_decay=settings.weight_decay,
            fused=True,
        )
    ]
    if matrices:
        dtype = torch.bfloat16 if settings.half(device) else torch.float32
        optimisers.append(Muon(matrices, settings.matrix_rate, settings.weight_decay, dtype))
    if isinstance(student, HasTable):
        optimisers.append(student.table_optimiser())
    return optimisers


def _set_rates(settings: LoopSettings, optimisers: Sequence[torch.optim.Optimizer], step: int, steps: int) -> float:
    """Set the rates of a step, and return their share of the peak rates."""
    share = (1.0 - step / steps) * min(1.0, (step + 1) / max(1, settings.warmup))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = optimiser.defaults["lr"] * share
    return share


def _losses(settings: LoopSettings, kl: float, cross_entropy: float) -> dict[str, float]:
    return {
        "train_kl": float(kl),
        "train_cross_entropy": float(cross_entropy),
        "train_loss": float(settings.alpha * kl + (1.0 - settings.alpha) * cross_entropy),
    }


def validate(base_logprob: NDArray[np.float32], scores: NDArray[np.float32]) -> dict[str, float]:
    """Perplexity of the base, and of the mixture with the best weight, from log-probabilities of tokens, [v] each."""
    weight, mixed = best_weight(base_logprob, scores)
    base = perplexity(-base_logprob.astype(np.float64))
    return {"weight": weight, "validation_perplexity": mixed, "validation_base_perplexity": base}


def rescale_final_norm(norm: torch.nn.Module, logits: torch.Tensor, place: torch.Tensor) -> None:
    """Scale the final norm so that the untrained memory is no surer than it is right, by some of the store's rows.

    ``logits``, float32 [n, tokens], are the memory's before the scaling, ``place``, int64 [n], the true tokens. The
    head reads a hidden state from further below than it was made for. Its first guesses are worse than uniform ones
    (14 nats against 8.4 on documentation), and the first steps would go into undoing them.
    """
    import torch

    losses = [torch.nn.functional.cross_entropy(logits * 2.0**-step, place).item() for step in range(_HALVINGS)]
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.mul_(2.0 ** -int(np.argmax(np.array(losses) <= min(losses) + _MATTERS)))
