"""The chapters of a book, in the order of its spine.

The table of contents is no chapter, nor is what the spine calls not linear. A chapter that is missing or damaged is
told, and the others are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from pipelines.sources.parsers.html import decoded, page_part
from pipelines.sources.parsers.process import Part, Unparsed
from pipelines.sources.parsers.xml import events
from pipelines.sources.parsers.zipped import Members, inside

PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")
MOST_CHAPTERS = 20_000


def parts(data: bytes, settings: Mapping[str, Any]) -> Iterator[Part]:
    """A part a chapter. It states its `file`, and ``fault`` instead of a text where it has none."""
    members = Members(data)
    if "META-INF/rights.xml" in members or _encrypted(members):
        raise Unparsed("The book is encrypted (DRM); read a copy without it.")
    package = _package(members)
    folder = package.rpartition("/")[0]
    book, files, spine = _contents(members.read(package))
    if not spine:
        raise Unparsed("The book names no chapters; save it anew with the program that made it.")
    title = book.pop("title", "")
    number = 0
    for name in dict.fromkeys(spine[:MOST_CHAPTERS]):
        address, media, properties = files.get(name, ("", "", ""))
        if (media and media not in PAGES) or "nav" in properties.split():
            continue
        number += 1
        member = inside(folder, unquote(address).partition("#")[0])
        stated: dict[str, Any] = {"file": member or name, "chapter": number, "book": title}
        try:
            if not address:
                raise Unparsed("The chapter has no file in the book; save it anew with the program that made it.")
            page, wrong = decoded(members.read(member))
            if "<!ENTITY" in page[:65536]:
                raise Unparsed("The chapter declares entities, as bombs do; save the book anew.")
            values, text = page_part(page, {"main_content": False}, {}, wrong)
        except Unparsed as error:
            yield {**stated, "fault": str(error)}, ""
            continue
        names = ("title", "language", "wrong")
        own: dict[str, Any] = {field: values[field] for field in names if field in values}
        yield {**book, **own, **stated}, text


def _package(members: Members) -> str:
    if "META-INF/container.xml" in members:
        for event, tag, attributes in events(members.read("META-INF/container.xml")):
            if event == "start" and tag == "rootfile" and attributes.get("full-path"):
                return inside("", attributes["full-path"])
    package = next((name for name in members.names if name.endswith(".opf")), "")
    if not package:
        raise Unparsed("The file is no EPUB, since it has no package of chapters; save it anew as .epub.")
    return package


def _contents(content: bytes) -> tuple[dict[str, Any], dict[str, tuple[str, str, str]], list[str]]:
    """(what the book states, id -> (address, media type, properties), ids of the spine)."""
    names = {
        "title": "title",
        "creator": "author",
        "language": "language",
        "date": "date",
        "description": "description",
    }
    stated: dict[str, Any] = {}
    tags: list[str] = []
    files: dict[str, tuple[str, str, str]] = {}
    spine: list[str] = []
    field, pieces = "", list[str]()
    for event, tag, value in events(content):
        if event == "start":
            field, pieces = (tag, []) if tag in names or tag == "subject" else ("", [])
            if tag == "item":
                media, properties = value.get("media-type", ""), value.get("properties", "")
                files[value.get("id", "")] = (value.get("href", ""), media, properties)
            elif tag == "itemref" and value.get("linear") != "no":
                spine.append(value.get("idref", ""))
        elif event == "text" and field:
            pieces.append(value)
        elif event == "end" and tag == field:
            text = " ".join("".join(pieces).split())[:2000]
            if field == "subject" and text:
                tags.append(text)
            elif field == "creator" and text and "author" in stated:
                stated["author"] = f"{stated['author']}, {text}"[:2000]
            elif text:
                stated.setdefault(names[field], text)
            field = ""
    return ({**stated, "tags": tags[:100]} if tags else stated), files, spine


def _encrypted(members: Members) -> bool:
    """Whether more than fonts is encrypted, which publishers obfuscate."""
    if "META-INF/encryption.xml" not in members:
        return False
    return any(
        event == "start" and tag == "CipherReference" and not _font(attributes.get("URI", ""))
        for event, tag, attributes in events(members.read("META-INF/encryption.xml"))
    )


def _font(address: str) -> bool:
    return address.lower().endswith((".otf", ".ttf", ".woff", ".woff2"))
