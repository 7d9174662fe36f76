"""The cost of a training in floating-point operations of its matrix products: a number without a clock.

A product of a matrix with a row takes two operations for each weight, and its two gradients twice as many: six a weight
and row (Kaplan et al., arXiv 2001.08361, section 2.1). Norms, activations, the softmax over the head and the optimiser
are left out, as is usual; so is attention for students that have none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def matrix_flops(matrices: Iterable[torch.Tensor], rows: int) -> float:
    """Operations of training these weights, [n, m] each, on so many rows; an embedding look-up is no product."""
    return 6.0 * sum(matrix.numel() for matrix in matrices) * rows


def frozen_flops(layers: Iterable[torch.nn.Module], head: torch.Tensor, rows: int) -> float:
    """Operations of a training through ``layers`` and ``head``, which stay: four a weight and row."""
    frozen = [weight for layer in layers for weight in layer.parameters() if weight.dim() == 2]
    return matrix_flops([*frozen, head], rows) * 2 / 3


def attention_flops(width: int, lengths: Iterable[int]) -> float:
    """Operations of one causal attention layer over sequences of these lengths; ``width`` is heads times their width.

    Scores and mixing are two products of length x length x width, of which causality needs half; their gradients twice
    as much again.
    """
    return 6.0 * width * float(sum(length * length for length in lengths))
