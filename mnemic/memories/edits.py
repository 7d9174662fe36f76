"""The kind of memory "edits": facts that are solved into paths beside feed-forward layers.

The model's weights stay as they are, so taking the paths away leaves the model bit for bit. All facts of a bank are
stored as solved. Of some of them another solve is made when they are attached, since solved sets do not add up.

In a bank of several tenants the facts of each are solved for themselves, against the moments of its documents alone. So
what a condition gives of one tenant holds nothing of another.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from mnemic import languagemodel
from mnemic.attach.entry import Entries, Entry
from mnemic.attach.feedforward import Beside, Projections
from mnemic.conditions import Conditions, Where
from mnemic.errors import BankError, ModelError
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.kinds import Memory, MemoryInfo, inside_weight
from mnemic.memories.reopened import Reopened
from mnemic.memories.trained import StoredKind
from mnemic.quoting import one_of, parts_of
from mnemic.rewrites.datasets import TENANT
from mnemic.rewrites.moments import COLUMNS, factors
from mnemic.rewrites.paths import EditPaths, SidePath
from mnemic.rewrites.reading import shape_of
from mnemic.rewrites.solving import SolveSettings, solved
from mnemic.rewrites.statement import SolvableStatement, Statement
from mnemic.terminal import one_line
from mnemic.view import View, fitting

if TYPE_CHECKING:
    from mnemic.attach.host import Host
    from mnemic.attach.output.schedules import Schedule

NAME = "edits"
"""Of the kind, of its memory and of the dataset of its paths: a bank has one."""


class EditsKind(StoredKind):
    """A release has one such memory where its recipe has `rewrites`."""

    name, title = NAME, "knowledge edits"
    narrows = True

    def load(self, view: View, info: MemoryInfo) -> Memory:
        return StoredEdits(view, info)


EDITS = EditsKind()


@dataclass(frozen=True)
class StoredEdits(Reopened):
    """The facts of one release. ``chosen`` are the ids of those that enter a model; None: all."""

    view: View
    info: MemoryInfo
    chosen: frozenset[str] | None = None
    inside = True

    def __deepcopy__(self, memo: dict[int, Any]) -> StoredEdits:
        return self

    @cached_property
    def settings(self) -> SolveSettings:
        return SolveSettings.of_config(self.info.config, self.info.name)

    @cached_property
    def ids(self) -> list[str]:
        """The ids of the facts that enter a model, in order; `bank.table("statements")` says what they are."""
        every = set(self._column("id"))
        return sorted(every if self.chosen is None else every & self.chosen)

    @cached_property
    def module(self) -> EditPaths:
        """The stored paths, where they are of these facts; others are solved when they enter a model."""
        if NAME not in self.view:
            return EditPaths()
        with fitting(self.view, "The edits"):
            dataset = self.view.dataset(NAME)
            solves = dataset.table(["id", "layer", "statements"]).sort_by("layer").to_pylist()
            mine = [row for row in solves if row["statements"] == self.ids]
            if not mine or [row["layer"] for row in mine] != list(self.settings.layers):
                return EditPaths()
            rows = dataset.table(dataset.schema.names, one_of("id", [row["id"] for row in mine])).sort_by("layer")
            return EditPaths(tuple(SidePath.of_row(row) for row in rows.to_pylist()))

    def of(self, *names: str) -> StoredEdits:
        """The memory of the facts of these sets together, or of facts with these ids: one solve over all of them.

        Raises `BankError` for a name that no fact has.
        """
        sets = self._column("sets")
        there = {*self._column("id"), *(one for row in sets for one in row)}
        unknown = [name for name in names if not isinstance(name, str) or name not in there]
        if unknown:
            shown = ", ".join(sorted({one for row in sets for one in row})[:10]) or "none"
            raise BankError(f"{self.view.path} has no facts {one_line(str(unknown[0]), 40)!r}. Its sets are: {shown}.")
        pairs = zip(self._column("id"), sets, strict=True)
        return replace(self, chosen=frozenset(id for id, row in pairs if {id, *row} & {*names}) & {*self.ids})

    def without(self, *ids: str) -> StoredEdits:
        """The memory without the facts with these ids, or of these sets: solved as if they had never been there."""
        return replace(self, chosen=frozenset(self.ids) - {*self.of(*ids).ids})

    def where(self, conditions: Where) -> StoredEdits:
        """The memory of facts whose documents satisfy ``conditions``, as in a search; those of files have none."""
        documents = self.view.dataset("documents")
        condition = Conditions.of(conditions).sql(documents.schema, "documents")
        lists = self._column("documents")
        named = sorted({document for row in lists for document in row})
        within: set[str] = set()
        for part in parts_of("id", named):
            rows = documents.table(["id"], part if condition is None else f"({part}) AND ({condition})")
            within |= {*rows["id"].to_pylist()}
        pairs = zip(self._column("id"), lists, strict=True)
        mine = frozenset(id for id, row in pairs if row and within.issuperset(row))
        return replace(self, chosen=mine & {*self.ids})

    def enter(self, host: Host, weight: float | Schedule) -> Entry:
        share = inside_weight(self.info, weight)
        if share == 0:
            return Entry()
        self._refuse(host)
        self._warn()
        entries = Entries(())
        try:
            device = languagemodel.output_embedding(host.model).device
            for path in self.module.paths or self.solved(host):
                if (len(path.inward), path.outward.shape[1]) != shape_of(host.model, path.layer):
                    raise ModelError(f"The edit of layer {path.layer} is of another model; attach it to its own.")
                placed = replace(path, inward=path.inward.to(device), outward=path.outward.to(device), weight=share)
                entries.entries.append(host.beside(path.layer, placed, projection="down"))
        except BaseException:
            entries.close()
            raise
        return entries

    def solved(self, host: Host) -> list[SidePath]:
        """The paths of these facts and of no others, for the model of ``host`` as it is without them.

        Raises `ModelError` where facts of several tenants contradict each other.
        """
        model = host.model
        tokenizer = languagemodel.tokenizer_of(model)
        if tokenizer is None:
            tokenizer = languagemodel.tokenizer(self.view.release.recipe["language_model"])
        with fitting(self.view, "The statements and the moments of keys"), host.aside():
            statements = self._statements()
            _refuse_contradictions([one.statement for one in statements])
            tenants = {one.statement.tenant for one in statements}
            return solved(model, tokenizer, self.settings, statements, partial(self._factors, tenants))

    def scores(self, rows: HeldOutRows) -> None:
        """Only a pass of the model can tell."""

    def _column(self, name: str) -> list[Any]:
        if "statements" not in self.view:
            return []
        with fitting(self.view, "The statements"):
            values: list[Any] = self.view.dataset("statements").table([name])[name].to_pylist()
        return values

    def _statements(self) -> list[SolvableStatement]:
        dataset = self.view.dataset("statements")
        tables = [dataset.table(dataset.schema.names, part) for part in parts_of("id", self.ids)]
        return [SolvableStatement.of_row(row) for table in tables for row in table.to_pylist()]

    def _factors(self, tenants: Collection[str | None], layers: Sequence[int]) -> Mapping[int, Any]:
        """By the moments of these ``tenants``; where a fact is nobody's, by those of all documents."""
        if "key_moments" not in self.view:
            raise ModelError(f"{self.view.path} has no moments of keys, by which facts are solved; build it again.")
        dataset, columns = self.view.dataset("key_moments"), list(COLUMNS)
        where = f"layer IN ({', '.join(map(str, layers))})"
        if TENANT.name in dataset.schema.names:
            named = [one for one in tenants if one is not None]
            whose = one_of(TENANT.name, sorted(named)) if len(named) == len(tenants) else f"{TENANT.name} IS NULL"
            where, columns = f"{where} AND {whose}", [*columns, TENANT.name]
        return factors(dataset.table(columns, where).to_pylist(), layers)

    def _refuse(self, host: Host) -> None:
        """Raise `ModelError` for a model with fewer layers, and for one that has other edits."""
        blocks = host.blocks
        if self.settings.layers[-1] >= len(blocks):
            raise ModelError(
                f"The memory {self.info.name} edits the block {self.settings.layers[-1]}, and the model has "
                f"{len(blocks)}; attach it to the model that it was made for."
            )
        for block in blocks:
            owners = [getattr(hook, "__self__", None) for hook in Projections.of(block).down._forward_hooks.values()]
            if any(isinstance(owner, Beside) and isinstance(owner.path, SidePath) for owner in owners):
                raise ModelError(
                    "The model has edits already, and solved sets of facts do not add up. Detach them first, or choose "
                    'all facts at once: `bank.memory("edits").of(SET, SET)` solves over their union.'
                )

    def _warn(self) -> None:
        """Warn where the facts as text in the prompt answer more paraphrases right than the edits."""
        metrics = self.info.metrics
        edited, text = metrics.get("paraphrase"), metrics.get("paraphrase_text")
        if edited is not None and text is not None and edited < text:
            warnings.warn(
                f"The edits of {self.view.path} answer {edited:.0%} of the paraphrases of their facts, and the same "
                f"facts as text in the prompt {text:.0%}. Put the facts into the prompt where there is room for them.",
                stacklevel=2,
            )


def _refuse_contradictions(statements: Iterable[Statement]) -> None:
    targets: dict[str, str] = {}
    for one in statements:
        if targets.setdefault(one.prompt, one.target) != one.target:
            raise ModelError(
                f"Facts of several tenants give {one_line(one.prompt, 60)!r} different targets, and a model takes one. "
                'Choose a tenant: `where={"tenant": NAME}`.'
            )
