"""Updates of Muon are nearly the orthogonal factor of the momentum."""

from __future__ import annotations

import pytest
import torch

from operators.train.muon import MOMENTUM, Muon, orthogonal


@pytest.mark.parametrize("shape", [(24, 96), (96, 24), (1, 7)])
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    direction = orthogonal(matrix)
    assert direction.shape == matrix.shape
    values = torch.linalg.svdvals(direction)
    assert values.min() > 0.6 and values.max() < 1.3
    left, _, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    core = left.T @ direction.double() @ right.T
    assert (core - torch.diag(torch.diagonal(core))).abs().max() < 1e-3


def test_it_is_the_published_iteration() -> None:
    matrix = torch.randn(20, 50, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    state = matrix / matrix.norm()
    for _ in range(5):
        gram = state @ state.T
        state = 3.4445 * state + (-4.7750 * gram + 2.0315 * gram @ gram) @ state
    torch.testing.assert_close(orthogonal(matrix.float()).double(), state, rtol=1e-3, atol=1e-4)


def test_half_precision_keeps_the_directions_of_a_momentum_of_low_rank() -> None:
    generator = torch.Generator().manual_seed(7)
    matrix = torch.randn(64, 3, generator=generator) @ torch.randn(3, 256, generator=generator)
    matrix += 1e-6 * torch.randn(64, 256, generator=generator)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    cores = [left.T[:3] @ of @ right.T[:, :3] for of in (orthogonal(matrix), orthogonal(matrix, torch.bfloat16))]
    assert (cores[0] - cores[1]).norm() < 0.05 * cores[0].norm()
    assert torch.linalg.svdvals(orthogonal(matrix, torch.bfloat16)).max() < 1.3  # rounding in the others stays small


def test_a_step_is_nesterov_momentum_made_orthogonal() -> None:
    weight = torch.nn.Parameter(torch.randn(48, 12, generator=torch.Generator().manual_seed(1)))
    before = weight.detach().clone()
    gradients = [torch.randn(48, 12, generator=torch.Generator().manual_seed(seed)) for seed in (2, 3)]
    optimiser = Muon([weight], lr=0.1, weight_decay=0.5)
    momentum, expected = torch.zeros_like(before), before
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimiser.step()
        momentum = MOMENTUM * momentum + (1 - MOMENTUM) * gradient
        update = orthogonal((1 - MOMENTUM) * gradient + MOMENTUM * momentum)
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * 2.0 * update
    torch.testing.assert_close(weight.detach(), expected, rtol=1e-4, atol=1e-5)


def test_a_weight_without_gradient_stays() -> None:
    weight = torch.nn.Parameter(torch.ones(3, 3))
    Muon([weight], lr=0.1).step()
    assert (weight == 1).all()
