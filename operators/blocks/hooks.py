"""Hooks on feed-forward layers in a training: what is added to an output, and a change of the layers' own matrices."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from mnemic import languagemodel
from mnemic.attach.changed import changed_output
from mnemic.attach.feedforward import PARTS, Projections


def adding(add: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """A hook on a module that adds what ``add`` makes of its input."""

    def hook(_module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + add(inputs[0]).to(output.dtype)

    return hook


@contextlib.contextmanager
def changing(model: Any, layers: Sequence[int], change: Callable[[int, int], Tensor]) -> Iterator[None]:
    """Add a change to the projections of ``layers`` of ``model`` while the block runs.

    ``change`` gives that of a layer, by its place among ``layers``, and of a part: [inner, hidden].
    """
    stack = languagemodel.blocks(model)
    with contextlib.ExitStack() as hooks:
        for number, layer in enumerate(layers):
            projections = Projections.of(stack[layer])
            for part, name in enumerate(PARTS[projections.gate is not None]):
                add = partial(changed_output, name, change=change(number, part))
                hooks.callback(getattr(projections, name).register_forward_hook(adding(add)).remove)
        yield
