"""The stretch of a recipe's steps that a build runs: all, those up to one, those from one on, or one alone.

A step that reads rows that are stale would be recorded as made of fresh ones, and nobody would compute it again. So a
build that begins in the middle is refused where what it stands on has work left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mnemic.dataset import Store
from mnemic.errors import RecipeError
from pipelines.options import BuildOptions
from pipelines.steps import Step
from pipelines.steps.anew import named
from pipelines.steps.contracts import state_of


def stretch(steps: Sequence[Step], options: BuildOptions) -> list[Step]:
    """The steps of ``steps`` that ``options`` ask for. Raises ``RecipeError`` where there are none such."""
    if options.only is not None:
        if options.begin is not None or options.until is not None:
            raise RecipeError("`only` is one step; leave out where to begin and to stop, or leave out `only`.")
        return [named(steps, options.only, "run alone")]
    names = [step.name for step in steps]
    first = 0 if options.begin is None else names.index(named(steps, options.begin, "begin with").name)
    last = len(steps) if options.until is None else names.index(named(steps, options.until, "stop after").name) + 1
    if first >= last:
        raise RecipeError(
            f"The step {options.begin} comes after {options.until}; begin with {options.until} or before."
        )
    return list(steps[first:last])


def check_ground(steps: Sequence[Step], options: BuildOptions, store: Store) -> None:
    """Raise ``RecipeError`` where a step before the stretch has work left that the stretch stands on.

    One step alone stands on those whose rows and columns reach it, a release on all.
    """
    name = options.only or options.begin
    if name is None:
        return
    before = list(steps[: [step.name for step in steps].index(name)])
    if options.only is not None:
        reaching = set(_reaching(named(steps, name, "run alone"), {step.name: step for step in steps}))
        before = [step for step in before if step.name in reaching]
    for step in before:
        status = state_of(step, store)
        if not status.done:
            reason = status.reasons[0] if status.reasons else f"it is {status.kind}"
            raise RecipeError(
                f"The step {name} cannot be first: {step.name} before it has work left ({reason}). Begin with "
                f"{step.name}, or build everything."
            )


def _reaching(step: Step, by_name: dict[str, Step]) -> Iterator[str]:
    """The names of the steps before ``step`` whose rows or columns reach it."""
    waiting, seen = [*step.after], set[str]()
    while waiting:
        name = waiting.pop()
        if name not in seen and name in by_name:
            seen.add(name)
            yield name
            waiting += by_name[name].after
