"""The matrices of an edit, in float64, by systems as large as the number of facts.

An edit adds x A B to what a projection gives for x, so its change of the matrix has the rank of its facts.

* MEMIT (Meng et al., arXiv 2210.07229): least squares of the residuals R over keys K, with the keys of other texts kept
  where they are by their second moments C: A B = (strength C + K^T K)^-1 K^T R.
* UltraEdit (Gu et al., arXiv 2505.14679): A B = (H^T H + I)^-1 H^T V, for what the layer reads, H, and steps V against
  normalised gradients.

Both are solved by the identity (M + W^T W)^-1 W^T = M^-1 W^T (I + W M^-1 W^T)^-1 (Woodbury).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_LEAST = 1e-12


def least_squares(
    factor: torch.Tensor,
    strength: float,
    keys: torch.Tensor,
    residuals: torch.Tensor,
    guarded: torch.Tensor,
    guard: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """A [d, n] and B [n, o] with A B = (strength (C + guard G^T G) + K^T K)^-1 K^T R, float64.

    ``factor`` is the lower Cholesky factor of C, [d, d]; ``keys`` are K, [n, d]; ``residuals`` R, [n, o]; ``guarded``
    are keys G, [m, d], whose outputs are to stay, weighed by ``guard``.
    """
    import torch

    rows = torch.cat([keys, guarded * (strength * guard) ** 0.5])
    spread = torch.cholesky_solve(rows.T, factor) / strength
    inner = torch.eye(len(rows), dtype=rows.dtype) + rows @ spread
    inverse = torch.linalg.inv((inner + inner.T) / 2)
    return (spread @ inverse)[:, : len(keys)].contiguous(), residuals


def normalised_steps(inputs: torch.Tensor, gradients: torch.Tensor, rate: float) -> torch.Tensor:
    """Steps -rate |h|^2 g, [n, o], of columns h, g of [n, d], [n, o] that are normalised over the rows, float64.

    Columns have mean 0 and variance 1. A single row has no variance: it is divided by its root mean square.
    """

    def normalised(rows: torch.Tensor) -> torch.Tensor:
        if len(rows) == 1:
            return rows / rows.pow(2).mean().sqrt().clamp(min=_LEAST)
        return (rows - rows.mean(0)) / rows.std(0).clamp(min=_LEAST)

    return -rate * normalised(inputs).pow(2).sum(1, keepdim=True) * normalised(gradients)


def ridge(inputs: torch.Tensor, steps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A [d, n] and B [n, o] with A B = (H^T H + I)^-1 H^T V, for H ``inputs`` [n, d] and V ``steps``, float64."""
    import torch

    inner = inputs @ inputs.T + torch.eye(len(inputs), dtype=inputs.dtype)
    return torch.linalg.solve(inner, inputs).T.contiguous(), steps
