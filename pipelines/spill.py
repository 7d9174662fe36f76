"""Arrays that grow at their end, and lie in a file where they are too large for the memory of a process.

The file has no name, so its space is free again when the process ends, however it does. It lies where Python's
`tempfile` puts files: set TMPDIR to a disk with room. Its pages are the system's to drop.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

IN_MEMORY = 256 << 20
"""Bytes of an array up to which it has no file."""


class Appended:
    """Rows of one dtype and one width, appended as they come."""

    def __init__(self, dtype: DTypeLike, width: Sequence[int] = (), in_memory: int | None = None) -> None:
        self._dtype, self._width = np.dtype(dtype), tuple(width)
        self._limit = IN_MEMORY if in_memory is None else in_memory
        self._parts: list[NDArray[Any]] = []
        self._file: IO[bytes] | None = None
        self._bytes = self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def append(self, rows: NDArray[Any]) -> None:
        """Add ``rows``, [n, *width], which are copied."""
        rows = np.array(rows, self._dtype, order="C")
        self._rows += len(rows)
        self._bytes += rows.nbytes
        if self._file is None and self._bytes > self._limit:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - the array that is read from it keeps it open
            for part in self._parts:
                self._file.write(part.data)
            self._parts = []
        if self._file is None:
            self._parts.append(rows)
        elif rows.nbytes:
            self._file.write(rows.data)

    def array(self) -> NDArray[Any]:
        """All rows, [rows, *width]; those in a file are read as they are looked at, and cannot be written to."""
        shape = (self._rows, *self._width)
        if self._file is None:
            return np.concatenate([np.empty((0, *self._width), self._dtype), *self._parts])
        self._file.flush()
        return np.asarray(np.memmap(self._file, self._dtype, "r", shape=shape))
