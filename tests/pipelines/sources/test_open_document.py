"""Texts of OpenDocument: blocks, lists, tables, notes, what is left out, and numbers that nobody may believe."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.sources.document_files import OTHER, SENTENCE, fodt, odt, zipped
from mnemic.command import main
from pipelines.sources.contracts import Document, Reject
from pipelines.sources.odt import OpenDocuments
from pipelines.sources.recognise import recognised, unreadable

Read = Callable[[bytes], Document | Reject]
MIMETYPE = "application/vnd.oasis.opendocument."


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def result(data: bytes) -> Document | Reject:
        (tmp_path / "log.odt").write_bytes(data)
        source = OpenDocuments(path=str(tmp_path))
        (one,) = (result for item in source.manifest() for result in source.read(item, 1_000_000))
        return one

    return result


def text_of(read: Read, body: str) -> str:
    document = read(odt(body))
    assert isinstance(document, Document), document
    return document.text


def test_headings_lists_tables_and_notes(read: Read) -> None:
    document = read(odt())
    assert isinstance(document, Document)
    assert document.text == f"The log\n\n{SENTENCE}\n\nA note.\n\n- tides\n- ropes\n\ncrane\tmended\n\n{OTHER}"


def test_what_a_text_states_of_itself(read: Read) -> None:
    for data in (odt(), fodt()):
        document = read(data)
        assert isinstance(document, Document)
        assert document.metadata == {
            "title": "The log",
            "author": "Ada",
            "date": datetime(2026, 3, 1, 9, 30, tzinfo=UTC),
            "language": "en",
            "tags": ["harbour", "tides"],
        }


def test_damaged_metadata_costs_no_text(read: Read) -> None:
    document = read(odt(meta="<office:document-meta><title>The log"))
    assert isinstance(document, Document) and document.text.startswith("The log\n\n")


def test_spaces_are_those_that_are_stated(read: Read) -> None:
    runs = 'one <text:span> two</text:span>\n three<text:s text:c="3"/>four<text:tab/>five<text:line-break/>six'
    assert text_of(read, f"<text:p>\n  {runs}</text:p>") == "one two three   four\tfive\nsix"


def test_lists_in_lists_and_headings_in_lists(read: Read) -> None:
    inner = "<text:list><text:list-item><text:p>inner</text:p></text:list-item></text:list>"
    item = f"<text:list-item><text:p>outer</text:p><text:p>more</text:p>{inner}</text:list-item>"
    heading = "<text:list><text:list-item><text:h>First</text:h></text:list-item></text:list>"
    assert text_of(read, f"{heading}<text:list>{item}</text:list>") == "First\n\n- outer\n  more\n  - inner"


def test_tables_in_tables_and_empty_cells(read: Read) -> None:
    def row(*cells: str) -> str:
        every = "".join(f"<table:table-cell>{cell}</table:table-cell>" for cell in cells)
        return f"<table:table-row>{every}</table:table-row>"

    inner = f"<table:table>{row('<text:p>a</text:p>', '<text:p>b</text:p>')}</table:table>"
    body = f"<table:table>{row('<text:p>x</text:p><text:p>y</text:p>', '', inner, '', '')}{row('', '')}</table:table>"
    assert text_of(read, body) == "x y\t\ta\tb"


def test_what_is_none_of_the_text_is_left_out(read: Read) -> None:
    hidden = (
        "<text:tracked-changes><text:changed-region><text:deletion><text:p>deleted</text:p></text:deletion>"
        "</text:changed-region></text:tracked-changes><text:table-of-content><text:index-body><text:p>contents</text:p>"
        "</text:index-body></text:table-of-content>"
    )
    frame = (
        "<draw:frame><draw:image><office:binary-data>aGlkZGVu</office:binary-data></draw:image><dc:title>drawn</dc:title>"
        "<draw:text-box><text:p>In a box.</text:p></draw:text-box></draw:frame>"
    )
    comment = "<office:annotation><dc:creator>Eve</dc:creator><text:p>comment</text:p></office:annotation>"
    body = f"{hidden}<text:p>Before{comment} and <text:title>The log</text:title>.{frame}</text:p>"
    assert text_of(read, body) == "Before and The log.\n\nIn a box."


@pytest.mark.parametrize("count", ["4294967296", "9" * 5000, "-1", "one", "²", ""])
def test_a_number_of_repetitions_is_not_believed(count: str, read: Read) -> None:
    cell = f'<table:table-cell table:number-columns-repeated="{count}"><text:p>c</text:p></table:table-cell>'
    row = f'<table:table-row table:number-rows-repeated="{count}">{cell}</table:table-row>'
    text = text_of(read, f'<text:p>a<text:s text:c="{count}"/>b</text:p><table:table>{row}</table:table>')
    assert text.endswith("b\n\nc") and len(text) < 100


def test_an_encrypted_text_and_other_kinds_are_told(read: Read) -> None:
    manifest = '<manifest:manifest xmlns:manifest="m"><manifest:encryption-data/></manifest:manifest>'
    packed = io.BytesIO(odt())
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("META-INF/manifest.xml", manifest)
    locked = read(packed.getvalue())
    assert isinstance(locked, Reject) and "encrypted" in locked.reason
    sheet = zipped({"content.xml": "<d><body><spreadsheet><p>1</p></spreadsheet></body></d>"})
    other = read(sheet)
    assert isinstance(other, Reject) and ".xlsx" in other.reason
    nothing = read(zipped({"a.txt": "text"}))
    assert isinstance(nothing, Reject) and "content.xml" in nothing.reason


@pytest.mark.parametrize("extra", [b"", b"\xfe\xca\0\0"])
def test_other_files_of_open_document_are_no_archives(extra: bytes) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        info = zipfile.ZipInfo("mimetype")
        info.extra = extra
        archive.writestr(info, f"{MIMETYPE}spreadsheet")
        archive.writestr("content.xml", "<x/>")
    head = packed.getvalue()
    assert recognised("sums.ods", head) is None and ".xlsx" in unreadable(head)
    form = recognised("log.bin", head.replace(b"spreadsheet", b"text-master"))
    assert form is not None and form.kind == "odt"


def test_a_folder_with_texts_of_open_document_is_read_by_the_recipe_that_init_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "X").mkdir()
    for name, data in (("log.odt", odt()), ("flat.fodt", fodt()), ("renamed.bin", odt())):
        (tmp_path / "X" / name).write_bytes(data)
    assert main(["init", str(tmp_path / "r.yaml"), "--folder", str(tmp_path / "X")]) == 0
    assert "3  odt" in capsys.readouterr().out


def test_no_library_is_needed() -> None:
    code = (
        "import sys; from pipelines.sources.parsers import odt\n"
        "print(sorted({'mammoth', 'resiliparse', 'pyarrow', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
