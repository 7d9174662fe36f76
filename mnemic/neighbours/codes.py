"""Keys as integers of eight bits: candidates are chosen by integer products, which are the same on every machine.

A key is centred, turned by a random rotation and rounded to 127 steps of its largest component. The rotation spreads a
few large components, as language models have them, over all; without it they would set the step of the others. The
squared distance of two keys is then estimated as |q|^2 + |k|^2 - 2 q k with exact lengths and a rounded product. Its
error is 0.02, where the 256 nearest keys of SmolLM2 on documentation are 26 away on average. A processor with VNNI
multiplies such integers four times as fast as float32; where none does, products in float32 give the same integers.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

_STEPS = 127
_ROWS = 4096  # of one rotation: of constant shape, so that a key's code does not depend on the keys beside it
_EXACT_FLOAT = 1 << 24
_LENGTHS = 1 << 16  # keys at least of which the mean is taken, where there are so many


@dataclass(frozen=True)
class Codes:
    """Keys as integers: ``code`` int8 [n, d], ``scale`` (of a step) and ``norm`` (the squared length) float32 [n]."""

    code: torch.Tensor
    scale: torch.Tensor
    norm: torch.Tensor

    def __getitem__(self, rows: slice | torch.Tensor) -> Codes:
        return Codes(self.code[rows], self.scale[rows], self.norm[rows])

    def __len__(self) -> int:
        return len(self.code)

    def values(self) -> torch.Tensor:
        """The vectors that the codes stand for: float32 [n, d]."""
        return self.code.float() * self.scale[:, None]


@dataclass(frozen=True)
class Coder:
    """Subtracts ``mean`` [d] from a key and multiplies it by ``rotation`` [d, d]; both float32.

    ``together`` is the number of keys of one rotation, to which fewer are padded: thousands for a store, a few for
    queries that come one by one.
    """

    mean: torch.Tensor
    rotation: torch.Tensor
    together: int = _ROWS

    @classmethod
    def of(cls, keys: torch.Tensor) -> Coder:
        """A coder with the mean of ``keys``, float [n, d]: the `sampled` ones of a store."""
        import torch

        return cls(keys.double().mean(0).float(), torch.from_numpy(_rotation(keys.shape[1])).to(keys.device))

    @staticmethod
    def sampled(rows: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Rows whose mean is taken, of a store of so many, int64 [m]: 65,536 of them, or up to twice as many."""
        return np.arange(0, rows, max(1, rows // _LENGTHS))

    def codes(self, keys: torch.Tensor) -> Codes:
        """The codes of ``keys`` [n, d] of any float type."""
        import torch

        code = torch.empty(keys.shape, dtype=torch.int8, device=keys.device)
        scale, norm = (torch.empty(len(keys), device=keys.device) for _ in range(2))
        for begin in range(0, len(keys), self.together):
            part = keys[begin : begin + self.together].float() - self.mean
            size = len(part)
            turned = (torch.nn.functional.pad(part, (0, 0, 0, self.together - size)) @ self.rotation)[:size]
            codes = rounded(turned)
            code[begin : begin + size], scale[begin : begin + size] = codes.code, codes.scale
            norm[begin : begin + size] = codes.norm
        return Codes(code, scale, norm)


def rounded(vectors: torch.Tensor) -> Codes:
    """The codes of vectors, float32 [n, d], without centring or rotation; ``norm`` is of the vectors themselves."""
    import torch

    scale = (vectors.abs().amax(1) / _STEPS).clamp(min=torch.finfo(torch.float32).tiny)
    return Codes((vectors / scale[:, None]).round_().to(torch.int8), scale, vectors.square().sum(1))


def products(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """``one`` [n, d] times ``other`` [m, d] transposed, of int8: int32 [n, m], without rounding."""
    import torch

    if _has_integer_products(str(one.device)) and (one.device.type == "cpu" or _suits_cuda(one, other)):
        return torch._int_mm(one, other.T)
    parts = _EXACT_FLOAT // _STEPS**2  # components whose product is a float32 without rounding
    columns = range(0, one.shape[1], parts)
    return sum(  # type: ignore[return-value]
        (one[:, at : at + parts].float() @ other[:, at : at + parts].float().T).to(torch.int32) for at in columns
    )


def _suits_cuda(one: torch.Tensor, other: torch.Tensor) -> bool:
    return len(one) > 16 and len(other) % 8 == 0 and one.shape[1] % 8 == 0


@functools.cache
def _has_integer_products(device: str) -> bool:
    """Whether torch multiplies integers on this device, and without saturation, as older processors do."""
    import torch

    largest = torch.full((32, 64), _STEPS, dtype=torch.int8, device=device)
    try:
        return bool((torch._int_mm(largest, largest.T) == 64 * _STEPS**2).all())
    except (RuntimeError, AttributeError, NotImplementedError):
        return False


@functools.lru_cache(maxsize=2)
def _rotation(width: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """A random rotation, float32 [width, width]; always the same one."""
    columns, signs = np.linalg.qr(np.random.default_rng(0).standard_normal((width, width)))
    return (columns * np.sign(np.diag(signs))).astype(np.float32)
