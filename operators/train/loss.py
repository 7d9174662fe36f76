"""The loss of imitation: cross-entropy against a sparse soft label, with its gradient, a piece of the logits at a time.

alpha KL(p || q) + (1 - alpha) CE with a fixed teacher p is, up to a constant, one cross-entropy against t = alpha p +
(1 - alpha) onehot. It is logsumexp(z) - sum_j t_j z_j, whose gradient in z is softmax(z) - t (MLP Memory, arXiv
2508.01832, section 3). So no dense [rows, tokens] target is ever made. Logits and their gradient exist for some rows at
a time, small enough to stay in a processor's cache between the passes over them. The products of the head's two
gradients wait until there are enough rows for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor

_CACHED = 1 << 20
"""Logits at a time on a processor; on a GPU 64 times as many."""

_WAITING = 1 << 26
"""Gradients of logits that wait for the products of the head."""


def soft_label_loss(logits: Tensor, ids: Tensor, target: Tensor) -> Tensor:
    """logsumexp(z) - sum_j t_j z_j of each row: [n], for ``logits`` [n, tokens], ``ids`` int64 and ``target`` [n, m].

    Target entries of 0 are padding; the others sum to 1 in each row.
    """
    return torch.logsumexp(logits, dim=1) - (logits.gather(1, ids) * target).sum(1)


def head_loss(hidden: Tensor, head: Tensor, ids: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of `soft_label_loss` over rows, of logits ``hidden`` [n, d] times ``head`` [tokens, d] transposed.

    Products are computed in the type of ``hidden``, everything else in float32. Also returns log q of the ids, float32
    [n, m], for metrics; it has no gradient.
    """
    loss, scores = _HeadLoss.apply(hidden, head, ids, target)  # type: ignore[no-untyped-call]
    return loss, scores


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, ids: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        count, tokens = len(hidden), len(head)
        weight = head.detach().to(hidden.dtype)
        with_gradient = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        of_hidden = torch.empty_like(hidden) if with_gradient else None
        of_head: Tensor | None = None
        scores = torch.empty(ids.shape, device=hidden.device)
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        rows = max(16, _CACHED * (1 if hidden.device.type == "cpu" else 64) // tokens)
        wave = max(rows, _WAITING // tokens)
        for begin in range(0, count, wave):
            part = slice(begin, min(begin + wave, count))
            gradient = torch.empty((part.stop - begin, tokens), dtype=hidden.dtype, device=hidden.device)
            for at in range(begin, part.stop, rows):
                some = slice(at, min(at + rows, part.stop))
                log_probs = torch.log_softmax(hidden[some] @ weight.T, 1, dtype=torch.float32)
                scores[some] = log_probs.gather(1, ids[some])
                total -= (scores[some] * target[some]).sum()
                if with_gradient:
                    log_probs.exp_().scatter_add_(1, ids[some], -target[some])
                    gradient[at - begin : some.stop - begin] = log_probs
            if of_hidden is not None:
                of_hidden[part] = gradient @ weight
            if ctx.needs_input_grad[1]:
                product = (gradient.T @ hidden[part]).float()
                of_head = product if of_head is None else of_head.add_(product)
        ctx.save_for_backward(of_hidden, of_head)
        ctx.count = count
        ctx.mark_non_differentiable(scores)
        return (total / count).float(), scores

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        of_hidden, of_head = ctx.saved_tensors
        scale = gradients[0] / ctx.count
        return of_hidden * scale.to(of_hidden.dtype), None if of_head is None else of_head * scale, None, None
