"""Files of facts: rows of JSON, read with care, since somebody else may have written them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mnemic.errors import RecipeError
from operators.named_files import contents, files_named

SUFFIXES = (".jsonl", ".json")

_MOST_FILES = 100


def fact_files(patterns: Sequence[str], root: str) -> list[Path]:
    """The files that ``patterns`` name below ``root``. Raises ``RecipeError`` for one that names none."""
    return files_named(patterns, root, SUFFIXES, _MOST_FILES, "facts")


def digest_of(files: Sequence[Path]) -> str:
    """A hash of names and contents, in any order of the files."""
    parts = sorted(f"{file.name}:{hashlib.blake2b(contents(file), digest_size=16).hexdigest()}" for file in files)
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


def rows_of_files(files: Sequence[Path]) -> Iterator[tuple[str, Any]]:
    """(file:number, row) of all rows; a line that is no JSON is its own text.

    Raises ``RecipeError`` for a file that is no UTF-8, and a .json that is no list.
    """
    for file in files:
        try:
            text = contents(file).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise RecipeError(f"{file} is not UTF-8 (byte {error.start}); convert it.") from None
        if file.suffix == ".json":
            values = _json(text)
            if not isinstance(values, list):
                raise RecipeError(f"{file} is no JSON list of facts; write one fact on each line of a .jsonl file.")
            yield from ((f"{file.name}:{number}", row) for number, row in enumerate(values, 1))
        else:
            lines = enumerate(text.split("\n"), 1)  # a text of JSON may hold U+2028 and other ends of lines
            yield from ((f"{file.name}:{number}", _json(line)) for number, line in lines if line.strip())


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
