"""spaCy's English tokenizer, as a function of one chunk: a text without white space in, the lengths of its tokens out.

spaCy looks at one chunk at a time, so a corpus is tokenised by tokenising each distinct chunk once. Its rules stand in
`operators/measure/tables/english.json` (MIT licence, copyright ExplosionAI GmbH): regular expressions for prefixes,
suffixes, infixes and web addresses, and the words that are divided, or are not. Tokens of white space are left out.

Most chunks are words, with or without one mark behind; the rules say of them what two look-ups say.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

TABLES = Path(__file__).parent / "tables"

_PLAIN = re.compile("([A-Za-z]*[a-z])([,;:!?.)]?)")
"""A word of ASCII letters that ends in a small one, and at most one mark that the rules cut off behind such a word."""


class EnglishRules:
    """The rules, compiled. ``lengths`` is what callers use."""

    def __init__(self, table: dict[str, Any]) -> None:
        self._prefix: Callable[[str], Any] = re.compile(table["prefix"]).search
        self._suffix: Callable[[str], Any] = re.compile(table["suffix"]).search
        self._infixes: Callable[[str], Any] = re.compile(table["infix"]).finditer
        self._address: Callable[[str], Any] = re.compile(table["address"]).match
        self._specials: dict[str, list[str]] = {word: [word] for word in table["whole"]} | table["specials"]
        self._sequences: dict[tuple[str, ...], str] = {}
        for word in self._specials:
            if self._prefix(word) or self._suffix(word) or next(self._infixes(word), None):
                self._sequences[tuple(self._affixes(word, False))] = word
        self._longest = max(map(len, self._sequences))
        self._first = {tokens[0] for tokens in self._sequences}

    def lengths(self, chunk: str) -> list[int]:
        """Characters of each token of ``chunk``, which has no white space; they add up to its length."""
        plain = _PLAIN.fullmatch(chunk)
        if plain is not None and chunk not in self._specials:
            word, mark = plain.groups()
            if word not in self._specials:
                return [len(word), 1] if mark else [len(word)]
        elif chunk.isalpha() and chunk not in self._specials:
            return [len(chunk)]
        return [len(token) for token in self.tokens(chunk)]

    def tokens(self, chunk: str) -> list[str]:
        """The tokens of ``chunk``, by all rules."""
        special = self._specials.get(chunk)
        return self._merged(special if special is not None else self._affixes(chunk, True))

    def _affixes(self, chunk: str, with_specials: bool) -> list[str]:
        """Cut prefixes and suffixes off until none is left, then cut the rest at infixes."""
        specials = self._specials if with_specials else {}
        prefixes: list[str] = []
        suffixes: list[str] = []
        rest, before = chunk, 0
        while rest and len(rest) != before and rest not in specials:
            before = len(rest)
            match = self._prefix(rest)
            first = match.end() - match.start() if match else 0
            if first and rest[first:] in specials:
                prefixes.append(rest[:first])
                rest = rest[first:]
                break
            match = self._suffix(rest[first:])
            last = match.end() - match.start() if match else 0
            if last and rest[:-last] in specials:
                suffixes.append(rest[-last:])
                rest = rest[:-last]
                break
            if first and last and first + last <= len(rest):
                prefixes.append(rest[:first])
                suffixes.append(rest[-last:])
                rest = rest[first:-last]
            elif first:
                prefixes.append(rest[:first])
                rest = rest[first:]
            elif last:
                suffixes.append(rest[-last:])
                rest = rest[:-last]
        return [*prefixes, *self._middle(rest, specials), *reversed(suffixes)]

    def _middle(self, rest: str, specials: dict[str, list[str]]) -> list[str]:
        if not rest:
            return []
        if rest in specials:
            return specials[rest]
        if self._address(rest):
            return [rest]
        tokens, start = [], 0
        for match in self._infixes(rest):
            first, last = match.span()
            if first == 0:  # an infix is between two parts
                continue
            if first != start:
                tokens.append(rest[start:first])
            if first != last:
                tokens.append(rest[first:last])
            start = last
        return [*tokens, rest[start:]] if rest[start:] else tokens

    def _merged(self, tokens: list[str]) -> list[str]:
        """``tokens`` with those that make up a special word together, such as an emoticon, in its place.

        The longest come first, and of equally long ones the earliest.
        """
        if len(tokens) == 1 and tuple(tokens) not in self._sequences:
            return tokens
        matches = [
            (size, -start)
            for start in range(len(tokens))
            if tokens[start] in self._first
            for size in range(1, min(self._longest, len(tokens) - start) + 1)
            if tuple(tokens[start : start + size]) in self._sequences
        ]
        if not matches:
            return tokens
        taken: set[int] = set()
        chosen: dict[int, int] = {}
        for size, negative in sorted(matches, reverse=True):
            start = -negative
            if start not in taken and start + size - 1 not in taken:
                chosen[start] = size
            taken.update(range(start, start + size))
        merged, place = [], 0
        while place < len(tokens):
            size = chosen.get(place, 0)
            merged += self._specials["".join(tokens[place : place + size])] if size else [tokens[place]]
            place += max(size, 1)
        return merged


@functools.cache
def english_rules() -> EnglishRules:
    """The rules of the English tokenizer, read once a process."""
    return EnglishRules(json.loads((TABLES / "english.json").read_text()))
