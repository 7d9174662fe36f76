"""Text of a corpus is hostile: nothing of it reaches a terminal before it went through here."""

from __future__ import annotations

import os
import re
from typing import TextIO

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def plain(text: str) -> str:
    """``text`` without control codes, escape sequences' lead-ins and direction marks; newlines and tabs stay.

    Lone surrogates go too: no terminal's encoding has them.
    """
    return _CONTROL.sub("", text)


def one_line(text: str, width: int) -> str:
    """``text`` on one line of at most ``width`` characters."""
    line = " ".join(plain(text).split())
    return line if len(line) <= width else line[: max(width - 3, 0)] + "..."


def say(text: str = "") -> None:
    """Print lines that quote a bank: the one way in which a command that puts no colours in prints."""
    print(plain(text))


def coloured(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal that shows colours, to somebody who has not set ``NO_COLOR`` (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
