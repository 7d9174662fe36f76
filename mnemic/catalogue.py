"""The datasets of a bank, each declared once.

Everything that has to know which datasets there are reads it here: releases, `mnemic digest`, plans, `export`, indexes,
and what a removal takes with it. A step of another package declares its own dataset in its section
(`operators.sections`); such a dataset carries its key and parents in its metadata, so a reader without that package
can still pin, hash and open it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

Removal = Literal["delete", "redo", "subtract", "stale"]
"""What the removal of a parent's row does to the rows that name it: they go, are made anew, lose their share of a sum,
or are marked as knowing too much."""


@dataclass(frozen=True)
class Parent:
    """``column`` (a string or a list of strings; "" where rows name nobody) holds keys of rows of ``dataset``."""

    dataset: str
    column: str
    rule: Removal


@dataclass(frozen=True)
class IndexPlan:
    """Columns that are indexed where a dataset has them, and how: BM25, approximate neighbours, and prefilters.

    BITMAP is for columns of few values, BTREE for those of many and for ranges.
    """

    text: str = "text"
    vector: str = "vector"
    scalars: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetSpec:
    """``key`` identifies a row and orders it in `mnemic digest`; ``schema`` may depend on a model's sizes.

    ``counted`` is SQL for the rows that are content (None: all). ``bookkeeping`` columns say when and how a row came to
    be, and are left out of the digest, as is a dataset that is not ``digested``. A release pins what is ``pinned``;
    rows that are no content of the bank, such as runs, are not. Files of writers that hold no lease are not cleaned up:
    of a dataset that is not ``cleaned``.
    """

    name: str
    schema: pa.Schema | Callable[..., pa.Schema] | None
    key: tuple[str, ...]
    parents: tuple[Parent, ...] = ()
    digested: bool = True
    bookkeeping: frozenset[str] = frozenset()
    counted: str | None = None
    pinned: bool = True
    index: IndexPlan | None = None
    export: bool = True
    cleaned: bool = True
