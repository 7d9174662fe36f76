"""How much a memory weighs, token by token: always the same, fading over what is generated, or by a function.

A schedule is asked with positions. In `generate`, position 0 is the first generated token, for every row of a batch,
however its prompt is padded; what the prompt predicts within itself counts as 0 too. In a forward pass outside of
`generate` position 0 is the prediction of a row's second token, and padding, which ``attention_mask`` tells, does not
count. Neither depends on whether there is a key-value cache.

`Unrolling` is PEMA's (arXiv 2311.08590): the memory leads into the text, 0.9 at first, and then leaves it to the model.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnemic.attach.output.gating import Gated
from mnemic.errors import ModelError

if TYPE_CHECKING:
    import torch

    Schedule = Callable[[torch.Tensor], torch.Tensor | float] | Gated
else:
    Schedule = Callable[..., Any]
"""positions, int64 [rows] -> weight of each, between 0 and 1: float [rows] or one number."""

_ROUNDING = 1e-6


@dataclass(frozen=True)
class Constant:
    """The same weight everywhere."""

    weight: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", checked_weight(self.weight))

    def __call__(self, positions: torch.Tensor) -> float:
        return self.weight


@dataclass(frozen=True)
class Unrolling:
    """From ``start`` to ``end`` in even steps over the first ``tokens`` generated tokens, and ``end`` from then on."""

    start: float = 0.9
    end: float = 0.0
    tokens: int = 64

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", checked_weight(self.start))
        object.__setattr__(self, "end", checked_weight(self.end))
        tokens = number(self.tokens)
        if tokens is None or not tokens >= 1:
            raise ModelError(f"A weight unrolls over at least 1 token, got {self.tokens!r}; give a larger number.")
        object.__setattr__(self, "tokens", tokens)

    def __call__(self, positions: torch.Tensor) -> torch.Tensor:
        return self.start + (self.end - self.start) * (positions / self.tokens).clamp(max=1.0)


def schedules(weights: Sequence[float | Schedule]) -> list[Schedule]:
    """Numbers become `Constant`. Raises `ModelError` where they are no weights, or sum to more than 1."""
    functions = [_schedule(weight) for weight in weights]
    shares(functions, None)
    return functions


def shares(weights: Sequence[Schedule], positions: torch.Tensor | None) -> list[float | torch.Tensor]:
    """The weight of each memory at ``positions``: a number, or float32 [rows, 1]; without positions, of constants.

    Memories with a gate are left out: it divides what these leave.
    Raises `ModelError` where weights are outside 0 to 1, or sum to more than 1.
    """
    import torch

    parts: list[float | torch.Tensor] = []
    for schedule in weights:
        if isinstance(schedule, Gated):
            continue
        if isinstance(schedule, Constant):
            parts.append(schedule.weight)
        elif positions is not None:
            weight = torch.as_tensor(schedule(positions), dtype=torch.float32, device=positions.device)
            if weight.dim() and weight.shape != positions.shape:
                raise ModelError(
                    f"A schedule gave weights of shape {tuple(weight.shape)} for {len(positions)} positions; let it "
                    "give one number, or one for each position."
                )
            if not bool(((weight >= 0.0) & (weight <= 1.0)).all()):  # also where it is not a number
                raise ModelError("A schedule gave a weight that is not between 0 and 1; clamp what it computes.")
            parts.append(weight.expand(positions.shape)[:, None])
    total = sum(parts)
    if bool(total > 1.0 + _ROUNDING if isinstance(total, int | float) else (total > 1.0 + _ROUNDING).any()):
        each = " + ".join(f"{weight:g}" for weight in parts if isinstance(weight, float))
        raise ModelError(
            f"The weights of the memories sum to more than 1 ({each or 'by their schedules'}), and nothing is left for "
            "the model; lower them, or leave them out to have them tuned together."
        )
    return parts


def _schedule(weight: float | Schedule) -> Schedule:
    if isinstance(weight, Gated) or (number(weight) is None and callable(weight)):
        return weight
    return Constant(checked_weight(weight))


def checked_weight(weight: Any) -> float:
    """``weight`` as a number. Raises `ModelError` where it is none between 0 and 1."""
    value = number(weight)
    if value is None or not 0.0 <= value <= 1.0:
        raise ModelError(
            f"A memory is attached with a weight between 0 and 1, or a schedule of them, got {weight!r}; the release "
            "states its best."
        )
    return float(value)


def number(value: Any) -> float | None:
    """A number of Python, NumPy or torch (of no dimension) as one of Python; None for anything else."""
    if isinstance(value, numbers.Real):  # NumPy's are registered, but not its truth values
        return None if isinstance(value, bool) else _plain(value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return number(value.item())
    return None


def _plain(value: numbers.Real) -> float:
    return int(value) if isinstance(value, numbers.Integral) else float(value)
