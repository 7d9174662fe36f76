"""Search in list-major order gives what comparing with every row gives, whatever it is divided into."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.neighbours import codes, lists, select, select_torch
from mnemic.neighbours.codes import Coder, products
from mnemic.neighbours.exact import ExactSearch
from mnemic.neighbours.lists import Lists


def store(rows: int, width: int, seed: int = 0, topics: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys in clusters, twenty rows a document, with one component as large as language models have them."""
    random = np.random.default_rng(seed)
    keys = 2.0 * random.standard_normal((topics, width))[random.integers(0, topics, rows)]
    keys += random.standard_normal((rows, width))
    keys[:, 3] *= 12.0
    return torch.from_numpy(keys.astype(np.float16)), torch.arange(rows) // 20


def recall(rows: np.ndarray, exact: np.ndarray, k: int = 64) -> float:
    return float(np.mean([len(np.intersect1d(one[:k], other[:k])) / k for one, other in zip(rows, exact, strict=True)]))


@pytest.fixture(scope="module")
def clustered() -> tuple[torch.Tensor, torch.Tensor, Lists]:
    keys, document = store(12_000, 48)
    return keys, document, Lists(keys, document)


def test_all_lists_together_are_brute_force(clustered):
    keys, document, searched = clustered
    some = torch.arange(0, 12_000, 17)
    distances, rows = searched.search(keys[some], document[some], 100, probes=len(searched.heads))
    expected, exact = ExactSearch(keys, document).search(keys[some], document[some], 100)
    assert recall(rows, exact, 100) > 0.9999
    np.testing.assert_allclose(distances[:, :64], expected[:, :64], rtol=2e-6)  # what rounding loses stands at the end
    assert (document.numpy()[rows] != document[some].numpy()[:, None]).all()
    true = ((keys[some, None].double() - keys[rows].double()) ** 2).sum(2)
    np.testing.assert_allclose(distances, true, rtol=1e-5)


def test_a_quarter_of_the_lists_finds_nearly_all(clustered):
    keys, document, searched = clustered
    some = torch.arange(0, 12_000, 13)
    exact = ExactSearch(keys, document).search(keys[some], document[some], 64)[1]
    rows = searched.search(keys[some], document[some], 64, probes=len(searched.heads) // 4)[1]
    assert recall(rows, exact) >= 0.97


@pytest.mark.parametrize("recall_sought", [0.8, 0.97])
def test_as_many_lists_are_looked_at_as_the_recall_needs(clustered, recall_sought):
    keys, document, _ = clustered
    searched = Lists(keys, document)
    measured = searched.measure(recall_sought)
    assert measured["recall"] >= recall_sought and measured["probes"] == searched.probes < measured["lists"]
    some = torch.arange(5, 12_000, 19)
    exact = ExactSearch(keys, document).search(keys[some], document[some], 64)[1]
    assert recall(searched.search(keys[some], document[some], 64)[1], exact) >= recall_sought - 0.02


@settings(max_examples=8)
@given(st.permutations(range(150)), st.integers(1, 150), st.integers(1, 40))
def test_an_answer_does_not_depend_on_what_else_is_asked(clustered, order, size, probes):
    keys, document, searched = clustered
    expected = searched.search(keys[:150], document[:150], 30, probes)
    for begin in range(0, 150, size):
        part = torch.tensor(order[begin : begin + size])
        for part_of, whole in zip(searched.search(keys[part], document[part], 30, probes), expected, strict=True):
            np.testing.assert_array_equal(part_of, whole[part.numpy()])


def test_tiles_and_blocks_do_not_show(clustered, monkeypatch):
    keys, document, searched = clustered
    expected = searched.search(keys[:500], document[:500], 30, 5)
    monkeypatch.setattr(lists, "TILE", 7)
    monkeypatch.setattr(lists, "_QUERIES", 64)
    for small, whole in zip(searched.search(keys[:500], document[:500], 30, 5), expected, strict=True):
        np.testing.assert_array_equal(small, whole)


def test_torch_selects_what_the_compiled_code_selects(clustered, monkeypatch):
    keys, document, searched = clustered
    expected = searched.search(keys[:300], document[:300], 40, 6)
    monkeypatch.setattr(select, "Candidates", select_torch.Candidates)
    distances, rows = searched.search(keys[:300], document[:300], 40, 6)
    np.testing.assert_allclose(distances, expected[0], rtol=1e-5)  # sums are added in another order
    assert (np.sort(rows) == np.sort(expected[1])).mean() > 0.999


def test_products_in_floats_are_those_in_integers(monkeypatch):
    random = np.random.default_rng(1)
    one, other = (torch.from_numpy(random.integers(-127, 128, (rows, 1500), np.int8)) for rows in (50, 70))
    one[0], other[0] = 127, -127
    expected = one.long() @ other.long().T
    assert (products(one, other) == expected).all()
    monkeypatch.setattr(codes, "_has_integer_products", lambda device: False)
    assert (products(one, other) == expected).all()


def test_codes_estimate_distances_closely_though_one_component_is_large():
    keys, _ = store(2000, 64)
    coded = Coder.of(keys).codes(keys)
    estimated = coded.norm[:, None] + coded.norm - 2 * coded.values() @ coded.values().T
    exact = torch.cdist(keys.double(), keys.double()) ** 2
    error = (estimated - exact).abs()
    assert float(error.mean()) < 0.01 * float(exact.mean())


def test_a_key_has_the_same_code_whatever_is_coded_with_it(clustered):
    keys, _, searched = clustered
    whole, alone = searched.coder.codes(keys), searched.coder.codes(keys[7000:7003])
    assert (whole.code[7000:7003] == alone.code).all() and (whole.norm[7000:7003] == alone.norm).all()


def test_a_query_whose_lists_hold_too_little_looks_at_all():
    """Fifty documents, of which one has nearly all rows near each other: its rows find others only further away."""
    keys, _ = store(3000, 16, topics=3)
    document = torch.zeros(3000, dtype=torch.long)
    document[::60] = torch.arange(1, 51)
    searched = Lists(keys, document)
    rows = searched.search(keys[1:2], document[1:2], 50, probes=1)[1]
    assert sorted(rows[0]) == list(range(0, 3000, 60))
    rows = searched.search(keys[1:2], document[1:2], 60, probes=1)[1]
    assert sorted(rows[0, :50]) == list(range(0, 3000, 60)) and (rows[0, 50:] == -1).all()


def test_copies_of_a_key_come_in_the_order_of_their_rows():
    keys, _ = store(1500, 32)
    keys[100:110] = keys[1200]
    document = torch.arange(1500)
    distances, rows = Lists(keys, document).search(keys[1200:1201], document[1200:1201], 10)
    assert rows[0].tolist() == list(range(100, 110)) and (distances[0] == 0).all()


def test_no_query_has_no_answer(clustered):
    keys, document, searched = clustered
    distances, rows = searched.search(keys[:0], document[:0], 5)
    assert distances.shape == rows.shape == (0, 5)
