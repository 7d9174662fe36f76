"""Numbers as whole steps of 4 or 8 bits above a zero, in groups of 64, with step and zero in half precision.

Keys are rounded by channel, over tokens: a channel of keys has its own size (KIVI, arXiv 2402.02750). Values are
rounded by token, over channels. A step is rounded up and a zero down, so a number comes back within half a step.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mnemic.arrays import Floats32
from mnemic.errors import ModelError

GROUP = 64
"""Numbers that share a step."""

_BYTES = np.arange(256)
_PAIRS = np.stack([_BYTES & 15, _BYTES >> 4], axis=1).astype(np.float32).view(np.complex64)[:, 0]
"""Byte -> its two codes of 4 bits side by side."""

Halves = npt.NDArray[np.float16]
Codes = npt.NDArray[np.uint8]


def rounded(numbers: Floats32, bits: int) -> tuple[Halves, Halves, Codes]:
    """(steps, zeros, codes) of ``numbers`` float32 [..., n] in groups along the last axis.

    Steps and zeros are [..., ceil(n / 64)], codes [..., n] below 2 ** ``bits``. Raises `ModelError` for numbers that
    are not finite, or beyond half precision.
    """
    groups = -(-numbers.shape[-1] // GROUP)
    padded = np.pad(numbers, [(0, 0)] * (numbers.ndim - 1) + [(0, groups * GROUP - numbers.shape[-1])], mode="edge")
    grouped = padded.reshape(*numbers.shape[:-1], groups, GROUP)
    with np.errstate(over="ignore", invalid="ignore"):
        zeros = _below(grouped.min(-1))
        steps = _above((grouped.max(-1) - zeros.astype(np.float32)) / (2**bits - 1))
    if not (np.isfinite(steps).all() and np.isfinite(zeros).all()):
        raise ModelError(
            "Keys or values of this text are not finite, or beyond half precision, and cannot be rounded; write pages "
            "of 32 bits, or leave this model without pages."
        )
    divisor = np.where(steps > 0, steps, 1).astype(np.float32)[..., None]
    codes = np.rint((grouped - zeros.astype(np.float32)[..., None]) / divisor).clip(0, 2**bits - 1)
    flat = codes.astype(np.uint8).reshape(*numbers.shape[:-1], groups * GROUP)
    return steps, zeros, np.ascontiguousarray(flat[..., : numbers.shape[-1]])


def restored(steps: Halves, zeros: Halves, codes: Floats32, axis: int) -> Floats32:
    """The numbers of `rounded`, in place of ``codes`` (as float32), whose groups lie along ``axis``.

    ``steps`` and ``zeros`` have the groups at that axis, in the order of the axes of ``codes``.
    """
    wide, base = steps.astype(np.float32), zeros.astype(np.float32)
    for group in range(steps.shape[axis]):
        part = _along(codes, axis, slice(group * GROUP, (group + 1) * GROUP))
        at = slice(group, group + 1)
        part *= _along(wide, axis, at)
        part += _along(base, axis, at)
    return codes


def packed_codes(codes: Codes, bits: int) -> Codes:
    """``codes`` [rows, n] as bytes [rows, ceil(n * bits / 8)]; of 4 bits the first of two is the low half."""
    if bits == 8:
        return codes
    even = codes if codes.shape[1] % 2 == 0 else np.pad(codes, [(0, 0), (0, 1)])
    packed: Codes = np.bitwise_or(even[:, 0::2], np.left_shift(even[:, 1::2], np.uint8(4)))
    return packed


def unpacked_codes(packed: Codes, bits: int, count: int) -> Floats32:
    """The ``count`` codes that a row of `packed_codes` made bytes of, as float32 [count]."""
    if bits == 8:
        return packed.astype(np.float32)
    return _PAIRS.take(packed).view(np.float32)[:count]


def _along(numbers: Floats32, axis: int, chosen: slice) -> Floats32:
    """A view of ``numbers`` at ``chosen`` of one axis."""
    places: list[slice] = [slice(None)] * numbers.ndim
    places[axis] = chosen
    return numbers[tuple(places)]


def _below(numbers: Floats32) -> Halves:
    """The largest half that is not above each number."""
    halves = numbers.astype(np.float16)
    lower: Halves = np.where(halves.astype(np.float32) > numbers, np.nextafter(halves, np.float16(-np.inf)), halves)
    return lower


def _above(numbers: Floats32) -> Halves:
    """The smallest half that is not below each number."""
    halves = numbers.astype(np.float16)
    upper: Halves = np.where(halves.astype(np.float32) < numbers, np.nextafter(halves, np.float16(np.inf)), halves)
    return upper
