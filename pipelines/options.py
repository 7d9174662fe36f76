"""The options of a build, beside its recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mnemic.errors import RecipeError
from pipelines.engine import Engine
from pipelines.progress import Sink


@dataclass(frozen=True)
class BuildOptions:
    """Options of a build; none changes what a step with nothing left to do has made, but ``anew``.

    ``bank``             another place than the recipe's
    ``engine``           "inline", "ray", or what `pipelines.engine.choose_engine` makes of a cluster's address and a
                         number of workers (default: Ray where it is installed)
    ``device``           "cpu" or "cuda" (default: the best that a worker finds)
    ``replace``          take over a bank that belongs to another recipe
    ``anew``             steps that are computed again although nothing changed
    ``rebalance``        ``anew`` for the step `deduplicate`: it decides anew about documents of earlier releases too,
                         which win otherwise, as if all had come at once
    ``recluster``        ``anew`` for the step `cluster`: events join the tree there is otherwise
    ``begin``            the first step to run; refused where one before it has work left
    ``until``            the last step to run; no release is written then
    ``only``             the one step to run; no release is written then
    ``commit_every``     fragments in a commit (default 16); more of a step with more than 256
    ``storage_options``  how the bank is opened in an object store (default: the recipe's)
    ``sinks``            called with every progress event
    """

    bank: str | Path | None = None
    engine: Engine | str | None = None
    device: str | None = None
    replace: bool = False
    anew: Sequence[str] = ()
    rebalance: bool = False
    recluster: bool = False
    begin: str | None = None
    until: str | None = None
    only: str | None = None
    commit_every: int = 16
    storage_options: Mapping[str, str] | None = None
    sinks: Sequence[Sink] = ()

    def __post_init__(self) -> None:
        if self.commit_every < 1:
            raise RecipeError(
                f"Commits of {self.commit_every} fragments cannot be made; set commit_every to at least 1."
            )
        if isinstance(self.anew, str):
            raise RecipeError(f"anew is the name {self.anew!r}; give a list of steps, such as [{self.anew!r}].")

    @property
    def releases(self) -> bool:
        """Whether a release is written at the end."""
        return self.until is None and self.only is None

    @property
    def computed_anew(self) -> tuple[str, ...]:
        """The steps that are computed again, each once."""
        names = [*self.anew, *["deduplicate"] * self.rebalance, *["cluster"] * self.recluster]
        return tuple(dict.fromkeys(names))
