"""A file that is there as a whole or not at all, whatever ends its writing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A place beside ``target`` for the block to write to; it becomes ``target`` where the block ends without an error.

    A file of that name is replaced then, at once. Nothing stays of a block that failed.
    """
    partial = target.with_name(f"{target.name}.partial")
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
