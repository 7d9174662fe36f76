"""Which format a file has: by its content first, by its name second.

Every module of a reader has ``recognise(name, head) -> bool``: whether a file of that name (the last part of its path)
whose first `HEAD` bytes are ``head`` is of its format. A module whose format is a folder has ``recognise_folder(path,
names) -> bool``: whether the folder at ``path`` is one export, vault, dataset or repository; ``names`` are those of its
entries, folders ending in "/". A module may have ``propose(path, name, head) -> dict``: settings of the source for this
file, such as the column that holds the text; `mnemic init` writes them. All three look and never raise.

A format that another one contains comes first: a notebook is JSON, an EPUB is a zip, a saved page looks
like a mail.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib import import_module
from typing import Any, BinaryIO, cast

from mnemic.errors import PluginError
from mnemic.plugins import plugins
from pipelines.sources.json_values import MARK
from pipelines.sources.office import open_document

HEAD = 1 << 16
"""Bytes of a file that a reader is shown."""


@dataclass(frozen=True)
class Format:
    """``kind`` is the source that reads it, ``title`` how a sentence calls it; ``module`` has `recognise`."""

    kind: str
    module: str
    title: str

    def has(self, member: str) -> Callable[..., Any] | None:
        """A function of the module by name; None where it has none."""
        return cast(Callable[..., Any] | None, getattr(import_module(self.module), member, None))


_DOCUMENTS: tuple[Format, ...] = (
    Format("pdf", "pipelines.sources.pdf", "a PDF"),
    Format("epub", "pipelines.sources.epub", "an electronic book (EPUB)"),
    Format("odt", "pipelines.sources.odt", "a text of OpenDocument"),
    Format("docx", "pipelines.sources.docx", "a Word document"),
    Format("pptx", "pipelines.sources.pptx", "a presentation"),
    Format("xlsx", "pipelines.sources.xlsx", "a spreadsheet"),
    Format("notion", "pipelines.sources.notion", "an export of Notion"),
    Format("obsidian", "pipelines.sources.obsidian", "a vault of Obsidian"),
    Format("notebook", "pipelines.sources.notebooks", "a notebook"),
    Format("html", "pipelines.sources.html", "a page of HTML"),
    Format("markdown", "pipelines.sources.markdown", "Markdown"),
    Format("code", "pipelines.sources.code", "source code"),
)
"""Pages, books, notes and code."""

TALKS: tuple[Format, ...] = (
    Format("slack", "pipelines.sources.slack", "an export of Slack"),
    Format("discord", "pipelines.sources.discord", "an export of Discord"),
    Format("telegram", "pipelines.sources.telegram", "an export of Telegram"),
    Format("chatgpt", "pipelines.sources.chatgpt", "an export of ChatGPT"),
    Format("claude", "pipelines.sources.claude", "an export of Claude"),
    Format("whatsapp", "pipelines.sources.whatsapp", "a chat of WhatsApp"),
    Format("maildir", "pipelines.sources.maildir", "a Maildir"),
    Format("mail", "pipelines.sources.mail", "mail"),
)
"""Mail and chats."""

_RECORDS: tuple[Format, ...] = (
    Format("parquet", "pipelines.sources.parquet", "a Parquet file"),
    Format("hf-dataset", "pipelines.sources.hugging_face", "a dataset of Hugging Face"),
    Format("arrow", "pipelines.sources.arrow", "an Arrow file"),
    Format("lance", "pipelines.sources.lance_table", "a Lance table"),
    Format("git", "pipelines.sources.git_repository", "a git repository"),
    Format("warc", "pipelines.sources.warc", "a web archive"),
    Format("archive", "pipelines.sources.archives", "an archive"),
    Format("csv", "pipelines.sources.delimited", "a table of text (CSV)"),
)
"""Tables, archives and repositories."""

_LAST: tuple[Format, ...] = (
    Format("conversations", "pipelines.sources.conversations", "a conversation in JSON"),
    Format("folder", "pipelines.sources.folder", "plain text"),
)

FORMATS: tuple[Format, ...] = (*_DOCUMENTS, *TALKS, *_RECORDS, *_LAST)
"""The formats that are read, in the order in which they are asked."""

_UNREADABLE = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a bitmap image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\xd0\xcf\x11\xe0", "a document of an old office program; save it in a format of today, such as .docx or .xlsx"),
    (b"ID3", "a sound"),
    (b"OggS", "a sound"),
    (b"fLaC", "a sound"),
    (b"RIFF", "a sound, an image or a video"),
    (b"\x1a\x45\xdf\xa3", "a video"),
    (b"7z\xbc\xaf", "a 7z archive; pack it as zip or tar"),
    (b"Rar!", "a RAR archive; pack it as zip or tar"),
    (b"\x80\x04\x95", "a pickle, which runs code when it is loaded"),
    (b"\x80\x05\x95", "a pickle, which runs code when it is loaded"),
    (b"\x93NUMPY", "an array of numpy"),
    (b"\x89HDF", "an HDF5 file"),
    (b"GGUF", "a model's weights"),
)
"""Beginnings of formats that nothing here reads."""


def recognised(name: str, head: bytes) -> Format | None:
    """The format of a file called ``name`` that begins with ``head``, of at most `HEAD` bytes; None for none."""
    return next((one for one in (*FORMATS, *_offered()) if _asked(one, "recognise", name, head)), None)


def recognised_folder(path: str, names: Collection[str]) -> Format | None:
    """The format of a folder that is read as one thing; ``names`` are its entries, folders with "/" at the end."""
    entries = frozenset(names)
    return next((one for one in (*FORMATS, *_offered()) if _asked(one, "recognise_folder", path, entries)), None)


def unreadable(head: bytes) -> str:
    """What a file is that nothing reads, as a phrase; "" where its beginning tells nothing."""
    if head[4:8] == b"ftyp":
        return "a video or an image"
    if open_document(head):
        return "a table, a presentation or a drawing of OpenDocument; save it as .xlsx, .pptx or .pdf"
    return next((title for magic, title in _UNREADABLE if head.startswith(magic)), "") or marked_up(head)


_LETTERS = ((b"{\\rtf", "RTF, a document of an office program"), (b"<?xml", "XML"), (b"%!PS", "PostScript"))
"""Beginnings of formats that nothing here reads, and whose files are letters all the same."""


def marked_up(head: bytes) -> str:
    """What a file is whose letters can be read and which is no plain text, as a phrase; "" where it may be."""
    begin = head.removeprefix(MARK).lstrip()
    return next((title for magic, title in _LETTERS if begin.startswith(magic)), "")


def head_of(file: BinaryIO) -> bytes:
    """The beginning of an open file, which then stands at its beginning again."""
    head = file.read(HEAD)
    file.seek(0)
    return head


def entries_of(path: str) -> list[str]:
    """The names in a folder, those of folders with "/" at the end, sorted; links are named and not followed."""
    with os.scandir(path) as entries:
        return sorted(f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name for entry in entries)


def _asked(one: Format, member: str, *values: object) -> bool:
    function = one.has(member)
    return function is not None and bool(function(*values))


@functools.cache
def _offered() -> list[Format]:
    """The formats of other packages' sources whose module has `recognise`; one that does not load reads nothing."""
    formats = []
    for plugin in plugins("mnemic.sources"):
        try:
            module = getattr(plugin.load(), "__module__", "")
        except PluginError:
            continue
        if hasattr(sys.modules.get(module), "recognise"):
            formats.append(Format(plugin.name, module, f"of the format {plugin.name}"))
    return formats
