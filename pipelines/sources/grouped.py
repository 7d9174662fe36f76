"""Files that can only be read together, as one item: its stamp is that of all of them."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable

from mnemic.ids import hash_parts
from pipelines.sources.contracts import Item, Reject
from pipelines.sources.files import Files
from pipelines.sources.text import open_failed


def grouped(
    items: Iterable[Item],
    name: str,
    besides: Callable[[str], str] = lambda folder: "",
    named: Callable[[str], str] = str,
) -> list[Item]:
    """An item ``FOLDER/name`` for the files of each folder, sorted by locator.

    ``besides`` is the stamp of what else a folder is read with; ``named`` is what of a file's name counts.
    """
    folders: dict[str, list[Item]] = {}
    alone: list[Item] = []  # names that are not UTF-8, which reading rejects
    for item in items:
        if item.locator.endswith("/"):
            alone.append(item)
            continue
        folders.setdefault(posixpath.dirname(item.locator), []).append(item)
    together = [
        Item(
            posixpath.join(folder, name),
            sum(item.size for item in files),
            hash_parts(
                besides(folder), *(part for item in files for part in (named(item.locator), item.size, item.stamp))
            ),
        )
        for folder, files in folders.items()
    ]
    return sorted([*together, *alone], key=lambda item: item.locator)


def members(source: Files, folder: str, suits_by_name: Callable[[str], bool]) -> list[str] | Reject:
    """Locators of the files in a folder of ``source`` that it lists and whose names suit, sorted."""
    base, _ = source._place()
    suffixes = tuple(suffix.lower() for suffix in source.suffixes)
    try:
        names = os.listdir(os.path.join(base, folder))
    except OSError as error:
        return Reject(folder or ".", open_failed(error))
    places = []
    for name in sorted(names):
        place = posixpath.join(folder, name)
        if not _is_utf8(name):
            continue
        suits = not name.startswith(".") and name.lower().endswith(suffixes) and suits_by_name(name)
        if suits and source.lists(place) and not os.path.isdir(os.path.join(base, place)):
            places.append(place)
    return places


def _is_utf8(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False
