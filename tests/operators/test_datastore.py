from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import SENTENCES, save_tiny_model

from mnemic import languagemodel, schema
from mnemic.edits import EDITS
from mnemic.errors import RecipeError, StepError
from mnemic.languagemodel.head import label_log_probs
from mnemic.languagemodel.windows import bucket_lengths, windows
from mnemic.vectors import vectors
from operators import datastore
from operators.contracts import BatchFunction
from operators.datastore import Datastore
from operators.tokens import Tokenize

SHORT = {"window": 24, "stride": 8, "max_document_tokens": 60, "batch_tokens": 96}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def worker(address: str) -> BatchFunction:
    return Datastore(model=address, dtype="float32", **SHORT).open("cpu")


def documents(texts: list[str]) -> pa.RecordBatch:
    count = len(texts)
    return pa.RecordBatch.from_arrays(
        [
            pa.array([f"d{i}" for i in range(count)], pa.string()),
            pa.array(texts, pa.large_string()),
            pa.array(["store"] * count, pa.string()),
        ],
        names=["id", "text", "split"],
    )


TEXTS = [SENTENCES[0], "x", " ".join(SENTENCES), "ab", SENTENCES[4], "", SENTENCES[2] * 3]


@settings(max_examples=200)
@given(st.integers(0, 3000), st.integers(2, 512), st.data())
def test_every_token_but_the_first_is_scored_once_with_its_context(
    tokens: int, window: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, window - 1))
    spans = windows(tokens, window, stride)
    scored = [t for part in spans for t in range(part.scored, part.end)]
    assert scored == list(range(1, tokens))
    for part in spans:
        assert part.begin < part.scored and part.end - part.begin <= window
        assert part.scored - part.begin >= min(part.scored, window - stride)
    if len(spans) > 1:
        assert {part.end - part.begin for part in spans} == {window}


def test_rows_are_what_a_plain_forward_pass_over_the_document_says(address: str) -> None:
    operator = Datastore(model=address, dtype="float32", max_document_tokens=200, window=200, stride=100)
    rows, rejects = operator.open("cpu")(documents(TEXTS))
    assert rows.schema == operator.output(documents(TEXTS).schema) == schema.datastore(32, 320)
    assert [reject["input"] for reject in rejects.to_pylist()] == ["d1", "d5"]
    assert set(rejects.column("severity").to_pylist()) == {"empty"}
    model, tokenizer = languagemodel.load(address, "float32")
    begin = 0
    for number, text in enumerate(TEXTS):
        encoded = tokenizer(text, return_offsets_mapping=True)
        ids = encoded["input_ids"][:200]
        if len(ids) < 2:
            continue
        part = rows.slice(begin, len(ids) - 1)
        begin += len(ids) - 1
        assert set(part.column("document").to_pylist()) == {f"d{number}"}
        assert part.column("position").to_pylist() == list(range(1, len(ids)))
        assert part.column("token").to_pylist() == ids[1:]
        assert part.column("start").to_pylist() == [start for start, _ in encoded["offset_mapping"][1 : len(ids)]]
        with torch.inference_mode(), languagemodel.capture(model, [3]) as taps:
            scores = model(input_ids=torch.tensor([ids])).logits[0, :-1].double().log_softmax(-1)
        expected = scores.gather(1, torch.tensor(ids[1:])[:, None])[:, 0].numpy()
        np.testing.assert_allclose(part.column("base_logprob").to_numpy(), expected, atol=1e-4)
        np.testing.assert_allclose(vectors(part.column("key")), taps[3][0, :-1].numpy(), atol=5e-3)
    assert begin == rows.num_rows


def test_a_later_window_gives_its_tokens_the_context_of_that_window(worker: BatchFunction, address: str) -> None:
    rows, _ = worker(documents([" ".join(SENTENCES)]))
    model, tokenizer = languagemodel.load(address, "float32")
    ids = tokenizer(" ".join(SENTENCES))["input_ids"][:60]
    assert rows.num_rows == 59
    for part in windows(60, 24, 8):
        with torch.inference_mode(), languagemodel.capture(model, [3]) as taps:
            logits = model(input_ids=torch.tensor([ids[part.begin : part.end]])).logits[0]
        for token in range(part.scored, part.end):
            row = token - 1
            at = token - part.begin - 1
            expected = logits[at].log_softmax(-1)[ids[token]].item()
            assert rows.column("base_logprob")[row].as_py() == pytest.approx(expected, abs=1e-4)
            np.testing.assert_allclose(vectors(rows.column("input"))[row], taps[3][0, at].numpy(), atol=5e-3)


def check_batches(worker: BatchFunction, expected: list[Any], order: list[int], size: int) -> None:
    """Documents in this order, so many at a time, have the rows that they have together."""
    batch = documents(TEXTS)
    rows: list[Any] = []
    for begin in range(0, len(order), size):
        rows += worker(batch.take(pa.array(order[begin : begin + size])))[0].to_pylist()
    assert sorted(rows, key=lambda row: (row["document"], row["position"])) == expected


@settings(max_examples=12)
@given(st.permutations(range(len(TEXTS))), st.integers(1, len(TEXTS)))
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_row_is_bit_equal_in_any_batch(address: str, dtype: str, order: list[int], size: int) -> None:
    check_batches(*_worker(address, dtype), order, size)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_row_is_bit_equal_with_two_threads(address: str, dtype: str, two_threads: None) -> None:
    check_batches(*_worker(address, dtype), [4, 2, 0, 5, 1, 3, 6], 2)


@functools.cache
def _worker(address: str, dtype: str) -> tuple[BatchFunction, list[Any]]:
    """A worker, and the rows of all documents together, with one thread."""
    worker = Datastore(model=address, dtype=dtype, **SHORT).open("cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = worker(documents(TEXTS))[0].to_pylist()
    torch.set_num_threads(threads)
    return worker, rows


@settings(max_examples=10)
@given(st.integers(1, 700), st.sampled_from([None, 5.0]), st.integers(0, 99))
def test_blocked_label_log_probs_are_log_softmax(rows: int, softcap: float | None, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    hidden, head = torch.randn(rows, 8, generator=generator) * 3, torch.randn(5000, 8, generator=generator)
    token = torch.randint(0, 5000, (rows,), generator=generator)
    logits = hidden.double() @ head.double().T
    if softcap is not None:
        logits = torch.tanh(logits / softcap) * softcap
    expected = logits.log_softmax(1).gather(1, token[:, None])[:, 0]
    log_probs = label_log_probs(hidden, head, token, softcap)
    assert torch.allclose(log_probs.double(), expected, atol=1e-4)
    assert torch.equal(label_log_probs(hidden[-1:], head, token[-1:], softcap), log_probs[-1:])


@pytest.mark.parametrize("cut", [False, True])
def test_stored_tokens_give_the_rows_that_the_text_gives(
    worker: BatchFunction, address: str, monkeypatch: Any, cut: bool
) -> None:
    """They are read where the whole text is: what is cut off could change the last token."""
    texts = [*TEXTS, SENTENCES[1] * 40, "a" * 239, "b" * 241]
    batch = documents(texts)
    if cut:
        edits = [[{"start": 5, "end": 9, "rule": "r"}] if len(text) > 20 else [] for text in texts]
        batch = batch.append_column("edits", pa.array(edits, EDITS))
        texts = [text[:5] + text[9:] if len(text) > 20 else text for text in texts]
    tenants = batch.append_column("tenant", pa.array([""] * len(texts)))
    stored = pa.Table.from_batches([Tokenize(address).open("cpu")(tenants)[0]])
    place = pc.index_in(batch["id"], value_set=stored["document"].combine_chunks())
    looked_up = batch
    for name in ("tokens", "starts"):
        looked_up = looked_up.append_column(name, stored[name].combine_chunks().take(place))
    assert looked_up["tokens"].null_count == 1
    expected = worker(batch)
    encoded: list[str] = []
    plain = datastore.encode
    monkeypatch.setattr(datastore, "encode", lambda texts, *rest: encoded.extend(texts) or plain(texts, *rest))
    rows = worker(looked_up)
    assert all(one.equals(other) for one, other in zip(rows, expected, strict=True))
    assert encoded == [text for text in texts if len(text) > 240 or not text]


def test_no_documents_give_no_rows(worker: BatchFunction) -> None:
    rows, rejects = worker(documents([]))
    assert rows.num_rows == rejects.num_rows == 0 and rows.schema == schema.datastore(32, 320)


def test_buckets_end_with_the_window() -> None:
    assert bucket_lengths(512) == [64, 96, 128, 192, 256, 384, 512]
    assert bucket_lengths(24) == [24]


def test_settings_that_cannot_work_are_sentences(address: str) -> None:
    with pytest.raises(RecipeError, match="stride < window"):
        Datastore(window=16, stride=16)
    with pytest.raises(StepError, match="reads 512 tokens"):
        Datastore(model=address, window=1024).open("cpu")
