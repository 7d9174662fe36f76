"""Copy a bank, or one release of it, to another place: a folder or an object store.

Copied is what releases need, while a build of the source may go on. Each file is hashed on its way and compared with
what the release wrote down. A copy that was broken off goes on: a file that is there with its hash stays.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mnemic.copies.books import check_vacant, runs_of, write_books
from mnemic.copies.needed import NeededCopy, chosen_releases, needed_copies
from mnemic.dataset import Store
from mnemic.dataset.files import copy_in, copy_out, hash_file, is_stored
from mnemic.errors import BankError
from mnemic.inbox.files import FOLDER, copy_waiting
from mnemic.release import find_release, release_rows

APART = ".mnemic-copy-"
"""Beginning of the name of a folder in which a file lies until it is whole."""

Progress = Callable[[int, int], None]
"""Called with files done and files in all."""


@dataclass(frozen=True)
class BankCopy:
    """A copy of ``releases``: its files and their bytes, and how many of them were there already."""

    bank: str
    copy: str
    releases: tuple[str, ...]
    files: int
    bytes: int
    there: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def copy(
    bank: str | Path,
    to: str | Path,
    release: str | None = None,
    dry_run: bool = False,
    storage_options: Mapping[str, str] | None = None,
    progress: Progress = lambda done, total: None,
) -> BankCopy:
    """Copy all releases of ``bank``, or the one called ``release``, to a place where no bank is.

    What was remembered and waits for the next build goes along with all releases, and stays behind with one.

    ``storage_options`` open both. Raises ``BankError`` where a bank is at the place, or a file is missing or other than
    when its release was written.
    """
    store, target = (Store(place_of(place), storage_options) for place in (bank, to))
    find_release(store, release)
    _check_place(target.root)
    check_vacant(target)
    if release is None and not dry_run:
        copy_waiting(store, target)  # before the releases are read: what waits no more by then is in one of them
    chosen = chosen_releases(store, release)
    files = needed_copies(store, chosen)
    names = tuple(one.name for one in chosen)
    outcome = BankCopy(store.root, target.root, names, len(files), sum(file.size for file in files))
    if dry_run:
        return outcome
    there = 0
    for number, file in enumerate(files):
        there += _copied(store, target, file)
        progress(number + 1, len(files))
    rows = [row for row in release_rows(store) if row["release"] in names]
    write_books(target, rows, runs_of(store), files)
    return BankCopy(outcome.bank, outcome.copy, names, outcome.files, outcome.bytes, there)


def place_of(bank: str | Path) -> str:
    """The address, or the whole path, of a place that a person names."""
    return str(bank) if "://" in str(bank) else os.path.abspath(os.path.expanduser(bank))


def _copied(store: Store, target: Store, file: NeededCopy) -> bool:
    """Copy a file, unless it is there with its hash; whether it was."""
    source, place = store[file.dataset], target[file.dataset]
    if is_stored(place.uri, file.inner, place.storage_options):
        if "://" in place.uri or (file.hash and hash_file(place.uri, file.inner) == file.hash):
            return True  # an object is there as a whole, or not
        Path(place.uri, file.inner).unlink()
    local = "://" not in target.root
    if local:
        Path(place.uri, file.inner).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=APART, dir=target.root if local else None) as apart:
        copy_out(source.uri, file.inner, Path(apart, "file"), source.storage_options)
        check_hash(file, hash_file(apart, "file"), store.root)
        if local:
            Path(apart, "file").rename(Path(place.uri, file.inner))
        else:
            copy_in(Path(apart, "file"), place.uri, file.inner, place.storage_options)
    return False


def _check_place(target: str) -> None:
    """Raise ``BankError`` for a folder that holds other things: a copy belongs into one of its own."""
    if "://" in target or not os.path.exists(target):
        return
    inside = os.listdir(target) if os.path.isdir(target) else [target]
    others = [name for name in inside if not name.endswith(".lance") and name != FOLDER and not name.startswith(APART)]
    if others:
        raise BankError(f"{target} holds other things, such as {others[0]}, and a bank needs a folder of its own.")


def check_hash(file: NeededCopy, value: str, bank: str) -> None:
    """Raise ``BankError`` where a file has other bytes than its release wrote down."""
    if file.hash and value != file.hash:
        raise BankError(
            f"{file.path} of {bank} holds other bytes than when its release was written, so the copy was broken off. "
            "`mnemic verify --deep` names all such files; bring them back, or copy another release with --release."
        )
