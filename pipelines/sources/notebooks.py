"""Jupyter notebooks: cells of text as they stand, cells of code in fences, outputs left out unless they are asked for.

A notebook is one document. Metadata: `title` (its own, or the first heading), `author` and `programming_language`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from pipelines.sources.contracts import Document, Reject
from pipelines.sources.json_values import Unusable, json_file, kind_of
from pipelines.sources.whole import WholeFiles, document

_HEADING = re.compile(r"^#{1,2}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
_FENCE = re.compile(r"^(`{3,})", re.MULTILINE)


class Notebooks(WholeFiles):
    """Notebooks of Jupyter (formats 3 and 4) below ``path``. ``outputs``: take what cells printed, too."""

    version: ClassVar[int] = 1

    kind: Literal["notebook"] = "notebook"
    name: str = "notebook"
    suffixes: list[str] = Field(default=[".ipynb"], min_length=1)
    max_bytes: int = Field(default=50_000_000, gt=0)
    outputs: bool = False

    def parse_bytes(self, data: bytes, locator: str, limit: int) -> Iterator[Document | Reject]:
        try:
            content = json_file(io.BytesIO(data), self.max_bytes, "max_bytes")
            cells = _cells(content)
        except Unusable as error:
            yield Reject(locator, str(error), error.severity)
            return
        stated = _stated(content)
        texts: list[str] = []
        broken: list[int] = []
        for number, cell in enumerate(cells, start=1):
            text = _text(cell, stated.get("programming_language", ""), self.outputs)
            if text is None:
                broken.append(number)
            elif text:
                texts.append(text)
        text = "\n\n".join(texts)
        heading = _HEADING.search(text)
        if "title" not in stated and heading is not None:
            stated["title"] = heading[1][:2000]
        result = document(locator, text, limit, stated)
        if broken and isinstance(result, Reject) and result.severity == "empty":
            result = Reject(locator, "None of its cells has a source that is text; save it anew with Jupyter.")
        yield result
        if broken and isinstance(result, Document):
            reason = f"{len(broken):,} of {len(cells):,} cells (the first is {broken[0]}) have no source that is text"
            yield Reject(locator, f"{reason}; save the notebook anew with Jupyter.", "note")


def _cells(content: object) -> list[Any]:
    """Raises `Unusable`."""
    if not isinstance(content, dict):
        raise Unusable(f"The file is {kind_of(content)}, and no notebook; leave it out.")
    if isinstance(content.get("cells"), list):
        return list(content["cells"])
    sheets = content.get("worksheets")
    if isinstance(sheets, list):  # format 3
        lists = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)]
        return [cell for cells in lists if isinstance(cells, list) for cell in cells]
    raise Unusable("The file has no `cells`, so it is no notebook; leave it out, or save it anew with Jupyter.")


def _stated(content: Mapping[str, Any]) -> dict[str, Any]:
    stated: dict[str, Any] = {}
    metadata = content.get("metadata")
    if not isinstance(metadata, dict):
        return stated
    if isinstance(metadata.get("title"), str):
        stated["title"] = metadata["title"][:2000]
    authors = metadata.get("authors")
    names = [author.get("name") for author in authors if isinstance(author, dict)] if isinstance(authors, list) else []
    if names := [name for name in names if isinstance(name, str)]:
        stated["author"] = ", ".join(names)[:2000]
    for field, key in (("kernelspec", "language"), ("language_info", "name")):
        section = metadata.get(field)
        language = section.get(key) if isinstance(section, dict) else None
        if isinstance(language, str) and re.fullmatch(r"[\w+#.-]{1,40}", language):
            stated["programming_language"] = language
    return stated


def _text(cell: object, language: str, outputs: bool) -> str | None:
    """A cell's text; None where it has none that can be read."""
    if not isinstance(cell, dict):
        return None
    kind = cell.get("cell_type")
    source = _joined(cell.get("source", cell.get("input")))
    if source is None:
        return None
    source = source.strip("\n")
    if kind == "heading":
        level = cell.get("level")
        return f"{'#' * (level if level in (1, 2, 3, 4, 5, 6) else 1)} {source}"
    if kind != "code":
        return source.strip()
    parts = [_fenced(source, language)] if source.strip() else []
    listed = cell.get("outputs")
    if outputs and isinstance(listed, list):
        texts = (_output(output) for output in listed)
        parts += [_fenced(text.strip("\n"), "") for text in texts if text and text.strip()]
    return "\n\n".join(parts)


def _output(output: object) -> str | None:
    if not isinstance(output, dict):
        return None
    data = output.get("data")
    if isinstance(data, dict):
        return _joined(data.get("text/markdown", data.get("text/plain")))
    return _joined(output.get("text"))


def _joined(source: object) -> str | None:
    """Text that may be a list of lines."""
    if isinstance(source, str):
        return source
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        return "".join(source)
    return None


def _fenced(code: str, language: str) -> str:
    longest = max((len(match[1]) for match in _FENCE.finditer(code)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{code}\n{fence}"


def recognise(name: str, head: bytes) -> bool:
    """Whether a file is a notebook: JSON with cells of a notebook, or with its name."""
    if not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return False
    return name.lower().endswith(".ipynb") or (b'"cell_type"' in head and b'"cells"' in head) or b'"nbformat"' in head
