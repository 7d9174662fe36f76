"""Names that a text mentions, by rules: runs of capitals, quotations, and identifiers of programs.

* A run is one to twelve words that begin with a capital (Latin, Greek, Cyrillic) or a digit, with small words such as
  "of" and "van" between them: "University of Oslo", "Apollo 11". Function words at its beginning are left out, so the
  first word of a sentence is one only if it says something.
* A quotation has 2 to 60 characters.
* An identifier has parts: `bank.search`, `snake_case`, `camelCase`.

Every pattern is bounded, so a text of n characters takes time in proportion to n. Languages without capitals have
quotations alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from mnemic.links.names import LONGEST, is_name, without_function_words, words

_CAPITAL = "A-Z\u00c0-\u00d6\u00d8-\u00de\u0391-\u03a9\u0400-\u042f"
_WORD = rf"[{_CAPITAL}0-9][\w.'\u2019-]{{0,40}}"
_SMALL = "of|the|de|la|du|von|van|der|and|&|in|for|al|bin|ibn|del|di|da|el|le|on|to|e|y"
_MENTION = re.compile(
    rf"[\"\u201c](?P<quotation>[^\"\u201c\u201d\n]{{2,60}})[\"\u201d]"
    r"|(?<![\w.])(?P<identifier>[A-Za-z][A-Za-z0-9]{1,40}(?:[._][A-Za-z0-9]{1,40}){1,8}|[a-z]{1,40}[A-Z][A-Za-z0-9]{0,40})"
    r"(?![\w])"
    rf"|(?<!\w)(?P<run>{_WORD}(?:[ -](?:(?:{_SMALL})[ -]){{0,3}}{_WORD}){{0,11}})"
)

_AT_ENDS = ".'\u2019-"
"""Characters of a word that do not end a name: the full stop behind "Dora Field." is none of it."""


class Mention(NamedTuple):
    """``text[start:end]`` mentions a ``name``, which is in small letters; ``kind`` is the rule."""

    start: int
    end: int
    name: str
    kind: str


def mentions(text: str) -> Iterator[Mention]:
    """The mentions in ``text``, in order; they do not overlap, but that a quotation may be a run as well."""
    for match in _MENTION.finditer(text):
        kind = match.lastgroup or ""
        written = words(match[kind])
        if kind == "run":
            written = without_function_words(written)
        name = " ".join(written).lower()
        if 0 < len(written) <= LONGEST and is_name(name):
            start = match.start(kind)
            yield Mention(start, start + len(match[kind].rstrip(_AT_ENDS)), name, kind)
