from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load
from tiny_models import save_tiny_model

from mnemic import languagemodel
from mnemic.errors import StepError
from mnemic.memories.mlp import MLPMemory
from mnemic.memories.weights import pack, unpack_metadata
from mnemic.mixture import best_weight, perplexity
from operators.imitate import Imitate
from operators.imitate.mlp import MLPStudent
from operators.imitate.rows import TrainingRows
from operators.teacher.distribution import distribution
from operators.teacher.targets import probabilities, target_columns
from operators.train import Checkpoint
from operators.train.checkpoint import finished_weights, pack_state, restore_moments, unpack_training_state
from operators.train.loop import make_optimisers
from operators.train.loss import soft_label_loss


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("llama"))


FACTS, WIDTH = 120, 32


def repeated_facts(seed: int = 0, rows: int = 700, held_out: int = 400) -> tuple[TrainingRows, np.ndarray]:
    """Contexts scattered around 120 facts, each fact with its own distribution over a few of 100 next tokens.

    Returns the rows with an exact kNN teacher, and the teacher's log-probability of the held-out tokens.
    """
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(FACTS, WIDTH)) * 1.5
    choice = rng.integers(0, 100, size=(FACTS, 3))

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        fact = rng.integers(0, FACTS, count)
        key = centre[fact] + rng.normal(size=(count, WIDTH)) * 0.7
        return key.astype(np.float16), choice[fact, rng.choice(3, count, p=[0.6, 0.3, 0.1])].astype(np.int32)

    key, token = draw(rows)
    query, label = draw(held_out)

    def teach(queries: np.ndarray, labels: np.ndarray, own: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        distance = ((queries[:, None].astype(np.float32) - key[None].astype(np.float32)) ** 2).sum(2)
        if own:
            np.fill_diagonal(distance, np.inf)
        near = np.argsort(distance, axis=1)[:, :64]
        votes, gap = token[near], np.take_along_axis(distance, near, 1)
        targets = distribution(gap, votes, labels, 6.0, 16)
        ids, codes, *_ = target_columns(targets, pa.uint16())
        stored = [column.flatten().to_numpy().reshape(-1, 16) for column in (ids, codes)]
        return stored[0].astype(np.int32), stored[1], targets.label

    ids, probs, _ = teach(key, token, True)
    base = np.full(held_out, -np.log(100.0), dtype=np.float32)
    with np.errstate(divide="ignore"):
        retriever = np.log(teach(query, label, False)[2])
    return TrainingRows(key, token, ids, probs, query, label, base), retriever


def run(operator: Imitate, rows: TrainingRows, state: bytes | None = None) -> list[Checkpoint]:
    return list(operator.train(rows, state, "cpu", lambda done, total: None))


@settings(max_examples=20)
@given(st.integers(0, 1000), st.floats(0, 1))
def test_loss_is_alpha_kl_plus_cross_entropy_up_to_a_constant_with_equal_gradients(seed: int, alpha: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, 20, generator=generator, dtype=torch.float64, requires_grad=True)
    token = torch.randint(0, 20, (6,), generator=generator)
    ids = torch.stack([torch.randperm(20, generator=generator)[:5] for _ in range(6)])
    probs = torch.rand(6, 5, generator=generator, dtype=torch.float64).softmax(1)

    dense = torch.zeros(6, 20, dtype=torch.float64).scatter(1, ids, probs)
    scores = logits.log_softmax(1)
    kl = (torch.special.xlogy(dense, dense) - dense * scores).sum(1)
    expected = alpha * kl + (1 - alpha) * torch.nn.functional.cross_entropy(logits, token, reduction="none")
    constant = alpha * torch.special.xlogy(dense, dense).sum(1)
    gradient = torch.autograd.grad(expected.sum(), logits)[0]

    places = torch.cat([token[:, None], ids], 1)
    target = torch.cat([torch.full((6, 1), 1 - alpha, dtype=torch.float64), alpha * probs], 1)
    losses = soft_label_loss(logits, places, target)
    assert torch.allclose(losses + constant, expected, atol=1e-9)
    assert torch.allclose(torch.autograd.grad(losses.sum(), logits)[0], gradient, atol=1e-9)


def test_a_memory_recovers_the_retrievers_gain_and_beats_cross_entropy_alone(address: str) -> None:
    rows, retriever = repeated_facts()
    base = rows.validation_base_logprob
    settings_ = {"model": address, "dtype": "float32", "epochs": 10, "batch": 64, "learning_rate": 5e-3}
    imitation = run(Imitate(**settings_, alpha=0.4), rows)[-1].metrics
    alone = run(Imitate(**settings_, alpha=0.0), rows)[-1].metrics
    nll = np.log([perplexity(-base), best_weight(base, retriever)[1], imitation["validation_perplexity"]])
    assert nll[0] - nll[2] >= 0.6 * (nll[0] - nll[1])
    assert imitation["validation_perplexity"] < alone["validation_perplexity"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_killed_training_resumes_bit_for_bit(address: str, dtype: str) -> None:
    rows, _ = repeated_facts(rows=300, held_out=50)
    operator = Imitate(model=address, epochs=4, batch=128, dtype=dtype, weight_decay=0.01)
    whole = run(operator, rows)
    assert [checkpoint.epoch for checkpoint in whole] == [1, 2, 3, 4]
    resumed = run(operator, rows, whole[1].state)
    assert [checkpoint.epoch for checkpoint in resumed] == [3, 4]
    assert resumed[-1] == whole[-1]
    assert run(operator, rows, whole[-1].state) == []


def test_a_checkpoint_of_other_settings_is_refused(address: str) -> None:
    rows, _ = repeated_facts(rows=100, held_out=5)
    operator = Imitate(model=address, epochs=1, dtype="float32")
    state = run(operator, rows)[0].state
    with pytest.raises(StepError, match="other settings"):
        run(dataclasses.replace(operator, alpha=0.5), rows, state)


def test_training_starts_from_the_models_norm_and_rows(address: str) -> None:
    rows, _ = repeated_facts(rows=100, held_out=5)
    checkpoint = run(Imitate(model=address, epochs=1, learning_rate=0.0, matrix_rate=0.0, dtype="float32"), rows)[0]
    memory = MLPMemory.from_bytes(checkpoint.weights)
    model, _ = languagemodel.load(address, "float32")
    assert memory.tokens.tolist() == sorted(set(rows.token.tolist()))
    assert torch.equal(memory.head.weight, languagemodel.output_embedding(model)[memory.tokens])
    share = memory.norm.weight.detach() / languagemodel.final_norm(model)[0]
    assert torch.equal(share, torch.full_like(share, 2.0 ** round(float(share[0].log2()))))


def test_metrics_split_the_loss_and_agree_with_the_definition(address: str) -> None:
    rows, _ = repeated_facts(rows=100, held_out=60)
    operator = Imitate(model=address, epochs=1, learning_rate=0.0, matrix_rate=0.0, dtype="float32", batch=32)
    trained = run(operator, rows)[0]
    memory = MLPMemory.from_bytes(trained.weights)
    with torch.inference_mode():
        table = memory.log_probs(torch.from_numpy(rows.input)).double().numpy()
        held_out = memory.token_log_prob(
            torch.from_numpy(rows.validation_input), torch.from_numpy(rows.validation_token)
        )
    head = memory.tokens.tolist()
    kl, cross_entropy = 0.0, 0.0
    for i in range(100):
        probs = probabilities(rows.teacher_probs[i : i + 1])[0].astype(np.float64)
        places = [head.index(token) for token in rows.teacher_ids[i][probs > 0]]
        probs = probs[probs > 0]
        kl += (probs * (np.log(probs) - table[i][places])).sum() / 100
        cross_entropy -= table[i][head.index(rows.token[i])] / 100
    assert trained.metrics["train_kl"] == pytest.approx(kl, rel=1e-4)
    assert trained.metrics["train_cross_entropy"] == pytest.approx(cross_entropy, rel=1e-4)
    assert trained.metrics["train_loss"] == pytest.approx(0.4 * kl + 0.6 * cross_entropy, rel=1e-4)
    weight, score = best_weight(rows.validation_base_logprob, held_out.numpy())
    assert trained.metrics["weight"] == weight
    assert trained.metrics["validation_perplexity"] == pytest.approx(score, rel=1e-6)
    assert trained.metrics["validation_base_perplexity"] == pytest.approx(100.0, rel=1e-5)


def test_a_row_without_teacher_learns_from_its_token_and_no_validation_gives_no_metrics(address: str) -> None:
    rows, _ = repeated_facts(rows=60, held_out=0)
    nobody = dataclasses.replace(
        rows, teacher_ids=np.zeros_like(rows.teacher_ids), teacher_probs=np.full_like(rows.teacher_probs, 255)
    )
    operator = Imitate(model=address, epochs=2, dtype="float32")
    taught = run(dataclasses.replace(operator, alpha=0.0), rows)[-1]
    assert run(operator, nobody)[-1].weights == taught.weights
    measured = {"train_kl", "train_cross_entropy", "train_loss"}
    assert set(taught.metrics) == {*measured, "parameters", "trained_tokens", "training_flops"}
    assert {point.metric for point in taught.curve} == {*measured, "learning_rate"}


def test_progress_counts_steps_and_an_empty_store_is_a_sentence(address: str) -> None:
    rows, _ = repeated_facts(rows=100, held_out=5)
    seen: list[tuple[int, int]] = []
    operator = Imitate(model=address, epochs=2, batch=40, dtype="float32")
    list(operator.train(rows, None, "cpu", lambda done, total: seen.append((done, total))))
    assert seen == [(step, 6) for step in range(1, 7)]
    nothing = dataclasses.replace(rows, token=rows.token[:0])
    with pytest.raises(StepError, match="no rows of split 'store'"):
        run(operator, nothing)


def test_moments_go_back_to_the_parameter_that_they_are_of(address: str) -> None:
    """Also where one parameter's name ends in another's, as `blocks.0.norm.weight` does in `norm.weight`."""
    rows, _ = repeated_facts(rows=100, held_out=5)
    operator = Imitate(model=address, epochs=1, dtype="float32")
    state = run(operator, rows)[0].state
    memory = MLPMemory.from_bytes(finished_weights(state))
    optimisers = make_optimisers(operator, MLPStudent(rows, memory, 0.4, "cpu", half=False), "cpu")
    restore_moments(state, memory, optimisers)
    assert [{tuple(sorted(names)) for names in one.state.values()} for one in optimisers] == [
        {("exp_avg", "exp_avg_sq", "step")},
        {("momentum",)},
    ]
    assert (
        pack_state(memory, optimisers, unpack_training_state(state, operator.identity()), operator.identity()) == state
    )


def test_a_state_that_names_the_class_of_its_memory_is_read(address: str) -> None:
    """As states were before they named the memory's format; a training that was killed then goes on now."""
    rows, _ = repeated_facts(rows=100, held_out=5)
    operator = Imitate(model=address, epochs=2, dtype="float32")
    first, last = run(operator, rows)
    metadata = unpack_metadata(first.state)
    assert metadata.pop("memory") == MLPMemory.format
    before = pack(load(first.state), {**metadata, "kind": "MLPMemory"})
    assert finished_weights(before) == first.weights
    assert run(operator, rows, before) == [last]


def test_a_training_that_diverges_is_a_sentence(address: str) -> None:
    rows, _ = repeated_facts(rows=200, held_out=5)
    with pytest.raises(StepError, match="lower matrix_rate or learning_rate"):
        run(Imitate(model=address, batch=20, dtype="float32", learning_rate=1e30, matrix_rate=1e30), rows)


@pytest.mark.parametrize("optimiser", ["muon", "adamw"])
def test_either_optimiser_resumes_bit_for_bit(address: str, optimiser: str) -> None:
    rows, _ = repeated_facts(rows=200, held_out=50)
    operator = Imitate(model=address, epochs=3, batch=64, dtype="float32", optimiser=optimiser)
    whole = run(operator, rows)
    assert run(operator, rows, whole[0].state)[-1] == whole[-1]


def test_training_ends_when_the_mixture_gets_no_better(address: str) -> None:
    """Held-out tokens that nothing predicts: what a memory learns makes the mixture no better."""
    rows, _ = repeated_facts(rows=300, held_out=200)
    drawn = np.random.default_rng(4).integers(0, 100, 200).astype(np.int32)
    rows = dataclasses.replace(rows, validation_token=drawn)
    operator = Imitate(model=address, epochs=12, batch=32, dtype="float32", learning_rate=5e-3)
    checkpoints = run(operator, rows)
    best = int(np.argmin([checkpoint.metrics["validation_perplexity"] for checkpoint in checkpoints]))
    assert len(checkpoints) == best + 1 + operator.patience < 12
    for place in range(best + 1, len(checkpoints)):  # however far it is when it is killed
        again = run(operator, rows, checkpoints[place - 1].state)
        assert [checkpoint.state for checkpoint in again] == [checkpoint.state for checkpoint in checkpoints[place:]]


def test_without_validation_every_epoch_is_trained(address: str) -> None:
    rows, _ = repeated_facts(rows=100, held_out=0)
    assert len(run(Imitate(model=address, epochs=4, batch=50, dtype="float32", patience=1), rows)) == 4
