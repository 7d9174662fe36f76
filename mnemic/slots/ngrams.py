"""Slots of the last tokens: multiplicative hashes of n-grams into tables of prime size (Engram, arXiv 2601.07372).

Tokens that differ in case, width of characters or the space before them have one canonical id. Each head of each length
has its own multipliers and its own part of the table, so two n-grams that share one slot seldom share the next.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnemic.attach.trail import NO_TOKEN
from mnemic.splitmix import mixed

if TYPE_CHECKING:
    import torch


def canonical_ids(tokenizer: Any, vocabulary: int) -> NDArray[np.int64]:
    """The canonical id of each of ``vocabulary`` tokens: the least that reads the same, [vocabulary].

    Two read the same if NFKC, lower case and the space around them are all that differs. Tokens that are no text, such
    as a part of a character, stand for themselves.
    """
    ids = np.arange(vocabulary, dtype=np.int64)
    first: dict[str, int] = {}
    count = min(vocabulary, len(tokenizer))
    for number, text in enumerate(tokenizer.batch_decode([[one] for one in range(count)])):
        plain = unicodedata.normalize("NFKC", text).lower().strip()
        if plain and "\ufffd" not in plain:
            ids[number] = first.setdefault(plain, number)
    return ids


@functools.cache
def sizes(slots: int, parts: int) -> tuple[int, ...]:
    """The sizes of ``parts`` parts of a table of ``slots``: the largest different primes that fit, descending.

    Where there are not enough primes, parts have the size of the smallest.
    """
    primes: list[int] = []
    number = slots // parts
    while len(primes) < parts and number >= 2:
        if _is_prime(number):
            primes.append(number)
        number -= 1
    return (*primes, *[primes[-1]] * (parts - len(primes)))


def addresses(contexts: torch.Tensor, orders: Sequence[int], heads: int, slots: int) -> torch.Tensor:
    """The slots of texts that end with ``contexts``, canonical ids int64 [n, longest] (`NO_TOKEN`: none there).

    int64 [n, orders * heads]: of each order its heads. An n-gram that begins before its text has a slot too.
    """
    import torch

    table = sizes(slots, len(orders) * heads)
    starts = np.concatenate([[0], np.cumsum(table)[:-1]])
    columns = []
    for place, order in enumerate(orders):
        last = contexts[:, -order:] - NO_TOKEN  # which itself is 0
        factors = _multipliers(order, heads).to(contexts.device)
        mixture = last[:, None, 0] * factors[:, 0]
        for at in range(1, order):
            mixture = mixture ^ (last[:, None, at] * factors[:, at])
        mixture = (mixture ^ (mixture >> 29)) & ((1 << 62) - 1)
        begin = place * heads
        primes = torch.tensor(table[begin : begin + heads], device=contexts.device)
        columns.append(mixture % primes + torch.from_numpy(starts[begin : begin + heads]).to(contexts.device))
    return torch.cat(columns, 1)


def _multipliers(order: int, heads: int) -> torch.Tensor:
    """Odd numbers for each head and place of an n-gram: int64 [heads, order]."""
    import torch

    state = np.arange(heads * order, dtype=np.uint64) + np.uint64(order << 32)
    with np.errstate(over="ignore"):
        odd = (mixed(state) >> np.uint64(2)) | np.uint64(1)
    return torch.from_numpy(odd.astype(np.int64).reshape(heads, order))


def _is_prime(number: int) -> bool:
    if number < 4 or number % 2 == 0:
        return number in (2, 3)
    return all(number % factor for factor in range(3, int(number**0.5) + 1, 2))
