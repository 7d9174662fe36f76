"""Open the datasets of a bank, read pinned snapshots of them, create, replace, delete and tag."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import lance
import pyarrow as pa
from lance.fragment import FragmentMetadata

from mnemic.dataset.commit import StorageOptions, commit, conflicting, retried
from mnemic.dataset.failures import damaged, is_damage, missing, readable_errors, reading
from mnemic.dataset.files import check_plain, has_versions
from mnemic.dataset.folders import plain_path
from mnemic.dataset.guard import NUMBER, Guard
from mnemic.dataset.options import Options, opening
from mnemic.dataset.orphans import delete_files, orphaned
from mnemic.dataset.snapshot import STEP_KEY, Snapshot, format_of, with_record
from mnemic.errors import BankError
from mnemic.schema import FORMAT_VERSION


class Dataset:
    """A dataset of a bank by name. Holds no state: every call looks at the newest committed version.

    While a bank is being built, ``guard`` is asked before and after every change. It stays in the process that holds
    the lease: workers get the dataset without it, and commit nothing.
    """

    def __init__(
        self, uri: str, storage_options: StorageOptions | None = None, guard: Guard[Dataset] | None = None
    ) -> None:
        self.uri = uri
        self.storage_options = Options(storage_options) if storage_options else None
        self.guard = guard

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "guard": None}

    def snapshot(self, version: int | str | None = None) -> Snapshot | None:
        """The newest version, or the one named by number or tag; None when the dataset does not exist.

        Raises ``BankError`` for a dataset that is there and cannot be read: it must never be taken for a missing one.
        """
        check_plain(self.uri)
        try:
            try:
                dataset, elsewhere = self._opened(version)
            except (ValueError, OSError):
                if version is not None or not self._was_committed():
                    raise
                dataset, elsewhere = self._opened(version)  # its first version may have come this very moment
        except (ValueError, OSError) as error:
            if version is None and self._was_committed():
                raise damaged(self.uri, error) from error
            if version is not None:
                raise BankError(
                    f"{self.uri} has no version {version}: the release that pinned it has ended, or none did. Open the "
                    "bank again; `mnemic show` lists the releases that can be opened."
                ) from error
            return None
        if elsewhere:
            raise BankError(
                f"{self.uri} names files outside of the bank, which mnemic never does and does not follow. Bring the "
                "dataset back from a copy, or build the bank anew."
            )
        snapshot = Snapshot(dataset, self)
        version_of_format = format_of(snapshot.schema.metadata, self.uri)
        if version_of_format > FORMAT_VERSION:
            raise BankError(
                f"{self.uri} has bank format {version_of_format}, and this mnemic reads up to {FORMAT_VERSION}. "
                "Upgrade mnemic (`pip install -U mnemic`) to open it."
            )
        return snapshot

    def _opened(self, version: int | str | None) -> tuple[lance.LanceDataset, Mapping[int, Any]]:
        """The dataset, and the places outside of it that it names files in."""
        with reading(self.uri):
            dataset = retried(
                lambda: lance.dataset(self.uri, version=version, storage_options=self.storage_options), self.uri
            )
            return dataset, dataset.base_paths()

    def _was_committed(self) -> bool:
        """Whether a local dataset that Lance does not find was one once: something of its versions is left."""
        return "://" not in self.uri and has_versions(self.uri)

    def require(self, version: int | str | None = None) -> Snapshot:
        snapshot = self.snapshot(version)
        if snapshot is None:
            raise BankError(f"{self.uri} does not exist yet. Run `mnemic build` to make it.")
        return snapshot

    def create(self, schema: pa.Schema, record: Mapping[str, Any], properties: Mapping[str, str]) -> Snapshot:
        """Make the dataset anew without rows. Earlier versions stay readable through the releases that pin them."""
        return self.replace(schema, (), record, properties)

    def replace(
        self, schema: pa.Schema, fragments: Sequence[str], record: Mapping[str, Any], properties: Mapping[str, str]
    ) -> Snapshot:
        """Replace all rows and the schema in one commit; ``fragments`` were written by `write_whole`."""
        previous = self.snapshot()
        written = [FragmentMetadata.from_json(fragment) for fragment in fragments]
        operation = lance.LanceOperation.Overwrite(with_record(schema, record), written)
        return self.commit(operation, 0 if previous is None else previous.version, properties)

    def annotate(self, record: Mapping[str, Any]) -> None:
        """Write another step record beside rows that it leaves valid."""
        stored = lance.LanceOperation.UpdateMap({STEP_KEY.decode(): json.dumps(record, sort_keys=True)})
        self.commit(lance.LanceOperation.UpdateConfig(schema_metadata_updates=stored), self.require().version, {})

    def commit(
        self, operation: lance.LanceOperation.BaseOperation, read_version: int, properties: Mapping[str, str]
    ) -> Snapshot:
        """Commit an operation that was prepared on ``read_version``, and return the dataset at the new version."""
        guard = self.guard
        if guard is None:
            return Snapshot(commit(self.uri, operation, read_version, properties, self.storage_options), self)
        guard.expect(self, read_version)
        numbered = {**properties, NUMBER: str(guard.number)}
        try:
            committed = commit(self.uri, operation, read_version, numbered, self.storage_options, guard.check)
        except (OSError, ValueError, RuntimeError) as error:
            if not conflicting(error):
                raise
            guard.refused(self, error)
        guard.landed(self.uri, committed.version)
        guard.check()
        return Snapshot(committed, self)

    def change(self, action: Callable[[lance.LanceDataset], object]) -> None:
        """Let ``action`` change the newest version in a way for which pylance takes no transaction."""
        native, guard = self.require().native, self.guard
        if guard is None:
            with readable_errors(self.uri):
                action(native)
            return
        guard.expect(self, native.version)
        guard.check()
        try:
            with readable_errors(self.uri):
                action(native)
        except (OSError, ValueError, RuntimeError) as error:
            if not conflicting(error):
                raise
            guard.refused(self, error)
        guard.landed(self.uri, native.version)
        guard.check()

    def delete(self, where: str) -> None:
        """Delete rows; harmless when it is repeated."""
        retried(lambda: self.change(lambda native: native.delete(where)), self.uri)

    def update(self, values: Mapping[str, str], where: str) -> None:
        """Give the columns of ``values`` these values, SQL, in the rows that satisfy ``where``; in one commit."""
        retried(lambda: self.change(lambda native: native.update(dict(values), where=where)), self.uri)

    def delete_keys(self, column: str, values: Sequence[str], chunk: int = 2000) -> None:
        """Delete the rows whose ``column`` (ids and hashes: no quoting needed) is one of ``values``."""
        for start in range(0, len(values), chunk):
            quoted = ",".join(f"'{value}'" for value in values[start : start + chunk])
            self.delete(f"{column} IN ({quoted})")

    def tag(self, name: str, version: int) -> None:
        """Point the tag ``name`` to ``version``; repeating it is harmless. A broken one is written anew."""
        if self.guard is not None:
            self.guard.check()
        tags = self.require().native.tags
        with readable_errors(self.uri):
            if self.tagged(name) is not None:
                tags.update(name, version)
                return
            with contextlib.suppress(ValueError):  # there is none
                tags.delete(name)
            try:
                with plain_path(self.uri) as path:
                    lance.dataset(path, storage_options=self.storage_options).tags.create(name, version)
            except ValueError as error:  # such as a folder in its place
                file = f"{self.uri}/_refs/tags/{name}.json"
                raise BankError(f"{file} is no file of a tag. Move it away, and run the same again.") from error

    def retag(self, versions: Mapping[str, int]) -> None:
        """Point tags to these versions where they do not: one that was moved protects its version no more."""
        for name, version in versions.items():
            if self.tagged(name) != version and self.exists(version):
                self.tag(name, version)

    def untag(self, name: str) -> None:
        """Take the tag ``name`` off; harmless where there is none."""
        if self.guard is not None:
            self.guard.check()
        with readable_errors(self.uri), contextlib.suppress(ValueError):
            self.require().native.tags.delete(name)

    def tagged(self, name: str) -> int | None:
        """The version of a tag; None where there is no such tag, or its file is broken."""
        try:
            with readable_errors(self.uri):
                version: int = self.require().native.tags.get_version(name)
        except (OSError, ValueError, RuntimeError) as error:
            if missing(error) or is_damage(error):
                return None
            raise
        return version

    def exists(self, version: int) -> bool:
        """Whether this version can be opened."""
        try:
            return self.snapshot(version) is not None
        except BankError:
            return False

    def remove_orphans(self, of_any_age: bool = True) -> int:
        """Delete files that no version names (left by a killed writer) and return their bytes. All versions stay.

        Only safe while this process holds the bank's lease: the files are listed, the lease is asked, and what was
        listed is deleted, so that nothing goes that a later holder writes. Files of a former holder who may still
        commit them have to stay, unless ``of_any_age`` is false: then those go that have lain there for seven days by
        the clock of the disk or of the object store. Nothing is deleted where a version or a tag cannot be read: nobody
        knows what it names.
        """
        if self.guard is not None:
            self.guard.check()
        snapshot = self.snapshot()
        if snapshot is None:
            return 0
        try:
            with readable_errors(self.uri):
                files, size = orphaned(snapshot.native, of_any_age)
        except (OSError, ValueError, RuntimeError) as error:
            if not is_damage(error):
                raise
            return 0
        if files:
            if self.guard is not None:
                self.guard.confirm()
            with readable_errors(self.uri):
                delete_files(self.uri, files, self.storage_options)
        return size

    def go_back_to(self, version: int, properties: Mapping[str, str]) -> Snapshot:
        """Put the rows, schema and indexes of an earlier version on top as the newest one; harmless when repeated."""
        head = self.require()
        if version in (head.version, head.restores):
            return head
        return self.commit(lance.LanceOperation.Restore(version), head.version, properties)

    def drop_versions(self, versions: Sequence[int]) -> None:
        """Drop these versions and the files that no other one names. The newest and those with a tag stay."""
        if not versions:
            return
        native = self.require().native
        if self.guard is not None:
            self.guard.confirm()
        with readable_errors(self.uri):
            native.cleanup_old_versions(versions=list(versions), error_if_tagged_old_versions=False)

    def forget_before(self, age: timedelta) -> None:
        """Drop untagged versions older than ``age``; for bookkeeping datasets that nobody pins."""
        native = self.require().native
        if self.guard is not None:
            self.guard.confirm()
        with reading(self.uri):
            native.cleanup_old_versions(older_than=age, error_if_tagged_old_versions=False)


class Store:
    """The datasets under one root: a local folder or an object-store address, which ``storage_options`` open."""

    guard: Guard[Dataset] | None = None

    def __init__(self, root: str | Path, storage_options: StorageOptions | None = None) -> None:
        self.root = str(root).rstrip("/")
        self.storage_options = opening(self.root, storage_options)

    def __getitem__(self, name: str) -> Dataset:
        return Dataset(f"{self.root}/{name}.lance", self.storage_options, self.guard)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "guard": None}

    def guarded(self, guard: Guard[Dataset]) -> Self:
        """The same bank; each change of it asks ``guard``."""
        store = copy.copy(self)
        store.guard = guard
        return store
