"""Links that a text states itself, as Markdown does: `[the trains](../guide/trains.md#night)`.

Wiki links, `[[Trains]]`, hold the title of their target, which is found there as in any other words. An address with a
scheme, such as https, leads out of a bank and is none; nothing is ever fetched.

What a format states and its text does not show, such as a hyperlink of HTML or the message that a message answers, a
source writes into the column `links` of documents, where a recipe asks for it: Markdown's form, or a title alone.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from urllib.parse import quote, unquote

LINKS = "links"
"""Column of documents, a list."""

MOST_LINKS = 1_000
"""Of a document."""

_LONGEST_ANCHOR = 200
_LONGEST_TARGET = 500
_KEPT_OF_ADDRESSES = "/:?#@!$&*+,;=%~"
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


def written_link(anchor: str, target: str) -> str:
    """A link as the column has it: ``anchor`` are words of the text, ``target`` is an address or a locator of a file.

    "" where one of them is none.
    """
    words, place = " ".join(anchor.split())[:_LONGEST_ANCHOR].rstrip(), quote(target.strip(), safe=_KEPT_OF_ADDRESSES)
    return f"[{words}]({place})" if words and place and len(place) <= _LONGEST_TARGET else ""


def parted_link(entry: str) -> tuple[str, str]:
    """(anchor, target as it is written) of an entry of the column. A title alone is both, and has no brackets."""
    anchor, bracket, target = entry.rpartition("](")
    return (anchor[1:], target[:-1]) if bracket and entry[0] == "[" and entry[-1] == ")" else (entry, "")
