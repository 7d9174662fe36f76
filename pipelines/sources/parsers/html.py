"""The main text of a page, by resiliparse, and what its head states.

A page whose main text is less than a share of all its text (an index, a page without a main part) gives all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import unescape
from itertools import islice
from typing import Any

from pipelines.sources.parsers.process import Part, Unparsed

WIDE = (b"\xff\xfe", b"\xfe\xff")
"""Marks of UTF-16, in which every other byte is zero."""

HEAD = 1 << 16
"""Characters in which `meta` and `link` are looked for."""

_TAGS = re.compile(
    r"<!--.*?(?:-->|\Z)|</head\s*>|<(html|meta|link)\b((?:[^>\"']|\"[^\"]{0,4096}\"|'[^']{0,4096}'){0,200}+)",
    re.IGNORECASE | re.DOTALL,
)
_ATTRIBUTES = re.compile(r"([a-zA-Z][\w:-]*)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))")
_NO_PAGE = re.compile(r"#|(?!https?:)[A-Za-z][A-Za-z0-9+.-]{0,30}:", re.IGNORECASE)
_CHARSET = re.compile(rb"<meta\b[^>]{0,400}?charset\s*=\s*[\"']?\s*([\w.:-]{2,40})", re.IGNORECASE)

_STATED = {
    "author": ("author", "article:author", "dc.creator", "dcterms.creator", "citation_author"),
    "date": (
        *("article:published_time", "datepublished", "date", "dc.date", "dc.date.issued", "dcterms.created"),
        *("dcterms.date", "citation_publication_date", "pubdate", "publish-date"),
    ),
    "language": ("content-language", "dc.language"),
    "title": ("og:title", "dc.title", "citation_title"),
    "url": ("og:url",),
    "description": ("description", "og:description"),
}


def parts(data: bytes, settings: Mapping[str, Any]) -> Iterator[Part]:
    """One part: the page. ``settings``: ``main_content``, ``least_main``, and whether to read ``links``."""
    if data.startswith((b"%PDF-", b"PK\x03\x04", b"\x1f\x8b")) or (b"\0" in data and data[:2] not in WIDE):
        raise Unparsed("The file is binary data, and no HTML; leave it out.")
    stated: dict[str, Any] = {}
    if _is_mhtml(data):
        data, charset, stated = _root_of_mhtml(data)
    else:
        charset = ""
    page, wrong = decoded(data, charset)
    yield page_part(page, settings, stated, wrong)


def page_part(page: str, settings: Mapping[str, Any], stated: Mapping[str, Any], wrong: int = 0) -> Part:
    """The part that a page is. ``stated`` is known from elsewhere; ``wrong`` characters could not be decoded."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(page)
    text = extract_plain_text(tree, main_content=bool(settings["main_content"]))
    if settings["main_content"] and _may_be_too_little(tree, text, page, settings["least_main"]):
        everything = extract_plain_text(tree, main_content=False)
        if len(text) < settings["least_main"] * len(everything) or not text.strip():
            text = everything
    values = {**stated_in_head(page), **stated}
    title = " ".join((tree.title or "").split())
    if title:
        values["title"] = title
    if wrong:
        values["wrong"] = wrong
    if settings.get("links"):
        values["links"] = hyperlinks(tree, text)
    return values, text.strip()


def hyperlinks(tree: Any, text: str) -> list[str]:
    """The links of a page whose words stand in its ``text``, as the column `links` has them, each once."""
    from mnemic.links.stated import MOST_LINKS, written_link

    spaced = " ".join(text.split())
    links = dict[str, None]()
    elements = tree.body.get_elements_by_tag_name("a") if tree.body is not None else ()
    for element in islice(elements, 10 * MOST_LINKS):
        target, words = element.getattr("href"), " ".join((element.text or "").split())
        if not target or not words or _NO_PAGE.match(target.strip()) or words[:200].rstrip() not in spaced:
            continue
        if link := written_link(words, target):
            links[link] = None
        if len(links) == MOST_LINKS:
            break
    return list(links)


def _may_be_too_little(tree: Any, text: str, page: str, share: float) -> bool:
    """Whether all text has to be extracted to know. The bounds that are looked at first count markup or scripts too."""
    if not text.strip():
        return True
    if len(text) >= 1.5 * share * len(page):
        return False
    body = tree.body
    return body is not None and len(text) < 1.5 * share * len(body.text)


def decoded(data: bytes, charset: str = "") -> tuple[str, int]:
    """(page, number of characters that could not be decoded): by its mark, as UTF-8, as it states, or by guess."""
    from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

    for mark, name in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if data.startswith(mark):
            return _replaced(data[len(mark) :], name)
    if not charset:
        try:
            return data.decode("utf-8"), 0
        except UnicodeDecodeError:
            match = _CHARSET.search(data, 0, 4096)
            charset = match[1].decode("ascii", "replace") if match else ""
    encoding: str | None = map_encoding_to_html5(charset) if charset else detect_encoding(data)
    return _replaced(data, encoding or "utf-8")


def stated_in_head(page: str) -> dict[str, Any]:
    """What `html`, `meta` and `link` state before the head ends. The first of equal names counts."""
    names: dict[str, str] = {}
    values: dict[str, Any] = {}
    for match in _TAGS.finditer(page, 0, HEAD):
        tag = (match[1] or "").lower()
        if not tag:
            if match[0].startswith("<!--"):
                continue
            break  # the end of the head
        attributes = {name.lower(): a or b or c for name, a, b, c in _ATTRIBUTES.findall(match[2])}
        if tag == "html":
            language = attributes.get("lang") or attributes.get("xml:lang", "")
            if language:
                values["language"] = language[:40]
        elif tag == "link":
            if "canonical" in attributes.get("rel", "").lower().split() and attributes.get("href"):
                values.setdefault("url", unescape(attributes["href"])[:2000])
        else:
            name = attributes.get("property") or attributes.get("name") or attributes.get("http-equiv") or ""
            name = name or attributes.get("itemprop", "")
            if attributes.get("content", "").strip():
                names.setdefault(name.lower(), " ".join(unescape(attributes["content"]).split())[:2000])
    for field, candidates in _STATED.items():
        if field not in values:
            value = next((names[name] for name in candidates if name in names), "")
            if value:
                values[field] = value
    return values


def _replaced(data: bytes, name: str) -> tuple[str, int]:
    try:
        return data.decode(name), 0
    except UnicodeDecodeError:
        page = data.decode(name, "replace")
        return page, page.count("\ufffd")
    except LookupError:
        return _replaced(data, "windows-1252")


def _is_mhtml(data: bytes) -> bool:
    head = data[:8192].lstrip().lower()
    return not head.startswith(b"<") and b"mime-version:" in head and b"multipart/related" in head


def _root_of_mhtml(data: bytes) -> tuple[bytes, str, dict[str, Any]]:
    """The first page in a saved page: (bytes, its charset, what the file states of it)."""
    from email import policy
    from email.parser import BytesParser

    message = BytesParser(policy=policy.compat32).parsebytes(data)
    for part in message.walk():
        if part.get_content_type() in ("text/html", "application/xhtml+xml"):
            content = part.get_payload(decode=True)
            if not isinstance(content, bytes):
                continue
            stated = {}
            address = message.get("Snapshot-Content-Location") or part.get("Content-Location")
            if address:
                stated["url"] = str(address).strip()[:2000]
            return content, str(part.get_content_charset() or ""), stated
    raise Unparsed("The saved page holds no HTML; save it anew, as a single file.")
