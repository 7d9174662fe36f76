"""Text of a small piece of HTML, such as the body of a letter, in one pass whose time grows with its length alone.

Blocks begin lines, items of lists begin with "- ", quotations (`blockquote`) have "> " before each line. Scripts,
styles and comments are dropped. It knows tags and no pages.
"""

from __future__ import annotations

import html
import re

_TAG = re.compile(r"</?([a-zA-Z][a-zA-Z0-9:-]{0,30})")
_DROPPED = {
    name: re.compile(rf"</{name}\b", re.IGNORECASE) for name in ("script", "style", "head", "title", "template")
}
_PARAGRAPHS = frozenset(
    ("p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "pre", "hr", "section", "article")
)
_LINES = frozenset(("br", "div", "tr", "li", "dt", "dd", "blockquote", *_PARAGRAPHS))
_SPACE = re.compile(r"[ \t\r\n\f]+")


def html_text(source: str) -> str:
    """The text of ``source``."""
    lines: list[tuple[int, str]] = []  # depth of quotation, text
    line: list[str] = []
    depth = place = 0

    def end_line() -> None:
        lines.append((depth, _SPACE.sub(" ", "".join(line)).strip()))
        line.clear()

    while place < len(source):
        begin = source.find("<", place)
        begin = len(source) if begin < 0 else begin
        line.append(html.unescape(source[place:begin]))
        if begin == len(source):
            break
        if source.startswith("<!--", begin):
            end = source.find("-->", begin)
            place = len(source) if end < 0 else end + 3
            continue
        match = _TAG.match(source, begin)
        if match is None and source[begin + 1 : begin + 2] not in ("!", "?"):
            line.append("<")
            place = begin + 1
            continue
        end = source.find(">", begin)
        place = len(source) if end < 0 else end + 1
        if match is None:
            continue
        name, closing = match[1].lower(), source[begin + 1] == "/"
        if name in _DROPPED and not closing:
            close = _DROPPED[name].search(source, place)
            place = len(source) if close is None else close.start()
        elif name in _LINES:
            end_line()
            if name in _PARAGRAPHS:
                lines.append((depth, ""))
            if name == "blockquote":
                depth = max(0, depth - 1) if closing else min(20, depth + 1)
            elif name == "li" and not closing:
                line.append("- ")
        elif name in ("td", "th"):
            line.append(" ")
    end_line()
    text = "\n".join(f"{'> ' * level}{words}".rstrip() if words else "" for level, words in lines)
    return re.sub(r"\n{3,}", "\n\n", text).strip()
