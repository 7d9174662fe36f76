"""Files that a recipe names by paths and patterns, read with care, since somebody else may have written them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from mnemic.errors import RecipeError
from mnemic.opening import open_regular

LARGEST = 256 << 20
"""Bytes of a file."""

_FOLDERS = re.compile(r"(?<![^/])(?:\*\*/+){2,}")
"""Several "**/" name what one does, but are walked once for each way of sharing the folders of a path."""


def files_named(patterns: Sequence[str], root: str, suffixes: Sequence[str], most: int, called: str) -> list[Path]:
    """The files that ``patterns`` name below ``root``, each once, in the order of the patterns.

    ``called`` is what a sentence calls their contents. Raises ``RecipeError`` for a pattern that names no file, for
    more than ``most`` files, and for one that ends in none of ``suffixes``.
    """
    files: dict[Path, None] = {}
    for pattern in patterns:
        whole = _FOLDERS.sub("**/", os.path.join(root, os.path.expanduser(pattern)))
        matches = sorted(Path(one) for one in glob.iglob(whole, recursive=True) if os.path.isfile(one))
        if not matches:
            raise RecipeError(
                f"The paths {pattern[:200]!r} of {called} name no file below {root or '.'}; give paths or patterns of "
                f"{', '.join(suffixes)} files, relative to the recipe."
            )
        files.update(dict.fromkeys(matches))
    if len(files) > most:
        raise RecipeError(f"The {called} are {len(files):,} files; name {most:,} at most.")
    wrong = next((file for file in files if file.suffix not in suffixes), None)
    if wrong is not None:
        raise RecipeError(f"{wrong} is no file of {called} that can be read; give one of {', '.join(suffixes)}.")
    return list(files)


def contents(file: Path) -> bytes:
    """The bytes of a file. Raises ``RecipeError`` where it cannot be read, or is too large."""
    try:
        with open_regular(os.path.realpath(file)) as opened:
            data = opened.read(LARGEST + 1)
    except OSError as error:
        raise RecipeError(f"{file} cannot be read ({error.strerror}); check the path, and your right to it.") from None
    if len(data) > LARGEST:
        raise RecipeError(f"{file} is larger than {LARGEST >> 20} MB; divide it into several files.")
    return bytes(data)
