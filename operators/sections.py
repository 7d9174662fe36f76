"""How an operator says what it is in a recipe: the key of its section, and the shape of its step.

A section is declared beside its operator and holds no pipeline code: `pipelines.sections` lists those of mnemic in the
order in which they run, and another package adds one by an entry point of the group `mnemic.operators`.
Every command that reads a recipe imports all of these files, so an operator imports its computation where it runs.

* ``Grow``    adds columns to the rows of a dataset, each a function of its row
* ``Derive``  makes the rows of a dataset from rows of another
* ``Fit``     looks at all rows once, writes tables, then adds columns
* ``Learn``   trains a memory
* ``Driven``  a step that drives its workers itself, named by module and class
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mnemic.catalogue import DatasetSpec

Complete = Callable[[dict[str, Any] | None, Mapping[str, Any]], dict[str, Any] | None]
"""Settings of a section (None: it is not named), the sections of the recipe -> the settings that it runs with."""


@dataclass(frozen=True)
class Grow:
    """Adds columns to ``dataset``, reading ``columns`` of the rows that satisfy ``where``; the others get nulls.

    With ``whole_documents`` the operator gets all rows of a document at once.
    """

    dataset: str
    columns: tuple[str, ...]
    after: tuple[str, ...]
    where: str | None = None
    whole_documents: bool = False


@dataclass(frozen=True)
class Lookup:
    """``columns`` that the rows of ``dataset`` have of the same inputs, by their column ``key``, null where none is.

    They are there in recipes where ``step``, which makes the dataset, runs, as its rows of this ``fingerprint``, which
    the recipe fills in. They spare work: the rows that are made do not depend on them, so their fingerprint does not.
    """

    step: str
    dataset: str
    key: str
    columns: tuple[str, ...]
    fingerprint: str = ""


@dataclass(frozen=True)
class Derive:
    """Makes rows of ``target`` from the rows of ``origin`` that satisfy ``where`` and have the columns ``needs``.

    ``key`` are the columns of the origin that name an input, ``target_key`` those of the target that name it there. It
    also reads what the ``optional`` steps add to the origin, in recipes where they run, and has ``lookups``.
    """

    origin: str
    target: DatasetSpec
    columns: tuple[str, ...]
    key: tuple[str, ...]
    target_key: tuple[str, ...]
    after: tuple[str, ...]
    where: str | None = None
    needs: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    lookups: tuple[Lookup, ...] = ()


@dataclass(frozen=True)
class Fit:
    """Looks at the rows of ``dataset`` that satisfy ``where`` once, writes ``tables`` whole, then adds columns."""

    dataset: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    after: tuple[str, ...]
    where: str | None = None
    needs: tuple[str, ...] = ()
    tables: tuple[DatasetSpec, ...] = ()


RowKind = Literal["vectors", "text"]
"""Rows that a memory is trained on: vectors of the datastore, or its documents as token ids."""


@dataclass(frozen=True)
class Learn:
    """Trains the memory called ``memory``, of a ``kind`` of `mnemic.memories.kinds`, on ``rows`` of the bank."""

    memory: str
    kind: str
    after: tuple[str, ...]
    rows: RowKind


@dataclass(frozen=True)
class Driven:
    """``driver`` is "package.module:name" of a class or function that makes the step, of (record, operator, after).

    In recipes where the ``optional`` steps run, it comes after them too, and they enter its fingerprint.
    """

    driver: str
    after: tuple[str, ...]
    datasets: tuple[DatasetSpec, ...] = ()
    optional: tuple[str, ...] = ()


Shape = Grow | Derive | Fit | Learn | Driven


@dataclass(frozen=True)
class Section:
    """``name`` is the key of a recipe and the word for it in plan and lineage; ``step_name`` that word if it differs.

    A section that is ``on`` runs unnamed, in every recipe or in those that have the setting called so; `NAME: false` in
    a recipe turns it off, and with it what comes after. ``reads`` are the steps whose values enter the fingerprint, by
    default those that the step comes after. ``complete`` adds to its settings what other sections say.
    """

    name: str
    operator: type
    step: Shape
    on: bool | str = False
    reads: tuple[str, ...] | None = None
    step_name: str = ""
    complete: Complete | None = None

    @property
    def step_called(self) -> str:
        return self.step_name or self.name

    @property
    def read_steps(self) -> tuple[str, ...]:
        """Steps that its fingerprint is made of, without the optional ones."""
        return self.step.after if self.reads is None else self.reads

    @property
    def needed_steps(self) -> tuple[str, ...]:
        """Steps without which it cannot run."""
        return tuple(dict.fromkeys((*self.step.after, *self.read_steps)))

    @property
    def shared(self) -> dict[str, str]:
        """Its settings that a recipe says elsewhere, and where: name -> place, such as "signature.ngram"."""
        return shared_fields(self.operator)

    @property
    def datasets(self) -> tuple[DatasetSpec, ...]:
        """Datasets whose rows it makes."""
        match self.step:
            case Derive(target=target):
                return (target,)
            case Fit(tables=datasets) | Driven(datasets=datasets):
                return datasets
            case _:
                return ()


def along_with(*names: str) -> Complete:
    """A section that runs, named or not, wherever all of the sections ``names`` do."""

    def complete(settings: dict[str, Any] | None, sections: Mapping[str, Any]) -> dict[str, Any] | None:
        return {} if settings is None and all(sections.get(name) is not None for name in names) else settings

    return complete


def shared_field(default: Any, said_by: str, identity: bool = True, **metadata: Any) -> Any:
    """A field that a recipe writes once, at ``said_by`` ("language_model", "signature.ngram"), for all who read it.

    Without ``identity`` it changes nothing of what the operator computes, and enters no fingerprint.
    """
    metadata |= {"said_by": said_by} if identity else {"said_by": said_by, "identity": False}
    return dataclasses.field(default=default, compare=identity, metadata=metadata)


def dtype_field(default: str = "auto", **metadata: Any) -> Any:
    """A field that names the type a model runs in; "auto" is resolved for the device before a step has a record."""
    return dataclasses.field(default=default, metadata={**metadata, "dtype": True})


def later_field(default: Any) -> Any:
    """A field that came when there were banks: at its default it enters no fingerprint, so they stay done."""
    return dataclasses.field(default=default, metadata={"later": True})


def says_nothing(field: dataclasses.Field[Any], value: Any) -> bool:
    """Whether a `later_field` has its default."""
    return bool(field.metadata.get("later")) and value == field.default


def shared_fields(operator: type) -> dict[str, str]:
    """Fields of an operator that the recipe says elsewhere: name -> place, such as "signature.ngram"."""
    return _places(operator, overridable=False)


def preset_fields(operator: type) -> dict[str, str]:
    """Fields of an operator that the recipe says elsewhere and its section may say otherwise: name -> place."""
    return _places(operator, overridable=True)


def _places(operator: type, overridable: bool) -> dict[str, str]:
    return {
        field.name: field.metadata["said_by"]
        for field in dataclasses.fields(operator)
        if "said_by" in field.metadata and bool(field.metadata.get("overridable")) == overridable
    }
