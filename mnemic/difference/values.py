"""Which values of two arrays differ: exactly, whatever their type, and as `mnemic digest` hashes them.

Nothing is hashed: texts come from anywhere, and somebody could write two whose hashes are equal.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Flags


def differing(left: pa.Array, right: pa.Array) -> Flags:
    """Whether the values at each place differ, bool [n], of two arrays of one type and length.

    Null equals null alone. Floats are compared by their bits, so NaN equals itself and 0.0 is not -0.0.
    """
    absent, absent_right = (np.asarray(side.is_null()) for side in (left, right))
    mask: Flags = absent != absent_right
    places = np.flatnonzero(~(absent | absent_right))
    if len(places) == 0:
        return mask
    if len(places) < len(left):
        left, right = left.take(pa.array(places)), right.take(pa.array(places))
    mask[places] = _differing(left, right)
    return mask


def _differing(left: pa.Array, right: pa.Array) -> Flags:
    """As `differing`, of arrays without nulls."""
    kind = left.type
    if pa.types.is_fixed_size_list(kind):
        inner = differing(left.flatten(), right.flatten())
        return np.asarray(inner.reshape(len(left), kind.list_size).any(axis=1), np.bool_)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _lists_differing(left, right)
    if pa.types.is_struct(kind):
        mask = np.zeros(len(left), np.bool_)
        for mine, other in zip(left.flatten(), right.flatten(), strict=True):
            mask |= differing(mine, other)
        return mask
    if pa.types.is_floating(kind):
        bits = np.dtype(f"u{kind.bit_width // 8}")
        mine, other = (side.to_numpy(zero_copy_only=False).view(bits) for side in (left, right))
        unequal: Flags = mine != other
        return unequal
    return np.asarray(pc.not_equal(left, right))


def _lists_differing(left: pa.Array, right: pa.Array) -> Flags:
    lengths, lengths_right = (np.asarray(pc.list_value_length(side), np.int64) for side in (left, right))
    mask: Flags = lengths != lengths_right
    places = np.flatnonzero(~mask)
    mine, other = (side.take(pa.array(places)).flatten() for side in (left, right))
    before = np.concatenate([[0], np.cumsum(differing(mine, other))])
    ends = np.cumsum(lengths[places])
    mask[places] = before[ends] > before[ends - lengths[places]]
    return mask
