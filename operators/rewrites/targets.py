"""What the solve is to reach for one fact: a state that says its target, or gradients that lead there.

A fact is read alone, with its contexts, so neither other facts nor the division into jobs change its numbers.

* memit: the output of the last edited block at the subject's last token, plus a change that is found by Adam: nats of
  the target in each context, KL of what the model says of "{subject} is a", and the length of the change.
* ultraedit: of each token of the target, what every edited layer reads and the gradient at its output.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnemic import languagemodel
from mnemic.errors import ModelError
from mnemic.ids import hash_bytes
from mnemic.rewrites.datasets import MEMIT
from mnemic.rewrites.prompts import AskedPrompt, batches, prompt_of
from mnemic.rewrites.reading import down_of, hidden_of, reading_keys, reading_states
from mnemic.rewrites.statement import PLACE, Statement
from operators.rewrites.operator import Rewrites

if TYPE_CHECKING:
    import torch

KL_WEIGHT = 0.0625
LENGTH_WEIGHT = 0.5
"""Of the terms of the loss beside the target's nats, as MEMIT's settings for GPT-J have them."""

ENOUGH = 0.05
"""Nats a token of the target at which the search ends."""

_ESSENCE = f"{PLACE} is a"


class StatementTargets:
    """Finds them with a ``model`` that stays as it is."""

    def __init__(self, settings: Rewrites, model: Any, tokenizer: Any) -> None:
        self.settings, self.model, self.tokenizer = settings, model, tokenizer
        self.head = languagemodel.output_embedding(model)
        self.softcap = languagemodel.softcap(model)

    def row(self, statement: Statement) -> dict[str, Any]:
        """Columns of `statements` beside those of the fact itself.

        Raises `ModelError` for one of which a sentence, a paraphrase or a neighbour's, cannot be asked.
        """
        before = statement.before
        for relation in (statement.relation, *statement.paraphrases):
            prompt_of(self.tokenizer, relation, statement.subject, statement.target, before=before)
        for neighbour in statement.neighbours:
            prompt_of(self.tokenizer, statement.relation, neighbour, before=before)
        values, start, loss, length = (
            self._state(statement) if self.settings.method == MEMIT else self._gradients(statement)
        )
        if not np.isfinite([*values.ravel(), loss]).all():
            raise ModelError(
                f"The search for {statement.prompt[:60]!r} left all numbers; lower `learning_rate` of `rewrites`."
            )
        cell = np.ascontiguousarray(values, "<f4").tobytes()
        numbers = {"loss_start": start, "loss": loss, "length": length}
        return {**numbers, "rows": len(values), "values": cell, "check": hash_bytes(cell)}

    def log_probs(self, hidden: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of the next token, float32 [n, vocabulary], for normed states [n, hidden]."""
        import torch

        logits = (hidden @ self.head.T).float()
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return torch.log_softmax(logits, -1)

    def _worded(self, statement: Statement, contexts: tuple[str, ...]) -> list[AskedPrompt]:
        relation, subject, target = statement.relation, statement.subject, statement.target
        return [prompt_of(self.tokenizer, relation, subject, target, context=context) for context in contexts]

    def _state(self, statement: Statement) -> tuple[NDArray[np.float32], float, float, float]:
        """(values [1, hidden], nats before, nats after, length of the change) of memit."""
        import torch

        settings, worded = self.settings, self._worded(statement, self.settings.contexts)
        prompts = [*worded, prompt_of(self.tokenizer, _ESSENCE, statement.subject)]
        ((_, ids, mask),) = batches(prompts)
        places = torch.tensor([one.place for one in prompts])
        with torch.inference_mode(False), torch.enable_grad():
            with torch.no_grad(), reading_states(self.model, settings.layers[-1]) as outputs:
                hidden_of(self.model, ids, mask)
                own = outputs[0][0, places[0]].float()
            change = torch.zeros_like(own, requires_grad=True)
            adam = torch.optim.Adam([change], lr=settings.learning_rate)
            size, expected, start, nats = own.norm(), None, None, 0.0
            for step in range(settings.steps + 1):
                with self._changed(change, places):
                    hidden = hidden_of(self.model, ids, mask)
                loss = self._nats(hidden, worded)
                nats = float(loss.detach())
                start = nats if start is None else start
                if step == settings.steps or nats < ENOUGH:
                    break
                essence = self.log_probs(hidden[len(worded), places[-1]][None])
                expected = essence.detach() if expected is None else expected
                loss = loss + KL_WEIGHT * (expected.exp() * (expected - essence)).sum()
                if step:  # the norm of zeros has no gradient
                    loss = loss + LENGTH_WEIGHT * change.norm() / size.square()
                (change.grad,) = torch.autograd.grad(loss, [change])
                adam.step()
                with torch.no_grad():
                    change.mul_((settings.longest * size / change.norm().clamp(min=1e-6)).clamp(max=1.0))
            moved = change.detach()
            values = (own + moved)[None].cpu().numpy()
        assert start is not None
        return values, start, nats, float(moved.norm() / size)

    @contextlib.contextmanager
    def _changed(self, change: torch.Tensor, places: torch.Tensor) -> Iterator[None]:
        """Within the block, the last edited block gives ``change`` more at ``places`` [b]."""
        import torch

        def add(module: Any, inputs: Any, output: Any) -> Any:
            states = output[0] if isinstance(output, tuple) else output
            rows = torch.arange(len(places))
            more = torch.zeros_like(states, dtype=change.dtype).index_put((rows, places), change.expand(len(rows), -1))
            states = (states.float() + more).to(states.dtype)
            return (states, *output[1:]) if isinstance(output, tuple) else states

        hook = languagemodel.blocks(self.model)[self.settings.layers[-1]].register_forward_hook(add)
        try:
            yield
        finally:
            hook.remove()

    def _nats(self, hidden: torch.Tensor, worded: list[AskedPrompt]) -> torch.Tensor:
        """Nats a token of the targets, a mean over the prompts ``worded``, which are the first rows of ``hidden``."""
        import torch

        losses = []
        for row, one in enumerate(worded):
            logs = self.log_probs(hidden[row, one.begin - 1 : len(one.ids) - 1])
            targets = torch.tensor(one.targets, device=logs.device)
            losses.append(-logs.gather(1, targets[:, None]).mean())
        return torch.stack(losses).mean()

    def _gradients(self, statement: Statement) -> tuple[NDArray[np.float32], float, float, float]:
        """(values [tokens, layers * (inner + hidden)], nats, nats, 0) of ultraedit."""
        import torch

        layers, worded = self.settings.layers, self._worded(statement, (PLACE,))
        ((_, ids, mask),) = batches(worded)
        at = slice(worded[0].begin - 1, len(worded[0].ids) - 1)
        zeros: dict[int, torch.Tensor] = {}

        def watched(layer: int) -> Any:
            def add(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
                zeros[layer] = torch.zeros_like(output, requires_grad=True)
                return output + zeros[layer]

            return down_of(self.model, layer).register_forward_hook(add)

        with torch.inference_mode(False), torch.enable_grad(), contextlib.ExitStack() as hooks:
            for layer in layers:
                hooks.callback(watched(layer).remove)
            keys = hooks.enter_context(reading_keys(self.model, layers))
            loss = self._nats(hidden_of(self.model, ids, mask), worded)
            gradients = torch.autograd.grad(loss, [zeros[layer] for layer in layers])
            parts = [
                part[0, at].float()
                for layer, gradient in zip(layers, gradients, strict=True)
                for part in (keys[layer].detach(), gradient)
            ]
            values = torch.cat(parts, 1).cpu().numpy()
        nats = float(loss.detach())
        return values, nats, nats, 0.0
