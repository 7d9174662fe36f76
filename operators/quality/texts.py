"""Files of examples, read with care: `.txt` has a text on each line, `.jsonl` an object with a `text` on each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from mnemic.errors import RecipeError
from operators.named_files import contents, files_named

SUFFIXES = (".txt", ".jsonl")
MOST_FILES = 100


def example_files(patterns: Sequence[str], root: str) -> list[Path]:
    """The files that ``patterns`` name below ``root``, in order. Raises ``RecipeError`` for one that names none."""
    return files_named(patterns, root, SUFFIXES, MOST_FILES, "examples of quality")


def digest_of_files(files: Sequence[Path]) -> str:
    """A hash of the contents, in the order of the files; "" for none."""
    return hashlib.blake2b(
        b"".join(hashlib.blake2b(contents(file)).digest() for file in files), digest_size=16
    ).hexdigest()


def examples_in(file: Path, most: int) -> Iterator[str]:
    """The first ``most`` texts of a file. Raises ``RecipeError`` for a line that is none, by its number."""
    try:
        lines = contents(file).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise RecipeError(f"{file} is not UTF-8 (byte {error.start}); convert it.") from None
    count = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if count == most:
            return
        yield line if file.suffix == ".txt" else _text_in(line, f"{file}, line {number}")
        count += 1


def _text_in(line: str, place: str) -> str:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise RecipeError(f"{place} is no JSON; mend the line, or leave the file out.") from None
    text = value.get("text") if isinstance(value, dict) else None
    if not isinstance(text, str):
        raise RecipeError(f"{place} has no `text`; write an object with one on each line.")
    return text.encode("utf-8", "replace").decode()  # half a character would end the build
