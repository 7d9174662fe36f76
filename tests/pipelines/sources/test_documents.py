"""Sources of documents, format by format: the text, what is stated of it, and what a bad file costs."""

from __future__ import annotations

import io
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.sources.document_files import OTHER, SAMPLES, SENTENCE, docx, epub, html, pdf, zipped
from bench.sources.mutate import mutated, run
from bench.sources.samples import formats, sample
from mnemic.errors import SourceError
from pipelines.sources.contracts import Document, Reject
from pipelines.sources.files import Files
from pipelines.sources.folder import Folder
from pipelines.sources.kinds import find_source
from pipelines.sources.recognise import recognised

LIMIT = 1_000_000
ZIPS = ("docx", "odt", "pptx", "xlsx", "epub")
Read = Callable[..., list[Document | Reject]]


def source_of(kind: str, path: Path, **settings: Any) -> Files:
    return find_source(kind)(path=str(path), **settings)  # type: ignore[call-arg,return-value]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """What a source of ``kind`` gives for one file."""

    def results(kind: str, name: str, data: bytes, limit: int = LIMIT, **settings: Any) -> list[Document | Reject]:
        (tmp_path / name).write_bytes(data)
        source = source_of(kind, tmp_path / name, **settings)
        return [result for item in source.manifest() for result in source.read(item, limit)]

    return results


@pytest.mark.parametrize("name", SAMPLES)
def test_the_text_of_every_format_is_read(name: str, tmp_path: Path) -> None:
    files = sample(name)
    files.write(tmp_path)
    source = files.source(tmp_path)
    results = [result for item in source.manifest() for result in source.read(item, LIMIT)]
    text = " ".join(" ".join(result.text.split()) for result in results if isinstance(result, Document))
    assert SENTENCE in text
    assert OTHER in text or name in ("mhtml", "docx", "markdown", "obsidian")
    assert "Imprint" not in text and "hidden" not in text
    assert not [result for result in results if isinstance(result, Reject) and result.severity != "empty"]


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "obsidian"])
def test_every_format_is_recognised_by_its_content(name: str) -> None:
    kind, files = SAMPLES[name]
    for path, make in files.items():
        form = recognised(path, make()[: 1 << 16])
        assert form is not None and form.kind == kind


@pytest.mark.parametrize("name", ["html", "mhtml", "pdf", "docx", "odt", "fodt", "pptx", "xlsx", "epub", "notebook"])
def test_a_format_is_never_taken_as_plain_text(name: str, tmp_path: Path) -> None:
    kind, files = SAMPLES[name]
    (tmp_path / "file.txt").write_bytes(next(iter(files.values()))())
    source = Folder(path=str(tmp_path), suffixes=[".txt"])
    (result,) = (result for item in source.manifest() for result in source.read(item, LIMIT))
    assert isinstance(result, Reject)
    assert f"`kind: {kind}`" in result.reason


@pytest.mark.parametrize("name", ["html", "pdf", "docx", "odt", "epub", "markdown", "code"])
def test_a_file_in_an_archive_gives_the_same_text(name: str, tmp_path: Path) -> None:
    kind, files = SAMPLES[name]
    ((path, make),) = files.items()
    (tmp_path / path).write_bytes(make())
    (tmp_path / "all.zip").write_bytes(zipped({path: make()}))
    alone, packed = source_of(kind, tmp_path / path), source_of("archive", tmp_path / "all.zip")
    texts = [
        [
            result.text
            for item in source.manifest()
            for result in source.read(item, LIMIT)
            if isinstance(result, Document)
        ]
        for source in (alone, packed)
    ]
    assert texts[0] == texts[1] != []


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_above_its_bound_is_a_reject_that_names_the_setting(name: str, tmp_path: Path) -> None:
    if name == "notion":
        pytest.skip("an export is read member by member")
    files = sample(name)
    files.write(tmp_path)
    source = files.source(tmp_path).model_copy(update={"max_bytes": 100})
    (result,) = (result for item in source.manifest() for result in source.read(item, LIMIT))
    assert isinstance(result, Reject) and "`max_bytes`" in result.reason


@pytest.mark.parametrize("name", SAMPLES)
def test_a_document_above_the_limit_of_all_sources_is_a_reject(name: str, tmp_path: Path) -> None:
    files = sample(name)
    files.write(tmp_path)
    source = files.source(tmp_path)
    results = [result for item in source.manifest() for result in source.read(item, 20)]
    assert results and all(isinstance(result, Reject) for result in results)
    assert any("max_document_bytes" in result.reason for result in results if isinstance(result, Reject))


@pytest.mark.parametrize("name", SAMPLES)
def test_an_empty_file_is_told(name: str, tmp_path: Path) -> None:
    files = sample(name)
    for path in files.files:
        (tmp_path / path).write_bytes(b"")
    source = files.source(tmp_path)
    (result,) = (result for item in source.manifest() for result in source.read(item, LIMIT))
    assert isinstance(result, Reject) and result.locator


@pytest.mark.parametrize(
    ("kind", "module"),
    [
        ("html", "resiliparse"),
        ("pdf", "pypdfium2"),
        ("docx", "mammoth"),
        ("docx", "resiliparse"),
        ("epub", "resiliparse"),
    ],
)
def test_a_missing_library_is_a_sentence_with_the_line_that_installs_it(
    kind: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.html").write_text("x")
    monkeypatch.setattr("pipelines.sources.files.find_spec", lambda name: None if name == module else object())
    with pytest.raises(SourceError, match=r"pip install 'mnemic\[sources\]'"):
        source_of(kind, tmp_path / "a.html").manifest()


def test_sources_are_named_without_their_libraries() -> None:
    code = (
        "import sys; from pipelines.sources.kinds import find_source\n"
        "for kind in ('html', 'pdf', 'docx', 'epub', 'xlsx'): find_source(kind)\n"
        "print(sorted({'mammoth', 'pypdfium2', 'resiliparse'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", SAMPLES)
def test_mutated_files_never_end_a_reading(name: str) -> None:
    outcome = run(name, 40, seed=1)
    assert outcome.tried == 40
    assert not outcome.faults


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES)
def test_many_mutated_files_never_end_a_reading(name: str) -> None:
    outcome = run(name, 200, seed=1)
    assert outcome.tried == 200
    assert not outcome.faults


def test_files_that_are_mutated_are_the_same_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.0)
    before = {name: sample(name) for name in formats()}
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    assert {name for name in before if sample(name) != before[name]} == set()


def test_mutations_are_made_of_their_seed() -> None:
    import random

    data = html()
    first = [mutated(data, random.Random(5)) for _ in range(3)]
    assert first[0] == first[1] == first[2] != data
    assert len({mutated(data, random.Random(seed)) for seed in range(50)}) > 45


def test_pages_state_what_they_are(read: Read) -> None:
    (page,) = read("html", "page.html", html())
    assert isinstance(page, Document)
    assert page.metadata == {
        "title": "The harbour's log",
        "url": "https://example.org/log?a=1&b=2",
        "author": "Ada Byron",
        "language": "en",
        "date": datetime(2026, 3, 1, 9, 30, tzinfo=UTC),
    }
    assert page.time == page.metadata["date"]
    assert "for page in log:\n    read(page)" in page.text


def test_a_page_without_a_main_part_gives_all_its_text(read: Read) -> None:
    links = "".join(f"<li><a href='/{n}'>Chapter {n} of the long book</a></li>" for n in range(50))
    data = f"<html><body><nav><ul>{links}</ul></nav><p>Hm.</p></body></html>".encode()
    (page,) = read("html", "index.html", data)
    assert isinstance(page, Document) and "Chapter 49" in page.text
    (short,) = read("html", "index.html", data, least_main=0.0)
    assert isinstance(short, Document) and "Chapter 49" not in short.text


@pytest.mark.parametrize(
    ("data", "text", "notes"),
    [
        ('<html><meta charset="iso-8859-1"><p>Café am Hafen</p>'.encode("latin-1"), "Café am Hafen", 0),
        ("<html><p>Café am Hafen</p>".encode("utf-16"), "Café am Hafen", 0),
        ("\ufeff<html><p>Café am Hafen</p>".encode(), "Café am Hafen", 0),
        ('<html><meta charset="utf-8"><p>Caf\udce9 am Hafen</p>'.encode("utf-8", "surrogateescape"), "Caf\ufffd am", 1),
        (b'<html><meta charset="nonsense"><p>Hafen</p>', "Hafen", 0),
    ],
)
def test_pages_are_decoded_as_they_state(data: bytes, text: str, notes: int, read: Read) -> None:
    page, *rest = read("html", "page.html", data)
    assert isinstance(page, Document) and text in page.text
    assert [result.severity for result in rest if isinstance(result, Reject)] == ["note"] * notes


def test_what_stands_in_comments_and_behind_the_head_is_no_metadata(read: Read) -> None:
    data = b"<html><!-- <meta name=author content=Eve> --></head><meta name=author content=Mallory><p>Text</p></html>"
    (page,) = read("html", "page.html", data)
    assert isinstance(page, Document) and "author" not in page.metadata


def test_pdf_running_titles_go_and_pages_are_told(read: Read) -> None:
    (document,) = read("pdf", "log.pdf", pdf())
    assert isinstance(document, Document)
    assert "Harbour office" not in document.text
    assert "halfway up it snows" in document.text
    starts = document.metadata["pages"]
    assert isinstance(starts, list) and len(starts) == 5
    assert document.text[starts[1] :].startswith(OTHER[:20])
    assert document.metadata["date"] == datetime(2026, 3, 1, 8, 30, tzinfo=UTC)


def test_pdf_of_few_pages_keeps_all_lines(read: Read) -> None:
    (document,) = read("pdf", "log.pdf", pdf([["Harbour office", "One line."], ["Harbour office", "Another line."]]))
    assert isinstance(document, Document) and document.text.count("Harbour office") == 2


def test_scanned_and_encrypted_pdf_are_rejects(read: Read) -> None:
    (scanned,) = read("pdf", "scan.pdf", pdf([[], []]))
    assert isinstance(scanned, Reject) and "scanned" in scanned.reason
    document, note = read("pdf", "half.pdf", pdf([["A line of text."], []]))
    assert isinstance(document, Document)
    assert isinstance(note, Reject) and note.severity == "note" and "the first is 2" in note.reason
    (locked,) = read("pdf", "locked.pdf", pdf(encrypt=True))
    assert isinstance(locked, Reject) and "encrypted" in locked.reason


def test_a_word_document_keeps_headings_and_rows(read: Read) -> None:
    (document,) = read("docx", "log.docx", docx())
    assert isinstance(document, Document)
    assert document.text.startswith("The log\n\n") and "crane\t\tmended" in document.text
    assert document.metadata["tags"] == ["harbour", "tides"]


def test_slides_come_in_their_order_with_notes(read: Read) -> None:
    name, make = next(iter(SAMPLES["pptx"][1].items()))
    (slides,) = read("pptx", name, make())
    assert isinstance(slides, Document)
    starts = slides.metadata["pages"]
    assert isinstance(starts, list) and slides.text[starts[1] :].startswith(OTHER)
    assert "Speak slowly." in slides.text[: starts[1]] and "7" not in slides.text
    (bare,) = read("pptx", name, make(), notes=False)
    assert isinstance(bare, Document) and "Speak slowly." not in bare.text


def test_rows_of_a_workbook_are_named_by_columns(read: Read) -> None:
    name, make = next(iter(SAMPLES["xlsx"][1].items()))
    rows = read("xlsx", name, make(), text_field="note", id_field="name", time_field="at", columns={"at": "time"})
    assert [result.locator for result in rows] == ["log.xlsx#Log#1", "log.xlsx#Log#2"]
    first, second = rows
    assert isinstance(first, Document) and isinstance(second, Document)
    assert (first.text, second.text) == (SENTENCE, OTHER)
    assert first.time == datetime(2026, 3, 1, 12, tzinfo=UTC)
    (refused,) = read("xlsx", name, make(), text_field="body")
    assert isinstance(refused, Reject) and "name, note, column 3, at" in refused.reason


def test_rows_before_a_damaged_one_are_kept(read: Read) -> None:
    from bench.sources.document_files import xlsx

    row = '<row r="{0}"><c t="str"><v>{1}</v></c></row>'
    sheet = "<worksheet><sheetData>" + row.format(1, "note") + row.format(2, "first") + "<row><<"
    document, fault = read("xlsx", "log.xlsx", xlsx(sheet))
    assert isinstance(document, Document) and document.text == "note: first"
    assert isinstance(fault, Reject) and "damaged" in fault.reason and fault.locator == "log.xlsx#Log"


def test_what_a_workbook_states_of_itself_is_not_looked_at(read: Read) -> None:
    packed = io.BytesIO(sample("xlsx").files["log.xlsx"])
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("docProps/core.xml", "<damaged")
    assert read("xlsx", "log.xlsx", packed.getvalue()) == read("xlsx", "log.xlsx", sample("xlsx").files["log.xlsx"])


def test_chapters_are_documents_of_one_session(read: Read) -> None:
    second, first = read("epub", "log.epub", epub())
    assert isinstance(first, Document) and isinstance(second, Document)
    assert first.session == second.session == "log.epub"
    assert (second.metadata["title"], second.metadata["book"], second.metadata["chapter"]) == ("Second", "The log", 1)


def test_a_broken_chapter_costs_itself(read: Read) -> None:
    bomb = '<!DOCTYPE html [<!ENTITY a "b">]><html><body>&a;</body></html>'
    page = f"<html><body><p>{SENTENCE}</p></body></html>"
    good, bad = read("epub", "log.epub", epub({"bomb.xhtml": bomb, "good.xhtml": page}))
    assert isinstance(good, Document) and good.text == SENTENCE
    assert isinstance(bad, Reject) and "entities" in bad.reason and bad.locator.endswith("bomb.xhtml")


@pytest.mark.parametrize("kind", ZIPS)
def test_bombs_of_zip_and_xml_are_rejects(kind: str, read: Read) -> None:
    main = {
        "docx": "word/document.xml",
        "odt": "content.xml",
        "pptx": "ppt/presentation.xml",
        "xlsx": "xl/workbook.xml",
        "epub": "META-INF/container.xml",
    }[kind]
    entities = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><x>&b;</x>'
    deep = "<x>" * 100_000
    huge = b"<x>" + b" " * 20_000_000
    for content, word in ((entities, "entities"), (deep, "256 elements"), (huge, "100 times")):
        (reject,) = read(kind, f"bomb.{kind}", zipped({main: content}))
        assert isinstance(reject, Reject) and word in reject.reason, word


def test_an_open_file_is_closed(tmp_path: Path) -> None:
    file = io.BytesIO(html())
    list(source_of("html", tmp_path).documents(file, "a.html", LIMIT))
    assert file.closed
