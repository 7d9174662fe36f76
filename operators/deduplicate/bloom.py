"""Bloom filters for band keys: a memory of seen keys, at about 30 bits a key for one false hit in a million.

The filters are Bloom's (1970). One filter per band is LSHBloom's idea (arXiv 2411.04257), each with the error 1 - (1 -
error)^(1 / bands), so a document is flagged falsely with the probability ``error`` over all bands. Keys are mixing
64-bit hashes of a band's components: the published code adds them up, and sums of small minima collide. A filter counts
its distinct keys and its set bits, and refuses keys beyond its capacity. Filters of one shape merge by OR, and the
result is bit for bit the filter that saw all keys.

This is the classic filter, not one blocked by cache lines: at 32 bits a key a blocked one had 50 times the configured
rate of false hits. Most look-ups of new keys end after two probes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mnemic.arrays import Flags, Hashes
from mnemic.compiled import compiled
from mnemic.errors import StepError
from operators.deduplicate.words import mix

LARGEST = 1 << 32
"""Bits of one filter at most; more keys are split by key range over several."""

_MARGIN = 0.7
"""The error that a filter is sized for, as a share of the configured error."""


def share_of_error(error: float, bands: int) -> float:
    """The error of each of ``bands`` filters that have ``error`` together (LSHBloom, section 4)."""
    return -math.expm1(math.log1p(-error) / bands)


def bits_for(capacity: int, error: float) -> int:
    """Bits of a filter: n ln(1 / p) / ln(2)^2, in whole 64-bit words."""
    return 64 * max(1, math.ceil(capacity * -math.log(_MARGIN * error) / math.log(2) ** 2 / 64))


@dataclass(eq=False)
class BloomFilter:
    """A set of up to ``capacity`` 64-bit keys, of which ``count`` are in it.

    A key that it does not contain is surely new; one that it contains was added, but for a share of ``error``.
    ``bits`` are uint64 [words].
    """

    capacity: int
    error: float
    count: int = 0
    bits: Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))

    def __post_init__(self) -> None:
        if self.capacity < 1 or not 0 < self.error < 1:
            raise StepError(
                f"A Bloom filter needs a capacity of at least 1 and an error between 0 and 1, but they are "
                f"{self.capacity} and {self.error}."
            )
        size = bits_for(self.capacity, self.error)
        if size > LARGEST:
            raise StepError(
                f"A Bloom filter of {self.capacity:,} keys would have {size:,} bits; split the keys by range so that "
                f"none has more than {LARGEST:,}."
            )
        if len(self.bits) == 0:
            self.bits = np.zeros(size // 64, np.uint64)
        if len(self.bits) * 64 != size:
            raise StepError("The bits of a Bloom filter do not fit its capacity and error; build the filters again.")

    @property
    def probes(self) -> int:
        """Bits of one key."""
        return max(1, round(-math.log2(_MARGIN * self.error)))

    @property
    def fill(self) -> float:
        """Share of the bits that are set; 0.5 at capacity."""
        return float(np.bitwise_count(self.bits).sum()) / (64 * len(self.bits))

    @property
    def observed_error(self) -> float:
        """The current probability that it contains a key which was never added."""
        return self.fill**self.probes

    def add(self, keys: Hashes) -> Flags:
        """Add ``keys`` uint64 [n] in order; for each, whether it was there before it (with the error): bool [n].

        Raises StepError, with nothing added, where they may not fit.
        """
        if self.count + len(keys) > self.capacity:
            present = self.contains(keys)
            fresh = len(np.unique(keys[~present]))
            if self.count + fresh > self.capacity:
                raise StepError(
                    f"The Bloom filter holds {self.count:,} of {self.capacity:,} keys, and {fresh:,} more do not fit "
                    "without more false hits than its error allows; add another filter."
                )
        seen = np.empty(len(keys), np.bool_)
        self.count += _add(self.bits, keys, self.probes, seen)
        return seen

    def contains(self, keys: Hashes) -> Flags:
        """Whether each of ``keys`` uint64 [n] may have been added: bool [n]; False is certain."""
        present = np.empty(len(keys), np.bool_)
        _find(self.bits, keys, self.probes, present)
        return present

    def merge(self, other: BloomFilter) -> BloomFilter:
        """The filter that saw the keys of both, bit for bit; its ``count`` is an upper bound.

        Reference code: tests compare the filters of shards with that of the whole, and no step merges any.
        """
        if (self.capacity, self.error) != (other.capacity, other.error):
            raise StepError(
                f"Bloom filters of another shape do not merge: {self.capacity:,} keys with the error {self.error:g}, "
                f"and {other.capacity:,} with {other.error:g}."
            )
        count = min(self.count + other.count, self.capacity)
        return BloomFilter(self.capacity, self.error, count, self.bits | other.bits)


@compiled
def _position(key: Any, probe: int, size: Any) -> Any:
    value = (key + np.uint64(probe) * np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xD6E8FEB86659FD93)
    value = (value ^ (value >> np.uint64(32))) * np.uint64(0xA0761D6478BD642F)
    return (value >> np.uint64(32)) * size >> np.uint64(32)


@compiled
def _add(bits: Any, keys: Any, probes: int, seen: Any) -> int:
    size, fresh = np.uint64(64 * len(bits)), 0
    for i in range(len(keys)):
        key, present = mix(keys[i]), True
        for probe in range(probes):
            position = _position(key, probe, size)
            bit = np.uint64(1) << (position & np.uint64(63))
            word = position >> np.uint64(6)
            present &= bits[word] & bit != 0
            bits[word] |= bit
        seen[i] = present
        fresh += not present
    return fresh


@compiled
def _find(bits: Any, keys: Any, probes: int, flags: Any) -> None:
    size = np.uint64(64 * len(bits))
    for i in range(len(keys)):
        key, present = mix(keys[i]), True
        for probe in range(probes):
            position = _position(key, probe, size)
            if bits[position >> np.uint64(6)] >> (position & np.uint64(63)) & np.uint64(1) == 0:
                present = False
                break
        flags[i] = present
