"""The columns `surprisal`, `entropy` and `bayesian_surprise`."""

from __future__ import annotations

import functools
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import SENTENCES, save_tiny_model

from mnemic import languagemodel
from mnemic.errors import RecipeError, StepError
from mnemic.languagemodel.head import label_log_probs
from mnemic.languagemodel.windows import windows
from operators.contracts import BatchFunction
from operators.reading.scoring import distribution_signals, token_surprise
from operators.reading.settings import SIGNALS
from operators.surprise import Surprise

SHORT = {"window": 24, "stride": 8, "batch_tokens": 96}


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    return languagemodel.load(save_tiny_model(tmp_path_factory.mktemp("model"), request.param), "float32")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def worker(address: str) -> BatchFunction:
    return Surprise(model=address, dtype="float32", signals=SIGNALS, **SHORT).open("cpu")


def from_log_probs(log_probs: torch.Tensor, ids: list[int]) -> dict[str, np.ndarray]:
    """The definitions, in float64: row i of [tokens, vocabulary] is the distribution after token i."""
    before, after = log_probs[:-1], log_probs[1:]
    return {
        "surprisal": -before.gather(1, torch.tensor(ids[1:])[:, None])[:, 0].numpy(),
        "entropy": -(before.exp() * before).sum(1).numpy(),
        "bayesian_surprise": (after.exp() * (after - before)).sum(1).numpy(),
    }


def by_definition(model: Any, ids: list[int]) -> dict[str, np.ndarray]:
    with torch.inference_mode():
        return from_log_probs(model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(1), ids)


def sequences(tokenizer: Any, texts: list[str]) -> list[np.ndarray]:
    return [np.array(tokenizer(text)["input_ids"], np.int32) for text in texts]


def units(texts: list[str], gaps: list[int] | None = None, document: str = "d") -> pa.RecordBatch:
    starts, at = [], 0
    for text, gap in zip(texts, gaps or [1] * len(texts), strict=True):
        at += gap
        starts.append(at)
        at += len(text)
    return pa.RecordBatch.from_pydict(
        {
            "document": pa.array([document] * len(texts), pa.string()),
            "ordinal": pa.array(range(len(texts)), pa.int32()),
            "start": pa.array(starts, pa.int64()),
            "end": pa.array([start + len(text) for start, text in zip(starts, texts, strict=True)], pa.int64()),
            "text": pa.array(texts, pa.large_string()),
        }
    )


def test_a_text_within_the_window_gets_what_the_definitions_say_of_the_full_logits(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    tokens = sequences(tokenizer, SENTENCES)
    for row, signals in zip(tokens, token_surprise(model, tokens, SIGNALS), strict=True):
        expected = by_definition(model, row.tolist())
        for name in SIGNALS:
            assert signals[name].dtype == np.float32 and np.isnan(signals[name][0])
            np.testing.assert_allclose(signals[name][1:], expected[name], atol=1e-4, rtol=1e-5)
            assert (signals[name][1:] >= 0).all()
        with torch.inference_mode():
            batch = torch.from_numpy(row.astype(np.int64))[None]
            loss = model(input_ids=batch, labels=batch).loss.item()
        assert signals["surprisal"][1:].sum() == pytest.approx(loss * (len(row) - 1), rel=1e-5)


def test_a_longer_text_gets_what_the_definitions_say_of_each_of_its_windows(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    (row,) = tokens = sequences(tokenizer, [" ".join(SENTENCES)])
    (signals,) = token_surprise(model, tokens, SIGNALS, window=24, stride=8, batch_tokens=96)
    parts = windows(len(row), 24, 8)
    assert len(parts) > 5 and not any(np.isnan(signals[name][1:]).any() for name in SIGNALS)
    for part in parts:
        expected = by_definition(model, row[part.begin : part.end].tolist())
        for name in SIGNALS:
            of_window = expected[name][part.scored - part.begin - 1 :]
            np.testing.assert_allclose(signals[name][part.scored : part.end], of_window, atol=1e-4, rtol=1e-5)


@settings(max_examples=10)
@given(st.integers(2, 1100), st.sampled_from([None, 5.0]), st.sampled_from([1.0, 8.0]), st.integers(0, 99))
def test_blocks_put_together_are_the_definitions(rows: int, softcap: float | None, spread: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    hidden, head = torch.randn(rows, 8, generator=generator) * spread, torch.randn(5000, 8, generator=generator)
    ids = torch.randint(0, 5000, (rows,), generator=generator)
    logits = hidden.double() @ head.double().T
    if softcap is not None:
        logits = torch.tanh(logits / softcap) * softcap
    expected = from_log_probs(logits.log_softmax(1), ids.tolist())
    signals = distribution_signals(hidden, head, ids[1:], SIGNALS, softcap)
    for name in SIGNALS:
        np.testing.assert_allclose(signals[name].numpy(), expected[name], atol=1e-4, rtol=1e-5)
    assert torch.equal(signals["surprisal"], -label_log_probs(hidden[:-1], head, ids[1:], softcap))
    last = distribution_signals(hidden[-2:], head, ids[-1:], SIGNALS, softcap)
    assert all(torch.equal(last[name], signals[name][-1:]) for name in SIGNALS)


def test_equal_distributions_do_not_surprise() -> None:
    hidden = torch.randn(1, 8).expand(3, 8)
    signals = distribution_signals(hidden, torch.randn(3000, 8), torch.zeros(2, dtype=torch.int64))
    assert signals["bayesian_surprise"].abs().max() < 1e-5


TEXTS = [[SENTENCES[0], SENTENCES[4], SENTENCES[1]], ["x"], SENTENCES * 2, ["ab", ""], [SENTENCES[3]], [""]]


def documents() -> list[pa.RecordBatch]:
    return [units(texts, document=f"d{number}") for number, texts in enumerate(TEXTS)]


def check_batches(worker: BatchFunction, expected: list[Any], order: list[int], size: int, random: Random) -> None:
    """Documents in this order, so many at a time and their units shuffled, have the rows that each has alone."""
    batches = documents()
    for begin in range(0, len(order), size):
        mixed = pa.Table.from_batches([batches[number] for number in order[begin : begin + size]])
        shuffled = mixed.take(pa.array(random.sample(range(len(mixed)), len(mixed)))).combine_chunks().to_batches()[0]
        rows, _ = worker(shuffled)
        for unit, row in zip(shuffled.to_pylist(), rows.to_pylist(), strict=True):
            assert row == expected[int(unit["document"][1:])][unit["ordinal"]]


@settings(max_examples=12)
@given(st.permutations(range(len(TEXTS))), st.integers(1, len(TEXTS)), st.randoms(use_true_random=False))
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_row_is_bit_equal_in_any_batch(address: str, dtype: str, order: list[int], size: int, random: Random) -> None:
    worker, expected = _worker(address, dtype)
    check_batches(worker, expected, order, size, random)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_row_is_bit_equal_with_two_threads(address: str, dtype: str, two_threads: None) -> None:
    check_batches(*_worker(address, dtype), [4, 2, 0, 5, 1, 3], 2, Random(0))


@functools.cache
def _worker(address: str, dtype: str) -> tuple[BatchFunction, list[Any]]:
    """A worker, and the rows of each document alone, with one thread."""
    worker = Surprise(model=address, dtype=dtype, signals=SIGNALS, **SHORT).open("cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = [worker(batch)[0].to_pylist() for batch in documents()]
    torch.set_num_threads(threads)
    return worker, rows


def test_a_unit_has_the_mean_of_the_tokens_that_begin_in_it(worker: BatchFunction, address: str) -> None:
    texts = [SENTENCES[0], SENTENCES[4], SENTENCES[1], "🙂漢字", "end"]
    rows, rejects = worker(units(texts, [0, 1, 2, 9, 0]))
    whole = f"{texts[0]} {texts[1]}\n{texts[2]}\n{texts[3]}{texts[4]}"
    model, tokenizer = languagemodel.load(address, "float32")
    encoded = tokenizer(whole, return_offsets_mapping=True)
    ids = np.array(encoded["input_ids"], np.int32)
    (scored,) = token_surprise(model, [ids], SIGNALS, **SHORT)
    begin = 0
    for text, row in zip(texts, rows.to_pylist(), strict=True):
        begin = whole.index(text, begin)
        members = [
            number
            for number, (start, end) in enumerate(encoded["offset_mapping"])
            if number and begin <= start + (whole[start] == " " and end - start > 1) < begin + len(text)
        ]
        assert row == {name: pytest.approx(scored[name][members].mean(), rel=1e-5) for name in SIGNALS}
    assert rejects.num_rows == 0


def test_a_token_of_space_between_units_is_of_nobody(worker: BatchFunction, address: str) -> None:
    model, tokenizer = languagemodel.load(address, "float32")
    for gap, between in ((1, " "), (2, "\n")):
        first, second = worker(units(["a", "?"], [0, gap]))[0].column("surprisal").to_pylist()
        ids = np.array(tokenizer(f"a{between}?")["input_ids"], np.int32)
        assert len(ids) == 3  # "a", the space, "?"
        (scored,) = token_surprise(model, [ids], **SHORT)
        assert first is None and second == scored["surprisal"][2]


def test_units_without_a_scored_token_are_null(worker: BatchFunction) -> None:
    for texts in (["x"], ["x", ""], [""]):
        rows, _ = worker(units(texts))
        assert all(rows.column(name).null_count == len(texts) for name in SIGNALS)


def test_only_the_signals_asked_for_are_columns_in_their_order(address: str, worker: BatchFunction) -> None:
    batch = units(SENTENCES)
    every, _ = worker(batch)
    for signals in (("surprisal",), ("bayesian_surprise", "surprisal"), ("entropy",)):
        operator = Surprise(model=address, dtype="float32", signals=signals, **SHORT)
        rows, _ = operator.open("cpu")(batch)
        assert rows.schema == operator.output(batch.schema)
        assert rows.to_pydict() == {name: every.column(name).to_pylist() for name in signals}


def test_no_units_give_no_rows(worker: BatchFunction) -> None:
    rows, rejects = worker(units([]))
    assert rows.num_rows == rejects.num_rows == 0 and rows.schema == Surprise(signals=SIGNALS).output(rows.schema)


def test_settings_that_cannot_work_are_sentences(address: str) -> None:
    for settings_, sentence in (
        ({"window": 16, "stride": 16}, "cannot advance by 16; choose 1 <= stride < window"),
        ({"batch_tokens": 0}, "batch_tokens is 0; give a number of at least 1"),
        ({"dtype": "int4"}, "use auto, bfloat16 or float32"),
        ({"signals": ()}, "surprise are none; give"),
        ({"signals": ("surprisal", "surprisal")}, "each at most once"),
        ({"signals": ("surprise",)}, "'surprise'; give .* one of surprisal, entropy, bayesian_surprise"),
    ):
        with pytest.raises(RecipeError, match=sentence):
            Surprise(**settings_)
    with pytest.raises(StepError, match="reads 512 tokens; set window"):
        Surprise(model=address, window=1024).open("cpu")


@pytest.mark.slow
def test_the_packaged_model_is_surprised_by_what_does_not_belong() -> None:
    texts = ["The capital of France is Paris.", "The capital of France is a walrus.", "The capital of France is Paris."]
    worker = Surprise(signals=SIGNALS).open("cpu")
    usual, odd = (worker(units([text]))[0].to_pylist()[0] for text in texts[:2])
    assert odd["surprisal"] > usual["surprisal"] + 0.5
    rows = worker(units(texts))[0].to_pylist()
    assert rows[2]["surprisal"] < rows[0]["surprisal"] - 1  # it stands there already
    assert all(row[name] >= 0 for row in rows for name in SIGNALS)
