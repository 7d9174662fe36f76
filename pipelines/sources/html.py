"""Pages of HTML, alone or saved with their images in one file (MHTML): the main text, and what the head states.

The text is the main content as resiliparse finds it, without menus, footers and scripts; `pre` keeps its lines. Where
that is less than a tenth of all text of the page, all of it is taken. Metadata: `title`, `author`, `date`, `language`,
`url` (the canonical one) and `description`, as far as a page states them; and `links`, its hyperlinks, where a recipe
keeps them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from mnemic.links.stated import LINKS
from pipelines.sources.columns import asks_for
from pipelines.sources.contracts import Document, Reject
from pipelines.sources.json_values import MARK
from pipelines.sources.parsers.process import Content, parse_apart
from pipelines.sources.whole import ApartFiles, document, replaced

_PAGE = re.compile(
    rb"\A(?:\s|<!--.{0,4000}?-->|<\?xml[^>]{0,200}>)*+<(?:!doctype\s+html|html[\s>]|head[\s>])", re.I | re.S
)
_SAVED = re.compile(rb"^(?:snapshot-content-location:|from:\s*<saved by)", re.I | re.M)
_MHTML = re.compile(rb"^content-type:\s*multipart/related", re.I | re.M)


class WebPages(ApartFiles):
    """HTML and MHTML below ``path``.

    ``main_content``: leave menus, footers and asides out. ``least_main``: the share of the page's text below which the
    main text is given up for all of it.
    """

    version: ClassVar[int] = 1
    library: ClassVar[str] = "resiliparse"

    kind: Literal["html"] = "html"
    name: str = "html"
    suffixes: list[str] = Field(default=[".html", ".htm", ".xhtml", ".mhtml", ".mht"], min_length=1)
    max_bytes: int = Field(default=50_000_000, gt=0)
    main_content: bool = True
    least_main: float = Field(default=0.1, ge=0, le=1)

    def parse(self, content: Content, locator: str, limit: int) -> Iterator[Document | Reject]:
        settings = {"main_content": self.main_content, "least_main": self.least_main}
        settings |= {"links": True} if asks_for(self.columns, LINKS) else {}
        for stated, text in parse_apart("pipelines.sources.parsers.html", content, settings):
            wrong = stated.pop("wrong", 0)
            page = document(locator, text, limit, stated)
            yield page
            if isinstance(page, Document):
                yield from replaced(locator, wrong)


def recognise(name: str, head: bytes) -> bool:
    """Whether the first bytes of a file are HTML or MHTML; the name decides where they say nothing."""
    if _PAGE.match(head[:8192].removeprefix(MARK)):
        return True
    if _MHTML.search(head, 0, 8192) and b"MIME-Version:" in head[:8192]:  # as a mail with images is, too
        return name.lower().endswith((".mhtml", ".mht")) or _SAVED.search(head, 0, 8192) is not None
    fitting = name.lower().endswith((".html", ".htm", ".xhtml"))
    return fitting and b"\0" not in head and re.search(rb"<[a-zA-Z!/]", head) is not None
