"""Text of a corpus on a page: without control codes and direction marks, escaped, and of bounded length."""

from __future__ import annotations

from html import escape

from mnemic.terminal import one_line, plain


def escaped(text: object, most: int = 200) -> str:
    """``text`` on one line, at most ``most`` characters of it, for an element or an attribute in quotes."""
    return escape(one_line(str(text), most), quote=True)


def lines(text: str, most: int = 600) -> str:
    """``text`` with its lines, at most ``most`` characters of it."""
    shown = plain(text).strip()
    return escape(shown if len(shown) <= most else shown[: most - 3] + "...", quote=True)
