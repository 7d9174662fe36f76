"""Rows beside a feed-forward layer that are chosen for each text: blocks of a hierarchical memory.

`Rows` holds what it adds; here the rows of a prompt are fetched when it begins, once for all layers, and texts of a
batch that share a block are multiplied with it together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mnemic.attach.feedforward import Projections, product
from mnemic.attach.generation import Prompt
from mnemic.errors import ModelError

if TYPE_CHECKING:
    import torch


@dataclass(eq=False)
class PromptBlocks:
    """The blocks of the texts of a prompt: ``members`` are (rows of the prompt that read it, the block).

    A block is [layers, parts, r, hidden]. ``rows`` is how many texts the prompt has, or 1 for one choice for all.
    ``changed`` are those of them that read the changed matrices of the model, where there are some.
    """

    rows: int
    members: Sequence[tuple[tuple[int, ...], torch.Tensor]]
    changed: tuple[int, ...] = ()
    _placed: dict[Any, list[torch.Tensor]] = field(default_factory=dict, repr=False)

    def placed(self, like: torch.Tensor) -> list[torch.Tensor]:
        """The blocks in the device and dtype of ``like``."""
        place = (like.device, like.dtype)
        if place not in self._placed:
            self._placed[place] = [block.to(*place) for _, block in self.members]
        return self._placed[place]


class ChosenRows:
    """The path of the rows that ``choose`` gives for a prompt, at place ``number`` of their layers.

    It is scaled by ``weight``. ``prompt`` gives the prompt of the pass.
    """

    own = True

    def __init__(
        self,
        projections: Projections,
        number: int,
        choose: Callable[[Prompt], PromptBlocks],
        prompt: Callable[[], Prompt | None],
        weight: float = 1.0,
    ) -> None:
        self.activation, self.number, self.choose, self.prompt = projections.activation, number, choose, prompt
        self.weight = weight

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """What the rows add, [batch, positions, hidden], for ``hidden`` of that shape."""
        import torch

        prompt = self.prompt()
        if prompt is None:
            raise ModelError("Each text of a batch has blocks of its own here; call the whole model, not its layers.")
        chosen = prompt.chosen(self.choose, self.choose)
        repeats = prompt.repeats(chosen.rows, hidden.shape[0])
        added = None
        for (rows, _), block in zip(chosen.members, chosen.placed(hidden), strict=True):
            parts = block[self.number]
            matrices = (parts[0], parts[1] if len(parts) == 3 else None, parts[-1])
            if len(rows) == chosen.rows:
                more = product(self.activation, hidden, *matrices)
                added = more if added is None else added + more
                continue
            lines = torch.tensor(
                [row * repeats + beam for row in rows for beam in range(repeats)], device=hidden.device
            )
            added = hidden.new_zeros(hidden.shape) if added is None else added
            added = added.index_add(0, lines, product(self.activation, hidden[lines], *matrices))
        if added is None:
            return hidden.new_zeros(hidden.shape)
        return added if self.weight == 1.0 else added * self.weight
