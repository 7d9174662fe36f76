"""The files of a dataset: which there are, which a version needs, what each holds.

A file of a bank never changes once it is committed, so its size and hash at a release are those for ever; Lance keeps
no checksums. Hints of the newest version and tags are the exception, and are left out.

In a local bank every file is a plain file below its dataset: what is a link, a pipe or a device is refused before Lance
opens it, for a pipe is waited for without end and a link may lead out of the bank.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import lance
from lance.file import LanceFileSession

from mnemic.dataset.commit import StorageOptions
from mnemic.dataset.failures import reading
from mnemic.errors import BankError

_CHUNK = 1 << 20
_CHANGING = re.compile(r"_refs/.*|_versions/latest_version_hint\.json|.*/\.[^/]*|\.[^/]*")
"""Files that are written more than once, or that are no part of the dataset (hidden ones, such as a system leaves)."""
_MOST_VERSIONS = 2**64 - 1
_checked: dict[str, tuple[int, int]] = {}
"""Folder -> (inode, time of change) when all in it was found plain: one that did not change is not listed again."""


@dataclass(frozen=True)
class NeededFile:
    """A file that a version needs, and its bytes by the manifest, None where it does not say; an index is a folder."""

    path: str
    size: int | None = None
    folder: bool = False


def check_plain(uri: str) -> None:
    """Raise ``BankError`` where a local dataset holds anything but folders and plain files."""
    if "://" in uri:
        return
    try:
        mode = os.lstat(uri).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        raise _strange(uri, mode)
    _check_folder(uri)


def _check_folder(folder: str) -> None:
    try:
        facts = os.lstat(folder)
        unchanged = _checked.get(folder) == (facts.st_ino, facts.st_mtime_ns)
        entries = list(os.scandir(folder)) if not unchanged else _folders_in(folder)
    except FileNotFoundError:
        return  # a builder has just removed it
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            _check_folder(entry.path)
        elif not entry.is_file(follow_symlinks=False):
            try:
                raise _strange(entry.path, entry.stat(follow_symlinks=False).st_mode)
            except FileNotFoundError:
                continue
    _checked[folder] = (facts.st_ino, facts.st_mtime_ns)


def _folders_in(folder: str) -> list[os.DirEntry[str]]:
    """The folders of one that did not change, whose number of links tells at once where there are none."""
    if os.lstat(folder).st_nlink == 2:
        return []
    return [entry for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]


def _strange(path: str, mode: int) -> BankError:
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFREG: "a file, where a dataset is a folder",
    }
    return BankError(
        f"{path} is {kinds.get(stat.S_IFMT(mode), 'no file')}, and a bank holds only plain files: nothing outside it "
        "is followed or waited for. Put the file itself there, or bring the dataset back from a copy."
    )


def files_of(uri: str, storage_options: StorageOptions | None = None) -> dict[str, int]:
    """Path below the dataset -> bytes, of all files that are written once. Raises ``BankError`` for strange ones."""
    if "://" not in uri:
        check_plain(uri)
        sizes = dict(_walked(uri))
    else:
        with reading(uri):
            dataset = any_version(uri, storage_options)
            rows = [] if dataset is None else dataset.all_files().read_all().to_pylist()
        sizes = {row["path"]: int(row["size_bytes"]) for row in rows}
    return {path: size for path, size in sorted(sizes.items()) if not _CHANGING.fullmatch(path)}


def _walked(folder: str) -> Iterator[tuple[str, int]]:
    start = len(os.path.join(folder, ""))
    for place, _, names in os.walk(folder):
        below = os.path.join(place, "")[start:].replace(os.sep, "/")
        for name in names:
            try:
                yield below + name, os.lstat(os.path.join(place, name)).st_size
            except FileNotFoundError:
                continue


def any_version(uri: str, storage_options: StorageOptions | None) -> lance.LanceDataset | None:
    """A dataset that can be opened at ``uri``, for its files and tags: the newest version, or an earlier one."""
    try:
        return lance.dataset(uri, storage_options=storage_options)
    except (ValueError, OSError):
        for version in reversed(versions_of(uri, storage_options)):
            try:
                return lance.dataset(uri, version=version, storage_options=storage_options)
            except (ValueError, OSError):
                continue
    return None


def has_versions(uri: str) -> bool:
    """Whether a local dataset has anything of a version, a manifest or the hint of the newest: it was committed once.

    Data alone says nothing, for that is written before the first commit. Nor does a file that is being written:
    `.tmp...` or `NAME#1`, until it is renamed.
    """
    try:
        return any(not name.startswith(".") and "#" not in name for name in os.listdir(f"{uri}/_versions"))
    except OSError:
        return False


def versions_of(uri: str, storage_options: StorageOptions | None = None) -> list[int]:
    """Numbers of the versions whose manifests are there, ascending; whether one can be read is not asked."""
    if "://" not in uri:
        names = os.listdir(f"{uri}/_versions") if os.path.isdir(f"{uri}/_versions") else []
    else:
        with reading(uri):
            names = [path.rpartition("/")[2] for path in _session(uri, storage_options).list("_versions")]
    numbers = [int(name.removesuffix(".manifest")) for name in names if re.fullmatch(r"\d+\.manifest", name)]
    # Lance counts down in the names of manifests, so that a list of files begins with the newest; at first it did not
    return sorted(_MOST_VERSIONS - number if number > _MOST_VERSIONS // 2 else number for number in numbers)


def manifest_of(version: int, there: Mapping[str, int]) -> str:
    """Path of the manifest of ``version``, in the form that the dataset has."""
    early = f"_versions/{version}.manifest"
    return early if early in there else f"_versions/{_MOST_VERSIONS - version:020d}.manifest"


def needed_files(dataset: lance.LanceDataset, there: Mapping[str, int]) -> list[NeededFile]:
    """What a version reads: manifest, data, deletions, and the folders of its indexes. No row is read."""
    with reading(str(dataset.uri)):
        needed = [NeededFile(manifest_of(int(dataset.version), there))]
        for fragment in dataset.get_fragments():
            metadata = fragment.metadata
            needed += [NeededFile(f"data/{file.path}", file.file_size_bytes or None) for file in metadata.files]
            if metadata.deletion_file is not None:
                needed.append(NeededFile(metadata.deletion_file.path(fragment.fragment_id)))
        for index in dataset.describe_indices():
            needed += [
                NeededFile(f"_indices/{segment.uuid}", segment.size_bytes or None, folder=True)
                for segment in index.segments
            ]
    return needed


def absent(needed: Iterable[NeededFile], there: Mapping[str, int]) -> dict[str, str]:
    """Path -> what is wrong with it, of the needed files that are not there, or not as long as the manifest says."""
    folders: dict[str, int] = {}
    for path, size in there.items():
        folder = path.rpartition("/")[0]
        folders[folder] = folders.get(folder, 0) + size
    faults = {}
    for file in needed:
        now = (folders if file.folder else there).get(file.path)
        if now is None:
            faults[file.path] = "is missing"
        elif file.size is not None and now != file.size:
            faults[file.path] = f"has {now:,} bytes, and had {file.size:,}"
    return faults


def named_files(dataset: lance.LanceDataset) -> set[str]:
    """Paths that any version names; files that are none of these were left by a killed writer, or are being written."""
    with reading(str(dataset.uri)):
        return {row["path"] for row in dataset.tracked_files().read_all().to_pylist()}


def hash_file(uri: str, path: str, storage_options: StorageOptions | None = None) -> str:
    """blake2b of a file's bytes, as 32 hexadecimal characters."""
    state: Any = hashlib.blake2b(digest_size=16)
    with fetched(uri, path, storage_options) as file:
        while chunk := file.read(_CHUNK):
            state.update(chunk)
    return str(state.hexdigest())


@contextmanager
def fetched(uri: str, path: str, storage_options: StorageOptions | None = None) -> Iterator[FileIO]:
    """A file of the dataset at ``uri``, open for reading without a buffer; one of an object store is downloaded first.

    Neither a link nor a pipe that took the file's place since it was looked at is opened.
    """
    with ExitStack() as stack:
        place = f"{uri}/{path}"
        if "://" in uri:
            place = f"{stack.enter_context(tempfile.TemporaryDirectory(prefix='mnemic-verify-'))}/file"
            with reading(uri):
                _session(uri, storage_options).download_file(path, place)
        handle = os.open(place, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        yield stack.enter_context(FileIO(handle, "rb"))


def copy_out(uri: str, path: str, target: Path, storage_options: StorageOptions | None = None) -> None:
    """Copy a file of the dataset at ``uri`` to a local place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if "://" not in uri:
        shutil.copyfile(Path(uri, path), target, follow_symlinks=False)
    else:
        _session(uri, storage_options).download_file(path, target)


def is_stored(uri: str, path: str, storage_options: StorageOptions | None = None) -> bool:
    """Whether the dataset at ``uri`` holds a file of this name; a folder need not be a dataset yet."""
    if "://" not in uri:
        return Path(uri, path).is_file()
    with reading(uri):
        return bool(_session(uri, storage_options).contains(path))


def copy_in(source: Path, uri: str, path: str, storage_options: StorageOptions | None = None) -> None:
    """Put a local file into the dataset at ``uri``, where none of that name is; it is there as a whole, or not."""
    if "://" in uri:
        _session(uri, storage_options).upload_file(source, path)
        return
    target = Path(uri, path)
    if target.exists():
        raise FileExistsError(f"{target} is there")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(uri, f".{target.name}.partial")
    shutil.copyfile(source, partial)
    partial.rename(target)


def _session(uri: str, storage_options: StorageOptions | None) -> LanceFileSession:
    return LanceFileSession(uri, storage_options=dict(storage_options) if storage_options else None)
