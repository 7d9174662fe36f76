"""Documents packed into sequences of one length, with attention kept inside each document.

Documents of one path fill a sequence together; a document longer than that is cut into parts that know nothing of each
other. The longest parts are placed first, each where it leaves the least room, so that little is padding.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Path = tuple[str, ...]


@dataclass(frozen=True)
class PackedSequences:
    """``tokens`` int32 [sequences, length]; ``part`` int32 of that shape, the number of each position's part, -1: none.

    ``paths`` are the blocks of each sequence.
    """

    tokens: NDArray[np.int32]
    part: NDArray[np.int32]
    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def places(self) -> NDArray[np.int64]:
        """The place of each position in its part, from 0 on: int64 [sequences, length]."""
        at = np.arange(self.part.shape[1])[None]
        first = np.where(np.diff(self.part, axis=1, prepend=-2) != 0, at, 0)
        return np.asarray(at - np.maximum.accumulate(first, axis=1), np.int64)

    @property
    def predicting(self) -> NDArray[np.bool_]:
        """Positions whose next token is of the same part: [sequences, length]."""
        following = np.concatenate([self.part[:, 1:], np.full((len(self), 1), -1, np.int32)], axis=1)
        same: NDArray[np.bool_] = (self.part == following) & (self.part >= 0)
        return same

    def attended(self, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether a position of the sequences ``chosen`` [b] reads another: [b, 1, length, length]."""
        part = self.part[chosen]
        same = part[:, None, :, None] == part[:, None, None, :]
        attended: NDArray[np.bool_] = same & np.tri(part.shape[1], dtype=np.bool_)[None, None]
        return attended


def packed(documents: Mapping[Path, Sequence[NDArray[np.int32]]], length: int) -> PackedSequences:
    """``documents`` by their paths, each int32 [tokens], in sequences of ``length``; paths in ascending order."""
    tokens, part, paths = list[NDArray[np.int32]](), list[NDArray[np.int32]](), list[Path]()
    for path in sorted(documents):
        for members in _filled(_parts(documents[path], length), length):
            row, number = np.zeros(length, np.int32), np.full(length, -1, np.int32)
            at = 0
            for index, one in enumerate(members):
                row[at : at + len(one)], number[at : at + len(one)] = one, index
                at += len(one)
            tokens.append(row)
            part.append(number)
            paths.append(path)
    if not tokens:
        nothing = np.zeros((0, length), np.int32)
        return PackedSequences(nothing, nothing, ())
    return PackedSequences(np.stack(tokens), np.stack(part), tuple(paths))


def _parts(documents: Sequence[NDArray[np.int32]], length: int) -> list[NDArray[np.int32]]:
    """The documents cut after every ``length`` tokens; one token alone predicts nothing and is left out."""
    cut = (row[begin : begin + length] for row in documents for begin in range(0, len(row), length))
    return [part for part in cut if len(part) > 1]


def _filled(parts: Sequence[NDArray[np.int32]], length: int) -> list[list[NDArray[np.int32]]]:
    """The parts of each sequence: best fit, the longest first, equal ones in their order."""
    order = sorted(range(len(parts)), key=lambda index: (-len(parts[index]), index))
    sequences: list[list[NDArray[np.int32]]] = []
    room: list[tuple[int, int]] = []  # (positions left, number of the sequence), ascending
    for index in order:
        size = len(parts[index])
        place = bisect.bisect_left(room, (size, -1))
        if place == len(room):
            sequences.append([parts[index]])
            left = (length - size, len(sequences) - 1)
        else:
            free, number = room.pop(place)
            sequences[number].append(parts[index])
            left = (free - size, number)
        if left[0] > 1:
            bisect.insort(room, left)
    return sequences
