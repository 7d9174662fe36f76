"""The small systems give what the large ones define, in float64."""

from __future__ import annotations

import pytest
import torch

from mnemic.errors import ModelError
from mnemic.ids import hash_bytes
from mnemic.rewrites.moments import RIDGE, factors, packed, unpacked
from mnemic.rewrites.solve import least_squares, normalised_steps, ridge

WIDTH, FACTS, HIDDEN = 24, 5, 7


@pytest.fixture
def draw() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def normal(draw: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=draw, dtype=torch.float64)


def moment(draw: torch.Generator) -> torch.Tensor:
    rows = normal(draw, 60, WIDTH)
    return rows.T @ rows / 60


@pytest.mark.parametrize("guard", [0.0, 0.05, 3.0])
def test_the_small_system_is_the_direct_solve(draw: torch.Generator, guard: float) -> None:
    """dW = (strength (C + guard G^T G) + K^T K)^-1 K^T R, solved d x d."""
    second = moment(draw)
    keys, residuals, kept_keys = normal(draw, FACTS, WIDTH), normal(draw, FACTS, HIDDEN), normal(draw, 3, WIDTH)
    for strength in (0.1, 100.0):
        whole = strength * (second + guard * kept_keys.T @ kept_keys) + keys.T @ keys
        expected = torch.linalg.solve(whole, keys.T @ residuals)
        inward, outward = least_squares(torch.linalg.cholesky(second), strength, keys, residuals, kept_keys, guard)
        torch.testing.assert_close(inward @ outward, expected, atol=1e-8, rtol=0)


def test_a_large_strength_changes_nothing_and_orthonormal_keys_meet_their_targets(draw: torch.Generator) -> None:
    factor, none = torch.linalg.cholesky(moment(draw)), normal(draw, 0, WIDTH)
    keys, residuals = normal(draw, FACTS, WIDTH), normal(draw, FACTS, HIDDEN)
    inward, outward = least_squares(factor, 1e12, keys, residuals, none, 0.0)
    assert float((inward @ outward).abs().max()) < 1e-9
    orthonormal = (torch.linalg.qr(normal(draw, WIDTH, FACTS))[0].T) @ factor.T  # K C^-1 K^T = I
    inward, outward = least_squares(factor, 1e-8, orthonormal, residuals, none, 0.0)
    torch.testing.assert_close(orthonormal @ inward @ outward, residuals, atol=1e-6, rtol=0)


def test_guarded_keys_move_less(draw: torch.Generator) -> None:
    factor = torch.linalg.cholesky(moment(draw))
    keys, residuals = normal(draw, FACTS, WIDTH), normal(draw, FACTS, HIDDEN)
    near = keys[:2] + 0.3 * normal(draw, 2, WIDTH)
    moves = []
    for guard in (0.0, 10.0):
        inward, outward = least_squares(factor, 1.0, keys, residuals, near, guard)
        moves.append(float((near @ inward @ outward).norm()))
    assert moves[1] < 0.7 * moves[0]


def test_the_same_fact_twice_has_a_solution(draw: torch.Generator) -> None:
    factor, key, residual = torch.linalg.cholesky(moment(draw)), normal(draw, 1, WIDTH), normal(draw, 1, HIDDEN)
    twice = least_squares(factor, 1e-3, key.repeat(2, 1), residual.repeat(2, 1), normal(draw, 0, WIDTH), 0.0)
    torch.testing.assert_close(key @ twice[0] @ twice[1], residual, atol=1e-2, rtol=0)


def test_ridge_is_its_definition(draw: torch.Generator) -> None:
    inputs, steps = normal(draw, FACTS, WIDTH), normal(draw, FACTS, HIDDEN)
    expected = torch.linalg.solve(inputs.T @ inputs + torch.eye(WIDTH, dtype=torch.float64), inputs.T @ steps)
    inward, outward = ridge(inputs, steps)
    torch.testing.assert_close(inward @ outward, expected, atol=1e-10, rtol=0)


def test_steps_are_those_of_normalised_columns_and_one_row_has_some(draw: torch.Generator) -> None:
    inputs, gradients = normal(draw, FACTS, WIDTH), normal(draw, FACTS, HIDDEN)
    steps = normalised_steps(inputs, gradients, 0.5)
    for row in range(FACTS):
        size = sum(float((inputs[row, at] - inputs[:, at].mean()) / inputs[:, at].std()) ** 2 for at in range(WIDTH))
        own = (gradients[row] - gradients.mean(0)) / gradients.std(0)
        torch.testing.assert_close(steps[row], -0.5 * size * own, atol=1e-9, rtol=0)
    one = normalised_steps(inputs[:1], gradients[:1], 0.5)
    assert bool(torch.isfinite(one).all()) and float(one.abs().max()) > 0
    scaled = normalised_steps(inputs, gradients * 1e-6, 0.5)
    torch.testing.assert_close(scaled, steps, atol=1e-9, rtol=0)


def stored(whole: torch.Tensor, part: int, tokens: int, layer: int = 1) -> dict[str, object]:
    cell = packed(whole.numpy())
    sizes = {"layer": layer, "part": part, "width": len(whole), "tokens": tokens}
    return {**sizes, "moments": cell, "check": hash_bytes(cell)}


def test_parts_of_moments_add_up_to_those_of_all_tokens(draw: torch.Generator) -> None:
    keys = normal(draw, 90, WIDTH)
    parts = [stored(own.T @ own, number, len(own)) for number, own in enumerate(keys.split(25))]
    whole = keys.T @ keys / 90
    whole += torch.eye(WIDTH, dtype=torch.float64) * (RIDGE * float(whole.diagonal().mean()))
    for rows in (parts, parts[::-1]):
        factor = factors(rows, [1])[1]
        torch.testing.assert_close(factor @ factor.T, whole, atol=1e-6, rtol=0)
    one = factors([stored(keys[:1].T @ keys[:1], 0, 1)], [1])[1]
    assert bool(torch.isfinite(one).all()), "the moments of one token have a factor"


def test_moments_that_changed_or_are_not_there_are_refused(draw: torch.Generator) -> None:
    row = stored(moment(draw), 0, 10)
    with pytest.raises(ModelError, match="no moments of the keys of layer 2"):
        factors([row], [1, 2])
    with pytest.raises(ModelError, match="check differs"):
        factors([{**row, "moments": b"\0" * len(packed(moment(draw).numpy()))}], [1])
    with pytest.raises(ModelError, match="24 x 24"):
        unpacked(packed(moment(draw).numpy())[:-4], WIDTH)
