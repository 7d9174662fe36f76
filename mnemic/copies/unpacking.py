"""Unpack an archive of `mnemic pack` into a new bank. An archive may come from anybody: every name is checked against a
form, every size against the archive's own and the disk, and every byte against its hash, before a bank is there.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from mnemic.copies.archive import BLOCK, END, LISTING, MOST_LISTING, contents, read_header, strange
from mnemic.copies.books import check_vacant, write_books
from mnemic.copies.copying import BankCopy, Progress, place_of
from mnemic.copies.needed import NeededCopy
from mnemic.copies.packing import FORMAT
from mnemic.dataset import Store
from mnemic.errors import BankError, NoSpace
from mnemic.facts import mapping
from mnemic.release import release_of
from mnemic.schema import RELEASES, RUNS

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_PATH = re.compile(
    r"[a-z][a-z0-9_-]{0,99}\.lance/(?:(?:data|_deletions|_versions|_transactions)/|_indices/" + _UUID + r"/)"
    r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}"
)
"""Of a file in a bank: a name below its dataset that begins with no dot."""

_HASH = re.compile(r"[0-9a-f]{32}")
_APART = ".unpacking"


@dataclass(frozen=True)
class Listing:
    """What an archive says of itself, checked: the row of its release, rows of `runs`, and its files in order."""

    release: Mapping[str, Any]
    runs: list[dict[str, Any]]
    files: list[NeededCopy]


def unpack(
    archive: str | Path,
    to: str | Path,
    dry_run: bool = False,
    progress: Progress = lambda done, total: None,
) -> BankCopy:
    """Make a bank with the release of ``archive`` in the new folder ``to``. ``dry_run`` reads its listing alone.

    Raises ``BankError`` where a bank is there, or for an archive that is not whole or that `mnemic pack` did not write,
    and ``NoSpace`` where the disk is too small. The folder is there as a whole, or not.
    """
    source, target = Path(os.path.expanduser(archive)), Path(place_of(to))
    if "://" in str(to):
        raise BankError(
            f"{to} is no folder. Unpack into a folder, and copy that to the object store with `mnemic copy`."
        )
    if not source.is_file():
        raise BankError(f"{source} is no file. Name an archive that `mnemic pack` wrote.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        check_vacant(Store(target))
        raise BankError(f"{target} is there and not empty, and nothing is replaced. Name another folder.")
    with source.open("rb") as file:
        listing = _listing(file, source)
        total = sum(one.size for one in listing.files)
        outcome = BankCopy(str(source), str(target), (listing.release["release"],), len(listing.files), total)
        if dry_run:
            return outcome
        _check_space(target, total)
        apart = target.with_name(f".{target.name}{_APART}")
        shutil.rmtree(apart, ignore_errors=True)  # of one that was killed
        try:
            apart.mkdir(parents=True)
            for number, one in enumerate(listing.files):
                _unpack_file(file, one, apart, source)
                progress(number + 1, len(listing.files))
            if file.read(len(END)) != END or file.read(1):
                raise strange(str(source), "something follows its files")
            write_books(Store(apart), [listing.release], listing.runs, listing.files)
            if target.exists():
                target.rmdir()
            apart.rename(target)
        finally:
            shutil.rmtree(apart, ignore_errors=True)
    return outcome


def _listing(file: BinaryIO, source: Path) -> Listing:
    name, size = read_header(file, str(source))
    if name != LISTING or not 0 < size <= MOST_LISTING:
        raise strange(str(source), "it does not begin with a listing")
    facts = mapping(b"".join(contents(file, size, str(source))), f"The listing of {source}")
    if type(facts.get("format")) is not int or not 1 <= facts["format"] <= FORMAT:
        raise BankError(
            f"{source} has form {facts.get('format')!r}, and this mnemic reads up to {FORMAT}. Upgrade mnemic "
            "(`pip install -U mnemic`) to unpack it."
        )
    try:
        files = [_file(one) for one in facts["files"]]
        row = _row(facts["release"], RELEASES.names, "created")
        runs = [_row(one, RUNS.names, "started") for one in facts["runs"][:1]]
        for rows, schema in (([row], RELEASES), (runs, RUNS)):
            pa.Table.from_pylist(rows, schema=schema)
    except (KeyError, TypeError, ValueError) as error:
        raise strange(str(source), "its listing is none") from error
    release = release_of(row, str(source))
    paths = [one.path for one in files]
    datasets = {one.dataset for one in files}
    if len(set(paths)) != len(paths) or datasets != set(release.versions):
        raise strange(str(source), "its listing names a file twice, or datasets that its release does not have")
    blocks = sum(BLOCK + one.size + -one.size % BLOCK for one in files)
    if file.tell() + blocks + len(END) != source.stat().st_size:
        raise strange(str(source), "its length is not that of the files that it lists")
    return Listing(row, runs, files)


def _file(entry: Any) -> NeededCopy:
    path, size, value = entry
    if not isinstance(path, str) or not _PATH.fullmatch(path) or type(size) is not int or size < 0:
        raise ValueError(path)
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise ValueError(value)
    return NeededCopy(path, size, value)


def _row(row: Any, names: list[str], time: str) -> dict[str, Any]:
    """A row with a time in it, which JSON holds as a text."""
    return {**{name: row[name] for name in names}, time: datetime.fromisoformat(row[time])}


def _check_space(target: Path, total: int) -> None:
    place = target.parent
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if total > free:
        raise NoSpace(
            f"{total / 1e6:,.1f} MB are to be unpacked, and the disk of {place} has {free / 1e6:,.1f} MB left. Free "
            "some space, or name a folder on another disk."
        )


def _unpack_file(file: BinaryIO, one: NeededCopy, folder: Path, source: Path) -> None:
    if read_header(file, str(source)) != (one.path, one.size):
        raise strange(str(source), f"another file stands where {one.path} is listed")
    state: Any = hashlib.blake2b(digest_size=16)
    target = folder / one.path
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as out:
        for chunk in contents(file, one.size, str(source)):
            state.update(chunk)
            out.write(chunk)
    if state.hexdigest() != one.hash:
        raise strange(str(source), f"{one.path} holds other bytes than it lists")
