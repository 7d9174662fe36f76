"""How an operator says what it is in a recipe: the key of its section, and the shape of its step.

A section is declared beside its operator and holds no pipeline code: `pipelines.sections` lists those of mnemic in the
order in which they run, and another package adds one by an entry point of the group `mnemic.operators`.

* ``Grow``    adds columns to the rows of a dataset, each a function of its row
* ``Derive``  makes the rows of a dataset from rows of another
* ``Fit``     looks at all rows once, writes tables, then adds columns
* ``Learn``   trains a memory
* ``Driven``  a step that drives its workers itself, named by module and class
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from mnemic.catalogue import DatasetSpec


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
class Derive:
    """Makes rows of ``target`` from the rows of ``origin`` that satisfy ``where`` and have the columns ``needs``.

    ``key`` are the columns of the origin that name an input, ``target_key`` those of the target that name it there.
    """

    origin: str
    target: DatasetSpec
    columns: tuple[str, ...]
    key: tuple[str, ...]
    target_key: tuple[str, ...]
    after: tuple[str, ...]
    where: str | None = None
    needs: tuple[str, ...] = ()


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


@dataclass(frozen=True)
class Learn:
    """Trains the memory called ``memory``, of a ``kind`` of `mnemic.memories.kinds`, on ``rows`` of the bank."""

    memory: str
    kind: str
    after: tuple[str, ...]
    rows: str  # "vectors", "text", "leaves"


@dataclass(frozen=True)
class Driven:
    """``driver`` is "package.module:Class" of a step that drives its workers itself."""

    driver: str
    after: tuple[str, ...]
    datasets: tuple[DatasetSpec, ...] = ()


Shape = Grow | Derive | Fit | Learn | Driven


@dataclass(frozen=True)
class Section:
    """``name`` is the key of a recipe and the word for it in plan and lineage; ``step`` the step's name if it differs.

    A section that is ``on`` runs unnamed; `NAME: false` in a recipe turns it off. ``reads`` are the steps whose values
    enter the fingerprint, by default those that the step comes after.
    """

    name: str
    operator: type
    step: Shape
    on: bool = False
    reads: tuple[str, ...] | None = None


def shared_field(default: Any, said_by: str, **metadata: Any) -> Any:
    """A field that a recipe writes once, at ``said_by`` ("language_model", "signature.ngram"), for all who read it."""
    return dataclasses.field(default=default, metadata={**metadata, "said_by": said_by})


def dtype_field(default: str = "auto", **metadata: Any) -> Any:
    """A field that names the type a model runs in; "auto" is resolved for the device before a step has a record."""
    return dataclasses.field(default=default, metadata={**metadata, "dtype": True})
