"""Links that a text states itself, as Markdown does: `[the trains](../guide/trains.md#night)`.

Wiki links, `[[Trains]]`, hold the title of their target, which is found there as in any other words. An address with a
scheme, such as https, leads out of a bank and is none; nothing is ever fetched.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from urllib.parse import unquote

_LINK = re.compile(r"\]\(\s{0,3}<?([^()\s<>]{1,500})")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}:")


def stated_locators(text: str, locator: str) -> Iterator[str]:
    """Locators of the files that the ``text`` of the file ``locator`` links to, relative to the same root, in order.

    One that leads out of the root is left out, and so is a place in the same file.
    """
    for match in _LINK.finditer(text):
        path = unquote(match[1].partition("#")[0].partition("?")[0])
        if not path or _SCHEME.match(path) or path.startswith("//"):
            continue
        base = "" if path.startswith("/") else posixpath.dirname(locator)
        target = posixpath.normpath(posixpath.join(base, path.lstrip("/")))
        if not target.startswith("..") and target not in (".", locator):
            yield target
