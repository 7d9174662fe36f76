"""The text of a Word document: mammoth makes HTML of it, with headings, lists, tables and notes, and that is read.

Images, comments, headers and footers are left out, and macros are not looked at. Before mammoth sees the file, all
its XML has been unpacked under a limit and looked through for entities, since mammoth does neither.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.sources.parsers.html import page_part
from pipelines.sources.parsers.process import Part, Unparsed
from pipelines.sources.parsers.xml import events
from pipelines.sources.parsers.zipped import Members, core_properties

_DECLARED = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)


def parts(data: bytes, settings: Mapping[str, Any]) -> Iterator[Part]:
    """One part: the document."""
    import mammoth

    members = Members(data)
    if "word/document.xml" not in members and not any(name.startswith("word/document") for name in members.names):
        raise Unparsed("The file is no Word document, since it has no `word/document.xml`; save it anew as .docx.")
    for name in members.names:
        if name.endswith((".xml", ".rels")):
            content = members.read(name)
            if content[:2] in (b"\xff\xfe", b"\xfe\xff") or _DECLARED.search(content):
                raise Unparsed("Its XML declares entities, as bombs do; save it anew with the program that made it.")
            if name.startswith("word/"):
                for _ in events(content):  # its depth, since mammoth goes down by calls
                    pass
    page = mammoth.convert_to_html(io.BytesIO(data), convert_image=lambda image: []).value
    page = page.replace("<td><p>", "<td>").replace("</p></td>", "</td>")  # a row is a line
    yield page_part(f"<body>{page}</body>", {"main_content": False}, core_properties(members))
