"""The bytes of each token, for tokenizers whose texts are the bytes of their tokens one after another."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SPLITTING = ("ByteLevel", "Digits", "Split", "Punctuation")
"""Pre-tokenizers that cut a text and lose nothing of it, with the settings that `_loses` looks at."""

_BEHIND = frozenset(range(0x80, 0xC0))
"""Bytes of UTF-8 that begin no letter."""


class Pieces:
    """``pieces`` are the bytes of the tokens by id, none of them empty; None for an id that is no token.

    ``sizes`` are their bytes, ``letters`` the letters that begin in each, int64 [tokens].
    """

    def __init__(self, pieces: Sequence[bytes | None]) -> None:
        self.pieces = [piece or b"" for piece in pieces]
        self.sizes: NDArray[np.int64] = np.array([len(piece) for piece in self.pieces], np.int64)
        self.longest = int(self.sizes.max(initial=0))
        self.letters: NDArray[np.int64] = np.array(
            [sum(byte & 0xC0 != 0x80 for byte in piece) for piece in self.pieces], np.int64
        )
        self.tokens: dict[bytes, list[int]] = defaultdict(list)
        for token, piece in enumerate(self.pieces):
            if piece:
                self.tokens[piece].append(token)

    @classmethod
    def of(cls, tokenizer: Any) -> Pieces | None:
        """Those of a tokenizer of transformers; None where a text is more than, or other than, the bytes of its tokens.

        Byte-level BPE is such where it neither normalises a text nor puts spaces before it. It loses letters for whose
        first byte it has no token; a document that has such letters has more of them than its tokens.
        """
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            return None
        parts = json.loads(backend.to_str())
        steps = list(_steps(parts["pre_tokenizer"]))
        bytewise = sum(step["type"] == "ByteLevel" for step in steps) == 1
        if parts["normalizer"] is not None or not bytewise or any(map(_loses, steps)) or _changes(parts["model"]):
            return None
        added = {entry["id"]: entry for entry in parts["added_tokens"]}
        if any(entry["lstrip"] or entry["rstrip"] for entry in added.values()):
            return None
        letters = _letters()
        pieces: list[bytes | None] = [None] * len(tokenizer)
        for text, token in parts["model"]["vocab"].items():
            if token < len(pieces) and all(letter in letters for letter in text):
                pieces[token] = bytes(letters[letter] for letter in text)
        for token, entry in added.items():
            if token < len(pieces):
                pieces[token] = entry["content"].encode("utf-8", "replace")
        single = {piece[0] for piece in pieces if piece and len(piece) == 1}
        return cls(pieces) if single >= _BEHIND else None  # a byte without a token is lost, and `letters` must tell

    def starting(self, text: bytes) -> NDArray[np.int64]:
        """Tokens that begin with ``text`` and are longer."""
        return self._among(self._forwards, text, len(text))

    def ending(self, text: bytes) -> NDArray[np.int64]:
        """Tokens that end with ``text`` and are longer."""
        return self._among(self._backwards, text[::-1], len(text))

    def around(self, text: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Every place of ``text`` inside a longer token: the token, and the bytes before the place in it, int64 [n]."""
        if len(text) >= self.longest:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        together, starts = self._together
        overlapping = re.compile(b"(?=" + re.escape(text) + b")", re.DOTALL)
        places = np.array([match.start() for match in overlapping.finditer(together)], np.int64)
        token = np.searchsorted(starts, places, side="right") - 1
        skip = places - starts[token]
        inside = (skip + len(text) <= self.sizes[token]) & (self.sizes[token] > len(text))
        return token[inside], skip[inside]

    def _among(self, ordered: tuple[list[bytes], list[int]], text: bytes, size: int) -> NDArray[np.int64]:
        pieces, tokens = ordered
        first, last = bisect_left(pieces, text), bisect_left(pieces, text + b"\xff" * (self.longest + 1))
        some = np.array(tokens[first:last], np.int64)
        return some[self.sizes[some] > size]

    @cached_property
    def _together(self) -> tuple[bytes, NDArray[np.int64]]:
        """All pieces one after another, and where each starts."""
        return b"".join(self.pieces), np.cumsum(self.sizes) - self.sizes

    @cached_property
    def _forwards(self) -> tuple[list[bytes], list[int]]:
        order = sorted((piece, token) for token, piece in enumerate(self.pieces) if piece)
        return [piece for piece, _ in order], [token for _, token in order]

    @cached_property
    def _backwards(self) -> tuple[list[bytes], list[int]]:
        order = sorted((piece[::-1], token) for token, piece in enumerate(self.pieces) if piece)
        return [piece for piece, _ in order], [token for _, token in order]


def _steps(step: Any) -> Iterator[dict[str, Any]]:
    """The pre-tokenizers of a tokenizer, one after another."""
    if step is None:
        return
    if step["type"] == "Sequence":
        for one in step["pretokenizers"]:
            yield from _steps(one)
    else:
        yield step


def _loses(step: dict[str, Any]) -> bool:
    """Whether a pre-tokenizer may change a text, and not only cut it."""
    removes = step.get("behavior", "Isolated") == "Removed" or step.get("add_prefix_space", False)
    return step["type"] not in _SPLITTING or removes


def _changes(model: dict[str, Any]) -> bool:
    """Whether a model of tokens may change a text."""
    affixes = model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
    return bool(model["type"] != "BPE" or affixes or model.get("dropout") or model.get("unk_token"))


def _letters() -> dict[str, int]:
    """The letter in which byte-level tokenizers write each byte (GPT-2): printable ones as they are."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}
