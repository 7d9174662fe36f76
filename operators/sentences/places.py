"""Texts of a batch as the bytes that Arrow has of them: where characters stand, and ranges of them as a column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Integers

_AT_ONCE = 1 << 16
"""Bytes whose characters are numbered at once; each takes eight bytes meanwhile."""


@dataclass(frozen=True)
class TextBytes:
    """The UTF-8 ``data`` uint8 of texts, of which text i has ``data[limits[i]:limits[i + 1]]``, int64 [n + 1].

    ``characters``, int64 [n + 1]: how many characters stand before each text, from 0 on.
    """

    data: npt.NDArray[np.uint8]
    limits: Integers
    characters: Integers

    @classmethod
    def of(cls, texts: pa.Array) -> TextBytes:
        """Of a column of strings without nulls. Raises ``pa.ArrowInvalid`` where its bytes are no UTF-8."""
        texts = texts.cast(pa.large_string())
        texts.validate(full=True)
        _, limits, data = texts.buffers()
        offsets = np.frombuffer(limits, np.int64)[texts.offset : texts.offset + len(texts) + 1] if len(texts) else _ZERO
        lengths = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
        characters = np.concatenate([_ZERO, np.cumsum(lengths, dtype=np.int64)])
        raw = np.frombuffer(data or b"", np.uint8)
        raw.flags.writeable = False  # a batch that was read is; one type of array is compiled once
        return cls(raw, offsets, characters)

    def bytes_of(self, texts: Integers, places: Integers) -> Integers:
        """Where characters ``places`` of ``texts`` stand in ``data``, int64 [n]; both in the order of the texts."""
        numbers = self.characters[texts] + places
        begin = int(self.limits[0])
        size = int(self.limits[-1]) - begin
        if size == self.characters[-1]:
            return begin + numbers
        return np.concatenate([_ZERO[:0], *self._numbered(numbers)])

    def _numbered(self, numbers: Integers) -> Iterator[Integers]:
        """Where characters of ascending ``numbers`` begin; the one behind the last character at the end of all."""
        before, done = 0, 0
        for start in range(int(self.limits[0]), int(self.limits[-1]), _AT_ONCE):
            part = self.data[start : min(start + _AT_ONCE, int(self.limits[-1]))]
            plain = part.max() < 0x80
            begins = np.arange(len(part)) if plain else np.flatnonzero(part.view(np.int8) >= _CONTINUED)
            here = int(np.searchsorted(numbers, before + len(begins)))
            yield start + begins[numbers[done:here] - before]
            before, done = before + len(begins), here
        yield np.full(len(numbers) - done, self.limits[-1])

    def slices(self, texts: Integers, starts: Integers, ends: Integers) -> pa.Array:
        """Characters ``starts`` to ``ends`` of ``texts``, a large_string each; they ascend and do not overlap."""
        bounds = self.bytes_of(np.repeat(texts, 2), np.stack([starts, ends], axis=1).ravel())
        limits = np.append(bounds, bounds[-1:] if len(bounds) else 0)
        both = pa.LargeStringArray.from_buffers(len(bounds), pa.py_buffer(limits), pa.py_buffer(self.data))
        return both.take(pa.array(np.arange(0, len(bounds), 2)))  # the others are what stands between them


_CONTINUED = -0x40
"""Bytes below it, as int8, go on with a character."""

_ZERO = np.zeros(1, np.int64)
