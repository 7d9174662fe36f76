"""Evaluation sets: files of questions, read with care, since somebody else wrote them.

`.txt` has a question on each line. `.jsonl` has an object on each, `.json` a list of them (or a mapping with one); all
their texts of enough words are compared, under the object's `id`, or the number of its line.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnemic.errors import RecipeError
from mnemic.opening import open_regular

LARGEST = 256 << 20
"""Bytes of a file."""

MOST_FILES = 1000
SUFFIXES = (".txt", ".jsonl", ".json")
_DEPTH = 20


@dataclass(frozen=True)
class SetQuestion:
    """A text of an evaluation set. ``set`` is the name of its file."""

    set: str
    id: str
    text: str


def files_of(patterns: Sequence[str], root: str) -> list[Path]:
    """The files that ``patterns`` name below ``root``. Raises ``RecipeError`` for one that names none."""
    files: dict[Path, None] = {}
    for pattern in patterns:
        whole = os.path.join(root, os.path.expanduser(pattern))
        matches = sorted(Path(one) for one in glob.iglob(whole, recursive=True) if os.path.isfile(one))
        if not matches:
            raise RecipeError(
                f"The evaluation set {pattern!r} names no file below {root or '.'}; give paths or patterns of "
                f"{', '.join(SUFFIXES)} files, relative to the recipe."
            )
        files.update(dict.fromkeys(matches))
    if len(files) > MOST_FILES:
        raise RecipeError(f"The evaluation sets are {len(files):,} files; name {MOST_FILES:,} at most.")
    wrong = next((file for file in files if file.suffix not in SUFFIXES), None)
    if wrong is not None:
        raise RecipeError(f"{wrong} is no evaluation set that can be read; give one of {', '.join(SUFFIXES)}.")
    return list(files)


def contents(file: Path) -> bytes:
    """The bytes of a file. Raises ``RecipeError`` where it cannot be read, or is too large."""
    try:
        with open_regular(os.path.realpath(file)) as opened:
            data = opened.read(LARGEST + 1)
    except OSError as error:
        raise RecipeError(f"{file} cannot be read ({error.strerror}); check the path, and your right to it.") from None
    if len(data) > LARGEST:
        raise RecipeError(f"{file} is larger than {LARGEST >> 20} MB; divide the evaluation set into several files.")
    return bytes(data)


def digest_of(files: Sequence[Path]) -> str:
    """A hash of names and contents, in any order of the files."""
    parts = sorted(f"{file.name}:{hashlib.blake2b(contents(file), digest_size=16).hexdigest()}" for file in files)
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


def questions_of(file: Path) -> Iterator[SetQuestion]:
    """The questions of a file. A line that is no JSON is refused with its number."""
    try:
        text = contents(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{file} is not UTF-8 (byte {error.start}); convert it.") from None
    if file.suffix == ".txt":
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield SetQuestion(file.name, str(number), line)
        return
    rows: Iterable[tuple[int, Any]]
    if file.suffix == ".json":
        values = _loaded(text, str(file))
        if isinstance(values, dict):
            values = next((value for value in values.values() if isinstance(value, list)), [values])
        rows = enumerate(values if isinstance(values, list) else [values], 1)
    else:
        lines = ((number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip())
        rows = ((number, _loaded(line, f"{file}, line {number},")) for number, line in lines)
    for number, row in rows:
        named = row.get("id") if isinstance(row, dict) else None
        identity = str(named)[:200] if isinstance(named, str | int) else str(number)
        for value in _texts(row, 0):
            yield SetQuestion(file.name, identity, value)


def _loaded(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise RecipeError(f"{place} is not JSON; mend it, or name a .txt file with a question on each line.") from None


def _texts(value: Any, depth: int) -> Iterator[str]:
    """All texts in a value of JSON, not those of its id."""
    if isinstance(value, str):
        yield value
    elif depth < _DEPTH and isinstance(value, dict):
        for name, part in value.items():
            if name != "id":
                yield from _texts(part, depth + 1)
    elif depth < _DEPTH and isinstance(value, list):
        for part in value:
            yield from _texts(part, depth + 1)
