"""Muon: momentum, made orthogonal, for the two-dimensional weights inside a network (Jordan et al., 2024).

An update is the nearest orthogonal matrix to the momentum, so that directions which few examples ask for are learnt as
fast as those that many do; on rare facts that helps most (arXiv 2509.26030). The five steps of Newton's iteration with
the published coefficients bring all singular values near 1. They multiply the smaller side's Gram matrix alone, which
takes two thirds of the operations of the usual form: with P_k = a I + b A_k + c A_k^2 the next Gram matrix is
P_k A_k P_k, and the update is the product of all P_k with the momentum.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

A, B, C = 3.4445, -4.7750, 2.0315
STEPS = 5
MOMENTUM = 0.95


def orthogonal(matrix: Tensor) -> Tensor:
    """The matrix with its singular values moved to between about 0.7 and 1.2; float32, of the same shape."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    scaled = wide.float() / (wide.norm() + 1e-7)
    gram = scaled @ scaled.T
    whole: Tensor | None = None
    for step in range(STEPS):
        factor = A * torch.eye(len(gram), device=gram.device) + B * gram + C * (gram @ gram)
        whole = factor if whole is None else factor @ whole
        if step + 1 < STEPS:
            gram = factor @ gram @ factor
    assert whole is not None
    found: Tensor = whole @ scaled
    return found if wide is matrix else found.T


class Muon(torch.optim.Optimizer):
    """Nesterov momentum of .95, orthogonal updates scaled by sqrt(max(1, rows / columns)), decoupled weight decay."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].lerp_(weight.grad, 1.0 - MOMENTUM)
                update = orthogonal(weight.grad.lerp(momentum, MOMENTUM))
                scale = max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5
                weight.mul_(1.0 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"] * scale)
