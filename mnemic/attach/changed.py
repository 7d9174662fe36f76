"""A change of a feed-forward layer's own matrices, beside its projections: the model itself stays.

What a projection with changed weights gives is what it gives with its own, and what the change gives for the same
input. So texts of a batch may be read with the change or without it, and taking it off leaves the model bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mnemic.attach.fetched import PromptBlocks
from mnemic.attach.generation import Prompt
from mnemic.errors import ModelError

if TYPE_CHECKING:
    import torch


def changed_output(projection: str, inputs: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """What the ``change`` [inner, hidden] of a ``projection`` ("up", "gate" or "down") adds to its output.

    ``inputs`` [..., hidden] of up and gate give [..., inner]; those of down are [..., inner] and give [..., hidden].
    """
    change = change.to(inputs.dtype)
    return inputs @ (change if projection == "down" else change.mT)


class ChangedProjection:
    """The path of the ``change`` [inner, hidden] of a ``projection``, for the texts of a prompt that read it.

    ``choose`` says which do (`PromptBlocks.changed`), ``prompt`` gives the prompt of the pass. ``weight`` scales it.
    """

    own = True

    def __init__(
        self,
        projection: str,
        change: torch.Tensor,
        choose: Callable[[Prompt], PromptBlocks],
        prompt: Callable[[], Prompt | None],
        weight: float = 1.0,
    ) -> None:
        self.projection, self.change, self.choose, self.prompt, self.weight = projection, change, choose, prompt, weight
        self._placed: tuple[Any, torch.Tensor] | None = None  # (device, dtype), the change

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """What it adds, [batch, positions, outputs], for ``inputs`` [batch, positions, inputs]."""
        import torch

        prompt = self.prompt()
        if prompt is None:
            raise ModelError("The texts of a batch say whether they are changed; call the whole model, not its layers.")
        chosen = prompt.chosen(self.choose, self.choose)
        repeats, change = prompt.repeats(chosen.rows, inputs.shape[0]), self._of(inputs)
        if len(chosen.changed) == chosen.rows:
            return self._scaled(changed_output(self.projection, inputs, change))
        width = change.shape[1 if self.projection == "down" else 0]
        added = inputs.new_zeros((*inputs.shape[:-1], width))
        lines = torch.tensor(
            [row * repeats + beam for row in chosen.changed for beam in range(repeats)],
            dtype=torch.int64,
            device=inputs.device,
        )
        return added.index_copy(0, lines, self._scaled(changed_output(self.projection, inputs[lines], change)))

    def _scaled(self, added: torch.Tensor) -> torch.Tensor:
        return added if self.weight == 1.0 else added * self.weight

    def _of(self, inputs: torch.Tensor) -> torch.Tensor:
        import torch

        place = (inputs.device, inputs.dtype)
        if self._placed is None or self._placed[0] != place:
            with torch.inference_mode(False):
                self._placed = (place, self.change.to(*place))
        return self._placed[1]
