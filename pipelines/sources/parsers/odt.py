"""The text of OpenDocument: blocks in their order with blank lines between, items of lists and rows of tables by lines.

Cells of a row are parted by tabs. A note stands behind the block that it belongs to. A space, a cell or a row that says
how often it is repeated is taken once, or a few times: the numbers are the file's, and may be any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.sources.office import ZIP
from pipelines.sources.parsers.process import Part, Unparsed
from pipelines.sources.parsers.xml import events
from pipelines.sources.parsers.zipped import Members

MOST_SPACES = 64
"""Spaces that one element may stand for."""

_SPACE = re.compile(r"[ \t\r\n]+")
_BLOCKS = frozenset(("p", "h"))
_LEFT_OUT = frozenset(
    (
        *("annotation", "tracked-changes", "table-of-content", "binary-data", "image", "forms"),
        *("note-citation", "ruby-text", "sequence-decls", "variable-decls", "user-field-decls", "scripts", "script"),
        *("math", "covered-table-cell"),
    )
)
"""Elements of the body whose text is none of the document's."""

_TOLD = frozenset(("title", "desc"))
"""Elements that describe an image, unless they stand in a paragraph: there they are fields."""

_STATED = {
    "title": "title",
    "initial-creator": "author",
    "creator": "author",
    "creation-date": "date",
    "date": "date",
    "language": "language",
    "description": "description",
    "subject": "description",
}
"""Elements of the metadata, and the field that each is; of two for one field the first counts."""


def parts(data: bytes, settings: Mapping[str, Any]) -> Iterator[Part]:
    """One part: the document."""
    if data.startswith(ZIP):
        content, meta = _members(data)
    else:
        content = meta = data
        if b"office:document" not in data[:65536]:
            raise Unparsed("The file is no text of OpenDocument; save it anew as .odt.")
    yield _metadata(meta), _text(content)


def _members(data: bytes) -> tuple[bytes, bytes]:
    """The content of a zip, and what it states of itself."""
    members = Members(data)
    if "content.xml" not in members:
        raise Unparsed("The file is no text of OpenDocument, since it has no `content.xml`; save it anew as .odt.")
    manifest = "META-INF/manifest.xml"
    if manifest in members and b"encryption-data" in members.read(manifest):
        raise Unparsed("The file is encrypted; save a copy without a password.")
    return members.read("content.xml"), members.read("meta.xml") if "meta.xml" in members else b""


def _metadata(content: bytes) -> dict[str, Any]:
    """What the document states of itself; nothing of metadata that is damaged, since the text may be whole."""
    if not content:
        return {}
    pieces: dict[str, list[str]] = {}
    tags: list[str] = []
    field, inside = "", False
    try:
        for event, tag, value in events(content):
            if event == "start":
                inside = inside or tag == "meta"
                field = tag if inside and (tag in _STATED or tag == "keyword") else ""
                if field == "keyword":
                    tags.append("")
            elif event == "text" and field == "keyword":
                tags[-1] += value[:2000]
            elif event == "text" and field:
                pieces.setdefault(field, []).append(value[:2000])
            elif event == "end":
                field = ""
                if tag == "meta":
                    break
    except Unparsed:
        pass
    stated: dict[str, Any] = {}
    for name, place in _STATED.items():
        text = " ".join("".join(pieces.get(name, ())).split())[:2000]
        if text:
            stated.setdefault(place, text)
    words = [word.strip() for tag in tags for word in tag.split(",") if word.strip()]
    return {**stated, "tags": words[:100]} if words else stated


def _text(content: bytes) -> str:
    blocks = _Blocks()
    parents: list[str] = []  # in the body
    without = 0  # depth of what is left out, counted from its first element
    for event, tag, value in events(content):
        if event == "start":
            if without:
                without += 1
            elif parents and (tag in _LEFT_OUT or (tag in _TOLD and parents[-1] not in _BLOCKS)):
                without = 1
            elif parents or tag == "body":
                parents.append(tag)
                blocks.start(tag, value)
        elif event == "text":
            if parents and not without:
                blocks.write(value)
        elif without:
            without -= 1
        elif parents:
            blocks.end(parents.pop())
    return blocks.text()


def _count(stated: str) -> int:
    """The number of spaces that an element says it stands for, where it is one."""
    if not (stated.isascii() and stated.isdigit()):
        return 1
    return min(int(stated), MOST_SPACES) if len(stated) < 10 else MOST_SPACES


class _Blocks:
    """Blocks of a document, from its elements in order. A block inside of another (a note, a frame) comes behind it."""

    def __init__(self) -> None:
        self._blocks: list[tuple[str, str]] = []  # (kind, text); equal kinds that are no paragraphs stand close
        self._open: list[list[str]] = []  # the runs of paragraphs that are in one another
        self._inner: list[list[tuple[str, str]]] = []  # blocks that ended inside of each
        self._lists = 0
        self._item = ""  # the mark of an item that has no paragraph yet
        self._rows: list[list[list[str]]] = []  # of tables in one another: the cells of the row, each its blocks

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag in ("spreadsheet", "presentation", "drawing"):
            raise Unparsed(f"It is a {tag} of OpenDocument; save it as .xlsx, .pptx or .pdf.")
        if tag in _BLOCKS:
            self._open.append([])
            self._inner.append([])
        elif tag == "list":
            self._lists += 1
        elif tag in ("list-item", "list-header"):
            self._item = "- " if tag == "list-item" else "  "
        elif tag == "table-row":
            self._rows.append([])
        elif tag == "table-cell" and self._rows:
            self._rows[-1].append([])
        elif self._open:
            if tag == "s":
                self._open[-1].append(" " * _count(attributes.get("c", "1")))
            elif tag == "tab":
                self._open[-1].append("\t")
            elif tag == "line-break":
                self._open[-1].append("\n")

    def write(self, text: str) -> None:
        if self._open:
            runs, line = self._open[-1], _SPACE.sub(" ", text)
            runs.append(line.removeprefix(" ") if runs and runs[-1].endswith((" ", "\n")) else line)

    def end(self, tag: str) -> None:
        if tag in _BLOCKS and self._open:
            line = "".join(self._open.pop()).strip()
            inner = self._inner.pop()
            if line:
                self._block(line, tag)
            for kind, text in inner:
                self._add(kind, text)
        elif tag == "list":
            self._lists = max(0, self._lists - 1)
        elif tag == "table-row" and self._rows:
            cells = [" ".join(blocks) for blocks in self._rows.pop()]
            while cells and not cells[-1]:
                cells.pop()
            if any(cells):
                self._add("row", "\t".join(cells))

    def _block(self, line: str, tag: str) -> None:
        if self._lists and tag == "p" and not (self._rows and self._rows[-1]):
            indent = "  " * (min(self._lists, 20) - 1)
            self._add("item", f"{indent}{self._item or '  '}{line}")
        else:
            self._add(tag, line)
        self._item = ""

    def _add(self, kind: str, text: str) -> None:
        if self._rows and self._rows[-1]:
            self._rows[-1][-1].append(" ".join(text.split("\n")))
        else:
            (self._inner[-1] if self._inner else self._blocks).append((kind, text))

    def text(self) -> str:
        pieces: list[str] = []
        before = ""
        for kind, text in self._blocks:
            if pieces:
                pieces.append("\n" if kind == before and kind in ("item", "row") else "\n\n")
            pieces.append(text)
            before = kind
        return "".join(pieces)
