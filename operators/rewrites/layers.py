"""Layers that are edited where a recipe names none: by their share of the model's depth."""

from __future__ import annotations

from collections.abc import Sequence

from mnemic.languagemodel.describe import describe
from mnemic.rewrites.datasets import MEMIT

_SHARES = (0.13, 0.2, 0.27, 0.33)
"""Of 30 blocks 4, 6, 8 and 10, by which all of 20 facts were written (activations of early blocks hold subjects)."""

_FROM_THE_END = (3, 2)
"""UltraEdit changes late layers: of 30 blocks 27 and 28."""


def default_layers(method: str, model: str) -> tuple[int, ...]:
    """Numbers of blocks from 0, ascending, of the model at an address, of which only the header is read."""
    layers = describe(model)["layers"]
    if method == MEMIT:
        return tuple(sorted({min(round(share * layers), layers - 1) for share in _SHARES}))
    return tuple(sorted({max(layers - one, 0) for one in _FROM_THE_END}))


def layers_rule(layers: Sequence[int]) -> tuple[str, bool, str]:
    """For `operators.contracts.bounds`."""
    whole = all(type(one) is int and 0 <= one < 1 << 16 for one in layers)
    return "layers", whole and list(layers) == sorted({*layers}), "ascending numbers of blocks, such as [4, 6, 8, 10]"
