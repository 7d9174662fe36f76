"""Keys and values of all layers as one contiguous blob, and back.

Layer by layer, so that the first can start while others are read: steps and zeros of the keys, the keys, steps and
zeros of the values, the values. Pages of 16 and 32 bits have neither steps nor zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnemic.arrays import Floats32
from mnemic.errors import BankError, ModelError
from mnemic.facts import ADVICE
from mnemic.pages.rounding import GROUP, Codes, Halves, packed_codes, restored, rounded, unpacked_codes

if TYPE_CHECKING:
    import torch

BITS = (4, 8, 16, 32)
NUMBERS = {16: ("bfloat16", "float16"), 32: ("float32",)}
"""Types in which a page can be whole, by their bits."""

LARGEST = {"layers": 1 << 12, "heads": 1 << 12, "width": 1 << 12, "rows": (1 << 16) - 1}
"""Sizes of a page at most: a row of a damaged bank allots no more."""


@dataclass(frozen=True)
class PageForm:
    """The shape of keys, and of values: [layers, heads, rows, width], of ``bits``; ``numbers`` is "" where rounded.

    Raises `BankError` for a shape that no page has.
    """

    layers: int
    heads: int
    width: int
    rows: int
    bits: int
    numbers: str = ""

    def __post_init__(self) -> None:
        sizes = all(1 <= getattr(self, name) <= most for name, most in LARGEST.items())
        if not sizes or self.bits not in BITS or self.numbers not in NUMBERS.get(self.bits, ("",)):
            raise BankError(
                f"A page of the bank has {self.layers} layers, {self.heads} heads of {self.width} numbers and "
                f"{self.rows} rows of {self.bits} bits ({self.numbers[:20]!r}), which no page has. {ADVICE}"
            )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.layers, self.heads, self.rows, self.width

    @property
    def _numbers(self) -> int:
        """Of the keys of a layer, and of its values."""
        return self.heads * self.rows * self.width

    @property
    def _parts(self) -> tuple[int, int, int, int]:
        """Bytes of the four parts of a layer."""
        body = (self._numbers * self.bits + 7) // 8
        if self.bits > 8:
            return 0, body, 0, body
        by_token = self.heads * -(-self.rows // GROUP) * self.width
        by_channel = self.heads * self.rows * -(-self.width // GROUP)
        return 4 * by_token, body, 4 * by_channel, body

    @property
    def size(self) -> int:
        """Bytes of the blob."""
        return self.layers * sum(self._parts)

    def packed(self, keys: torch.Tensor, values: torch.Tensor) -> bytes:
        """The blob of ``keys`` (before rotation) and ``values``, each [layers, heads, rows, width].

        Raises `ModelError` for numbers that cannot be rounded, or are not finite.
        """
        if self.bits > 8:
            parts = [self._whole(keys), self._whole(values)]
        else:
            by_token = rounded(np.ascontiguousarray(np.moveaxis(_floats(keys), 2, 3)), self.bits)
            by_channel = rounded(_floats(values), self.bits)
            steps, zeros, codes = by_token
            parts = [
                self._halves(np.moveaxis(steps, 3, 2), np.moveaxis(zeros, 3, 2)),
                self._codes(np.moveaxis(codes, 3, 2)),
                self._halves(by_channel[0], by_channel[1]),
                self._codes(by_channel[2]),
            ]
        return np.concatenate(parts, axis=1).tobytes()

    def unpacked(self, blob: bytes) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys (before rotation) and values of a blob, each [layers, heads, rows, width].

        They are float32, or in the type of 16 bits. Raises `BankError` for bytes that are no such page.
        """
        if len(blob) != self.size:
            raise BankError(f"A page of the bank has {len(blob):,} bytes where {self.size:,} are due. {ADVICE}")
        layers = np.frombuffer(blob, np.uint8).reshape(self.layers, -1)
        ends = np.cumsum(self._parts)
        heads, body, tails, rest = np.split(layers, ends[:-1], axis=1)
        if self.bits > 8:
            return self._tensor(body), self._tensor(rest)
        groups = -(-self.rows // GROUP)
        keys = self._restored(heads, body, (self.layers, 2, self.heads, groups, self.width), 2)
        values = self._restored(tails, rest, (self.layers, 2, self.heads, self.rows, -(-self.width // GROUP)), 3)
        return keys, values

    def _whole(self, numbers: torch.Tensor) -> Codes:
        import torch

        whole = numbers.detach().to("cpu", getattr(torch, self.numbers)).contiguous()
        if not bool(torch.isfinite(whole).all()):
            raise ModelError(
                f"Keys or values of this text are not finite in {self.numbers}; write pages of 32 bits, or leave this "
                "model without pages."
            )
        return whole.reshape(self.layers, -1).view(torch.uint8).numpy()

    def _halves(self, steps: Halves, zeros: Halves) -> Codes:
        both = np.ascontiguousarray(np.stack([steps, zeros], axis=1))
        return both.reshape(self.layers, -1).view(np.uint8)

    def _codes(self, codes: Codes) -> Codes:
        return packed_codes(np.ascontiguousarray(codes).reshape(self.layers, -1), self.bits)

    def _tensor(self, body: Codes) -> torch.Tensor:
        import torch

        numbers = torch.from_numpy(body.copy()).view(getattr(torch, self.numbers))
        if not bool(torch.isfinite(numbers).all()):
            raise BankError(f"A page of the bank has numbers that are not finite. {ADVICE}")
        return numbers.reshape(self.shape)

    def _restored(self, halves: Codes, codes: Codes, shape: tuple[int, ...], axis: int) -> torch.Tensor:
        """``shape`` is that of steps and zeros, [layers, 2, ...]; groups lie along ``axis`` of the numbers."""
        import torch

        both = np.ascontiguousarray(halves).view(np.float16).reshape(shape)
        steps, zeros = both[:, 0], both[:, 1]
        if not (np.isfinite(both).all() and (steps >= 0).all()):
            raise BankError(f"A page of the bank has steps that are no numbers. {ADVICE}")
        numbers = np.empty(self.shape, np.float32)
        for layer, packed in enumerate(codes):  # what one layer has stays in the cache of the processor
            own = unpacked_codes(packed, self.bits, self._numbers).reshape(self.shape[1:])
            numbers[layer] = restored(steps[layer], zeros[layer], own, axis - 1)
        return torch.from_numpy(numbers)


def _floats(numbers: torch.Tensor) -> Floats32:
    floats: Floats32 = numbers.detach().float().cpu().numpy()
    return floats
