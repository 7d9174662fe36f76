"""Shards in memory-mapped files, for indexes that are larger than what a process is to hold.

The files are written once, in a folder of their own that is put in its place whole, so a reader never sees half of one.
The folder is called after the release's key; its list says the size, the time of change and the hash of each file, and
a file that was touched since is read through again before it is trusted. Folders of other releases go.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.dataset.files import hash_file
from mnemic.errors import BankError
from mnemic.ids import hash_parts
from mnemic.suffixes.rows import ARRAYS
from mnemic.suffixes.shard import Shard

_LIST = "files.json"


def cache_folder(root: str) -> Path:
    """Where files of the bank at ``root`` are kept: beside it, or in the user's cache where it is in a store."""
    if "://" not in root:
        return Path(f"{os.path.abspath(root)}.cache")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home, "mnemic", hash_parts("bank", root))


def mapped_shards(root: str, key: str, names: Iterable[str], load: Callable[[str, bool], Shard]) -> list[Shard]:
    """The shards called ``names``, their arrays mapped from files of the release whose hash is ``key``.

    ``load(name, whole)`` reads a shard from the bank, not ``whole`` without its tokens and places. Raises ``BankError``
    where the files cannot be written.
    """
    folder, names = cache_folder(root) / f"suffixes-{key}", list(names)
    if not _intact(folder, names):
        try:
            _write(folder, names, load)
        except OSError as error:
            raise BankError(
                f"The suffix index of {root} is too large for memory, and its files cannot be written to {folder} "
                f"({error.strerror or error}); make room there, or open the bank from a folder that can be written."
            ) from error
    tokens, places = ([_mapped(folder / f"{name}.{part}.npy") for name in names] for part in ARRAYS)
    frames = [load(name, False) for name in names]
    return [replace(frame, tokens=one, places=own) for frame, one, own in zip(frames, tokens, places, strict=True)]


def _mapped(path: Path) -> NDArray[Any]:
    return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]


def _intact(folder: Path, names: list[str]) -> bool:
    """Whether the files are those that were written."""
    try:
        listed = json.loads((folder / _LIST).read_text())
        files = {f"{name}.{part}.npy" for name in names for part in ARRAYS}
        return (
            isinstance(listed, dict)
            and set(listed) == files
            and all(_is_as_listed(folder / name, facts) for name, facts in listed.items())
        )
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _is_as_listed(path: Path, facts: dict[str, Any]) -> bool:
    status = path.lstat()
    if status.st_size != facts["size"] or path.is_symlink():
        return False
    return bool(status.st_mtime_ns == facts["changed"] or _hash(path) == facts["hash"])


def _write(folder: Path, names: list[str], load: Callable[[str, bool], Shard]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=".suffixes-", dir=folder.parent))
    try:
        listed = {}
        for name in names:
            shard = load(name, True)
            for part in ARRAYS:
                path = new / f"{name}.{part}.npy"
                np.save(path, getattr(shard, part), allow_pickle=False)
                status = path.stat()
                listed[path.name] = {
                    "size": status.st_size,
                    "changed": status.st_mtime_ns,
                    "hash": _hash(path),
                }
        (new / _LIST).write_text(json.dumps(listed))
        for other in folder.parent.glob("suffixes-*"):  # whoever has them open still reads them
            shutil.rmtree(other, ignore_errors=True)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _hash(path: Path) -> str:
    return hash_file(str(path.parent), path.name)
