"""A vault of Obsidian: its notes, without templates and settings.

As Markdown with front matter, and beside it: the title is the note's name, `tags` are also those in the text, `links`
are the notes that it links to by `[[...]]`, and a note that is called like a day, such as 2026-03-01, is of that day.
Templates are what lies in the folder that the vault's settings name.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any, ClassVar, Literal

from pydantic import Field

from pipelines.sources.contracts import Item, Reject
from pipelines.sources.markdown import MarkdownFiles
from pipelines.sources.text import read_bytes

MOST = 1_000
"""Links and tags of a note."""

_LINK = re.compile(r"\[\[([^\[\]|#^\n]{1,500})(?:[#^][^\[\]|\n]{0,500})?(?:\|[^\[\]\n]{0,500})?\]\]")
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_TAG = re.compile(r"(?<![\w/#&])#([^\W\d_][\w/-]{0,99}|\d+[^\W\d_][\w/-]{0,99})")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class Vault(MarkdownFiles):
    """The notes of the vault at ``path``. ``templates``: the folder of templates; null for what the vault says."""

    version: ClassVar[int] = 1
    reads: ClassVar[frozenset[str]] = frozenset({"markdown", "folder"})

    kind: Literal["obsidian"] = "obsidian"
    name: str = "obsidian"
    suffixes: list[str] = Field(default=[".md"], min_length=1)
    templates: str | None = None

    def manifest(self) -> list[Item]:
        folders = tuple(f"{folder}/" for folder in self._templates())
        return [item for item in super().manifest() if not item.locator.startswith(folders)]

    def stated(self, fields: dict[str, Any], text: str, locator: str) -> dict[str, Any]:
        name = os.path.splitext(os.path.basename(locator))[0]
        plain = _CODE.sub("", text)
        tags = [*fields.get("tags", []), *(match[1] for match in _TAG.finditer(plain))]
        links = [match[1].strip().removesuffix(".md") for match in _LINK.finditer(plain)]
        stated = {"title": name, "date": name if _DAY.fullmatch(name) else "", **fields}
        return {**stated, "tags": list(dict.fromkeys(tags))[:MOST], "links": list(dict.fromkeys(links))[:MOST]}

    def _templates(self) -> list[str]:
        """The folders of templates, of which the vault's own settings or a plugin's may tell."""
        if self.templates is not None:
            return [self.templates.strip("/")] if self.templates.strip("/") else []
        base, _ = self._place()
        folders = []
        for path, field in ((".obsidian/templates.json", "folder"), (_TEMPLATER, "templates_folder")):
            data = read_bytes(os.path.join(base, path), os.path.realpath(base), path, 1 << 20)
            if isinstance(data, Reject):
                continue
            try:
                content = json.loads(data)
            except (ValueError, RecursionError):
                continue
            folder = content.get(field) if isinstance(content, dict) else None
            if isinstance(folder, str) and folder.strip("/ "):
                folders.append(folder.strip("/ "))
        return folders or ["Templates", "templates"]


_TEMPLATER = ".obsidian/plugins/templater-obsidian/data.json"


def recognise(name: str, head: bytes) -> bool:
    """A note alone is Markdown."""
    return False


def recognise_folder(path: str, names: frozenset[str]) -> bool:
    """Whether a folder is a vault: it holds Obsidian's settings."""
    return ".obsidian/" in names
