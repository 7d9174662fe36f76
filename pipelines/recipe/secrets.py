"""Values of a recipe that no sentence quotes: those that may be secrets, wherever they stand.

Storage options are never quoted. But a secret can stand under a wrong key, or in another section, and a sentence that
says what was given would tell it, to a terminal, a log and Prefect's pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

HIDDEN = "(hidden)"

_KEY = re.compile(r"secret|token(?!s|_)|passw|credential|api_?key|access_?key|private_?key|sas_", re.IGNORECASE)
_SHAPES = re.compile(
    r"""(?=[^\s/]*[0-9])(?=[^\s/]*[A-Za-z])[^\s/]{12,}   # letters and digits in one long word
      | (?=.*[0-9])(?=.*[A-Z])(?=.*[a-z])[A-Za-z0-9+/=_-]{24,}  # base64
      | .*://[^/\s]*@.*  # the password of an address
    """,
    re.VERBOSE,
)
_SHORTEST = 4


def without_secrets(phrase: str, content: Mapping[str, Any]) -> str:
    """``told``, with `HIDDEN` for every text of ``content`` that may be a secret: by its key, or by how it looks."""
    for secret in sorted(set(_secrets(content, False)), key=len, reverse=True):
        phrase = phrase.replace(secret, HIDDEN)
    return phrase


def _secrets(value: Any, named: bool) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _secrets(inner, named or key == "storage_options" or _KEY.search(str(key)) is not None)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _secrets(inner, named)
    elif isinstance(value, str | int) and not isinstance(value, bool):
        text = str(value)
        if len(text) >= _SHORTEST and (named or (isinstance(value, str) and _SHAPES.fullmatch(text))):
            yield from (text, repr(text)[1:-1], text[:60])
