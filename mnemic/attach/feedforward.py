"""Where a memory enters a feed-forward layer: rows beside those of its own matrices, or any path beside it.

A feed-forward layer is down(act(gate x) * up x), or down(act(up x)) in families without a gate. Rows added to up, gate
and down widen it: the sum over the old rows and that over the new ones are computed apart and added, so the model's
own product is not touched, and down rows of zero leave the model as it is, bit for bit. Hierarchical memory banks
(Pouransari et al., arXiv 2510.02375) fetch such rows for a text; product keys and edits are other paths beside the
layer, or beside its last projection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnemic.attach.entry import Entry, Place
from mnemic.attach.generation import Prompt
from mnemic.errors import ModelError

if TYPE_CHECKING:
    import torch

    Path = Callable[[torch.Tensor], torch.Tensor]
    Groups = Sequence[int] | torch.Tensor | Callable[[Prompt], torch.Tensor]
else:
    Path = Groups = Any

PARTS = {True: ("up", "gate", "down"), False: ("up", "down")}
"""Whether a feed-forward layer has a gate -> its projections, in the order of a block's parts."""

_GATED = ("up_proj", "gate_proj", "down_proj", "act_fn")
_PLAIN = (("c_fc", None, "c_proj", "act"), ("dense_h_to_4h", None, "dense_4h_to_h", "act"))


@dataclass(frozen=True)
class Projections:
    """The parts of a block's feed-forward layer; ``gate`` is None in families without one."""

    up: Any
    gate: Any | None
    down: Any
    activation: Callable[[torch.Tensor], torch.Tensor]

    @classmethod
    def of(cls, block: Any) -> Projections:
        """Raises `ModelError` for a layer that is laid out otherwise."""
        for names in (_GATED, *_PLAIN):
            if all(name is None or hasattr(block.mlp, name) for name in names):
                parts: list[Any] = [name and getattr(block.mlp, name) for name in names]
                return cls(*parts)
        raise ModelError(
            f"A feed-forward layer of type {type(block.mlp).__name__} has no known projections to widen; use a model "
            "of another family."
        )

    def rows(self) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """The layer's own up, gate and down, each [inner, hidden]."""
        up, down = _weight(self.up), _weight(self.down).T
        return up, None if self.gate is None else _weight(self.gate), down


def product(
    activation: Callable[[torch.Tensor], torch.Tensor],
    hidden: torch.Tensor,
    up: torch.Tensor,
    gate: torch.Tensor | None,
    down: torch.Tensor,
) -> torch.Tensor:
    """What rows add for ``hidden`` [..., positions, hidden], of that shape; ``gate`` None: a family without one."""
    wide = hidden @ up.mT
    wide = activation(wide) if gate is None else activation(hidden @ gate.mT) * wide
    return wide @ down


class Rows:
    """The path of rows ``up``, ``gate`` (None: no gate) and ``down``, each [r, hidden] or [groups, r, hidden].

    ``groups`` gives the group of each row of the prompt, -1 for none; None gives every row the one in its place. Beams
    and several sequences of one row have the group of that row. ``prompt`` gives the prompt of the pass.
    """

    def __init__(
        self,
        projections: Projections,
        rows: tuple[torch.Tensor, torch.Tensor | None, torch.Tensor],
        groups: Groups | None,
        prompt: Callable[[], Prompt | None],
    ) -> None:
        self.parts, self.activation, self.prompt = rows, projections.activation, prompt
        self.number = len(rows[0]) if rows[0].dim() == 3 else None
        self.groups = groups if groups is None or callable(groups) else self._checked(groups)
        self._placed: tuple[Any, Any] | None = None  # (device, dtype), parts

    @property
    def own(self) -> bool:
        """Whether rows of the batch have rows of their own."""
        return self.number is not None

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """What the rows add, [batch, positions, hidden], for ``hidden`` of that shape."""
        up, gate, down = self._parts(hidden)
        if self.number is None:
            return product(self.activation, hidden, up, gate, down)
        prompt = self.prompt()
        if prompt is None:
            raise ModelError("Each row of a batch has rows of its own here; call the whole model, not its blocks.")
        batch, groups = hidden.shape[0], self.groups
        if groups is None:
            each = prompt.repeats(self.number, batch)
            together = hidden.reshape(self.number, each * hidden.shape[1], hidden.shape[2])
            return product(self.activation, together, up, gate, down).view(hidden.shape)
        chosen = self._checked(prompt.chosen(self, groups) if callable(groups) else groups)
        chosen = chosen.repeat_interleave(prompt.repeats(len(chosen), batch))
        added = hidden.new_zeros(hidden.shape)
        for group in sorted({*chosen.tolist()} - {-1}):
            rows = (chosen == group).nonzero()[:, 0].to(hidden.device)
            own = None if gate is None else gate[group]
            added = added.index_copy(0, rows, product(self.activation, hidden[rows], up[group], own, down[group]))
        return added

    def _checked(self, groups: Any) -> torch.Tensor:
        """int64 [rows of the prompt], on the CPU. Raises `ModelError` where there is no such group."""
        import torch

        chosen = torch.as_tensor(groups, dtype=torch.int64).cpu()
        if self.number is None:
            raise ModelError("Groups choose among rows [groups, r, hidden], and these are [r, hidden]; leave them out.")
        if chosen.dim() != 1 or not bool(((chosen >= -1) & (chosen < self.number)).all()):
            raise ModelError(
                f"Groups are one number a row of the batch, from -1 (none) to {self.number - 1}, got "
                f"{chosen.tolist()}; choose among the rows that were given."
            )
        return chosen

    def _parts(self, like: torch.Tensor) -> Any:
        import torch

        place = (like.device, like.dtype)
        if self._placed is None or self._placed[0] != place:
            if any(part is not None and part.requires_grad for part in self.parts):  # they change between passes
                return tuple(None if part is None else part.to(*place) for part in self.parts)
            with torch.inference_mode(False):
                self._placed = (place, tuple(None if part is None else part.to(*place) for part in self.parts))
        return self._placed[1]


class Beside(Entry):
    """A path beside a module: what it makes of the module's input is added to the module's output."""

    def __init__(self, place: Place, module: Any, path: Path) -> None:
        super().__init__(place)
        self.path = path
        self.hook = module.register_forward_hook(self.add)

    def add(self, module: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        if getattr(self.place, "is_aside", False):
            return output
        return output + self.path(inputs[0]).to(output.dtype)

    def close(self) -> None:
        self.hook.remove()
        super().close()


def widened(
    block: Any,
    up: torch.Tensor,
    gate: torch.Tensor | None,
    down: torch.Tensor,
    groups: Groups | None,
    prompt: Callable[[], Prompt | None],
) -> Rows:
    """The path of rows beside a block's feed-forward layer. Raises `ModelError` where they do not fit it."""
    projections = Projections.of(block)
    if (gate is None) != (projections.gate is None):
        raise ModelError(
            "The feed-forward layers of this model have a gate; give its rows too."
            if gate is None
            else "The feed-forward layers of this model have no gate; give None for its rows."
        )
    hidden = _weight(projections.up).shape[1]
    shapes = {tuple(part.shape) for part in (up, gate, down) if part is not None}
    if len(shapes) > 1 or up.dim() not in (2, 3) or up.shape[-1] != hidden:
        raise ModelError(
            f"Rows of a feed-forward layer are [r, {hidden}], or [groups, r, {hidden}], the same for up, gate and "
            f"down, got {', '.join(map(str, sorted(shapes)))}; transpose or cut them."
        )
    return Rows(projections, (up, gate, down), groups, prompt)


def _weight(module: Any) -> torch.Tensor:
    """[outputs, inputs]; GPT-2 stores its matrices the other way round."""
    weight: torch.Tensor = module.weight
    return weight.T if type(module).__name__ == "Conv1D" else weight
