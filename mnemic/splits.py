"""The parts of the text that feeds a language-model memory: what is stored, and what is held out to measure it.

The parts are values of the column ``split`` of documents and of the datastore; the conditions are SQL over it.
"""

from __future__ import annotations

STORED = "store"
VALIDATION_PREFIX = "validation-"
HELD_OUT = ("validation-document", "test-document", "validation-collection", "test-collection")

STORE = f"split = '{STORED}'"
VALIDATION = f"split LIKE '{VALIDATION_PREFIX}%'"
TEST = "split LIKE 'test-%'"


def in_part(part: str) -> str:
    """The condition of one part, such as "test-document"."""
    return f"split = '{part}'"
