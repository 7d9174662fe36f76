"""The nearest rows of the store in other documents, exactly, however they are searched for."""

from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from datastore_rows import Rows, make_rows, oracle, parts, random_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import RecipeError, StepError
from mnemic.neighbours import exact
from operators.teacher import NO_NEIGHBOUR, Neighbours
from operators.teacher.search import FittedNeighbours


def fit(operator: Neighbours, rows: pa.RecordBatch) -> FittedNeighbours:
    """Of the rows of split "store", as the step gives them."""
    return operator.fit(Rows(rows.filter(pc.equal(rows["split"], "store"))), "cpu", lambda done, total: None)


def recall(neighbours: np.ndarray, rows: np.ndarray) -> float:
    shares = [len(np.intersect1d(one, other)) / len(other) for one, other in zip(neighbours, rows, strict=True)]
    return float(np.mean(shares))


@pytest.mark.parametrize("k", [1, 16, 256])
def test_neighbours_are_those_of_brute_force_in_float64(k: int) -> None:
    store = random_rows(2000, 32)
    queries = store.slice(100, 300)
    columns = parts(fit(Neighbours(k), store)(queries))
    distances, rows = oracle(store, queries, k)
    assert (columns["neighbours"] == rows).mean() > 0.999  # float32 may swap two almost equal ones
    np.testing.assert_allclose(columns["distances"], distances, rtol=1e-5)


def test_own_document_is_never_found_and_a_copy_in_another_document_is() -> None:
    store = random_rows(600, 8, seed=3)
    keys = parts(store)["key"].copy()
    keys[400] = keys[10]
    store = make_rows(keys, np.array(store.column("token")), np.arange(600) // 20)
    columns = parts(fit(Neighbours(32), store)(store))
    assert (columns["neighbours"] // 20 != (np.arange(600) // 20)[:, None]).all()
    assert columns["neighbours"][10, 0] == 400 and columns["distances"][10, 0] == 0
    assert columns["neighbours"][400, 0] == 10


def test_rows_of_other_splits_are_queries_only() -> None:
    rows = random_rows(400, 8)
    split = ["store" if (i // 20) % 2 else "validation" for i in range(400)]
    rows = make_rows(parts(rows)["key"], np.array(rows.column("token")), np.arange(400) // 20, split)
    store = rows.filter(pa.array([s == "store" for s in split]))
    np.testing.assert_array_equal(parts(fit(Neighbours(5), rows)(rows))["neighbours"], oracle(store, rows, 5)[1])


def test_a_small_store_pads_its_neighbours() -> None:
    store = random_rows(6, 4, per_document=2)
    columns = parts(fit(Neighbours(10), store)(store))
    assert (columns["neighbours"][:, :4] < 6).all() and (columns["neighbours"][:, 4:] == NO_NEIGHBOUR).all()
    assert np.isinf(columns["distances"][:, 4:]).all()


def test_long_ties_go_to_the_smaller_row_numbers() -> None:
    """More copies of a key than a search has candidates: only the smallest row numbers may win."""
    rng = np.random.default_rng(5)
    keys = rng.normal(size=(900, 8))
    keys[rng.permutation(900)[:400]] = keys[0]
    store = make_rows(keys, rng.integers(0, 30, 900), np.arange(900) // 3)
    np.testing.assert_array_equal(parts(fit(Neighbours(20), store)(store))["neighbours"], oracle(store, store, 20)[1])


_STORE = random_rows(1500, 48, seed=9)
_cache: list[FittedNeighbours] = []


def _fitted() -> FittedNeighbours:
    if not _cache:
        _cache.append(fit(Neighbours(40), _STORE))
    return _cache[0]


@settings(max_examples=6)
@given(st.permutations(range(90)), st.integers(10, 90))
def test_a_row_is_bit_equal_in_any_batch(order: list[int], size: int) -> None:
    rows = _STORE.slice(0, 90)
    expected = pa.table(_fitted()(rows))
    chosen = rows.take(pa.array(order))
    answers = pa.Table.from_batches([_fitted()(chosen.slice(begin, size)) for begin in range(0, 90, size)])
    assert answers.take(pa.array(np.argsort(order))).equals(expected)


def test_blocks_of_the_store_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = _fitted()(_STORE.slice(0, 64))
    monkeypatch.setattr(exact, "_STORE_BLOCK", 128)
    monkeypatch.setattr(exact, "BLOCK", 48)
    assert fit(Neighbours(40), _STORE)(_STORE.slice(0, 64)).equals(expected)


def test_output_is_what_is_made_also_for_no_rows() -> None:
    assert _fitted()(_STORE.slice(0, 0)).schema == Neighbours(40).output(_STORE.schema)


def test_lists_find_what_is_wanted_and_say_so() -> None:
    store = random_rows(4000, 16)
    fitted = fit(Neighbours(64, search="lists", recall=0.95), store)
    summary, lists = fitted.summary, fitted.tables["lists"]
    assert 0.95 <= summary["recall"] <= 1.0 and summary["probes"] <= summary["lists"] == len(lists)
    assert pc.sum(lists["rows"]).as_py() == 4000 and lists["list"].to_pylist() == list(range(len(lists)))
    columns = parts(fitted(store.slice(0, 300)))["neighbours"]
    assert recall(columns, oracle(store, store.slice(0, 300), 64)[1]) > 0.93
    assert (columns // 20 != np.arange(300)[:, None] // 20).all()


def test_an_exact_search_has_no_lists() -> None:
    assert len(_fitted().tables["lists"]) == 0 and _fitted().summary == {"search": "exact", "keys": 1500}


@pytest.mark.parametrize("search", ["exact", "lists", "ivfpq"])
def test_another_process_computes_the_same_from_the_state(search: str) -> None:
    if search == "ivfpq":
        pytest.importorskip("faiss")
    operator = Neighbours(40, search=search, recall=0.9)
    fitted = fit(operator, _STORE)
    restored = operator.restore(fitted.state, Rows(_STORE, **fitted.tables), "cpu")
    assert restored(_STORE.slice(0, 200)).equals(fitted(_STORE.slice(0, 200)))


@pytest.mark.parametrize("memory_gb", [8.0, len(_STORE) * (6 * 48 + 64) / 2e9 * 1.001])
def test_threads_do_not_show(memory_gb: float, two_threads: None) -> None:
    operator = Neighbours(24, search="lists", recall=0.9, memory_gb=memory_gb)
    torch.set_num_threads(1)
    one = fit(operator, _STORE)
    lists = one.tables["lists"]
    (first, *_), rows = operator.ranges(lists), _STORE.append_column("_rowid", pa.array(range(1500), pa.uint64()))
    part = operator.part(one.state, Rows(_STORE, lists=lists), "cpu", first)
    answers = part(rows)
    torch.set_num_threads(2)
    two = fit(operator, _STORE)
    assert two.summary == one.summary and two.tables["lists"].equals(lists)
    assert operator.part(two.state, Rows(_STORE, lists=lists), "cpu", first)(rows).equals(answers)


@pytest.mark.parametrize("count", [2, 4])
def test_a_store_in_parts_finds_what_the_whole_store_finds(count: int) -> None:
    whole = fit(Neighbours(24, search="lists", recall=0.9), _STORE)
    size = len(_STORE) * (6 * 48 + 64)
    operator = Neighbours(24, search="lists", recall=0.9, memory_gb=size / count / 1e9 * 1.001)
    fitted = fit(operator, _STORE)
    assert fitted.store is None and fitted.summary == whole.summary
    lists = fitted.tables["lists"]
    assert lists.equals(whole.tables["lists"])
    ids = pa.array(np.random.default_rng(2).permutation(5000)[:1500].astype(np.uint64))
    rows = pa.RecordBatch.from_arrays([*_STORE.columns, ids], names=[*_STORE.schema.names, "_rowid"])
    answers = []
    assert 1 < len(operator.ranges(lists)) <= count
    for one in operator.ranges(lists):
        answers += operator.part(fitted.state, Rows(_STORE, lists=lists), "cpu", one)(rows).to_batches()
    for begin in range(0, 1500, 500):
        assert operator.merge(answers, ids.slice(begin, 500)).equals(whole(_STORE.slice(begin, 500)))


def test_codes_propose_and_keys_decide() -> None:
    pytest.importorskip("faiss")
    rng = np.random.default_rng(4)
    keys = 2.0 * rng.standard_normal((30, 32))[rng.integers(0, 30, 1200)] + rng.standard_normal((1200, 32))
    keys[700:704] = keys[20]
    store = make_rows(keys, rng.integers(0, 30, 1200), np.arange(1200) // 20)
    fitted = fit(Neighbours(32, search="ivfpq", recall=0.9), store)
    assert fitted.summary["recall"] >= 0.9 and len(fitted.tables["lists"]) == 0
    queries = store.slice(0, 200)
    columns, (distances, rows) = parts(fitted(queries)), oracle(store, queries, 32)
    assert recall(columns["neighbours"], rows) > 0.85
    exact_ones = (parts(queries)["key"][:, None].astype(float) - keys.astype(np.float16)[columns["neighbours"]]) ** 2
    np.testing.assert_allclose(columns["distances"], exact_ones.sum(2), rtol=1e-5)
    assert (columns["neighbours"] // 20 != np.arange(200)[:, None] // 20).all()
    assert columns["neighbours"][20, :4].tolist() == [700, 701, 702, 703] and (columns["distances"][20, :4] == 0).all()
    assert (np.diff(columns["distances"], axis=1) >= 0).all() and (columns["distances"] >= distances * (1 - 1e-5)).all()


def test_without_faiss_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(StepError, match=r"pip install 'mnemic\[faiss\]'"):
        fit(Neighbours(4, search="ivfpq"), _STORE)


@pytest.mark.parametrize("search", ["exact", "lists"])
def test_damaged_keys_fail_the_self_test(search: str) -> None:
    damaged = make_rows(np.full((900, 8), np.nan), np.zeros(900), np.arange(900))
    with pytest.raises(StepError, match="rebuild the datastore"):
        fit(Neighbours(4, search=search), damaged)


def test_an_empty_store_is_a_sentence() -> None:
    rows = make_rows(np.ones((3, 4)), np.zeros(3), np.zeros(3, int), ["test"] * 3)
    with pytest.raises(StepError, match="no row of split 'store'"):
        fit(Neighbours(), rows)
    with pytest.raises(RecipeError, match="k of the neighbours is 0; give a number of at least 1"):
        Neighbours(k=0)
