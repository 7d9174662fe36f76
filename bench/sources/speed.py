"""Readers beside the bare library, on the same files in the same run: passes in turns, medians of their ratios."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.data import MissingData
from bench.places import CACHE
from bench.report import Row, paired, peer_library, tell, timed
from pipelines.sources.contracts import Document, Item
from pipelines.sources.kinds import find_source
from pipelines.sources.parsers import process

LIMIT = 50_000_000
PACKAGES = {"html": ("python3.11-doc",), "pdf": ("texlive-base", "r-base-core", "r-cran-survival")}


def measure(kind: str, folder: Path | None, quick: bool) -> list[Row]:
    """Pages a second, ours and the library's, and their ratios in wall time and in processor time."""
    library = peer_library("resiliparse" if kind == "html" else "pypdfium2")
    tell(f"{library.__name__} {getattr(library, '__version__', '')}")
    folder = folder or corpus(kind)
    source: Any = find_source(kind)(path=str(folder), **{"max_bytes": LIMIT})  # type: ignore[call-arg]
    items = [item for item in source.manifest() if item.size > 1000 and not (folder / item.locator).is_symlink()]
    random.Random(0).shuffle(items)
    items = items[: 60 if quick else 530]
    pages = _pages(source, items, kind)
    size = sum(item.size for item in items)
    tell(f"{len(items)} files, {pages} pages, {size / 1e6:.1f} MB of {folder}")

    def ours() -> None:
        for item in items:
            for _ in source.read(item, LIMIT):
                pass

    bare = _BARE[kind]

    def theirs() -> None:
        for item in items:
            bare(folder / item.locator)

    ours()
    theirs()
    processor = _processor_time(ours) / _processor_time(theirs)
    their_seconds, our_seconds, ratio = paired(lambda: timed(theirs), lambda: timed(ours), 3 if quick else 7)
    unit = "pages/s"
    return [
        Row(f"{kind}_bare", f"{library.__name__} alone", pages / their_seconds, unit),
        Row(f"{kind}_ours", "the source", pages / our_seconds, unit),
        Row(f"{kind}_share", "of the bare rate, wall time", 1 / ratio, "", 0.8, 0.95, peer=library.__name__),
        Row(f"{kind}_share_cpu", "of the bare rate, processor time of both processes", 1 / processor, ""),
    ]


def corpus(kind: str) -> Path:
    """The files of `PACKAGES`, unpacked in the cache."""
    folder = CACHE / "documents" / kind
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as downloads:
            command = ["apt-get", "download", *PACKAGES[kind]]
            if subprocess.run(command, cwd=downloads, capture_output=True, check=False).returncode:
                raise MissingData(f"The documentation could not be downloaded ({' '.join(command)}); name a FOLDER.")
            unpacked = Path(tempfile.mkdtemp(dir=folder.parent))
            for package in sorted(Path(downloads).glob("*.deb")):
                archive = subprocess.run(
                    ["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True
                ).stdout
                subprocess.run(
                    ["tar", "x", "-C", str(unpacked), "--wildcards", f"*.{kind}"], input=archive, check=False
                )
        unpacked.rename(folder)
    return folder


def _pages(source: Any, items: list[Item], kind: str) -> int:
    if kind == "html":
        return len(items)
    results = (result for item in items for result in source.read(item, LIMIT))
    starts = (result.metadata["pages"] for result in results if isinstance(result, Document))
    return sum(len(pages) for pages in starts if isinstance(pages, list))


def _bare_html(path: Path) -> None:
    from resiliparse.extract.html2text import extract_plain_text

    extract_plain_text(path.read_bytes().decode("utf-8", "replace"), main_content=True)


def _bare_pdf(path: Path) -> None:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(path.read_bytes())
    except pypdfium2.PdfiumError:
        return
    for number in range(len(document)):
        page = document[number]
        textpage = page.get_textpage()
        textpage.get_text_range()
        textpage.close()
        page.close()
    document.close()


_BARE: dict[str, Callable[[Path], None]] = {"html": _bare_html, "pdf": _bare_pdf}


def _processor_time(action: Callable[[], None]) -> float:
    """Seconds of processor time of this process and of the parsers that it has."""
    begin = time.process_time() + _of_parsers()
    action()
    return time.process_time() + _of_parsers() - begin


def _of_parsers() -> float:
    seconds = 0.0
    for parser in process.idle():
        fields = Path(f"/proc/{parser.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds
