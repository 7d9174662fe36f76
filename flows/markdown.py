"""Names and paths as Markdown that shows them as they are, whatever they hold, and keys that Prefect takes."""

from __future__ import annotations

import html
import re

from mnemic.terminal import plain


def key(what: str, recipe: str) -> str:
    """The key of an artifact; Prefect takes lower-case letters, digits and dashes."""
    return f"{what}-{re.sub(r'[^a-z0-9]+', '-', recipe.lower()).strip('-')}"


def escaped(text: str) -> str:
    """``text`` as Markdown that shows it as it is, on one line."""
    line = html.escape(" ".join(plain(text).split()), quote=False)
    return re.sub(r"([\\`*_{}\[\]()#+!|~:])", r"\\\1", line)


def quoted(text: str) -> str:
    """``text`` as a string of Python that cannot end the block of code it stands in."""
    return ascii(plain(text)).replace("`", r"\x60")
