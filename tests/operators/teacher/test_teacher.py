from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import RecipeError, StepError
from mnemic.neighbours import exact
from operators.teacher import NO_NEIGHBOUR, FittedTeacher, Teacher, probabilities


class Rows:
    """A corpus in memory."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return self.batch.num_rows

    def batches(self, columns: Sequence[str], size: int = 700) -> Iterator[pa.RecordBatch]:
        for begin in range(0, len(self), size):
            yield self.batch.select(list(columns)).slice(begin, size)

    def take(self, positions: Sequence[int], columns: Sequence[str]) -> pa.Table:
        return pa.table(self.batch.take(pa.array(positions)).select(list(columns)))


def make_rows(
    keys: np.ndarray, token: np.ndarray, document: np.ndarray, split: Sequence[str] | None = None
) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [
            pa.array([f"{d:05d}" for d in document]),
            pa.array(np.arange(len(keys), dtype=np.int32)),
            pa.FixedSizeListArray.from_arrays(pa.array(keys.astype(np.float16).reshape(-1)), keys.shape[1]),
            pa.array(token.astype(np.int32)),
            pa.array(split or ["store"] * len(keys)),
        ],
        names=["document", "position", "key", "token", "split"],
    )


def random_rows(count: int, width: int, seed: int = 0, vocabulary: int = 50, per_document: int = 20) -> pa.RecordBatch:
    rng = np.random.default_rng(seed)
    return make_rows(
        rng.normal(size=(count, width)), rng.integers(0, vocabulary, count), np.arange(count) // per_document
    )


def fit(operator: Teacher, rows: pa.RecordBatch) -> FittedTeacher:
    torch.set_num_threads(2)
    return operator.fit(Rows(rows), "cpu", lambda done, total: None)


def parts(batch: pa.RecordBatch) -> dict[str, np.ndarray]:
    def array(column: pa.Array) -> np.ndarray:
        if pa.types.is_fixed_size_list(column.type):
            return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size)
        return column.to_numpy(zero_copy_only=False)

    found = {name: array(batch.column(name)) for name in batch.schema.names}
    if "teacher_probs" in found:
        found["teacher_probs"] = probabilities(found["teacher_probs"])
    return found


def oracle(store: pa.RecordBatch, queries: pa.RecordBatch, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances and rows of the k nearest in other documents, by definition in float64."""
    keys, query = parts(store)["key"].astype(np.float64), parts(queries)["key"].astype(np.float64)
    distances = ((query[:, None] - keys[None]) ** 2).sum(2)
    same = np.array(store.column("document"))[None, :] == np.array(queries.column("document"))[:, None]
    distances[same] = np.inf
    # float32 decides what is a tie, as it does in the operator
    order = np.argsort(distances.astype(np.float32), axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, 1), order


@pytest.mark.parametrize(("k", "temperature"), [(1, 1.0), (16, 5.0), (256, 0.5)])
def test_teacher_is_the_brute_force_teacher(k: int, temperature: float) -> None:
    store = random_rows(2000, 32)
    fitted = fit(Teacher(neighbours=k, support=300, temperature=temperature), store)
    queries = store.slice(100, 300)
    found = parts(fitted(queries))
    distances, rows = oracle(store, queries, k)
    assert (found["neighbours"] == rows).mean() > 0.999  # float32 may swap two almost equal ones
    np.testing.assert_allclose(found["distances"], distances, rtol=1e-5)
    token = np.array(store.column("token"))
    for i in range(300):
        weight = np.exp(-(distances[i] - distances[i].min()) / temperature)
        expected = np.bincount(token[rows[i]], weights=weight / weight.sum(), minlength=50)
        dense = np.zeros(50)
        np.add.at(dense, found["teacher_ids"][i], found["teacher_probs"][i])
        np.testing.assert_allclose(dense, expected, rtol=0.07, atol=2e-7)  # a byte of the logarithm
        assert found["teacher_label"][i] == pytest.approx(expected[queries.column("token")[i].as_py()], abs=1e-5)
        assert found["teacher_rest"][i] == pytest.approx(0.0, abs=1e-6)


def test_own_document_is_never_found_and_a_copy_in_another_document_is() -> None:
    store = random_rows(600, 8, seed=3)
    keys = parts(store)["key"].copy()
    keys[400] = keys[10]
    store = make_rows(keys, np.array(store.column("token")), np.arange(600) // 20)
    found = parts(fit(Teacher(neighbours=32, support=8), store)(store))
    assert (found["neighbours"] // 20 != (np.arange(600) // 20)[:, None]).all()
    assert found["neighbours"][10, 0] == 400 and found["distances"][10, 0] == 0
    assert found["neighbours"][400, 0] == 10


def test_rows_of_other_splits_are_queries_only() -> None:
    rows = random_rows(400, 8)
    split = ["store" if (i // 20) % 2 else "validation" for i in range(400)]
    rows = make_rows(parts(rows)["key"], np.array(rows.column("token")), np.arange(400) // 20, split)
    fitted = fit(Teacher(neighbours=5, support=5, temperature=1.0), rows)
    store = rows.filter(pa.array([s == "store" for s in split]))
    found = parts(fitted(rows))
    np.testing.assert_array_equal(found["neighbours"], oracle(store, rows, 5)[1])


def test_all_neighbours_at_infinite_temperature_are_the_unigram_distribution_and_at_zero_the_nearest() -> None:
    store = random_rows(300, 8, vocabulary=10, per_document=1)
    token = np.array(store.column("token"))
    hot = parts(fit(Teacher(neighbours=299, support=10, temperature=1e12), store)(store))
    others = np.bincount(token, minlength=10) - np.eye(10)[token]
    for i in range(300):
        np.testing.assert_allclose(hot["teacher_probs"][i], (others / 299)[i][hot["teacher_ids"][i]], rtol=0.07)
    cold = parts(fit(Teacher(neighbours=299, support=10, temperature=1e-6), store)(store))
    assert (cold["teacher_ids"][:, 0] == token[cold["neighbours"][:, 0]]).all()
    assert (cold["teacher_probs"][:, 0] == 1).all() and (cold["teacher_probs"][:, 1:] == 0).all()


def test_a_small_store_pads_its_neighbours() -> None:
    store = random_rows(6, 4, per_document=2)
    found = parts(fit(Teacher(neighbours=10, support=3, temperature=1.0), store)(store))
    assert (found["neighbours"][:, :4] < 6).all() and (found["neighbours"][:, 4:] == NO_NEIGHBOUR).all()
    assert np.isinf(found["distances"][:, 4:]).all()
    lonely = random_rows(6, 4, per_document=6)
    found = parts(fit(Teacher(neighbours=2, support=3), lonely)(lonely))
    assert (found["teacher_probs"] == 0).all()
    assert (found["teacher_rest"] == 1).all() and (found["teacher_label"] == 0).all()


def test_long_ties_go_to_the_smaller_row_numbers() -> None:
    """More copies of a key than a search has candidates: only the smallest row numbers may win."""
    rng = np.random.default_rng(5)
    keys = rng.normal(size=(900, 8))
    keys[rng.permutation(900)[:400]] = keys[0]
    store = make_rows(keys, rng.integers(0, 30, 900), np.arange(900) // 3)
    fitted = fit(Teacher(neighbours=20, support=5), store)
    np.testing.assert_array_equal(parts(fitted(store))["neighbours"], oracle(store, store, 20)[1])


@settings(max_examples=6, deadline=None)
@given(st.permutations(range(90)), st.integers(10, 90))
def test_a_row_is_bit_equal_in_any_batch(order: list[int], size: int) -> None:
    rows = _STORE.slice(0, 90)
    expected = pa.table(_fitted()(rows))
    chosen = rows.take(pa.array(order))
    made = pa.Table.from_batches([_fitted()(chosen.slice(begin, size)) for begin in range(0, 90, size)])
    assert made.take(pa.array(np.argsort(order))).equals(expected)


_STORE = random_rows(1500, 48, seed=9)
_cache: list[FittedTeacher] = []


def _fitted() -> FittedTeacher:
    if not _cache:
        _cache.append(fit(Teacher(neighbours=40, support=16), _STORE))
    return _cache[0]


def test_blocks_of_the_store_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = _fitted()(_STORE.slice(0, 64))
    monkeypatch.setattr(exact, "_STORE_BLOCK", 128)
    monkeypatch.setattr(exact, "BLOCK", 48)
    found = fit(Teacher(neighbours=40, support=16), _STORE)(_STORE.slice(0, 64))
    assert found.equals(expected)


def test_temperature_is_a_fifth_of_the_median_nearest_distance() -> None:
    store = random_rows(800, 16)
    fitted = fit(Teacher(neighbours=4, support=4), store)
    nearest = oracle(store, store, 1)[0][:, 0]
    assert fitted.temperature == pytest.approx(0.2 * np.median(nearest), rel=1e-3)
    assert fit(Teacher(neighbours=4, support=4, temperature=3.0), store).temperature == 3.0
    assert fitted.tables == {}


def test_output_is_what_is_made_also_for_no_rows() -> None:
    operator = Teacher(neighbours=40, support=16)
    assert _fitted()(_STORE.slice(0, 0)).schema == operator.output(_STORE.schema)


def test_damaged_keys_fail_the_self_test() -> None:
    store = random_rows(300, 8)
    keys = parts(store)["key"].copy()
    keys[:] = np.nan
    with pytest.raises(StepError, match="rebuild the datastore"):
        fit(Teacher(neighbours=4), make_rows(keys, np.zeros(300), np.arange(300)))


def test_an_empty_store_is_a_sentence() -> None:
    rows = make_rows(np.ones((3, 4)), np.zeros(3), np.zeros(3, int), ["test"] * 3)
    with pytest.raises(StepError, match="no row of split 'store'"):
        fit(Teacher(), rows)
    with pytest.raises(RecipeError, match="neighbours is 0; give a number of at least 1"):
        Teacher(neighbours=0)


@pytest.mark.parametrize("search", ["exact", "lists"])
def test_another_process_computes_the_same_from_the_state(search: str) -> None:
    operator = Teacher(neighbours=40, support=16, search=search, recall=0.9)
    fitted = fit(operator, _STORE)
    restored = operator.restore(fitted.state, Rows(_STORE), "cpu")
    assert restored(_STORE.slice(0, 200)).equals(fitted(_STORE.slice(0, 200)))


def test_lists_find_what_is_wanted_and_say_so() -> None:
    store = random_rows(4000, 16)
    fitted = fit(Teacher(neighbours=64, support=16, search="lists", recall=0.95), store)
    assert 0.95 <= fitted.summary["recall"] <= 1.0 and fitted.summary["probes"] <= fitted.summary["lists"]
    found, rows = parts(fitted(store.slice(0, 300))), oracle(store, store.slice(0, 300), 64)[1]
    shares = [len(np.intersect1d(one, other)) / 64 for one, other in zip(found["neighbours"], rows, strict=True)]
    assert np.mean(shares) > 0.93
    assert (found["neighbours"] // 20 != np.arange(300)[:, None] // 20).all()


def test_damaged_keys_fail_the_self_test_of_lists() -> None:
    keys = np.full((900, 8), np.nan)
    with pytest.raises(StepError, match="rebuild the datastore"):
        fit(Teacher(neighbours=4, search="lists"), make_rows(keys, np.zeros(900), np.arange(900)))
