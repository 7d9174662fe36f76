"""What the neighbours vote for is kNN-LM's distribution, by definition in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from datastore_rows import Rows, joined, make_rows, oracle, parts, random_rows

from mnemic.errors import RecipeError, StepError
from mnemic.mixture import best_weight
from operators.teacher import FittedTeacher, Neighbours, Teacher

QUICK = {"support": 8, "temperature": 1.0}


def searched(rows: pa.RecordBatch, k: int) -> pa.RecordBatch:
    """Rows with their neighbours."""
    store = rows.filter(pc.equal(rows["split"], "store"))
    return joined(rows, Neighbours(k).fit(Rows(store), "cpu", lambda done, total: None)(rows))


def fit(rows: pa.RecordBatch, pairs: list[tuple[str, str]] | None = None, **settings: Any) -> FittedTeacher:
    tables = {} if pairs is None else {"pairs": pa.table(list(zip(*pairs, strict=True)), ["document", "other"])}
    return Teacher(**settings).fit(Rows(rows, **tables), "cpu", lambda done, total: None)


@pytest.mark.parametrize(("k", "temperature"), [(1, 1.0), (16, 5.0), (256, 0.5)])
def test_teacher_is_the_brute_force_teacher(k: int, temperature: float) -> None:
    store = random_rows(2000, 32)
    rows = searched(store, k)
    columns = parts(fit(rows, support=300, temperature=temperature)(rows.slice(100, 300)))
    distances, nearest = oracle(store, store.slice(100, 300), k)
    token = np.array(store.column("token"))
    for i in range(300):
        weight = np.exp(-(distances[i] - distances[i].min()) / temperature)
        expected = np.bincount(token[nearest[i]], weights=weight / weight.sum(), minlength=50)
        dense = np.zeros(50)
        np.add.at(dense, columns["teacher_ids"][i], columns["teacher_probs"][i])
        np.testing.assert_allclose(dense, expected, rtol=0.07, atol=2e-7)  # a byte of the logarithm
        assert columns["teacher_label"][i] == pytest.approx(expected[token[100 + i]], abs=1e-5)
        assert columns["teacher_rest"][i] == pytest.approx(0.0, abs=1e-6)


def test_own_document_has_no_weight_and_a_copy_of_a_row_in_another_one_keeps_its() -> None:
    """Every token is its row's own, so that a weight says whose it is."""
    keys = np.random.default_rng(3).normal(size=(60, 8))
    keys[40] = keys[10]
    rows = searched(make_rows(keys, np.arange(60), np.arange(60) // 5), 59)
    columns = parts(fit(rows, support=60, temperature=3.0)(rows))
    for i in range(60):
        voting = columns["teacher_ids"][i][columns["teacher_probs"][i] > 0]
        assert not set(voting) & set(range(i - i % 5, i - i % 5 + 5)) and columns["teacher_label"][i] == 0
    assert columns["teacher_ids"][10, 0] == 40 and columns["teacher_ids"][40, 0] == 10
    distances = ((keys[10].astype(np.float16) - keys.astype(np.float16)) ** 2).astype(np.float64).sum(1)
    weight = np.where(np.arange(60) // 5 == 2, 0, np.exp(-distances / 3.0))
    assert columns["teacher_probs"][10, 0] == pytest.approx(weight[40] / weight.sum(), rel=0.07)


def test_all_neighbours_at_infinite_temperature_are_the_unigram_distribution_and_at_zero_the_nearest() -> None:
    store = random_rows(300, 8, vocabulary=10, per_document=1)
    rows, token = searched(store, 299), np.array(store.column("token"))
    hot = parts(fit(rows, support=10, temperature=1e12)(rows))
    others = np.bincount(token, minlength=10) - np.eye(10)[token]
    for i in range(300):
        np.testing.assert_allclose(hot["teacher_probs"][i], (others / 299)[i][hot["teacher_ids"][i]], rtol=0.07)
    cold = parts(fit(rows, support=10, temperature=1e-6)(rows))
    assert (cold["teacher_ids"][:, 0] == token[parts(rows)["neighbours"][:, 0]]).all()
    assert (cold["teacher_probs"][:, 0] == 1).all() and (cold["teacher_probs"][:, 1:] == 0).all()


def test_a_row_without_neighbours_says_nothing() -> None:
    rows = searched(random_rows(6, 4, per_document=6), 2)
    fitted = fit(rows, support=3)
    columns = parts(fitted(rows))
    assert (columns["teacher_probs"] == 0).all()
    assert (columns["teacher_rest"] == 1).all() and (columns["teacher_label"] == 0).all()
    assert fitted.summary["alone"] == 1.0 and fitted.temperature == 1.0


def test_near_copies_do_not_vote_for_one_another_by_any_chain_of_pairs_in_any_order() -> None:
    rows = searched(make_rows(np.random.default_rng(0).normal(size=(40, 4)), np.arange(40), np.arange(40) // 4), 36)
    pairs = [("00007", "00002"), ("00005", "00004"), ("00002", "00009"), ("00009", "another, which is not here")]
    fitted = fit(rows, pairs, **QUICK, mask_similarity=0.5)
    wide = fit(rows, pairs, support=40, temperature=1e6)
    columns = parts(wide(rows))
    groups = {2: {2, 7, 9}, 7: {2, 7, 9}, 9: {2, 7, 9}, 4: {4, 5}, 5: {4, 5}}
    for i in range(40):
        voting = {token // 4 for token in columns["teacher_ids"][i][columns["teacher_probs"][i] > 0].tolist()}
        assert voting == set(range(10)) - groups.get(i // 4, {i // 4})
    assert fitted.summary["alike"] == 6 and 0 < fitted.summary["masked"] < 0.2
    assert fit(rows, pairs[::-1], **QUICK)(rows).equals(fitted(rows))
    alone = fit(rows, pairs, **QUICK, mask_similarity=None)
    assert alone.summary["masked"] == 0 and alone(rows).equals(fit(rows, **QUICK)(rows))


def test_a_query_that_is_not_in_the_store_is_masked_from_its_near_copy_there() -> None:
    split = ["store"] * 36 + ["validation-document"] * 4
    all_rows = make_rows(np.random.default_rng(0).normal(size=(40, 4)), np.arange(40), np.arange(40) // 4, split)
    base = pa.array(np.full(40, -2.0, np.float32))
    rows = searched(joined(all_rows, pa.RecordBatch.from_arrays([base], ["base_logprob"])), 36)
    columns = parts(fit(rows, [("00009", "00003")], support=40, temperature=1e6)(rows))
    assert all(
        set(range(12, 16)).isdisjoint(columns["teacher_ids"][i][columns["teacher_probs"][i] > 0]) for i in range(36, 40)
    )
    assert all(set(range(12, 16)) & set(columns["teacher_ids"][i][columns["teacher_probs"][i] > 0]) for i in range(12))


def test_temperature_is_a_fifth_of_the_median_nearest_distance_where_nothing_can_tune_it() -> None:
    store = random_rows(800, 16)
    rows = searched(store, 4)
    fitted = fit(rows, support=4)
    nearest = oracle(store, store, 1)[0][:, 0]
    assert fitted.temperature == fitted.summary["geometry"] == pytest.approx(0.2 * np.median(nearest), rel=1e-3)
    assert "weight" not in fitted.summary
    assert fit(rows, support=4, temperature=3.0).temperature == 3.0


def held_out(noise: float) -> pa.RecordBatch:
    """A store whose tokens follow from the topic of a key, and validation rows that a base model knows little of."""
    rng = np.random.default_rng(7)
    topic = np.repeat(rng.integers(0, 12, 60), 10)
    keys = rng.normal(size=(12, 8))[topic] + noise * rng.normal(size=(600, 8))
    split = ["store"] * 400 + ["validation-document"] * 100 + ["test-document"] * 100
    rows = make_rows(keys, topic, np.arange(600) // 10, split)
    base = pa.array(np.log(rng.uniform(0.05, 0.3, 600)).astype(np.float32))
    return searched(joined(rows, pa.RecordBatch.from_arrays([base], ["base_logprob"])), 64)


def test_temperature_is_the_one_that_serves_validation_text_best() -> None:
    rows = held_out(1.0)
    fitted = fit(rows, support=12)
    summary = fitted.summary
    validation = rows.slice(400, 100)
    tried = {}
    for step in range(-4, 5):
        temperature = summary["geometry"] * 2 ** (step / 2)
        label = parts(fit(rows, support=12, temperature=temperature)(validation))["teacher_label"]
        tried[temperature] = best_weight(parts(validation)["base_logprob"], np.log(np.maximum(label, 1e-38)))
    best = min(tried, key=lambda temperature: tried[temperature][1])
    assert fitted.temperature == summary["temperature"] == pytest.approx(best)
    assert summary["perplexity"] == pytest.approx(tried[best][1], rel=1e-5) and summary["weight"] == tried[best][0]
    assert summary["perplexity"] < summary["base_perplexity"] and summary["validation_rows"] == 100
    fixed = fit(rows, support=12, temperature=2.5).summary
    assert fixed["temperature"] == 2.5 and "geometry" not in fixed and fixed["perplexity"] >= summary["perplexity"]


def test_another_process_computes_the_same_from_the_state() -> None:
    rows = held_out(0.5)
    fitted = fit(rows, support=12)
    restored = Teacher(support=12).restore(fitted.state, Rows(rows), "cpu")
    assert restored(rows.slice(0, 100)).equals(fitted(rows.slice(0, 100))) and fitted.tables == {}


def test_output_is_what_is_made_also_for_no_rows() -> None:
    rows = searched(random_rows(60, 8), 4)
    assert fit(rows, support=16)(rows.slice(0, 0)).schema == Teacher(support=16).output(rows.schema)


def test_what_cannot_be_done_is_a_sentence() -> None:
    rows = searched(random_rows(60, 8), 4)
    others = rows.set_column(rows.schema.get_field_index("split"), "split", pa.array(["test"] * 60))
    with pytest.raises(StepError, match="no row of split 'store'"):
        fit(others)
    with pytest.raises(RecipeError, match="mask_similarity is 2; give a similarity above 0 and at most 1"):
        Teacher(mask_similarity=2)
