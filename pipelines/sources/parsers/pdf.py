"""The text of a PDF by pdfium, page by page, without what every page repeats.

pdfium marks a hyphen at the end of a line, which the word goes on after, by U+FFFE; the two halves are joined. Lines
that stand at the top or at the bottom of more than `REPEATED` of the pages are cut, their digits apart: page numbers
and running titles. A line that the outline names as a heading of its page becomes a paragraph of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.sources.parsers.process import Part, Unparsed

REPEATED = 0.6
FEWEST_PAGES = 4
"""A document of fewer pages keeps its first and last lines: nothing can be said to repeat."""

MARGIN = 3
"""Lines at either end of a page that can be running titles."""

MOST_HEADINGS = 10_000

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]")
_HYPHEN = re.compile(r"(?<=[^\W\d_])(?:-|\u00ad)\n(?=[a-zß-öø-ÿ])")
_DATE = re.compile(r"D:(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:(Z)|([+-]\d\d)'?(\d\d))?")
_DIGITS = re.compile(r"\d+")
_ENDS = (".", "!", "?", ":", "…", '"', "”", "。", "！", "？")


def parts(data: bytes, settings: Mapping[str, Any]) -> Iterator[Part]:
    """One part: the document. It states `pages` (where each begins in the text), and `empty` and `broken` pages."""
    import pypdfium2

    if b"%PDF-" not in data[:1024]:
        raise Unparsed("The file is no PDF, since its beginning does not say so; leave it out.")
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower() or "security" in str(error).lower():
            raise Unparsed("The PDF is encrypted; save a copy without a password.") from error
        raise Unparsed("The PDF is damaged: it has no pages that can be found; save it anew.") from error
    headings = _headings(document)
    pages: list[list[str]] = []
    empty: list[int] = []
    broken: list[int] = []
    for number in range(len(document)):
        try:
            page = document[number]
            textpage = page.get_textpage()
            text = textpage.get_text_range()
            textpage.close()
            page.close()
        except (pypdfium2.PdfiumError, ValueError):
            broken.append(number + 1)
            pages.append([])
            continue
        if not text.strip():
            empty.append(number + 1)
        pages.append(_lines(text))
    running = _running(pages)
    text, starts = _joined([_without(lines, *running) for lines in pages], headings)
    stated: dict[str, Any] = {"pages": starts, "count": len(pages), "empty": empty, "broken": broken}
    yield {**stated, **_metadata(document)}, text


def _lines(text: str) -> list[str]:
    text = text.replace("\r\n", "\n").replace("\ufffe", "").replace("\x02", "")
    if "-\n" in text or "\u00ad\n" in text:
        text = _HYPHEN.sub("", text)
    return [line.rstrip() for line in _CONTROLS.sub("\ufffd", text).strip("\n").split("\n")]


def _running(pages: list[list[str]]) -> tuple[set[str], set[str]]:
    """Lines at the top and at the bottom of most pages, their digits left out."""
    filled = [lines for lines in pages if any(lines)]
    if len(filled) < FEWEST_PAGES:
        return set(), set()
    sides = []
    for top in (True, False):
        counts = Counter(
            line for lines in filled for line in {_plain(line) for line in (lines[:MARGIN] if top else lines[-MARGIN:])}
        )
        sides.append({line for line, count in counts.items() if line is not None and count > REPEATED * len(filled)})
    return sides[0], sides[1]


def _plain(line: str) -> str:
    return _DIGITS.sub("#", " ".join(line.split()))


def _without(lines: list[str], top: set[str], bottom: set[str]) -> list[str]:
    """A page's lines without the running ones, which stand at its very ends; a page of nothing else keeps them."""
    start, end = 0, len(lines)
    while start < min(MARGIN, end) and _plain(lines[start]) in top:
        start += 1
    while end > max(start, len(lines) - MARGIN) and _plain(lines[end - 1]) in bottom:
        end -= 1
    return lines[start:end] if any(lines[start:end]) else lines


def _joined(pages: list[list[str]], headings: Mapping[int, set[str]]) -> tuple[str, list[int]]:
    """The text, and where each page begins in it. A sentence goes on over the end of a page."""
    text: list[str] = []
    starts: list[int] = []
    length = 0
    for number, lines in enumerate(pages):
        names = headings.get(number, set())
        page = "\n".join(f"\n{line}\n" if names and _title(line) in names else line for line in lines).strip()
        if page and text:
            gap = "\n\n" if text[-1].endswith(_ENDS) or (names and lines and page[0].isupper()) else "\n"
            text.append(gap)
            length += len(gap)
        starts.append(length)
        if page:
            text.append(page)
            length += len(page)
    return "".join(text), starts


def _headings(document: Any) -> dict[int, set[str]]:
    """Page -> the titles that the outline has there."""
    titles: dict[int, set[str]] = {}
    try:
        for number, bookmark in enumerate(document.get_toc(max_depth=6)):
            if number >= MOST_HEADINGS:
                break
            target = bookmark.get_dest()
            page = target.get_index() if target is not None else None
            title = _title(bookmark.get_title())
            if page is not None and title:
                titles.setdefault(page, set()).add(title)
    except Exception:  # an outline that is damaged says nothing
        return titles
    return titles


def _title(line: str) -> str:
    """A heading without its number, which outlines often leave out, in lower case."""
    return _plain(line).lower().lstrip("#. ")


def _metadata(document: Any) -> dict[str, Any]:
    try:
        entries = document.get_metadata_dict()
    except Exception:
        return {}
    stated: dict[str, Any] = {}
    for field, name in (("title", "Title"), ("author", "Author"), ("description", "Subject")):
        value = " ".join(_CONTROLS.sub(" ", entries.get(name) or "").split())[:2000]
        if value:
            stated[field] = value
    if match := _DATE.match(entries.get("CreationDate") or ""):
        year, month, day, hour, minute, second, _, zone, minutes = match.groups()
        stated["date"] = f"{year}-{month}-{day}T{hour}:{minute}:{second}{f'{zone}:{minutes}' if zone else 'Z'}"
    if keywords := [word.strip() for word in (entries.get("Keywords") or "").split(",") if word.strip()]:
        stated["tags"] = keywords[:100]
    return stated
