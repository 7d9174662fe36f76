"""Tiny files of every format of documents, made here: each is what a program would write, with one text in it."""

from __future__ import annotations

import io
import json
import zipfile
import zlib

SENTENCE = "The parser that Ada wrote in March reads every page of the harbour's log, and Bob checks it at night."
"""Stands in the first document of every file."""

OTHER = "A second passage tells of tides, of ropes and of the crane that was mended twice in one winter."


def html() -> bytes:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>The   harbour's log</title>
<link rel="canonical" href="https://example.org/log?a=1&amp;b=2">
<meta name="author" content="Ada Byron"><meta property="article:published_time" content="2026-03-01T09:30:00Z">
<script>var hidden = "not text";</script></head>
<body><nav><a href="/">Home</a> <a href="/about">About us</a></nav>
<main><article><h1>The harbour's log</h1><p>{SENTENCE}</p><pre>for page in log:
    read(page)</pre><p>{OTHER}</p></article></main>
<footer>Imprint and cookies</footer></body></html>
""".encode()


def mhtml() -> bytes:
    return (
        "From: <Saved by Blink>\r\nSnapshot-Content-Location: https://example.org/log\r\nSubject: The log\r\n"
        'MIME-Version: 1.0\r\nContent-Type: multipart/related;\r\n\ttype="text/html";\r\n\tboundary="----x"\r\n\r\n\r\n'
        "------x\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n"
        "Content-Location: https://example.org/log\r\n\r\n"
        f"<html><head><title>The log</title></head><body><p>{SENTENCE}</p><p>Caf=C3=A9</p></body></html>\r\n"
        "------x\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n------x--\r\n"
    ).encode()


def pdf(pages: list[list[str]] | None = None, encrypt: bool = False, title: str = "The log") -> bytes:
    """A PDF of pages of lines, in Helvetica, with an outline of the first page."""
    if pages is None:
        lines = (
            OTHER,
            "Ropes rot where the sun and the salt are.",
            "Two cranes stand at the quay.",
            "A ship came late.",
        )
        pages = [["Harbour office", SENTENCE[:51], SENTENCE[52:], "It is said that half-", "way up it snows.", "1"]]
        pages += [["Harbour office", line, f"{line} That is all.", str(n)] for n, line in enumerate(lines, start=2)]
    objects: list[bytes] = []
    kids = " ".join(f"{5 + 2 * index} 0 R" for index in range(len(pages)))
    objects.append(b"<< /Type /Catalog /Pages 2 0 R >>")
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
    objects.append(f"<< /Title ({title}) /Author (Ada) /CreationDate (D:20260301093000+01'00') >>".encode())
    for index, page in enumerate(pages):
        drawn = "".join(f"({_escaped(line)}) Tj 0 -14 Td " for line in page)
        content = zlib.compress(f"BT /F1 10 Tf 72 720 Td {drawn}ET".encode("cp1252"))
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {6 + 2 * index} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        head = f"<< /Length {len(content)} /Filter /FlateDecode >>\nstream\n".encode()
        objects.append(head + content + b"\nendstream")
    trailer = "/Info 4 0 R"
    if encrypt:
        objects.append(
            b"<< /Filter /Standard /V 1 /R 2 /Length 40 /P -44 /O <" + b"28" * 32 + b"> /U <" + b"55" * 32 + b"> >>"
        )
        trailer += (
            f" /Encrypt {len(objects)} 0 R /ID [<00112233445566778899AABBCCDDEEFF> <00112233445566778899AABBCCDDEEFF>]"
        )
    data = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    start = len(data)
    data += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    data += b"".join(f"{offset:010d} 00000 n \n".encode() for offset in offsets)
    data += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(data)


def _escaped(line: str) -> str:
    return line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def zipped(members: dict[str, str | bytes], stored: tuple[str, ...] = ()) -> bytes:
    """A zip of members, with equal times, so that equal members are equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            kind = zipfile.ZIP_STORED if name in stored else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(name, (2026, 3, 1, 9, 30, 0)), content, kind)
    return buffer.getvalue()


CORE = (
    '<cp:coreProperties xmlns:cp="c" xmlns:dc="d" xmlns:dcterms="t"><dc:title>The log</dc:title>'
    "<dc:creator>Ada</dc:creator><cp:keywords>harbour, tides</cp:keywords>"
    "<dcterms:created>2026-03-01T09:30:00Z</dcterms:created></cp:coreProperties>"
)
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"


def _relations(*targets: tuple[str, str]) -> str:
    listed = "".join(
        f'<Relationship Id="rId{number}" Type="{_RELATIONS}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(targets, start=1)
    )
    return f'<?xml version="1.0"?><Relationships xmlns="{_PACKAGE}/relationships">{listed}</Relationships>'


def docx(document: str = "") -> bytes:
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"

    def paragraph(text: str, style: str = "") -> str:
        properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
        return f"<w:p>{properties}<w:r><w:t>{text}</w:t></w:r></w:p>"

    cells = "".join(f"<w:tc>{paragraph(text)}</w:tc>" for text in ("crane", "mended"))
    body = paragraph("The log", "Heading1") + paragraph(SENTENCE) + f"<w:tbl><w:tr>{cells}</w:tr></w:tbl>"
    types = (
        f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels"'
        ' ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override'
        ' PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.'
        'document.main+xml"/></Types>'
    )
    return zipped(
        {
            "[Content_Types].xml": types,
            "_rels/.rels": _relations(("officeDocument", "word/document.xml")),
            "word/document.xml": document or f'<w:document xmlns:w="{word}"><w:body>{body}</w:body></w:document>',
            "docProps/core.xml": CORE,
        }
    )


def pptx() -> bytes:
    def slide(*paragraphs: str) -> str:
        runs = "".join(f"<a:p><a:r><a:t>{text}</a:t></a:r></a:p>" for text in paragraphs)
        table = (
            "<a:tbl><a:tr><a:tc><a:txBody><a:p><a:r><a:t>crane</a:t></a:r></a:p></a:txBody></a:tc>"
            "<a:tc><a:txBody><a:p><a:r><a:t>mended</a:t></a:r></a:p></a:txBody></a:tc></a:tr></a:tbl>"
        )
        return f'<p:sld xmlns:p="p" xmlns:a="a"><p:sp><p:txBody>{runs}</p:txBody></p:sp>{table}</p:sld>'

    notes = (
        '<p:notes xmlns:p="p" xmlns:a="a"><p:sp><p:nvPr><p:ph type="sldNum"/></p:nvPr><a:p><a:r><a:t>7</a:t></a:r></a:p>'  # noqa: E501
        '</p:sp><p:sp><p:nvPr><p:ph type="body"/></p:nvPr><a:p><a:r><a:t>Speak slowly.</a:t></a:r></a:p></p:sp></p:notes>'  # noqa: E501
    )
    presentation = (
        f'<p:presentation xmlns:p="p" xmlns:r="{_RELATIONS}"><p:sldIdLst><p:sldId id="256" r:id="rId2"/>'
        '<p:sldId id="257" r:id="rId1"/></p:sldIdLst></p:presentation>'
    )
    return zipped(
        {
            "ppt/presentation.xml": presentation,
            "ppt/_rels/presentation.xml.rels": _relations(
                ("slide", "slides/slide2.xml"), ("slide", "slides/slide1.xml")
            ),
            "ppt/slides/slide1.xml": slide("The log", SENTENCE),
            "ppt/slides/slide2.xml": slide(OTHER),
            "ppt/slides/_rels/slide1.xml.rels": _relations(("notesSlide", "../notesSlides/notesSlide1.xml")),
            "ppt/notesSlides/notesSlide1.xml": notes,
            "docProps/core.xml": CORE,
        }
    )


def xlsx(sheet: str = "") -> bytes:
    rows = (
        '<row r="2"><c r="A2" t="s"><v>0</v></c><c r="B2" t="s"><v>1</v></c><c r="D2" t="inlineStr"><is><t>at</t></is></c></row>'  # noqa: E501
        '<row r="3"><c r="A3"><v>1</v></c><c r="B3" t="s"><v>2</v></c><c r="C3"><v>2.5</v></c><c r="D3" s="1"><v>46082.5</v></c></row>'  # noqa: E501
        '<row r="5"><c r="A5"><v>2</v></c><c r="B5" t="str"><f>A1</f><v>'
        + OTHER
        + '</v></c><c r="D5" s="1"><v>46083</v></c></row>'
    )
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    return zipped(
        {
            "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{_RELATIONS}"><sheets><sheet name="Log" sheetId="1"'
            ' r:id="rId1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": _relations(("worksheet", "worksheets/sheet1.xml")),
            "xl/worksheets/sheet1.xml": sheet or f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>',
            "xl/sharedStrings.xml": f'<sst xmlns="{main}"><si><t>name</t></si><si><r><t>no</t></r><r><t>te</t></r></si>'
            f"<si><t>{SENTENCE}</t></si></sst>",
            "xl/styles.xml": f'<styleSheet xmlns="{main}"><cellXfs><xf numFmtId="0"/><xf numFmtId="22"/></cellXfs></styleSheet>',  # noqa: E501
        }
    )


def odt(body: str = "", **members: str) -> bytes:
    """A text of OpenDocument; ``body`` is XML, ``members`` further files without their ending."""
    body = body or (
        '<text:h text:outline-level="1">The log</text:h>'
        f"<text:p>{SENTENCE[:40]}<text:span>{SENTENCE[40:]}</text:span><text:note><text:note-citation>1</text:note-citation>"
        "<text:note-body><text:p>A note.</text:p></text:note-body></text:note></text:p>"
        "<text:list><text:list-item><text:p>tides</text:p></text:list-item><text:list-item><text:p>ropes</text:p>"
        '</text:list-item></text:list><table:table><table:table-row><table:table-cell office:value-type="string">'
        "<text:p>crane</text:p></table:table-cell><table:table-cell><text:p>mended</text:p></table:table-cell>"
        f"</table:table-row></table:table><text:p>{OTHER}</text:p>"
    )
    kind = "application/vnd.oasis.opendocument.text"
    files: dict[str, str | bytes] = {
        "mimetype": kind,
        "content.xml": f"{_open('document-content')}<office:body><office:text>{body}</office:text></office:body>"
        "</office:document-content>",
        "meta.xml": f"{_open('document-meta')}{OPEN_META}</office:document-meta>",
        "META-INF/manifest.xml": f'<manifest:manifest xmlns:manifest="m"><manifest:file-entry'
        f' manifest:media-type="{kind}" manifest:full-path="/"/></manifest:manifest>',
        **{f"{name}.xml": content for name, content in members.items()},
    }
    return zipped(files, stored=("mimetype",))


def _open(root: str) -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><office:{root} xmlns:office="o" xmlns:text="t" xmlns:table="b"'
        ' xmlns:draw="d" xmlns:dc="c" xmlns:meta="m" office:version="1.3"'
        + (' office:mimetype="application/vnd.oasis.opendocument.text">' if root == "document" else ">")
    )


OPEN_META = (
    "<office:meta><dc:title>The log</dc:title><meta:initial-creator>Ada</meta:initial-creator>"
    "<dc:creator>Bob</dc:creator><meta:creation-date>2026-03-01T09:30:00</meta:creation-date><dc:language>en</dc:language>"
    "<meta:keyword>harbour</meta:keyword><meta:keyword>tides</meta:keyword></office:meta>"
)


def fodt() -> bytes:
    body = f"<text:h>The log</text:h><text:p>{SENTENCE}</text:p><text:p>{OTHER}</text:p>"
    return (
        f"{_open('document')}{OPEN_META}<office:body><office:text>{body}</office:text></office:body></office:document>"
    ).encode()


def epub(chapters: dict[str, str] | None = None) -> bytes:
    page = '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>{0}</title></head><body><h1>{0}</h1><p>{1}</p></body></html>'
    if chapters is None:
        chapters = {"one.xhtml": page.format("First", SENTENCE), "two.xhtml": page.format("Second", OTHER)}
    items = "".join(
        f'<item id="c{number}" href="text/{name}" media-type="application/xhtml+xml"/>'
        for number, name in enumerate(chapters)
    )
    spine = "".join(f'<itemref idref="c{number}"/>' for number in reversed(range(len(chapters))))
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        "<dc:title>The log</dc:title><dc:creator>Ada</dc:creator><dc:language>en</dc:language><dc:date>2026-03-01</dc:date>"  # noqa: E501
        "</metadata><manifest>" + items + '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml"'
        ' properties="nav"/><item id="cover" href="cover.png" media-type="image/png"/></manifest><spine>'
        '<itemref idref="nav"/>' + spine + "</spine></package>"
    )
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>',
            "OEBPS/book.opf": package,
            "OEBPS/nav.xhtml": page.format("Contents", "First Second"),
            **{f"OEBPS/text/{name}": content for name, content in chapters.items()},
        },
        stored=("mimetype",),
    )


def notebook() -> bytes:
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# The log\n", "\n", SENTENCE]},
        {
            "cell_type": "code",
            "metadata": {},
            "execution_count": 1,
            "source": "print(1 + 1)\n",
            "outputs": [{"output_type": "stream", "name": "stdout", "text": ["2\n"]}],
        },
        {"cell_type": "raw", "metadata": {}, "source": OTHER},
    ]
    metadata = {"kernelspec": {"name": "python3", "language": "python"}, "authors": [{"name": "Ada"}]}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1).encode()


def markdown() -> bytes:
    return (
        "---\ntitle: The log\ntags: [harbour, tides]\naliases: log, journal\ndate: 2026-03-01\nrating: 4.5\n---\n\n"
        f"# A heading\n\n{SENTENCE}\n\n- See [[Crane|the crane]] and [[Ropes#Knots]]. #winter\n\n```\n# no heading\n```\n"  # noqa: E501
    ).encode()


def notion() -> bytes:
    page = f"# The log\n\nStatus: Done\nTags: harbour, tides\nCreated: March 1, 2026 9:30 AM\n\n{SENTENCE}\n"
    identity = "0123456789abcdef0123456789abcdef"
    inner = zipped(
        {
            f"Harbour {identity}/The log {identity}.md": page,
            f"Harbour {identity}.md": f"# Harbour\n\n{OTHER}\n",
            f"Harbour {identity}/Logs {identity}.csv": "Name,Status\nThe log,Done\n",
            f"Harbour {identity}/crane.png": b"\x89PNG\r\n",
        }
    )
    return zipped({"ExportBlock-0123-Part-1.zip": inner})


def code() -> bytes:
    return f'''"""Reads the log."""

import os

LIMIT = 3


# How a page begins.
@os.fspath
def read(page):
    """{SENTENCE}"""
    return page[:LIMIT]


class Log:
    """{OTHER}"""

    def add(self, page):
        self.pages.append(page)
'''.encode()


def go() -> bytes:
    functions = "".join(
        f'\n// Step{n} reads a page: {OTHER}\nfunc Step{n}(page string) string {{\n\tif page == "{{" {{\n\t\treturn page\n\t}}\n'  # noqa: E501
        f'\treturn page + "{n}"\n}}\n'
        for n in range(20)
    )
    return f"package harbour\n\n// {SENTENCE}\n{functions}".encode()


SAMPLES = {
    "html": ("html", {"page.html": html}),
    "mhtml": ("html", {"page.mhtml": mhtml}),
    "pdf": ("pdf", {"log.pdf": pdf}),
    "docx": ("docx", {"log.docx": docx}),
    "odt": ("odt", {"log.odt": odt}),
    "fodt": ("odt", {"log.fodt": fodt}),
    "pptx": ("pptx", {"log.pptx": pptx}),
    "xlsx": ("xlsx", {"log.xlsx": xlsx}),
    "epub": ("epub", {"log.epub": epub}),
    "notebook": ("notebook", {"log.ipynb": notebook}),
    "markdown": ("markdown", {"log.md": markdown}),
    "obsidian": ("obsidian", {"2026-03-02.md": markdown}),
    "notion": ("notion", {"Export-1.zip": notion}),
    "code": ("code", {"log.py": code}),
    "code-other": ("code", {"log.go": go}),
}
"""Format -> (kind of its source, file -> what makes its content)."""
