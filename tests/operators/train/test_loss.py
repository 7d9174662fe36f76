"""The loss of a piece of the logits at a time is the loss of all of them, and so is its gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.train import loss
from operators.train.loss import head_loss, soft_label_loss


def example(rows: int, width: int, tokens: int, support: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, width, generator=generator)
    head = torch.randn(tokens, width, generator=generator)
    own = torch.randint(0, tokens, (rows, 1), generator=generator)
    others = torch.stack([torch.randperm(tokens, generator=generator)[:support] for _ in range(rows)])
    probs = torch.rand(rows, support, generator=generator).softmax(1)
    return hidden, head, torch.cat([own, others], 1), torch.cat([torch.full((rows, 1), 0.6), 0.4 * probs], 1)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 60), st.booleans())
def test_pieces_are_the_whole(seed: int, rows: int, cached: int, waits: bool) -> None:
    hidden, head, ids, target = example(rows, 8, 30, 5, seed)
    doubles = [part.double().requires_grad_() for part in (hidden, head)]
    expected = soft_label_loss(doubles[0] @ doubles[1].T, ids, target.double()).mean()
    expected.backward()
    leaves = [part.clone().requires_grad_() for part in (hidden, head)]
    before = (loss._CACHED, loss._WAITING)
    loss._CACHED, loss._WAITING = 30 * cached, 30 * (cached if waits else 1000)
    try:
        losses, scores = head_loss(leaves[0], leaves[1], ids, target)
        (3.0 * losses).backward()
    finally:
        loss._CACHED, loss._WAITING = before
    assert losses.item() == pytest.approx(expected.item(), rel=1e-5)
    for one, other in zip(leaves, doubles, strict=True):
        np.testing.assert_allclose(one.grad, 3.0 * other.grad, rtol=1e-4, atol=1e-5)
    dense = (hidden.double() @ head.double().T).log_softmax(1).gather(1, ids)
    np.testing.assert_allclose(scores, dense, rtol=1e-4, atol=1e-5)
    assert not scores.requires_grad


def test_half_precision_is_near_and_gives_the_head_a_gradient_in_float32() -> None:
    hidden, head, ids, target = example(300, 32, 500, 16)
    exact = soft_label_loss(hidden @ head.T, ids, target).mean()
    weight = head.clone().requires_grad_()
    state = hidden.bfloat16().requires_grad_()
    loss, _ = head_loss(state, weight, ids, target)
    loss.backward()
    assert loss.item() == pytest.approx(exact.item(), rel=1e-2)
    assert weight.grad is not None and weight.grad.dtype == torch.float32
    assert state.grad is not None and state.grad.dtype == torch.bfloat16


def test_without_gradients_none_are_computed() -> None:
    hidden, head, ids, target = example(20, 8, 30, 5)
    with torch.no_grad():
        loss, scores = head_loss(hidden, head, ids, target)
    assert not loss.requires_grad and scores.shape == ids.shape
