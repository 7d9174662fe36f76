"""Parts of a store together answer what the whole store answers, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mnemic.neighbours import parts, select, select_torch
from mnemic.neighbours.exact import ExactSearch
from mnemic.neighbours.layout import InMemoryKeys, centroids_of, coder_of, lists_of, measured
from mnemic.neighbours.lists import Lists
from mnemic.neighbours.parts import Part, merged, ranges


def store(rows: int, width: int, topics: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(3)
    keys = 2.0 * random.standard_normal((topics, width))[random.integers(0, topics, rows)]
    keys += random.standard_normal((rows, width))
    return torch.from_numpy(keys.astype(np.float16)), torch.arange(rows) // 25


def divided(whole: Lists, keys: torch.Tensor, document: torch.Tensor, count: int) -> list[Part]:
    """The parts of a store, each of which holds its own rows alone."""
    sizes = np.diff(whole.starts)
    nearest = lists_of(whole.heads, whole.coder.codes(keys))
    parts = []
    for first, last in ranges(sizes, count):
        rows = torch.nonzero((nearest >= first) & (nearest < last)).flatten()
        lists = Lists(keys[rows], document[rows], whole.layout, whole.coder, rows)
        parts.append(Part(lists, (first, last), sizes))
    return parts


@pytest.fixture(scope="module")
def whole() -> tuple[torch.Tensor, torch.Tensor, Lists]:
    keys, document = store(6000, 24, 20)
    keys[200:260] = keys[5000]  # copies: equal distances go to the smaller rows
    searched = Lists(keys, document)
    searched.measure(0.9)
    return keys, document, searched


@pytest.mark.parametrize("count", [1, 2, 5, 99])
def test_any_number_of_parts_answers_as_the_whole_store(whole, count, monkeypatch):
    keys, document, searched = whole
    monkeypatch.setattr(parts, "_MERGED", 64)
    some = torch.arange(0, 3000)
    asked_document = torch.where(some % 50 < 25, document[some], -1)  # others are of no document of the store
    expected = searched.search(keys[some], asked_document, 40)
    stored = asked_document >= 0
    answers = [part.search(keys[some], asked_document, stored, 40) for part in divided(searched, keys, document, count)]
    for joined, undivided in zip(merged(answers, 3000, 40), expected, strict=True):
        np.testing.assert_array_equal(joined, undivided)


def test_a_query_whose_lists_hold_too_little_looks_at_all_parts(whole):
    """One document has nearly all rows: queries of its own find the few others only in lists that are further away."""
    keys, _, _ = whole
    document = torch.zeros(6000, dtype=torch.long)
    document[::60] = torch.arange(1, 101)
    searched = Lists(keys, document)
    searched.probes = 1
    stored = torch.ones(6000, dtype=torch.bool)
    answers = [part.search(keys, document, stored, 50) for part in divided(searched, keys, document, 4)]
    distances, rows = merged(answers, 6000, 50)
    for joined, undivided in zip((distances, rows), searched.search(keys, document, 50), strict=True):
        np.testing.assert_array_equal(joined, undivided)
    assert (rows[1] % 60 == 0).all() and len(np.unique(rows[1])) == 50


def test_all_lists_of_all_parts_are_brute_force(whole):
    keys, document, searched = whole
    every = Lists(keys, document, type(searched.layout)(searched.centroids, len(searched.heads)), searched.coder)
    some = torch.arange(0, 6000, 40)
    alone = torch.full_like(some, -1)
    answers = [part.search(keys[some], alone, alone >= 0, 64) for part in divided(every, keys, document, 3)]
    expected = ExactSearch(keys, document).search(keys[some], alone, 64)[1]
    assert (merged(answers, len(some), 64)[1] == expected).mean() > 0.999


def test_torch_keeps_what_the_compiled_code_keeps(whole, monkeypatch):
    keys, document, searched = whole
    part = divided(searched, keys, document, 2)[0]
    compiled = part.search(keys[:200], document[:200], document[:200] >= 0, 20)
    monkeypatch.setattr(select, "Candidates", select_torch.Candidates)
    plain = part.search(keys[:200], document[:200], document[:200] >= 0, 20)
    assert (np.sort(plain.order, 1) == np.sort(compiled.order, 1)).mean() > 0.999


def test_a_store_that_is_read_is_laid_out_as_one_that_is_held(whole):
    keys, document, _ = whole

    class Read(InMemoryKeys):
        """Keys that come in smaller batches."""

        def batches(self):
            for begin in range(0, len(self), 700):
                yield self.keys[begin : begin + 700], self.document[begin : begin + 700]

    in_memory, read = InMemoryKeys(keys, document), Read(keys, document)
    coder = coder_of(read)
    assert torch.equal(coder.mean, coder_of(in_memory).mean)
    centroids = centroids_of(read, coder)
    assert torch.equal(centroids, centroids_of(in_memory, coder))
    one, other = measured(in_memory, coder, centroids, 0.95), measured(read, coder, centroids, 0.95)
    assert (one.sizes == other.sizes).all() and one.sizes.sum() == 6000
    assert (one.probes, one.recall) == (other.probes, other.recall) and one.recall >= 0.95


def test_ranges_hold_all_lists_and_about_as_many_rows():
    sizes = np.array([5, 0, 40, 3, 2, 0, 30, 20])
    bounds = ranges(sizes, 3)
    assert [lists for first, last in bounds for lists in range(first, last)] == list(range(8))
    assert all(sizes[first:last].sum() for first, last in bounds)
    assert ranges(sizes, 1) == [(0, 8)] and len(ranges(sizes, 50)) <= 8
