"""Repair a bank whose newest versions cannot be read: each such dataset goes back to one whose files are all there.

Versions and files stay: a release is what it was, and where its own files are gone it stays unreadable. Commits after
the version that is gone back to are lost; steps of the next build see that they are missing, and make them again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from mnemic.catalogue import CATALOGUE, in_order
from mnemic.dataset import Dataset, Snapshot, Store
from mnemic.dataset.checksums import Checksum, checksums, hash_files
from mnemic.dataset.failures import reading
from mnemic.dataset.files import absent, any_version, files_of, needed_files, versions_of
from mnemic.dataset.lease import Lease
from mnemic.dataset.restore import restore
from mnemic.errors import BankError, Unreachable
from mnemic.verify import datasets_of, pins_of

_NOTES = {
    "rejects": "Rejects of finished steps are not: `mnemic build --anew STEP` notes them once more.",
    "metrics": "Curves of trainings that are done are not: `mnemic build --anew STEP` trains again.",
    "runs": "Times of past runs are not, and with them the estimates of `mnemic plan`.",
    "checksums": "Hashes are not: the next release writes down what the files are then.",
}
"""Of what a build does not make again."""

KEPT_APART = "{}.lance.damaged"
"""Folder of a dataset that nothing of could be read."""


@dataclass(frozen=True)
class Loss:
    """A dataset whose newest version cannot be read: ``fault`` says why, ``version`` is the one to go back to.

    ``version`` 0 stands for none: the dataset begins anew without rows if its ``schema`` at least is there. ``number``
    is the largest number that a version ever had, ``releases`` are those that pin what is lost, ``rows`` those that the
    newest version has more, None if unknown.
    """

    dataset: str
    fault: str
    version: int
    number: int
    releases: tuple[str, ...]
    rows: int | None
    schema: pa.Schema | None = None

    @property
    def mendable(self) -> bool:
        """Whether there is something to go back to, or nothing that was ever in a release."""
        if self.version:
            return True
        return self.dataset not in ("releases", "leases") and (self.schema is not None or not self.releases)

    @property
    def harmless(self) -> bool:
        """Whether nothing that a release has is lost."""
        return self.version > 0 and not self.releases and self.dataset != "releases"

    def __str__(self) -> str:
        state = f"{self.dataset}: {self.fault}."
        if self.version:
            rows = "" if self.rows is None else f", {max(0, self.rows):,} rows less"
            lost = f"It goes back to version {self.version}{rows}; a build makes again what was committed since."
        elif self.mendable and self.schema is not None:
            lost = "No version of it can be read: it begins anew without rows, and a build makes them again."
        elif self.mendable:
            lost = "Nothing of it can be read, and no release has it: it is put aside, and a build makes it again."
        else:
            lost = "Nothing of it can be read. Bring it back from a copy of the bank, or build the bank anew."
        if self.dataset in _NOTES:
            lost += f" {_NOTES[self.dataset]}"
        if self.dataset == "releases":
            lost += " Releases written since are lost, but not the rows that they pinned: build again for a new one."
        elif self.releases:
            lost += f" Its rows of release {', '.join(self.releases)} are damaged, and stay so."
        return f"{state} {lost}"


def losses(store: Store, deep: bool = False, names: Iterable[str] | None = None) -> list[Loss]:
    """The datasets, of ``names`` or of all, whose newest versions cannot be read; empty for a bank that is whole.

    ``deep`` hashes files too, and takes other bytes than a release wrote down for missing ones.
    """
    pins = pins_of(store, [])
    written: dict[str, Checksum] = {}
    if deep:
        try:
            written = checksums(store)
        except BankError:
            written = {}
    names = in_order({*datasets_of(store), *pins}) if names is None else names
    every = (_loss(store, name, pins.get(name, {}), written) for name in names)
    return [loss for loss in every if loss is not None]


def repair(store: Store, run: str, deep: bool = False) -> list[Loss]:
    """Let every dataset that cannot be read go back, and give what was lost. Takes the bank's lease.

    Tags of releases that are gone or broken are written anew where their versions can be read.
    Raises ``BankError`` before anything is changed where a dataset has nothing to go back to, and ``BankInUse`` while a
    build runs.
    """
    if not datasets_of(store):
        raise BankError(f"{store.root} is not a bank. Build one there with `mnemic build`, or check the path.")
    _check_lease(store)
    with Lease(store["leases"], run) as lease:
        lost = [loss for loss in losses(store, deep) if loss.dataset != "leases"]
        hopeless = [loss for loss in lost if not loss.mendable]
        if hopeless:
            raise BankError(" ".join(["This bank cannot be repaired.", *(str(loss) for loss in hopeless)]))
        for loss in lost:
            lease.check()
            mend(store, loss, run)
        for name, pinned in pins_of(store, []).items():
            lease.check()
            dataset = store[name]
            if dataset.snapshot() is not None:
                dataset.retag({release: version for version, releases in pinned.items() for release in releases})
    return lost


def mend(store: Store, loss: Loss, run: str) -> None:
    """Let one dataset go back. Only while this process holds the lease."""
    properties = {"mnemic.step": "repair", "mnemic.run": run}
    dataset = store[loss.dataset]
    if loss.version:
        readable = _newest(dataset)
        restore(dataset, loss.version, loss.number, properties)
        if readable is None or readable.version < loss.number:
            # Numbers of rows in a version that cannot be read may be given again, so nothing may know rows by them
            for name in _by_number(loss.dataset):
                if _newest(store[name]) is not None:
                    store[name].delete("true")
        return
    if loss.schema is not None:
        dataset.replace(loss.schema, (), {}, properties)
        return
    if "://" in store.root:
        raise BankError(f"Nothing of {dataset.uri} can be read. Delete the objects below it, and build again.")
    place, number = Path(store.root, KEPT_APART.format(loss.dataset)), 1
    while place.exists():
        number += 1
        place = place.with_name(f"{KEPT_APART.format(loss.dataset)}-{number}")
    shutil.move(dataset.uri, place)


def _by_number(name: str) -> list[str]:
    """Datasets that hold numbers of rows and fragments of ``name`` and can be computed from it."""
    return [
        spec.name
        for spec in CATALOGUE.values()
        if spec.pinned
        and not spec.digested
        and any(parent.dataset == name and not parent.column for parent in spec.parents)
    ]


def _check_lease(store: Store) -> None:
    try:
        snapshot = store["leases"].snapshot()
        if snapshot is not None:
            snapshot.table(snapshot.schema.names)
    except Unreachable:
        raise
    except BankError as error:
        raise BankError(
            f"The lease of {store.root} cannot be read, so nobody knows whether a build runs. If none does, delete "
            f"{store['leases'].uri} and repeat this. ({error})"
        ) from error


def _loss(store: Store, name: str, pins: Mapping[int, list[str]], written: Mapping[str, Checksum]) -> Loss | None:
    dataset = store[name]
    try:
        there = files_of(dataset.uri, store.storage_options)
    except Unreachable:
        raise
    except BankError as error:
        return Loss(name, str(error).removesuffix("."), 0, 0, tuple(_after(0, pins)), None)
    numbers = versions_of(dataset.uri, store.storage_options)
    pins = _with_tags(dataset, pins)
    largest = max([*numbers, *pins], default=0)
    if not largest:
        return None
    head: Snapshot | None = None
    try:
        head = dataset.snapshot()
        fault = "it is gone" if head is None else _fault(store, name, head, there, written)
        if head is not None and not fault and head.version < largest:
            fault = f"the manifest of its version {largest} is gone"
    except Unreachable:
        raise
    except BankError:
        fault = "its newest version cannot be read"
    if not fault:
        return None
    version, rows = 0, None
    for number in reversed(numbers):
        try:
            earlier = dataset.require(number)
            if not _fault(store, name, earlier, there, written):
                version, rows = number, _more(head, earlier)
                break
        except Unreachable:
            raise
        except BankError:
            continue
    schema = None if head is None or head.version < largest else head.schema
    return Loss(name, fault, version, largest, tuple(_after(version, pins)), rows, schema)


def _with_tags(dataset: Dataset, pins: Mapping[int, list[str]]) -> dict[int, list[str]]:
    """``pins``, and what releases pinned whose own rows cannot be read: their tags say so too."""
    every = {version: list(releases) for version, releases in pins.items()}
    try:
        with reading(dataset.uri):
            readable = any_version(dataset.uri, dataset.storage_options)
        tags = {} if readable is None else Snapshot(readable, dataset).tags()
    except Unreachable:
        raise
    except BankError:  # a tag's file is broken: `verify` says so
        tags = {}
    for tag, version in tags.items():
        if tag not in every.setdefault(version, []):
            every[version].append(tag)
    return every


def _fault(
    store: Store, name: str, snapshot: Snapshot, there: Mapping[str, int], written: Mapping[str, Checksum]
) -> str:
    """What is wrong with the files of a version, "" where nothing is."""
    needed = needed_files(snapshot.native, there)
    for path, fault in absent(needed, there).items():
        return f"{path}, which its version {snapshot.version} needs, {fault}"
    if not written:
        return ""
    paths = {file.path for file in needed} & there.keys()
    folders = tuple(f"{file.path}/" for file in needed if file.folder)
    paths |= {path for path in there if path.startswith(folders)} if folders else set()
    hashed = [f"{name}.lance/{path}" for path in sorted(paths) if f"{name}.lance/{path}" in written]
    for path, value in hash_files(store, hashed).items():
        if value != written[path].hash:
            return (
                f"{path.partition('/')[2]}, which its version {snapshot.version} needs, holds other bytes than written"
            )
    return ""


def _more(head: Snapshot | None, earlier: Snapshot) -> int | None:
    try:
        return None if head is None else head.rows_of_manifest - earlier.rows_of_manifest
    except BankError:
        return None


def _after(version: int, pins: Mapping[int, list[str]]) -> list[str]:
    return [release for number, releases in sorted(pins.items()) if number > version for release in releases]


def _newest(dataset: Dataset) -> Snapshot | None:
    try:
        return dataset.snapshot()
    except Unreachable:
        raise
    except BankError:
        return None
