"""Plain files in a folder of a bank, beside its datasets: each written once, whole, under a name of its own.

A file is there with all its bytes, or not: on a disk it is written under a hidden name, and then renamed; an object is
there as a whole, or not. So many processes may write into one folder, and be killed at any moment, without a lease.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lance.file import LanceFileSession

from mnemic.dataset.commit import StorageOptions
from mnemic.dataset.failures import reading
from mnemic.errors import BankError, NoSpace
from mnemic.opening import open_regular

_AT_ONCE = 16
"""Objects of a store that are read or deleted at the same time."""

_LEFT = ".partial"
_OLD = 3600.0
"""Seconds after which a file that was not renamed is nobody's: writing one takes milliseconds."""


class PlainFiles:
    """The files of one folder, ``name``, of the bank at ``root``."""

    def __init__(self, root: str, name: str, storage_options: StorageOptions | None = None) -> None:
        self.uri = f"{root.rstrip('/')}/{name}"
        self._options = storage_options

    @property
    def _stored(self) -> bool:
        return "://" in self.uri

    def _session(self) -> LanceFileSession:
        return LanceFileSession(self.uri, storage_options=dict(self._options) if self._options else None)

    def names(self) -> list[str]:
        """The names of the files, ascending; none where there is no such folder. Hidden ones are left out."""
        if self._stored:
            with reading(self.uri):
                paths = self._session().list()
            return sorted({path.rpartition("/")[2] for path in paths})
        try:
            self._check()
            return sorted(name for name in os.listdir(self.uri) if not name.startswith("."))
        except FileNotFoundError:
            return []

    def stamp(self) -> int | None:
        """When the folder of a disk changed last, in nanoseconds; None where nobody knows, or it changes just now."""
        if self._stored:
            return None
        try:
            changed = os.stat(self.uri).st_mtime_ns
        except FileNotFoundError:
            return None
        return changed if time.time_ns() - changed > 2_000_000_000 else None  # clocks of disks are coarse

    def write(self, name: str, data: bytes) -> None:
        """Write ``data`` as the file ``name``; one of that name is replaced."""
        if self._stored:
            with tempfile.TemporaryDirectory(prefix="mnemic-") as apart:
                place = Path(apart, "file")
                place.write_bytes(data)
                with reading(self.uri):
                    self._session().upload_file(place, name)
            return
        os.makedirs(self.uri, exist_ok=True)
        self._check()
        partial = os.path.join(self.uri, f".{uuid.uuid4().hex}{_LEFT}")
        try:
            with open(partial, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.rename(partial, os.path.join(self.uri, name))
            self._sync()
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(partial)
            if error.errno in (28, 122):
                raise NoSpace(f"The disk of {self.uri} is full. Free some space, and repeat this.") from error
            raise BankError(
                f"Nothing can be written to {self.uri} ({error.strerror or error}). Check the disk, and your right to "
                "write there."
            ) from error

    def _sync(self) -> None:
        """Let the disk keep the name too, where the system knows how."""
        with contextlib.suppress(OSError):
            folder = os.open(self.uri, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def read(self, names: Iterable[str], longest: int) -> dict[str, bytes]:
        """Name -> bytes, of those of ``names`` that are there; at most ``longest`` bytes, and one more, of each."""
        names = list(names)
        if not self._stored:
            return {name: data for name in names if (data := self._read_local(name, longest)) is not None}
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            contents = list(threads.map(lambda name: self._fetch(name, longest), names))
        return {name: data for name, data in zip(names, contents, strict=True) if data is not None}

    def _read_local(self, name: str, longest: int) -> bytes | None:
        try:
            with open_regular(os.path.join(os.path.realpath(self.uri), name)) as file:
                return file.read(longest + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BankError(
                f"{self.uri}/{name} cannot be read ({error.strerror or error}). Check the disk, and your right to read "
                "there; a bank holds only plain files."
            ) from error

    def _fetch(self, name: str, longest: int) -> bytes | None:
        session = self._session()
        with tempfile.TemporaryDirectory(prefix="mnemic-") as apart:
            place = Path(apart, "file")
            try:
                with reading(self.uri):
                    session.download_file(name, place)
            except BankError:
                with reading(self.uri):
                    if not session.contains(name):
                        return None
                raise
            with place.open("rb") as file:
                return file.read(longest + 1)

    def delete(self, names: Iterable[str]) -> None:
        """Delete these files; one that has gone already is no error."""
        names = list(names)
        if not self._stored:
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self.uri, name))
            return

        def gone(name: str) -> None:
            session = self._session()
            try:
                session.delete_file(name)
            except OSError:
                if session.contains(name):
                    raise

        with reading(self.uri), ThreadPoolExecutor(_AT_ONCE) as threads:
            list(threads.map(gone, names))

    def sweep(self) -> None:
        """Delete what killed writers left under hidden names, once it is an hour old."""
        if self._stored:
            return
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self.uri):
                if entry.name.startswith(".") and entry.name.endswith(_LEFT):
                    with contextlib.suppress(FileNotFoundError):
                        if time.time() - entry.stat(follow_symlinks=False).st_mtime > _OLD:
                            os.unlink(entry.path)

    def _check(self) -> None:
        """Raise where the folder is none: a link may lead out of the bank."""
        if not stat.S_ISDIR(os.lstat(self.uri).st_mode):
            raise BankError(
                f"{self.uri} is no folder, and a bank follows no links. Move it away: nothing can be remembered there."
            )
