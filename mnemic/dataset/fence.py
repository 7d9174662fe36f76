"""A builder that has lost its lease cannot change the bank: every change asks for the lease, and carries its number.

A change opens a version, asks whether the lease is still held, and then commits on just that version. A claimant of a
lease whose former holder may be alive *fences* every dataset: it commits a `Restore` of the current version, and Lance
then refuses every change that was begun on an older version. `Overwrite`, which it would rebase, is committed without
retries, so that any commit in between is a conflict. So a builder that slept between its question and its commit, for
however long, commits nothing.

Two things cannot be refused: a fence, or the first version of a dataset, of a claimant that slept in the middle of it.
Both carry the number of its claim. Before it builds on a version that it has not made, a builder looks whether that
number is its own, and undoes the version where it is not.

A normal claim (the lease was given back, or its holder is proven dead) fences nothing and adds no version.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

import lance

from mnemic.dataset.commit import Conflict
from mnemic.dataset.lease import Lease
from mnemic.dataset.snapshot import Snapshot
from mnemic.dataset.store import Dataset


class Fence:
    """The guard of a bank's datasets while ``lease`` is held (`mnemic.dataset.guard.Guard`)."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._own: dict[str, set[int]] = {}
        self._seen: dict[str, int] = {}  # up to which version all are known to be nobody's who has lost the lease

    @property
    def number(self) -> int:
        return self._lease.number

    def check(self) -> None:
        self._lease.check()

    def confirm(self) -> None:
        self._lease.confirm()

    def landed(self, uri: str, version: int) -> None:
        self._own.setdefault(uri, set()).add(version)

    def expect(self, dataset: Dataset, version: int) -> None:
        """Raise `Conflict` when a version up to this one was made by a builder without the lease; then it is undone."""
        own, seen = self._own.get(dataset.uri, set()), self._seen.get(dataset.uri, 0)
        if all(number in own for number in range(seen + 1, version + 1)):
            self._seen[dataset.uri] = max(seen, version)
            return
        if self._undone(dataset, dataset.require()):
            raise Conflict(_told(dataset, "It was undone"))

    def refused(self, dataset: Dataset, error: Exception) -> NoReturn:
        """Say why Lance refused a commit: the lease was lost, or another builder without it was in the way."""
        self.confirm()
        undone = self._undone(dataset, dataset.require())
        raise Conflict(_told(dataset, "It was undone" if undone else f"Nothing was changed ({error})")) from error

    def take_over(self, datasets: Iterable[Dataset]) -> None:
        """Begin to guard these datasets, right after the claim; fence them where the former holder may be alive."""
        heads = [(dataset, head) for dataset in datasets if (head := dataset.snapshot()) is not None]
        if self._lease.begun:
            newest = max((_number(head) for _, head in heads), default=0)
            if newest >= self.number:
                self._lease.renumber(newest + 1)
        for dataset, head in heads:
            before = _before_late_fence(head) if self._lease.settled else None
            self._seen[dataset.uri] = head.version
            if before is not None:
                self._restored(dataset, head, before)
            elif not self._lease.settled:
                self._fenced(dataset, head)
        if not self._lease.settled:
            self._lease.fenced()

    def undo(self, datasets: Iterable[Dataset]) -> None:
        """Undo what builders without the lease have done to these datasets since this one has held it.

        Raises `Conflict` then: this one may have taken it for what it is to build on.
        """
        for dataset in datasets:
            head = dataset.snapshot()
            if head is not None and self._undone(dataset, head):
                raise Conflict(_told(dataset, "It was undone"))

    def _fenced(self, dataset: Dataset, head: Snapshot) -> None:
        """Put the head in the place of itself; a commit that came in between is kept as the head that it made."""
        fenced = self._restored(dataset, head, head.version)
        while fenced.version != head.version + 1:
            head, between = fenced, fenced.version - 1
            fenced = self._restored(dataset, head, between)

    def _restored(self, dataset: Dataset, head: Snapshot, version: int) -> Snapshot:
        self._seen[dataset.uri] = head.version
        return dataset.commit(lance.LanceOperation.Restore(version), head.version, {})

    def _undone(self, dataset: Dataset, head: Snapshot) -> bool:
        """Undo foreign versions up to ``head``, and what came after them; whether there was one."""
        own, seen = self._own.get(dataset.uri, set()), self._seen.get(dataset.uri, 0)
        others = [version for version in range(seen + 1, head.version + 1) if version not in own]
        foreign = [version for version in others if self._is_foreign(head, version)]
        self._seen[dataset.uri] = max(seen, head.version)
        if not foreign:
            return False
        self.confirm()
        first = foreign[0]
        if first == 1:
            dataset.replace(head.schema, (), {}, {})  # it was born so: it stays without rows, as nobody's output
        else:
            self._restored(dataset, head, first - 1)
        return True

    def _is_foreign(self, head: Snapshot, version: int) -> bool:
        """Whether another builder made this version. What has no number was refused if it was begun before a fence.

        A change of `config` alone is harmless: what it says of an index holds for the segments that it names.
        """
        number, operation = head.change(version)
        return number not in (0, self.number) and not isinstance(operation, lance.LanceOperation.UpdateConfig)


def _number(head: Snapshot) -> int:
    """That of the newest claim of which ``head`` bears a number."""
    for version in range(head.version, 0, -1):
        number, _ = head.change(version)
        if number:
            return number
    return 0


def _before_late_fence(head: Snapshot) -> int | None:
    """The version to go back to where ``head`` is the fence of a claimant that had lost the lease; else None."""
    number, operation = head.change(head.version)
    if not number or not isinstance(operation, lance.LanceOperation.Restore):
        return None
    for version in range(head.version - 1, 0, -1):
        earlier, _ = head.change(version)
        if earlier:
            return head.version - 1 if earlier > number else None
    return None


def _told(dataset: Dataset, outcome: str) -> str:
    bank, _, name = dataset.uri.removesuffix(".lance").rpartition("/")
    return (
        f"Another builder, which had lost the lease on {bank}, changed {name} at the same time. {outcome}, and "
        "everything that this build committed before is kept: run the same build again."
    )
