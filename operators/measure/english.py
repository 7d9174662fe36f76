"""spaCy's English tokenizer, as a function of one chunk: a text without white space in, the lengths of its tokens out.

spaCy looks at one chunk at a time, so a corpus is tokenised by tokenising each distinct chunk once. Its rules stand in
`operators/measure/tables/english.json` (MIT licence, copyright ExplosionAI GmbH): regular expressions for prefixes,
suffixes, infixes and web addresses, and the words that are divided, or are not. Tokens of white space are left out.

Most chunks are words, with or without one mark behind; the rules say of them what two look-ups say.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

TABLES = Path(__file__).parent / "tables"

_PLAIN = re.compile("([A-Za-z]*[a-z])([,;:!?.)]?)")
"""A word of ASCII letters that ends in a small one, and at most one mark that the rules cut off behind such a word."""

_BEFORE_LETTERS = "0123456789'"
"""What a suffix of letters stands behind: units behind digits, and 's."""

_TAIL, _CONTEXT = 24, 4
"""Characters at the end of a chunk that are searched for a suffix, and those of them before which all are."""


def _sure(cut: Callable[[str, str], Any]) -> tuple[frozenset[str], frozenset[str]]:
    """ASCII characters that ``cut`` takes alone, whatever stands beside them, and those that it never takes.

    It is asked for each character with others beside it that any rule distinguishes.
    """
    beside = ("", "a", "A", "1", "aa", "AA", "11", "1a", "a1", "S$", "'", "\u2019", "$", "F\u00b0", ".", "..", "\u00e9")
    sizes: dict[str, set[int]] = {}
    for mark in map(chr, range(33, 127)):
        for rest in (*beside, mark, mark + mark, mark + "1", mark + "a"):
            match = cut(mark, rest)
            sizes.setdefault(mark, set()).add(match.end() - match.start() if match else 0)
    letters = frozenset(string.ascii_letters)  # of these only some words are a rule
    return (
        frozenset(mark for mark, every in sizes.items() if every == {1}),
        frozenset(mark for mark, every in sizes.items() if every == {0}) - letters,
    )


class EnglishRules:
    """The rules, compiled. ``lengths`` is what callers use."""

    def __init__(self, table: dict[str, Any]) -> None:
        self._prefix: Callable[[str], Any] = re.compile(table["prefix"]).match  # every alternative begins with ^
        self._search: Callable[[str], Any] = re.compile(table["suffix"]).search
        self._infixes: Callable[[str], Any] = re.compile(table["infix"]).finditer
        self._address: Callable[[str], Any] = re.compile(table["address"]).match
        self._specials: dict[str, list[str]] = {word: [word] for word in table["whole"]} | table["specials"]
        self._one_before, self._none_before = _sure(lambda mark, rest: self._prefix(mark + rest))
        self._one_behind, self._none_behind = _sure(lambda mark, rest: self._search(rest[::-1] + mark))
        self._inside = {
            mark
            for mark in string.punctuation
            for one, two, size in itertools.product("aA1", "aA1", (1, 2))
            if next(self._infixes(one + mark * size + two), None)
        }
        self._sequences: dict[tuple[str, ...], str] = {}
        for word in self._specials:
            if self._prefix(word) or self._search(word) or next(self._infixes(word), None):
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
            first = self._prefixed(rest)
            if first and rest[first:] in specials:
                prefixes.append(rest[:first])
                rest = rest[first:]
                break
            last = self._suffix(rest[first:])
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

    def _prefixed(self, rest: str) -> int:
        """Characters of the prefix of ``rest``; 0 where it has none."""
        mark = rest[0]
        if mark in self._one_before:
            return 1
        if mark in self._none_before:
            return 0
        match = self._prefix(rest)
        return match.end() if match else 0

    def _suffix(self, rest: str) -> int:
        """Characters of the suffix of ``rest``; 0 where it has none. Only its end is searched, where that is enough."""
        if not rest:
            return 0
        mark = rest[-1]
        if mark in self._one_behind:
            return 1
        if mark in self._none_behind:
            return 0
        if mark.isascii() and mark.isalpha():
            before = rest.rstrip(string.ascii_letters)[-1:]
            if not before or (before.isascii() and before not in _BEFORE_LETTERS):
                return 0
        match = self._search(rest[-_TAIL:])
        if match is not None and len(rest) > _TAIL and match.start() < _CONTEXT:
            match = self._search(rest)
        return match.end() - match.start() if match else 0

    def _middle(self, rest: str, specials: dict[str, list[str]]) -> list[str]:
        if not rest:
            return []
        if rest in specials:
            return specials[rest]
        if rest.isalnum() or (rest.isascii() and self._inside.isdisjoint(rest)):
            return [rest]
        if "." in rest and self._address(rest):
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
        covered: set[int] = set()
        chosen: dict[int, int] = {}
        for size, negative in sorted(matches, reverse=True):
            start = -negative
            if start not in covered and start + size - 1 not in covered:
                chosen[start] = size
            covered.update(range(start, start + size))
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
