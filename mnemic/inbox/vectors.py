"""The vectors of what waits, in a file of the bank's cache: a process that starts need not encode all of it again.

A vector is known by a hash of the encoder's record and of the text. The file is no part of the bank: it is written anew
as a whole, by whoever has encoded much, and whatever is wrong with it means that nothing is known.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mnemic.arrays import Floats32
from mnemic.ids import hash_parts
from mnemic.suffixes.mapped import cache_folder

WORTH = 16
"""Texts that were encoded since the file was written, from which on it is written anew: 0.1 s of work."""

_LARGEST = 256 << 20
"""Bytes of a file that is read."""


class WaitingVectors:
    """Encodes texts, and keeps what it encoded for later processes. ``encoder``: the fingerprint of its record."""

    def __init__(self, root: str, encoder: str, encode: Callable[[Sequence[str]], Floats32]) -> None:
        self._file = cache_folder(root) / f"inbox-{encoder}.npz"
        self._encoder, self._encode = encoder, encode
        self._vectors: dict[str, Floats32] | None = None
        self._fresh = 0

    def of(self, texts: Sequence[str], most: int) -> list[Floats32 | None]:
        """The vector of each text, float32 [d], None of those that are beyond the last ``most`` to be encoded."""
        if self._vectors is None:
            self._vectors = _read(self._file)
        keys = [self._key(text) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._vectors}
        chosen = dict(list(missing.items())[-most:])
        if chosen:
            self._vectors.update(zip(chosen, self._encode(list(chosen.values())), strict=True))
            self._fresh += len(chosen)
        return [self._vectors.get(key) for key in keys]

    def _key(self, text: str) -> str:
        return hash_parts("waiting", self._encoder, text)

    def store(self, texts: Sequence[str]) -> None:
        """Write the vectors of ``texts``, all that waits, if that is worth it; a folder that refuses is no error."""
        if self._fresh < WORTH or not texts:
            return
        self._fresh = 0
        keys = {self._key(text) for text in texts}
        self._vectors = {key: vector for key, vector in (self._vectors or {}).items() if key in keys}
        partial = self._file.with_name(f".{uuid.uuid4().hex}.npz")
        with contextlib.suppress(OSError):
            partial.parent.mkdir(parents=True, exist_ok=True)
            keys_stored, vectors = np.array(list(self._vectors), "S32"), np.stack(list(self._vectors.values()))
            np.savez(partial, keys=keys_stored, vectors=vectors)
            os.replace(partial, self._file)


def forget_vectors(root: str) -> None:
    """Delete the files of all encoders."""
    for file in cache_folder(root).glob("inbox-*.npz"):
        file.unlink(missing_ok=True)


def _read(file: Path) -> dict[str, Floats32]:
    try:
        if file.stat().st_size > _LARGEST:
            return {}
        with np.load(file, allow_pickle=False) as arrays:
            keys, vectors = arrays["keys"], arrays["vectors"]
        if keys.dtype != "S32" or vectors.dtype != np.float32 or vectors.ndim != 2 or len(keys) != len(vectors):
            return {}
        if not np.isfinite(vectors).all():
            return {}
        return {key.decode("ascii"): vector for key, vector in zip(keys.tolist(), vectors, strict=True)}
    except Exception:  # of a file that somebody else wrote: zip and numpy raise whatever they like
        return {}
