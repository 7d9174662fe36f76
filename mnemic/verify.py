"""Verify a bank: the versions that its releases pin are there, and no file has changed since the release was written.

Sizes are compared with the manifests and with `checksums`; hashes, which takes reading every file, only in depth. A
bank whose releases an older mnemic wrote has no hashes. Then sizes are compared, and ``deep`` reads every row of those
datasets, which finds the damage that Lance notices.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mnemic.catalogue import CATALOGUE, in_order
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.checksums import Checksum, checksums, hash_files
from mnemic.dataset.files import absent, check_plain, files_of, named_files, needed_files
from mnemic.errors import BankError, Unreachable
from mnemic.expected import check_schema
from mnemic.inbox.files import FOLDER, files_of_inbox, listed, read_calls
from mnemic.release import release_of, release_rows

_WAITING = "Bring it back from a copy of the bank, or delete it and remember its rows anew."

HEAD = "the head"
"""In the place of a release: the newest version of a dataset, from which the next build goes on."""

Progress = Callable[[int, int], None]
"""Called with files done and files in all."""


@dataclass(frozen=True)
class Finding:
    """Something wrong: the place in the bank, what it is, the releases that need it, and what to do about it."""

    path: str
    fault: str
    needed_by: tuple[str, ...]
    advice: str

    def __str__(self) -> str:
        need = f" {_listed(self.needed_by)} need{'s' * (len(self.needed_by) == 1)} it." if self.needed_by else ""
        return f"{self.path} {self.fault}.{need} {self.advice}"


@dataclass
class Verification:
    """What `verify` saw. ``orphans`` are files that no version names: path below the bank -> bytes."""

    bank: str
    deep: bool
    releases: list[str] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    hashed: int = 0
    findings: list[Finding] = field(default_factory=list)
    orphans: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "whole": self.whole}


def verify(store: Store, deep: bool = False, progress: Progress = lambda done, total: None) -> Verification:
    """Compare every file of the bank with what the manifests and the releases say of it; nothing is changed.

    ``deep`` also reads and hashes every file. Raises ``BankError`` where there is no bank.
    """
    names = datasets_of(store)
    if not names:
        raise BankError(f"{store.root} is not a bank. Build one there with `mnemic build`, or check the path.")
    return _Verifying(store, deep, progress).run(names)


def datasets_of(store: Store) -> list[str]:
    """Names of the datasets that there are. In an object store those of other packages are known by releases alone."""
    if "://" not in store.root:
        inside = os.listdir(store.root) if os.path.isdir(store.root) else []
        return in_order(name.removesuffix(".lance") for name in inside if name.endswith(".lance"))
    there = []
    for name in CATALOGUE:
        try:
            if store[name].snapshot() is None:
                continue
        except Unreachable:
            raise
        except BankError:
            pass  # it is there, and the verification says what is wrong
        there.append(name)
    return in_order({*there, *pins_of(store, [])})


def pins_of(store: Store, faults: list[BankError]) -> dict[str, dict[int, list[str]]]:
    """Dataset -> version -> the releases that pin it. Errors of reading are added to ``faults``."""
    pins: dict[str, dict[int, list[str]]] = {}
    try:
        rows = release_rows(store)
    except BankError as error:
        faults.append(error)
        return pins
    for row in rows:
        try:
            release = release_of(row, store.root)
        except BankError as error:
            faults.append(error)
            continue
        for name, version in release.versions.items():
            pins.setdefault(name, {}).setdefault(version, []).append(release.name)
    return pins


class _Verifying:
    def __init__(self, store: Store, deep: bool, progress: Progress) -> None:
        self.store, self.progress = store, progress
        self.result = Verification(store.root, deep)
        self.recorded: dict[str, Checksum] = {}

    def run(self, names: Iterable[str]) -> Verification:
        result, faults = self.result, list[BankError]()
        pins = pins_of(self.store, faults)
        for fault in faults:
            self._tell("releases.lance", f"cannot be read as releases: {fault}", (), "")
        result.releases = list(dict.fromkeys(name for by in pins.values() for names in by.values() for name in names))
        try:
            self.recorded = checksums(self.store)
        except BankError as error:
            self._tell("checksums.lance", f"cannot be read: {_reason(error)}", (), "")
        to_hash: dict[str, tuple[str, ...]] = {}
        for name in in_order({*names, *pins}):
            to_hash |= self._dataset(name, pins.get(name, {}))
        if result.deep:
            self._compare_hashes(to_hash)
        self._look_at_inbox()
        if not self.recorded:
            result.notes.append(
                "The releases of this bank were written without hashes, so sizes alone could be compared"
                + (", and all rows were read" if result.deep else "")
                + ". The next release writes hashes."
            )
        return result

    def _dataset(self, name: str, pins: Mapping[int, list[str]]) -> dict[str, tuple[str, ...]]:
        """Look at one dataset, and give the paths to hash with the releases that need them."""
        dataset, folder = self.store[name], f"{name}.lance"
        try:
            check_plain(dataset.uri)
            there = files_of(dataset.uri, self.store.storage_options)
        except Unreachable:
            raise
        except BankError as error:
            self._tell(folder, f"cannot be looked at: {_reason(error)}", _releases(pins), "")
            return {}
        self.result.files += len(there)
        self.result.bytes += sum(there.values())
        needed_by: dict[str, list[str]] = {}
        faults: dict[str, str] = {}
        newest: Snapshot | None = None
        for version, releases in [*sorted(pins.items()), (None, [HEAD])]:
            try:
                snapshot = dataset.require(version)
                check_schema(name, snapshot.schema, snapshot.uri)
                needed = needed_files(snapshot.native, there)
            except Unreachable:
                raise
            except BankError as error:
                which = "newest version" if version is None else f"version {version}"
                self._tell(
                    folder, f"has a {which} that cannot be opened: {_reason(error)}", tuple(releases), _advice(releases)
                )
                continue
            newest = snapshot if version is None else newest
            faults |= absent(needed, there)
            inside = {file.path: [path for path in there if path.startswith(f"{file.path}/")] for file in needed}
            for file in needed:
                for path in [file.path, *inside[file.path]]:
                    needed_by.setdefault(path, []).extend(releases)
            if version is not None:
                self._check_tags(folder, releases, version)
                if self.result.deep and not self._all_recorded(folder, needed_by):
                    self._read_all(snapshot, folder, releases)
        if newest is not None:
            self._list_orphans(newest, folder, there)
        return self._compare_sizes(folder, there, needed_by, faults)

    def _look_at_inbox(self) -> None:
        """What was remembered since: each file says by itself what it must hold. No release needs them yet."""
        files = files_of_inbox(self.store)
        listing = listed(files)
        _, damaged = read_calls(files, listing.calls)
        for name in damaged:
            self._tell(f"{FOLDER}/{name}", "does not hold what was remembered", (), _WAITING)
        for name in listing.others:
            self._tell(f"{FOLDER}/{name}", "is no file of what was remembered", (), "Move it away.")
        self.result.files += len(listing.calls)

    def _compare_sizes(
        self, folder: str, there: Mapping[str, int], needed_by: Mapping[str, list[str]], faults: dict[str, str]
    ) -> dict[str, tuple[str, ...]]:
        to_hash = {}
        for path in sorted({*there, *needed_by}):
            written = self.recorded.get(f"{folder}/{path}")
            if written is None or path in faults:
                continue
            if path in there and there[path] != written.size:
                faults[path] = f"has {there[path]:,} bytes, and had {written.size:,} at release {written.release}"
            elif path in there:
                to_hash[f"{folder}/{path}"] = tuple(dict.fromkeys(needed_by.get(path, ())))
        for path in self.recorded:
            inner = path.removeprefix(f"{folder}/")
            if path != inner and inner not in there and inner not in faults and _of_index(inner, needed_by):
                faults[inner] = "is missing"
                needed_by = {**needed_by, inner: needed_by[inner.rpartition("/")[0]]}
        for path, fault in sorted(faults.items()):
            releases = tuple(dict.fromkeys(needed_by.get(path, ())))
            self._tell(f"{folder}/{path}", fault, releases, _advice(releases))
        return to_hash

    def _compare_hashes(self, to_hash: Mapping[str, tuple[str, ...]]) -> None:
        paths, step = sorted(to_hash), 64
        for start in range(0, len(paths), step):
            for path, value in hash_files(self.store, paths[start : start + step]).items():
                written = self.recorded[path]
                if value != written.hash:
                    fault = f"holds other bytes than at release {written.release}"
                    self._tell(path, fault, to_hash[path], _advice(to_hash[path]))
            self.progress(min(start + step, len(paths)), len(paths))
        self.result.hashed = len(paths)

    def _all_recorded(self, folder: str, needed_by: Iterable[str]) -> bool:
        return all(f"{folder}/{path}" in self.recorded for path in needed_by if path.startswith(("data/", "_del")))

    def _read_all(self, snapshot: Snapshot, folder: str, releases: list[str]) -> None:
        try:
            for _ in snapshot.scan(snapshot.schema.names):
                pass
        except Unreachable:
            raise
        except BankError as error:
            self._tell(folder, f"has rows that cannot be read: {_reason(error)}", tuple(releases), _advice(releases))

    def _check_tags(self, folder: str, releases: list[str], version: int) -> None:
        """A tag keeps a version from being cleaned away."""
        dataset = self.store[folder.removesuffix(".lance")]
        for release in releases:
            if dataset.tagged(release) != version:
                self._tell(
                    f"{folder}/_refs/tags/{release}.json",
                    f"does not keep version {version}",
                    (release,),
                    "Let `mnemic repair` write it anew before old versions are cleaned away.",
                )

    def _list_orphans(self, newest: Snapshot, folder: str, there: Mapping[str, int]) -> None:
        try:
            named = named_files(newest.native)
        except BankError:
            self.result.notes.append(f"Files of {folder} that no version names could not be told from the others.")
            return
        orphans = [path for path in there if path not in named]
        self.result.orphans |= {f"{folder}/{path}": there[path] for path in orphans}

    def _tell(self, path: str, fault: str, needed_by: tuple[str, ...], advice: str) -> None:
        self.result.findings.append(Finding(path, fault.removesuffix("."), needed_by, advice))


def _reason(error: BankError) -> str:
    """The first sentence of an error; the advice of a finding stands in the place of its own."""
    return str(error).partition(". ")[0]


def _of_index(path: str, needed_by: Mapping[str, list[str]]) -> bool:
    return path.startswith("_indices/") and path.rpartition("/")[0] in needed_by


def _releases(pins: Mapping[int, list[str]]) -> tuple[str, ...]:
    return tuple(release for releases in pins.values() for release in releases)


def _listed(releases: tuple[str, ...]) -> str:
    names = [release if release == HEAD else f"release {release}" for release in releases]
    text = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return f"{text[0].upper()}{text[1:]}"


def _advice(releases: Iterable[str]) -> str:
    releases = set(releases)
    if not releases:
        return "No release needs it, and no newest version: a build can go on."
    if HEAD not in releases:
        return "Bring it back from a copy of the bank; other releases are not touched by this."
    back = "Bring it back from a copy of the bank, or let `mnemic repair`"
    return f"{back} go back to an earlier version and `mnemic build` make a new release."
