"""Facts into paths: a solve over all of them together, layer after layer.

Two solved sets cannot be added: a key of one is no key that the other keeps in its place. So every choice of facts is
solved for itself, which takes a pass over their prompts for each layer and a system as large as their number.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemic.errors import ModelError
from mnemic.facts import ADVICE
from mnemic.rewrites.datasets import MEMIT, METHODS
from mnemic.rewrites.paths import SidePath
from mnemic.rewrites.prompts import prompt_of
from mnemic.rewrites.reading import at_subjects, down_of, shape_of
from mnemic.rewrites.solve import least_squares, normalised_steps, ridge
from mnemic.rewrites.statement import PLACE, SolvableStatement, guarded

if TYPE_CHECKING:
    import torch

Factors = Callable[[Sequence[int]], Mapping[int, Any]]
"""Gives by layer the Cholesky factor of the second moments of keys."""


@dataclass(frozen=True)
class SolveSettings:
    """What is solved, and how: see `operators.rewrites.operator.Rewrites`."""

    method: str
    layers: tuple[int, ...]
    strength: float
    guard: float
    guarded: float
    rate: float
    contexts: tuple[str, ...]

    def config(self) -> dict[str, Any]:
        """As `of_config` reads it, of values of JSON."""
        own = {name: getattr(self, name) for name in ("method", "strength", "guard", "guarded", "rate")}
        return {**own, "layers": list(self.layers), "contexts": list(self.contexts)}

    @classmethod
    def of_config(cls, config: Mapping[str, Any], name: str) -> SolveSettings:
        """From the config of the memory called ``name``. Raises `ModelError` for values that cannot be."""
        layers, contexts = config.get("layers"), config.get("contexts")
        numbers = {one: config.get(one, -1.0) for one in ("strength", "guard", "guarded", "rate")}
        if (
            config.get("method") not in METHODS
            or not isinstance(layers, list)
            or not layers
            or not all(type(one) is int and 0 <= one < 1 << 16 for one in layers)
            or layers != sorted({*layers})
            or not isinstance(contexts, list)
            or not contexts
            or not all(isinstance(one, str) and PLACE in one for one in contexts)
            or not all(type(one) in (int, float) and 0 <= one < 1e12 for one in numbers.values())
            or not numbers["strength"]
        ):
            raise ModelError(f"The memory {name} does not say how its facts are solved. {ADVICE}")
        values = {one: float(value) for one, value in numbers.items()}
        return cls(config["method"], tuple(layers), contexts=tuple(contexts), **values)


@contextlib.contextmanager
def beside(model: Any, paths: Sequence[SidePath]) -> Iterator[None]:
    """Within the block ``paths`` act in ``model``, whatever else has entered it."""

    def added(path: SidePath) -> Callable[[Any, tuple[Any, ...], Any], Any]:
        return lambda module, inputs, output: output + path(inputs[0]).to(output.dtype)

    with contextlib.ExitStack() as hooks:
        for path in paths:
            hooks.callback(down_of(model, path.layer).register_forward_hook(added(path)).remove)
        yield


def solved(
    model: Any,
    tokenizer: Any,
    settings: SolveSettings,
    statements: Sequence[SolvableStatement],
    factors: Factors,
) -> list[SidePath]:
    """The paths of ``statements``, one a layer, in float32 on the CPU; of their order nothing depends.

    ``factors`` is asked where the method needs moments of keys.
    """
    import torch

    ordered = sorted(statements, key=lambda one: (one.statement.fact, one.statement.id))
    if not ordered:
        return []
    shapes = [shape_of(model, layer) for layer in settings.layers]
    memit = settings.method == MEMIT
    width = shapes[-1][1] if memit else sum(inner + hidden for inner, hidden in shapes)
    if any(one.values.shape[1] != width for one in ordered):
        raise ModelError("The statements were solved for another model; attach them to the one that they are of.")
    with torch.inference_mode(False), torch.no_grad():
        if not memit:
            return _ultraedit(settings, ordered, shapes)
        moments = factors(settings.layers)
        if any(len(moments[layer]) != inner for layer, (inner, _) in zip(settings.layers, shapes, strict=True)):
            raise ModelError("The moments of keys are of another model; attach the facts to the one that they are of.")
        return _memit(model, tokenizer, settings, ordered, moments)


def _memit(
    model: Any,
    tokenizer: Any,
    settings: SolveSettings,
    ordered: Sequence[SolvableStatement],
    factors: Mapping[int, torch.Tensor],
) -> list[SidePath]:
    import torch

    facts, last = [one.statement for one in ordered], settings.layers[-1]
    others, _ = guarded(facts, settings.guarded)
    pairs = [(context, one) for context in settings.contexts for one in facts]
    prompts = [prompt_of(tokenizer, one.relation, one.subject, context=context) for context, one in pairs]
    prompts += [prompt_of(tokenizer, relation, subject) for relation, subject in others]
    goals = torch.from_numpy(np.concatenate([one.values[:1] for one in ordered]).astype(np.float64))
    number, paths = len(facts), list[SidePath]()
    for place, layer in enumerate(settings.layers):
        with beside(model, paths):
            keys, states = at_subjects(model, prompts, layer, last)
        own = keys[: number * len(settings.contexts)].view(len(settings.contexts), number, -1).mean(0)
        residuals = (goals - states[:number]) / (len(settings.layers) - place)
        other_keys = keys[number * len(settings.contexts) :]
        inward, outward = least_squares(factors[layer], settings.strength, own, residuals, other_keys, settings.guard)
        paths.append(SidePath(layer, inward.float(), outward.float()))
    return paths


def _ultraedit(
    settings: SolveSettings, ordered: Sequence[SolvableStatement], shapes: Sequence[tuple[int, int]]
) -> list[SidePath]:
    """Without a pass of the model: what layers read, and gradients, are stored with the statements."""
    import torch

    rows = np.concatenate([one.values for one in ordered]).astype(np.float64)
    paths = []
    ends = np.cumsum([size for shape in shapes for size in shape])
    parts = [torch.from_numpy(part) for part in np.split(rows, ends[:-1], 1)]
    for layer, inputs, gradients in zip(settings.layers, parts[::2], parts[1::2], strict=True):
        inward, outward = ridge(inputs, normalised_steps(inputs, gradients, settings.rate))
        paths.append(SidePath(layer, inward.float(), outward.float()))
    return paths
