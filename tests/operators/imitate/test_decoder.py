"""A Memory Decoder as a student: what it learns, from what it starts, and that its rows are those of the datastore."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny_models import SENTENCES, save_tiny_model

from mnemic import languagemodel
from mnemic.errors import StepError
from mnemic.memories.decoder import MemoryDecoder
from mnemic.memories.texts import Texts, decoder_log_probs
from mnemic.mixture import best_weight, perplexity
from operators.datastore import Datastore
from operators.imitate import Decode
from operators.imitate.decoder import start
from operators.imitate.texts import TextRows
from operators.teacher.distribution import distribution
from operators.teacher.targets import target_columns
from operators.train import Checkpoint


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("llama"))


KEYS, VALUES = 60, np.arange(100, 160)


def repeated_facts(documents: int = 30, held_out: int = 10) -> tuple[TextRows, np.ndarray]:
    """Texts of facts, each a key and then a value of its own three; the retriever counts what followed a token.

    Returns the rows, and the retriever's log-probabilities of the held-out ones.
    """
    rng = np.random.default_rng(0)
    choice = rng.choice(VALUES, size=(KEYS, 3))

    def draw(count: int) -> Texts:
        tokens = []
        for _ in range(count):
            key = rng.integers(0, KEYS, 20)
            value = choice[key, rng.choice(3, 20, p=[0.6, 0.3, 0.1])]
            tokens.append(np.stack([key, value], 1).reshape(-1).astype(np.int32))
        position = np.tile(np.arange(1, 40), count)
        return Texts(tuple(tokens), np.repeat(np.arange(count), 39), position)

    store, validation = draw(documents), draw(held_out)
    before = [
        np.array([texts.tokens[d][p - 1] for d, p in zip(texts.document, texts.position, strict=True)])
        for texts in (store, validation)
    ]

    def teach(texts: Texts, context: np.ndarray, own: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        distance = np.where(context[:, None] == before[0][None], 0.0, 30.0).astype(np.float32)
        if own:
            np.fill_diagonal(distance, np.inf)
        near = np.argsort(distance, axis=1, kind="stable")[:, :32]
        targets = distribution(np.take_along_axis(distance, near, 1), store.token[near], texts.token, 1.0, 16)
        ids, codes, *_ = target_columns(targets, pa.uint16())
        stored = [column.flatten().to_numpy().reshape(-1, 16) for column in (ids, codes)]
        return stored[0].astype(np.int32), stored[1], targets.label

    ids, probs, _ = teach(store, before[0], True)
    base = np.full(len(validation.position), -np.log(120.0), np.float32)
    retriever = np.log(np.maximum(teach(validation, before[1], False)[2], 1e-30))
    return TextRows(store, ids, probs, validation, base), retriever


def run(operator: Decode, rows: TextRows, state: bytes | None = None) -> list[Checkpoint]:
    return list(operator.train(rows, state, "cpu", lambda done, total: None))


@pytest.mark.slow
def test_a_decoder_recovers_the_retrievers_gain_and_beats_cross_entropy_alone(address: str) -> None:
    rows, retriever = repeated_facts()
    base = rows.validation_base_logprob
    rates = {"learning_rate": 0.01, "matrix_rate": 0.05}
    operator = Decode(model=address, dtype="float32", epochs=8, batch=64, window=64, stride=32, blocks=1, **rates)
    imitation = run(operator, rows)[-1].metrics
    alone = run(dataclasses.replace(operator, alpha=0.0), rows)[-1].metrics
    nll = np.log([perplexity(-base), best_weight(base, retriever)[1], imitation["validation_perplexity"]])
    assert nll[0] - nll[2] >= 0.6 * (nll[0] - nll[1])
    assert imitation["validation_perplexity"] < alone["validation_perplexity"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_killed_training_resumes_bit_for_bit(address: str, dtype: str) -> None:
    rows, _ = repeated_facts(documents=8, held_out=2)
    operator = Decode(model=address, epochs=3, batch=64, dtype=dtype, window=32, stride=16, blocks=2, pass_tokens=64)
    whole = run(operator, rows)
    assert [checkpoint.epoch for checkpoint in whole] == [1, 2, 3]
    assert run(operator, rows, whole[0].state)[-1] == whole[-1]
    assert whole[-1].weights != whole[0].weights


def test_it_starts_from_the_first_blocks_of_the_language_model_and_its_embedding_stays(address: str) -> None:
    rows, _ = repeated_facts(documents=4, held_out=1)
    checkpoint = run(Decode(model=address, epochs=1, learning_rate=0.1, dtype="float32", blocks=3), rows)[0]
    model, _ = languagemodel.load(address, "float32")
    memory = MemoryDecoder.from_bytes(checkpoint.weights)
    assert torch.equal(memory.body.embed_tokens.weight, model.get_input_embeddings().weight.bfloat16())
    fresh = start(model, memory.tokens, 3, seed=0)
    assert not torch.equal(memory.head.weight, fresh.head.weight)
    for source, block in enumerate(fresh.body.layers):
        assert torch.equal(block.mlp.up_proj.weight, languagemodel.blocks(model)[source].mlp.up_proj.weight)


def test_with_all_blocks_it_says_what_the_language_model_says(address: str) -> None:
    model, _ = languagemodel.load(address, "float32")
    memory = start(model, torch.arange(320), 4, seed=0).eval()
    ids = torch.arange(40)[None] * 7
    with torch.inference_mode():
        expected = model(ids).logits.log_softmax(-1)
    assert (memory(ids) - expected).abs().max() < 0.05  # its embedding is rounded to bfloat16


@pytest.mark.parametrize("family", ["mistral", "gpt2", "qwen3"])
def test_other_families_start_too(tmp_path_factory: pytest.TempPathFactory, family: str) -> None:
    model, _ = languagemodel.load(save_tiny_model(tmp_path_factory.mktemp(family), family), "float32")
    memory = start(model, torch.tensor([3, 5, 8]), 2, seed=0)
    assert torch.equal(memory.head.weight, languagemodel.output_embedding(model)[[3, 5, 8]])
    copied = family == "mistral" and torch.equal(
        memory.body.layers[1].mlp.up_proj.weight, languagemodel.blocks(model)[1].mlp.up_proj.weight
    )
    assert copied == (family == "mistral")
    assert memory(torch.arange(6)[None]).shape == (1, 6, 3)


def test_a_row_is_scored_from_the_context_that_the_datastore_had(address: str) -> None:
    """Windows of 16 that advance by 8, against the module on the whole window, one row at a time."""
    model, _ = languagemodel.load(address, "float32")
    memory = start(model, torch.arange(0, 320, 2), 2, seed=0).eval()
    tokens = np.random.default_rng(0).integers(0, 320, 40).astype(np.int32)
    texts = Texts((tokens, tokens[:5]), np.array([0, 0, 0, 1]), np.array([1, 20, 39, 4]))
    scores = decoder_log_probs(memory, texts, 16, 8)
    for row, (begin, position) in enumerate([(0, 1), (8, 20), (24, 39), (0, 4)]):
        log_probs = memory(torch.from_numpy(tokens[begin:position]).long()[None])[0, -1]
        place, in_vocabulary = memory.index(torch.tensor([int(tokens[position])]))
        assert scores[row] == pytest.approx(log_probs[place].item() if in_vocabulary else -np.inf, abs=1e-4)
    alone = decoder_log_probs(
        memory, dataclasses.replace(texts, document=texts.document[1:2], position=texts.position[1:2]), 16, 8
    )
    assert alone[0] == scores[1]


def test_the_datastores_rows_are_places_in_the_text_and_other_text_is_refused(address: str) -> None:
    operator = Datastore(address, dtype="float32", window=32, stride=16, max_document_tokens=50)
    texts = [" ".join(SENTENCES), SENTENCES[2], SENTENCES[4] * 3]
    batch = pa.table({"id": ["a", "b", "c"], "text": texts, "split": ["store"] * 3})
    rows, _ = operator.open("cpu")(batch.to_batches()[0])
    _, tokenizer = languagemodel.load(address, "float32")
    rows_in_text = Texts.from_arrow(batch.select(["id", "text"]), pa.table(rows), tokenizer, 50)
    assert rows_in_text.token.tolist() == rows["token"].to_pylist()
    assert sum(len(piece.rows) for piece in rows_in_text.pieces(32, 16)) == len(rows)
    changed = pa.table({"id": ["a", "b", "c"], "text": [texts[0], SENTENCES[1], texts[2]]})
    with pytest.raises(StepError, match=r"other tokens than their documents, the first at position .* of b"):
        Texts.from_arrow(changed, pa.table(rows), tokenizer, 50)
    with pytest.raises(StepError, match="1 documents of the datastore are not among the documents"):
        Texts.from_arrow(changed.slice(1), pa.table(rows), tokenizer, 50)


def test_cost_counts_what_is_read_and_what_is_said(address: str) -> None:
    rows, _ = repeated_facts(documents=4, held_out=0)
    metrics = run(Decode(model=address, epochs=1, dtype="float32", blocks=2, window=64, stride=32), rows)[0].metrics
    matrices = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64)
    head = len(np.unique(rows.store.token)) * 32
    attention = 2 * 6 * 32 * 40 * 40
    assert metrics["training_flops"] == 4 * (6 * matrices * 40 + 6 * head * 39 + attention)
    assert metrics["trained_tokens"] == 4 * 39
