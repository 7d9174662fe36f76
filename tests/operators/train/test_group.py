"""A process group makes the memory of one process that computes all shards, and never waits for a dead process."""

from __future__ import annotations

import os
import queue
import socket
from collections.abc import Iterator
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import save_tiny_model

from mnemic.memories.decoder import MemoryDecoder
from mnemic.memories.mlp import MLPMemory
from mnemic.memories.texts import Texts
from operators.contracts import LostProcess, ProcessRank
from operators.imitate import Decode, Imitate
from operators.imitate.rows import TrainingRows
from operators.imitate.texts import TextRows
from operators.train import Checkpoint, Training


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.set_num_threads(1)
    return save_tiny_model(tmp_path_factory.mktemp("llama"))


def vectors(count: int = 300, width: int = 32) -> TrainingRows:
    rng = np.random.default_rng(0)
    token = rng.integers(0, 50, count).astype(np.int32)
    key = (rng.normal(size=(50, width))[token] + rng.normal(size=(count, width))).astype(np.float16)
    ids, probs = np.stack([token, (token + 1) % 50], 1), np.tile(np.array([8, 16], np.uint8), (count, 1))
    held_out = slice(0, 40)
    base = np.full(40, -np.log(50.0), np.float32)
    return TrainingRows(key, token, ids.astype(np.int32), probs, key[held_out], token[held_out], base)


def texts(documents: int = 12) -> TextRows:
    rng = np.random.default_rng(1)
    tokens = tuple(rng.integers(0, 60, rng.integers(5, 40)).astype(np.int32) for _ in range(documents))
    document = np.repeat(np.arange(documents), [len(row) - 1 for row in tokens])
    position = np.concatenate([np.arange(1, len(row)) for row in tokens])
    corpus = Texts(tokens, document, position)
    count = len(position)
    ids, probs = (
        np.stack([corpus.token, corpus.token], 1).astype(np.int32),
        np.tile(np.array([0, 255], np.uint8), (count, 1)),
    )
    return TextRows(corpus, ids, probs, corpus, np.full(count, -np.log(60.0), np.float32))


def train(operator: Training, process: ProcessRank | None = None, state: bytes | None = None) -> list[Checkpoint]:
    rows = texts() if isinstance(operator, Decode) else vectors()
    return list(operator.train(rows, state, "cpu", lambda done, total: None, process))


def member_of_a_gang(
    operator: Training, process: ProcessRank, answers: Any, dies_at: int | None, state: bytes | None
) -> None:
    torch.set_num_threads(1)

    def progress(done: int, total: int) -> None:
        if done == dies_at:
            os._exit(1)

    rows = texts() if isinstance(operator, Decode) else vectors()
    try:
        checkpoints = list(operator.train(rows, state, "cpu", progress, process))
        answers.put((process.rank, checkpoints[-1] if checkpoints else None))
    except LostProcess as error:
        answers.put((process.rank, str(error)))


@pytest.fixture
def process_group() -> Iterator[Any]:
    """Train with two processes; returns what each answered. ``dies_at`` is the step after which the second dies."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch.distributed", "operators.imitate"])  # once for all processes
    processes: list[Any] = []

    def trained(operator: Training, dies_at: int | None = None, state: bytes | None = None) -> dict[int, Any]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            rendezvous = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        answers = context.Queue()
        for rank in range(2):
            work = (operator, ProcessRank(rank, 2, rendezvous), answers, dies_at if rank else None, state)
            processes.append(context.Process(target=member_of_a_gang, args=work))
            processes[-1].start()
        try:
            return dict(answers.get(timeout=240) for _ in range(1 if dies_at else 2))
        except queue.Empty:
            pytest.fail("the processes of the group wait for one another")

    yield trained
    for process in processes:
        process.kill()
        process.join()


def weights(checkpoint: Checkpoint, kind: type[MLPMemory] | type[MemoryDecoder]) -> list[np.ndarray]:
    return [value.float().numpy() for value in kind.from_bytes(checkpoint.weights).state_dict().values()]


def test_two_processes_make_the_memory_of_one(address: str, process_group: Any) -> None:
    operator = Imitate(model=address, epochs=3, batch=128, dtype="float32", processes=2)
    together = process_group(operator)
    assert together[1] is None  # the first tells for all
    alone = train(operator)  # one process computes the shards of both
    for one, other in zip(weights(together[0], MLPMemory), weights(alone[-1], MLPMemory), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    for one, other in zip(together[0].curve, alone[-1].curve, strict=True):
        assert (one.step, one.rows, one.metric) == (other.step, other.rows, other.metric)
        assert one.value == pytest.approx(other.value, rel=1e-3)


def test_the_shares_of_a_batch_are_the_batch(address: str) -> None:
    operator = Imitate(model=address, epochs=2, batch=128, dtype="float32")
    whole = train(operator)[-1]
    for processes in (2, 3):
        shared = train(Imitate(model=address, epochs=2, batch=128, dtype="float32", processes=processes))[-1]
        for one, other in zip(weights(shared, MLPMemory), weights(whole, MLPMemory), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_two_processes_carry_on_from_a_checkpoint_of_one(address: str, process_group: Any) -> None:
    operator = Decode(model=address, epochs=2, batch=64, dtype="float32", blocks=1, window=16, stride=8, processes=2)
    first, alone = train(operator)
    together = process_group(operator, state=first.state)[0]
    assert together.epoch == 2
    for one, other in zip(weights(together, MemoryDecoder), weights(alone, MemoryDecoder), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    assert together.metrics["validation_perplexity"] == pytest.approx(alone.metrics["validation_perplexity"], rel=1e-3)


def test_who_loses_the_others_says_so(address: str, process_group: Any) -> None:
    operator = Imitate(model=address, epochs=3, batch=128, dtype="float32", processes=2)
    assert "The processes of the training lost one another" in process_group(operator, dies_at=4)[0]
