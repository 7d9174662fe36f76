"""Evaluation sets: files of questions, read with care, since somebody else wrote them.

`.txt` has a question on each line. `.jsonl` has an object on each, `.json` a list of them (or a mapping with one); all
their texts of enough words are compared, under the object's `id`, or the number of its line.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnemic.errors import RecipeError
from operators.named_files import contents, files_named

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
    return files_named(patterns, root, SUFFIXES, MOST_FILES, "evaluation sets")


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
