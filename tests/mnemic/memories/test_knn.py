"""kNN-LM as a memory against its definition in float64; small and large stores, few and many queries."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from mnemic.errors import ModelError
from mnemic.memories import knn
from mnemic.memories.knn import KNNMemory
from mnemic.neighbours.lists import Lists

ROWS, WIDTH, TOKENS, K, TEMPERATURE = 1500, 24, 90, 40, 6.0


def store(rows: int = ROWS) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    centres = torch.randn(12, WIDTH, generator=draw) * 2
    keys = centres[torch.randint(0, 12, (rows,), generator=draw)] + torch.randn(rows, WIDTH, generator=draw)
    token = torch.randint(0, TOKENS, (rows,), generator=draw) * 3
    return keys.half(), token, torch.arange(rows) // 50


def definition(queries: torch.Tensor, owner: int | None = None) -> np.ndarray:
    """Dense probabilities over all token ids."""
    keys, token, document = store()
    dense = np.zeros((len(queries), 3 * TOKENS))
    for row, query in enumerate(queries.half().double()):
        distance = (keys.double() - query).square().sum(1).numpy()
        if owner is not None:
            distance[document.numpy() == owner] = np.inf
        near = np.argsort(distance, kind="stable")[:K]
        vote = np.exp(-(distance[near] - distance[near[0]]) / TEMPERATURE)
        np.add.at(dense[row], token[torch.from_numpy(near)].numpy(), vote / vote.sum())
    return dense


@pytest.fixture(params=["exact", "lists"])
def memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> KNNMemory:
    if request.param == "lists":
        monkeypatch.setattr(knn, "EXACT_ROWS", 100)
    module = KNNMemory(*store(), TEMPERATURE, K)
    if isinstance(module.store, Lists):
        module.store.probes = len(module.store.centroids)  # all of them: nothing is missed
    assert isinstance(module.store, Lists) == (request.param == "lists")
    return module


def queries() -> torch.Tensor:
    return store()[0][::37].float() + 0.3 * torch.randn(41, WIDTH, generator=torch.Generator().manual_seed(2))


def test_it_is_what_equation_2_says(memory: KNNMemory) -> None:
    vectors = queries()
    log_probs = memory.log_probs(vectors)
    assert log_probs.dtype == torch.float32 and torch.equal(memory.tokens, torch.unique(store()[1]))
    dense = np.zeros((len(vectors), 3 * TOKENS))
    dense[:, memory.tokens] = log_probs.double().exp()
    np.testing.assert_allclose(dense, definition(vectors), atol=1e-5)
    assert torch.isinf(log_probs).any() and np.allclose(dense.sum(1), 1.0, atol=1e-5)


def test_its_own_document_may_be_left_out(memory: KNNMemory) -> None:
    vectors = store()[0][100:103].float()
    dense = np.zeros((3, 3 * TOKENS))
    dense[:, memory.tokens] = memory.log_probs(vectors, torch.full((3,), 2)).double().exp()
    np.testing.assert_allclose(dense, definition(vectors, owner=2), atol=1e-5)


def test_a_query_has_the_same_answer_alone_and_among_others(memory: KNNMemory) -> None:
    vectors = queries()
    together = memory.log_probs(vectors)
    assert all(torch.equal(memory.log_probs(vectors[n : n + 1])[0], together[n]) for n in range(len(vectors)))
    assert torch.equal(memory.log_probs(vectors[:40].view(4, 10, WIDTH)).view(40, -1), together[:40])
    assert torch.allclose(memory.log_probs(vectors.bfloat16()).exp(), together.exp(), atol=0.3)


def test_the_probability_of_one_token(memory: KNNMemory) -> None:
    vectors, token = queries(), torch.arange(41) * 5
    expected = torch.from_numpy(definition(vectors)[np.arange(41), token.numpy()]).log()
    np.testing.assert_allclose(memory.token_log_prob(vectors, token).exp(), expected.exp(), atol=1e-5)
    assert torch.isinf(memory.token_log_prob(vectors[:1], torch.tensor([1]))).all(), "no row of the store has token 1"


def test_moving_it_keeps_what_it_says(memory: KNNMemory) -> None:
    assert memory.to("cpu") is memory
    moved = memory.to("meta")
    assert moved.store.keys.device.type == "meta" and memory.store.keys.device.type == "cpu"


@pytest.mark.parametrize("large", [False, True])
def test_it_needs_no_numba(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from mnemic.compiled import can_compile

    monkeypatch.setattr(knn, "EXACT_ROWS", 100 if large else 2000)
    expected = KNNMemory(*store(), TEMPERATURE, K).log_probs(queries())
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    can_compile.cache_clear()
    try:
        assert not can_compile()
        log_probs = KNNMemory(*store(), TEMPERATURE, K).log_probs(queries())
    finally:
        can_compile.cache_clear()
    assert torch.allclose(log_probs.exp(), expected.exp(), atol=1e-6)


def test_a_small_store_has_fewer_neighbours_than_are_asked_for() -> None:
    module = KNNMemory(*store(5), TEMPERATURE, K)
    assert torch.allclose(module.log_probs(queries()).exp().sum(1), torch.ones(41), atol=1e-5)
    assert torch.isinf(module.log_probs(queries()[:1], torch.zeros(1, dtype=torch.int64))).all(), "all are its own"


def test_a_store_of_nothing_is_refused() -> None:
    keys, token, document = store(5)
    with pytest.raises(ModelError, match="build the bank with more text"):
        KNNMemory(keys[:0], token[:0], document[:0], 1.0)
    with pytest.raises(ModelError, match="temperature above 0"):
        KNNMemory(keys, token, document, 0.0)
