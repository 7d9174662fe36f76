"""The difference of two releases as a whole."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mnemic.bank import Bank, open_bank
from mnemic.catalogue import DatasetSpec, in_order, spec_of
from mnemic.dataset import Snapshot
from mnemic.difference.rows import RowChanges, compare_rows
from mnemic.difference.settings import lineage_changes, recipe_changes
from mnemic.errors import BankError

PLACE = ("source", "locator")
"""Where a document comes from. Its id holds its content too, so a document that was edited is another row."""


@dataclass(frozen=True)
class DatasetChanges:
    """What differs in a dataset: its rows, and columns that one side has alone or with another type."""

    rows: RowChanges
    new_columns: tuple[str, ...] = ()
    lost_columns: tuple[str, ...] = ()
    retyped_columns: tuple[str, ...] = ()

    @property
    def none(self) -> bool:
        return self.rows.none and not (self.new_columns or self.lost_columns or self.retyped_columns)


@dataclass(frozen=True)
class BankChanges:
    """The difference of two releases. ``before`` and ``after`` are (bank, release).

    ``datasets`` has those that differ in a column that `mnemic digest` hashes. ``documents`` matches documents by
    source and locator: a changed one stands at its place with another content, metadata or time.
    """

    before: tuple[str, str]
    after: tuple[str, str]
    datasets: Mapping[str, DatasetChanges]
    documents: RowChanges
    recipe: tuple[str, ...]
    lineage: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether the content is equal, as equal digests say; recipe and lineage may differ."""
        return not self.datasets

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "equal": self.equal}


def diff(before: Bank | str, after: Bank | str, limit: int = 10) -> BankChanges:
    """Compare two releases, each an open bank, or ``BANK`` or ``BANK@RELEASE``; the newest release by default.

    ``limit``: keys that are given as examples of each sort of change in a dataset.

    Raises ``BankError`` where one of them is no bank or has no such release.
    """
    mine, other = (bank if isinstance(bank, Bank) else opened(bank) for bank in (before, after))
    names = in_order({*mine.release.versions, *other.release.versions})
    datasets = {name: changes for name in names if (changes := _dataset(mine, other, name, limit)) is not None}
    return BankChanges(
        (mine.path, mine.release.name),
        (other.path, other.release.name),
        {name: changes for name, changes in datasets.items() if not changes.none},
        _documents(mine, other, limit),
        recipe_changes(mine.release.recipe, other.release.recipe),
        lineage_changes(mine.release.lineage, other.release.lineage),
    )


def opened(place: str, beside: str = "") -> Bank:
    """The bank at ``BANK`` or ``BANK@RELEASE``; ``@RELEASE`` is a release of the bank ``beside``."""
    if place.startswith("@") and beside:
        return open_bank(beside, place[1:])
    path, at, release = place.rpartition("@")
    if at and "/" not in release and not os.path.isdir(os.path.expanduser(place)):
        return open_bank(path, release)
    return open_bank(place)


def _snapshot(bank: Bank, name: str) -> Snapshot | None:
    return bank.dataset(name) if name in bank.release.versions else None


def _dataset(mine: Bank, other: Bank, name: str, limit: int) -> DatasetChanges | None:
    """The changes of a dataset; None for one that is not content."""
    left, right = _snapshot(mine, name), _snapshot(other, name)
    specs = [spec_of(name, one.schema) for one in (left, right) if one is not None]
    spec = specs[0]
    if not spec.digested:
        return None
    if any((one.key, one.counted) != (spec.key, spec.counted) for one in specs):
        raise BankError(
            f"{mine.path} and {other.path} have each a dataset {name} with a key of its own, so their rows cannot be "
            "matched. Compare banks that the same packages made."
        )
    if left is not None and right is not None and left.uri == right.uri and left.version == right.version:
        return DatasetChanges(RowChanges())
    left, right = (one if one is not None and one.count(spec.counted) else None for one in (left, right))
    columns, differences = _columns(spec, left, right)
    return DatasetChanges(compare_rows(left, right, spec.key, columns, spec.counted, limit), **differences)


def _columns(
    spec: DatasetSpec, left: Snapshot | None, right: Snapshot | None
) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Columns to compare, and those that cannot be compared."""
    if left is None or right is None:
        return [], {}
    mine, other = (
        {field.name: field.type for field in one.schema if field.name not in spec.bookkeeping} for one in (left, right)
    )
    both = [name for name in mine if name in other]
    columns = [name for name in both if mine[name] == other[name] and name not in spec.key]
    return columns, {
        "new_columns": tuple(sorted(other.keys() - mine.keys())),
        "lost_columns": tuple(sorted(mine.keys() - other.keys())),
        "retyped_columns": tuple(sorted(name for name in both if mine[name] != other[name])),
    }


def _documents(mine: Bank, other: Bank, limit: int) -> RowChanges:
    left, right = _snapshot(mine, "documents"), _snapshot(other, "documents")
    if left is not None and right is not None and left.uri == right.uri and left.version == right.version:
        return RowChanges()
    return compare_rows(left, right, PLACE, ["id"], None, limit)
