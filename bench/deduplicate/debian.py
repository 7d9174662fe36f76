"""Documentation packages of Debian as texts: HTML pages, manual pages and plain text, cut into parts.

Packages are downloaded once, with `apt-get download`, into a folder of the cache.
"""

from __future__ import annotations

import gzip
import html
import io
import re
import subprocess
import tarfile
from pathlib import Path

PACKAGES = [
    "bible-kjv-text",
    "cinder-doc",
    "clang-14-doc",
    "clang-15-doc",
    "cppreference-doc-en-html",
    "debian-handbook",
    "dict-foldoc",
    "dict-gcide",
    "erlang-doc",
    "freebsd-manpages",
    "git-doc",
    "groovy-doc",
    "jython-doc",
    "libboost1.74-doc",
    "libboost1.81-doc",
    "libglib2.0-doc",
    "libgtk-3-doc",
    "libgtk-4-doc",
    "lilypond-doc-html",
    "linux-doc-6.1",
    "llvm-13-doc",
    "llvm-14-doc",
    "llvm-15-doc",
    "llvm-16-doc",
    "manpages",
    "manpages-de",
    "manpages-dev",
    "manpages-es",
    "manpages-fr",
    "manpages-ja",
    "manpages-pt-br",
    "manpages-ru",
    "neutron-doc",
    "nodejs-doc",
    "nova-doc",
    "openjdk-17-doc",
    "perl-doc",
    "pike8.0-doc",
    "postgresql-doc-15",
    "python-django-doc",
    "python3.11-doc",
    "qtbase5-doc-html",
    "r-doc-html",
    "rust-doc",
    "scala-doc",
]

LARGEST, SMALLEST = 32 << 20, 100
"""Bytes of a file that is read."""

UNPACKED = 64 << 20
"""Bytes of a compressed file that are unpacked."""

WORD = re.compile(r"\w+")

_DROPPED = re.compile(rb"(?is)<(script|style|nav|head|svg)\b.*?</\1\s*>|<!--.*?-->")
_BLOCK = re.compile(r"(?i)</?(p|div|li|h[1-6]|tr|pre|dt|dd|br|table|section|ul|ol)\b[^>]*>")
_TAG = re.compile(r"<[^>]{0,2000}>")
_ROFF = re.compile(r"(?m)^[.'](?:\\\"|\s*\\\").*$|^[.'][A-Za-z]{1,3}\b[ ]?|\\f[A-Z]|\\f\([A-Z]{2}|\\[&/,|^]")


def download(package: str, folder: Path) -> bool:
    """Put the package into ``folder``; False where Debian has none of this name."""
    command = ["apt-get", "download", "-qq", package]
    return subprocess.run(command, cwd=folder, stderr=subprocess.DEVNULL, check=False).returncode == 0


def html_text(raw: bytes) -> str:
    """The text of a page, paragraphs apart by an empty line; scripts, styles and navigation are left out."""
    text = _DROPPED.sub(b" ", raw).decode("utf-8", "replace")
    text = html.unescape(_TAG.sub(" ", _BLOCK.sub("\n\n", text)))
    text = re.sub(r"[ \t\r\f\v\u00a0]+", " ", text)
    return re.sub(r"\s*\n\s*\n\s*", "\n\n", text).strip()


def plain_text(raw: bytes, roff: bool) -> str:
    """The text of a file, without the macros of a manual page where it is ``roff``."""
    text = raw.decode("utf-8", "replace").replace("\x00", "")
    if roff:
        text = _ROFF.sub("", text).replace("\\-", "-")
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def split(text: str, limit: int) -> list[str]:
    """Parts of about ``limit`` characters, cut between paragraphs, or lines where a paragraph is longer."""
    if len(text) <= 2 * limit:
        return [text]
    parts: list[str] = []
    pieces: list[str] = []
    size = 0
    for paragraph in re.split(r"(?<=\n)\n+", text):
        for piece in [paragraph] if len(paragraph) <= limit else paragraph.splitlines(keepends=True):
            pieces.append(piece)
            size += len(piece)
            if size >= limit:
                parts.append("".join(pieces).strip())
                pieces, size = [], 0
    if pieces:
        parts.append("".join(pieces).strip())
    return parts


def read_deb(job: tuple[str, int, int]) -> list[tuple[str, str]]:
    """Names and texts of the parts of a package.

    ``job`` is its file, the characters of a part, and the fewest words of one; one value, so that a pool can map it.
    """
    file, limit, fewest_words = job
    package = Path(file).name.split("_")[0]
    parts = []
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        for member in archive:
            if not member.isfile() or not SMALLEST <= member.size <= LARGEST:
                continue
            content = archive.extractfile(member)
            name = member.name.lstrip("./")
            text = _text_of(name, content.read()) if content is not None else None
            for number, part in enumerate(split(text, limit) if text is not None else ()):
                if len(WORD.findall(part)) >= fewest_words:
                    parts.append((f"{package}:{name}#{number}", part))
    return parts


def _text_of(name: str, raw: bytes) -> str | None:
    """The text of a file of a package; None where it is no documentation."""
    if name.endswith((".gz", ".dz")):
        name = name[:-3]
        try:
            raw = gzip.GzipFile(fileobj=io.BytesIO(raw)).read(UNPACKED)
        except OSError:
            return None
    suffix = name.rsplit(".", 1)[-1].lower() if "." in name.rsplit("/", 1)[-1] else ""
    if suffix in ("html", "htm", "xhtml"):
        return html_text(raw)
    if "/man/" in name:
        return plain_text(raw, roff=True)
    if suffix in ("txt", "rst", "pod", "md", "dict", "text") or name.endswith(("copyright", "README")):
        return None if raw[:4096].count(b"\0") else plain_text(raw, roff=False)
    return None
