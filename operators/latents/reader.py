"""A model that stays as it is and reads sequences behind rows of keys and values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemic import languagemodel
from mnemic.attach.output.passing import Arguments
from mnemic.attach.prefixed import PrefixedCache
from mnemic.attach.reading import read_prefix
from mnemic.attach.rotation import Rotation
from mnemic.errors import ModelError, StepError
from mnemic.latents.form import CartridgeForm
from mnemic.memories.cartridges import refuse_learnt_places, shape_of
from mnemic.pages.page import Page

if TYPE_CHECKING:
    import torch

_NO_CALL = Arguments({}, {})

_SCORED = 4
"""Sequences whose distributions over the whole vocabulary exist at a time."""


def refuse_bounded_logits(model: Any) -> None:
    """Raise `StepError` for a model that bounds its logits: the loss of the general trainer does not."""
    if languagemodel.softcap(model) is not None:
        raise StepError(
            "Models that bound their logits, such as Gemma 2, cannot train latents; use a model of another family."
        )


class RotatedRows:
    """Rotated keys and values by layer, [1, heads, n, width]; what is read stands at ``first`` and behind."""

    def __init__(self, keys: list[torch.Tensor], values: list[torch.Tensor], first: int) -> None:
        self.keys, self.values, self.first = keys, values, first


class BehindRows:
    """``model`` on its device. Raises `StepError` for one whose keys have one place only, or that bounds its logits."""

    def __init__(self, model: Any) -> None:
        try:
            self.rotation = Rotation(model)
            refuse_learnt_places(model)
        except ModelError as error:
            raise StepError(str(error)) from error
        refuse_bounded_logits(model)
        self.model, self.head = model, languagemodel.output_embedding(model)
        self.device, self.dtype = self.head.device, next(model.parameters()).dtype
        self.form = CartridgeForm(*shape_of(model), "float32")
        text = model.config.get_text_config()
        self.longest = int(getattr(text, "max_position_embeddings", None) or 1 << 30)

    def rows_of(self, ids: torch.Tensor) -> Page:
        """All rows of a text, whose ids are int64 [n]: in the model's type, on its device."""
        import torch

        prefix = read_prefix(self.model, ids[None].to(self.device))
        keys, values = (torch.cat(list(part)) for part in (prefix.keys, prefix.values))
        return Page(keys, values, len(ids))

    def standing(self, *parts: Page) -> RotatedRows:
        """``parts`` one behind the other. Gradients go back to their keys and values."""
        import torch

        keys: list[list[torch.Tensor]] = [[] for _ in range(self.form.layers)]
        values: list[list[torch.Tensor]] = [[] for _ in range(self.form.layers)]
        begin = 0
        for part in parts:
            places = part.stood().to(self.device) + begin
            for layer in range(self.form.layers):
                key = part.keys[layer][None].to(self.device, self.dtype)
                keys[layer].append(self.rotation(key, places[layer][None]))
                values[layer].append(part.values[layer][None].to(self.device, self.dtype))
            begin += part.tokens
        return RotatedRows([torch.cat(one, 2) for one in keys], [torch.cat(one, 2) for one in values], begin)

    def hidden(self, ids: torch.Tensor, standing: RotatedRows, own: Any | None = None) -> torch.Tensor:
        """The normed output of the last layer, [b, t, hidden], for ``ids`` int64 [b, t] behind ``standing``.

        ``own`` is a cache of what was read before, to which these are added.
        """
        import torch

        batch, read = ids.shape
        past = 0 if own is None else int(own.get_seq_length())
        keys, values = ([one.expand(batch, -1, -1, -1) for one in part] for part in (standing.keys, standing.values))
        places = torch.arange(standing.first + past, standing.first + past + read, device=self.device)
        output: torch.Tensor = self.model.base_model(
            input_ids=ids.to(self.device),
            past_key_values=PrefixedCache(own, keys, values, _NO_CALL),
            position_ids=places[None].expand(batch, -1),
            use_cache=own is not None,
        ).last_hidden_state
        return output

    def abreast(self, ids: torch.Tensor, standing: RotatedRows, own: Any, place: int) -> torch.Tensor:
        """The normed output of the last layer, [n, hidden], for the tokens ``ids`` int64 [n] of n sequences.

        All stand behind ``standing`` at ``place``, and each sees its own sequence only: ``own`` is the cache of the
        tokens before, to which these are added.
        """
        import torch

        count, before = len(ids), standing.keys[0].shape[2]
        mine = torch.eye(count, device=self.device, dtype=torch.bool).repeat(1, place + 1)
        apart = torch.zeros(count, before + mine.shape[1], device=self.device, dtype=self.dtype)
        apart[:, before:].masked_fill_(~mine, float("-inf"))
        places = torch.full((1, count), standing.first + place, device=self.device)
        output: torch.Tensor = self.model.base_model(
            input_ids=ids[None].to(self.device),
            attention_mask=apart[None, None],
            past_key_values=PrefixedCache(own, standing.keys, standing.values, _NO_CALL),
            position_ids=places,
            use_cache=True,
        ).last_hidden_state
        return output[0]

    def log_probs(self, ids: torch.Tensor, standing: RotatedRows) -> torch.Tensor:
        """Log-probabilities of what follows each token but the last, float32 [b, t - 1, vocabulary]."""
        import torch

        return torch.log_softmax((self.hidden(ids, standing)[:, :-1] @ self.head.T).float(), -1)

    def compared(self, ids: torch.Tensor, teacher: RotatedRows, *students: RotatedRows) -> list[tuple[float, float]]:
        """(loss, KL from the teacher), in nats a token of ``ids`` int64 [n, t]: of the teacher first, then of each.

        Both are over the whole vocabulary.
        """
        import torch

        sums = torch.zeros(1 + len(students), 2, dtype=torch.float64)
        with torch.inference_mode():
            for some in torch.split(ids.to(self.device), _SCORED):
                expected = self.log_probs(some, teacher)
                weights = expected.exp()
                for number, standing in enumerate((teacher, *students)):
                    own = expected if number == 0 else self.log_probs(some, standing)
                    loss = -own.gather(2, some[:, 1:, None]).double().sum()
                    sums[number] += torch.stack([loss, (weights * (expected - own)).double().sum()]).cpu()
        tokens = ids.shape[0] * (ids.shape[1] - 1)
        return [(loss, divergence) for loss, divergence in (sums / tokens).tolist()]
