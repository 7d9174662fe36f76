"""The best pairs of sub-keys against all pairs, and addresses of n-grams."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.attach.trail import NO_TOKEN
from mnemic.slots.ngrams import addresses, canonical_ids, sizes
from mnemic.slots.product import best_pairs, candidates


def all_pairs(first, second, best):
    """By the definition: every sum of two halves, sorted."""
    sums = (first[..., :, None] + second[..., None, :]).flatten(-2)
    return sums.sort(dim=-1, descending=True, stable=True).values[..., :best], sums


@settings(max_examples=60)
@given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 1 << 30), st.booleans())
def test_the_best_pairs_are_those_of_all_pairs(side, best, seed, coarse):
    draw = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, 5, 3, side, generator=draw)
    if coarse:  # many equal sums
        first, second = first.round(), second.round()
    best = min(best, side * side)
    expected, every = all_pairs(first, second, best)
    sums, slots = best_pairs(first, second, best)
    assert torch.equal(sums, expected)
    assert torch.equal(every.gather(-1, slots), sums)
    assert all(len(set(row)) == best for row in slots.flatten(0, 1).tolist())


def test_the_best_of_a_million_are_found_among_119_pairs():
    assert len(candidates(32)[0]) == 119
    first, second = torch.randn(2, 2, 1024, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected, every = all_pairs(first, second, 32)
    sums, slots = best_pairs(first, second, 32)
    assert torch.equal(sums, expected)
    assert torch.equal(slots, every.topk(32).indices)


def test_a_batch_has_the_pairs_of_its_rows():
    first, second = torch.randn(2, 64, 20, generator=torch.Generator().manual_seed(1))
    whole = best_pairs(first, second, 7)
    for row in range(64):
        alone = best_pairs(first[row : row + 1], second[row : row + 1], 7)
        assert torch.equal(alone[0][0], whole[0][row]) and torch.equal(alone[1][0], whole[1][row])


def test_gradients_reach_the_halves_of_the_pairs_that_were_taken():
    first, second = torch.randn(2, 1, 6, generator=torch.Generator().manual_seed(2)).double().unbind()
    first, second = first.requires_grad_(), second.requires_grad_()
    sums, slots = best_pairs(first, second, 4)
    sums.sum().backward()
    assert torch.equal(first.grad[0], torch.bincount(slots[0] // 6, minlength=6).double())
    assert torch.equal(second.grad[0], torch.bincount(slots[0] % 6, minlength=6).double())


@pytest.mark.parametrize(("slots", "parts"), [(1000, 4), (65_536, 8), (16, 8), (9, 4)])
def test_parts_of_a_table_are_prime_and_fit(slots, parts):
    table = sizes(slots, parts)
    assert len(table) == parts and sum(table) <= slots
    assert all(size > 1 and all(size % factor for factor in range(2, math.isqrt(size) + 1)) for size in table)


def by_hand(context, orders, heads, slots):
    """Each address by integers of Python, with the multipliers that one n-gram of one token shows."""
    from mnemic.slots.ngrams import _multipliers

    table, slots_of, part = sizes(slots, len(orders) * heads), [], 0
    for order in orders:
        for head in range(heads):
            state = 0
            for token, factor in zip(context[-order:], _multipliers(order, heads)[head].tolist(), strict=True):
                state ^= ((token + 1) * factor) % (1 << 64)
            state = state - (1 << 64) if state >= 1 << 63 else state
            state = (state ^ (state >> 29)) & ((1 << 62) - 1)
            slots_of.append(sum(table[:part]) + state % table[part])
            part += 1
    return slots_of


def test_addresses_are_those_of_the_definition_and_depend_on_the_last_tokens_alone():
    draw = np.random.default_rng(0)
    contexts = torch.from_numpy(draw.integers(-1, 49_152, (50, 3)))
    slots = addresses(contexts, (2, 3), 4, 4096)
    assert slots.shape == (50, 8) and 0 <= int(slots.min()) <= int(slots.max()) < 4096
    assert slots.tolist() == [by_hand(row, (2, 3), 4, 4096) for row in contexts.tolist()]
    longer = torch.cat([torch.full((50, 2), NO_TOKEN), contexts], 1)
    assert torch.equal(addresses(longer, (2, 3), 4, 4096), slots)
    other = contexts.clone()
    other[:, 0] += 1
    assert torch.equal(addresses(other, (2, 3), 4, 4096)[:, :4], slots[:, :4])
    assert not torch.equal(addresses(other, (2, 3), 4, 4096)[:, 4:], slots[:, 4:])


def test_heads_spread_ngrams_evenly():
    pairs = torch.cartesian_prod(torch.arange(60), torch.arange(60))
    slots = addresses(pairs, (2,), 2, 512)
    for head, size in enumerate(sizes(512, 2)):
        counts = torch.bincount(slots[:, head] - slots[:, head].min(), minlength=size)
        assert counts.max() < 3 * 3600 / size
    same = (slots[:, None] == slots[None]).sum(-1)
    assert (same == 2).sum() < 3600 + 3600 * 3600 / (200 * 200), "who share one slot seldom share both"


class Words:
    """A tokenizer of these tokens."""

    tokens = ("Cat", " cat", "CAT", "dog", "ｃａｔ", "\ufffd", "\ufffd", " ", "\n", "Dog ")

    def __len__(self):
        return len(self.tokens)

    def batch_decode(self, rows):
        return ["".join(self.tokens[one] for one in row) for row in rows]


def test_tokens_that_read_the_same_have_one_id():
    assert canonical_ids(Words(), 12).tolist() == [0, 0, 0, 3, 0, 5, 6, 7, 8, 3, 10, 11]
