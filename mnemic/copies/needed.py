"""The files that releases need: what a copy of them consists of. What a build has begun since is no part of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mnemic.catalogue import in_order
from mnemic.dataset import Dataset, Store
from mnemic.dataset.checksums import Checksum, checksums, hash_files
from mnemic.dataset.files import absent, files_of, needed_files
from mnemic.errors import BankError
from mnemic.release import Release, find_release, releases

_LAST = "_versions/"
"""Folder of the manifests: they are copied last, so that a version is there with all of its files, or not at all."""


@dataclass(frozen=True)
class NeededCopy:
    """A file of a bank: the path below it, its bytes and their hash, "" where no release wrote it down."""

    path: str
    size: int
    hash: str

    @property
    def dataset(self) -> str:
        return self.path.partition("/")[0].removesuffix(".lance")

    @property
    def inner(self) -> str:
        """The path below the dataset."""
        return self.path.partition("/")[2]


def chosen_releases(store: Store, release: str | None) -> list[Release]:
    """The release of this name (a prefix is enough), or all of them."""
    return releases(store) if release is None else [find_release(store, release)]


def needed_copies(store: Store, chosen: Sequence[Release]) -> list[NeededCopy]:
    """The files that ``chosen`` need, manifests last. Raises ``BankError`` where one is missing or has changed."""
    recorded = checksums(store)
    files: list[NeededCopy] = []
    for name in in_order({name for release in chosen for name in release.versions}):
        versions = sorted({release.versions[name] for release in chosen if name in release.versions})
        files += _of_dataset(store[name], name, versions, recorded)
    return sorted(files, key=lambda file: (file.inner.startswith(_LAST), file.path))


def with_hashes(store: Store, files: Sequence[NeededCopy]) -> list[NeededCopy]:
    """``files``, and those without a hash read once for it."""
    hashes = hash_files(store, [file.path for file in files if not file.hash])
    return [NeededCopy(file.path, file.size, file.hash or hashes[file.path]) for file in files]


def _of_dataset(
    dataset: Dataset, name: str, versions: Sequence[int], recorded: Mapping[str, Checksum]
) -> Iterator[NeededCopy]:
    there = files_of(dataset.uri, dataset.storage_options)
    paths: set[str] = set()
    for version in versions:
        needed = needed_files(dataset.require(version).native, there)
        for path, fault in absent(needed, there).items():
            raise _unusable(dataset, path, fault)
        for file in needed:
            inside = [path for path in there if path.startswith(f"{file.path}/")] if file.folder else [file.path]
            paths.update(inside)
        paths |= {path for path in there if path.startswith(f"_transactions/{version - 1}-")}
    for path in sorted(paths):
        written = recorded.get(f"{name}.lance/{path}")
        if written is not None and written.size != there[path]:
            raise _unusable(dataset, path, f"has {there[path]:,} bytes, and had {written.size:,}")
        yield NeededCopy(f"{name}.lance/{path}", there[path], written.hash if written is not None else "")


def _unusable(dataset: Dataset, path: str, fault: str) -> BankError:
    return BankError(
        f"{path} of {dataset.uri} {fault}, so no copy is made of it. `mnemic verify --deep` names all such files; copy "
        "a release that is whole with --release, or bring the file back."
    )
