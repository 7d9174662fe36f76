"""One release of a bank as snapshots, without behaviour: what search, memories and evaluation read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any

import pyarrow as pa

from mnemic.dataset import Snapshot, Store
from mnemic.dataset.digest import digest_datasets
from mnemic.dataset.forks import using_lance
from mnemic.errors import BankError, MnemicError, QueryError
from mnemic.expected import check_schema
from mnemic.facts import consistent
from mnemic.release import Release, releases
from mnemic.terminal import one_line


class View:
    """The datasets of ``store`` at the versions that ``release`` pins."""

    def __init__(self, store: Store, release: Release) -> None:
        self.store = store
        self.release = release

    def __getstate__(self) -> dict[str, Any]:
        """Without open datasets: a copy opens them itself, at the versions that the release pins."""
        return {"store": self.store, "release": self.release}

    @property
    def path(self) -> str:
        """The root of the store: a folder, or an address such as s3://bucket/bank."""
        return self.store.root

    @cached_property
    def _snapshots(self) -> dict[str, Snapshot]:
        return {name: self._checked(name, version) for name, version in self.release.versions.items()}

    def _checked(self, name: str, version: int) -> Snapshot:
        snapshot = self.store[name].require(version)
        check_schema(name, snapshot.schema, snapshot.uri)
        return snapshot

    def __contains__(self, dataset: str) -> bool:
        """Whether the release pins a version of ``dataset``."""
        return dataset in self.release.versions

    def dataset(self, name: str) -> Snapshot:
        """The snapshot of a dataset that this release pins. Raises ``BankError`` when the release has none of it."""
        using_lance(self.path)
        if name not in self:
            raise BankError(
                f"Release {self.release.name} of {self.path} has no {name}. "
                f"It holds: {', '.join(self.release.versions)}. Build a recipe with the step that makes {name}."
            )
        return self._snapshots[name]

    def table(self, dataset: str, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
        """Rows of a dataset of this release as an Arrow table; ``where`` is SQL of mnemic's own, or written by it.

        Raises ``QueryError`` for a condition that Lance refuses.
        """
        snapshot = self.dataset(dataset)
        with readable_condition(where, snapshot, dataset):
            return snapshot.table(list(columns or snapshot.schema.names), where)

    def record(self, step: str) -> Mapping[str, Any]:
        """The record of a step in the release's lineage; empty where the release has no such step."""
        record: Mapping[str, Any] = self.release.lineage.get(step) or {}
        return record

    def releases(self) -> list[Release]:
        """All releases of the bank, oldest first."""
        return releases(self.store)

    def digest(self) -> dict[str, str]:
        """Content hash per dataset, and of the whole bank under "bank"."""
        with fitting(self, "The rows"):
            return digest_datasets(self._snapshots)


def fitting(view: View, what: str) -> AbstractContextManager[None]:
    """`mnemic.facts.consistent` for values of the release of ``view``."""
    return consistent(f"{what} of release {view.release.name}", view.path)


@contextmanager
def readable_condition(where: str | None, snapshot: Snapshot, dataset: str) -> Iterator[None]:
    """Turn Lance's refusal of the condition ``where`` into a ``QueryError`` that gives its reason and the columns."""
    try:
        yield
    except ValueError as error:
        if where is None or isinstance(error, MnemicError):
            raise
        reason = one_line(str(error).split(", /")[0].split("\n")[0], 200)
        raise QueryError(
            f"The condition {one_line(where, 200)!r} cannot be applied to {dataset} ({reason}). Write SQL over "
            f"{', '.join(snapshot.schema.names)}; times as start_time > date '2026-01-31', text in single quotes."
        ) from error
