"""Pack one release into one file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mnemic.copies.archive import CHUNK, END, LISTING, MOST_LISTING, header, padding
from mnemic.copies.books import runs_of
from mnemic.copies.copying import Progress, check_hash, place_of
from mnemic.copies.needed import NeededCopy, needed_copies, with_hashes
from mnemic.dataset import Store
from mnemic.dataset.files import fetched
from mnemic.errors import BankError
from mnemic.release import find_release, release_rows
from mnemic.whole_file import whole_file

FORMAT = 1
"""Version of the form of archives; one with a larger number is refused."""


@dataclass(frozen=True)
class Archive:
    """A packed ``release``: its ``file``, the files in it and their bytes."""

    bank: str
    file: str
    release: str
    files: int
    bytes: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def pack(
    bank: str | Path,
    file: str | Path,
    release: str | None = None,
    dry_run: bool = False,
    storage_options: Mapping[str, str] | None = None,
    progress: Progress = lambda done, total: None,
) -> Archive:
    """Write the newest release of ``bank``, or the one called ``release``, into the new ``file``.

    Raises ``BankError`` where the file is there, or a file of the release is missing or other than it was written.
    """
    store, target = Store(place_of(bank), storage_options), Path(os.path.expanduser(file))
    chosen = find_release(store, release)
    if target.exists():
        raise BankError(f"{target} is there, and nothing is replaced. Name another file, or delete it first.")
    files = with_hashes(store, needed_copies(store, [chosen]))
    archive = Archive(store.root, str(target), chosen.name, len(files), sum(one.size for one in files))
    if dry_run:
        return archive
    row = next(row for row in release_rows(store) if row["release"] == chosen.name)
    listing = _listing(store, row, files)
    with whole_file(target) as partial, partial.open("wb") as out:
        _add(out, LISTING, [listing], len(listing))
        for number, one in enumerate(files):
            _pack_file(out, store, one)
            progress(number + 1, len(files))
        out.write(END)
        out.flush()
        os.fsync(out.fileno())
    return archive


def _listing(store: Store, row: Mapping[str, Any], files: list[NeededCopy]) -> bytes:
    facts = {
        "format": FORMAT,
        "release": row,
        "runs": [row for row in runs_of(store) if row["step"] == "recipe"][-1:],
        "files": [[one.path, one.size, one.hash] for one in files],
    }
    listing = json.dumps(facts, default=lambda value: value.isoformat(), sort_keys=True).encode()
    if len(listing) > MOST_LISTING:
        raise BankError(
            f"Release {row['release']} of {store.root} has too many files for an archive ({len(files):,}). Copy it "
            "with `mnemic copy`, or let `mnemic compact` merge them first."
        )
    return listing


def _pack_file(out: BinaryIO, store: Store, file: NeededCopy) -> None:
    state: Any = hashlib.blake2b(digest_size=16)
    dataset = store[file.dataset]
    with fetched(dataset.uri, file.inner, dataset.storage_options) as source:
        length = os.fstat(source.fileno()).st_size
        if length != file.size:
            raise BankError(f"{file.path} of {store.root} has changed while it was packed. Pack it again.")
        out.write(header(file.path, file.size))
        while chunk := source.read(CHUNK):
            state.update(chunk)
            out.write(chunk)
        out.write(padding(file.size))
    check_hash(file, state.hexdigest(), store.root)


def _add(out: BinaryIO, name: str, parts: list[bytes], size: int) -> None:
    out.write(header(name, size))
    for part in parts:
        out.write(part)
    out.write(padding(size))
