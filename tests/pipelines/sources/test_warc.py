"""Web archives: responses become documents with address and date; damage costs the record that it is in."""

import gzip

import pytest

from pipelines.sources.contracts import Document, Reject
from pipelines.sources.recognise import recognised
from pipelines.sources.warc import Warc

pytest.importorskip("fastwarc")
LIMIT = 100_000


def record(number, body, status=200, kind="text/plain; charset=utf-8", type="response"):
    http = b""
    if type == "response":
        http = f"HTTP/1.1 {status} OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    block = http + body
    content = "application/http; msgtype=response" if type == "response" else "text/plain"
    head = (
        f"WARC/1.0\r\nWARC-Type: {type}\r\nWARC-Target-URI: https://host{number}.example/page\r\n"
        f"WARC-Date: 2026-01-02T03:04:{number:02}Z\r\nWARC-Record-ID: <urn:uuid:{number}>\r\n"
        f"Content-Type: {content}\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def read(path, limit=LIMIT):
    source = Warc(path=str(path))
    return [result for item in source.manifest() for result in source.read(item, limit)]


def texts(results):
    return [one.text for one in results if isinstance(one, Document)]


@pytest.fixture(params=[True, False], ids=["gzip", "plain"])
def write(request, tmp_path):
    def write_records(records, damage=lambda data: data):
        packed = b"".join(gzip.compress(one) if request.param else one for one in records)
        path = tmp_path / ("a.warc.gz" if request.param else "a.warc")
        path.write_bytes(damage(packed))
        return path

    return write_records


RECORDS = [record(number, f"Page {number} tells of owls.".encode() * 20) for number in range(12)]


def test_responses_are_documents_with_address_and_date(write):
    path = write(RECORDS)
    results = read(path)
    assert texts(results) == [f"Page {number} tells of owls." * 20 for number in range(12)]
    third = results[3]
    assert third.metadata["url"] == "https://host3.example/page"
    assert third.metadata["captured"] == third.time
    assert f"{third.time:%Y-%m-%dT%H:%M:%S}" == "2026-01-02T03:04:03"
    assert third.collection == "host3.example"
    places = [int(one.locator.partition("#")[2]) for one in results]
    assert places == sorted(set(places))
    assert recognised(path.name, path.read_bytes()[:60000]).kind == "warc"


def test_texts_of_wet_files_are_documents(write):
    path = write([record(n, f"Only text {n}.".encode(), type="conversion") for n in range(3)])
    assert texts(read(path)) == [f"Only text {n}." for n in range(3)]


def test_other_records_are_counted(write):
    records = [
        record(0, b"kept"),
        record(1, b"gone", status=404),
        record(2, b"\x89PNG", kind="image/png"),
        record(3, b"kept too"),
        record(4, b"x" * 60, kind="image/png"),
        record(5, b"ask", type="request"),
    ]
    results = read(write(records))
    assert texts(results) == ["kept", "kept too"]
    [note] = [one for one in results if isinstance(one, Reject)]
    assert (note.severity, note.locator) == ("empty", results[-1].locator)
    assert "2 of image/png, 1 of status 404" in note.reason


def test_encodings_are_those_of_the_header(write):
    path = write([record(0, "größer".encode("latin-1"), kind="text/plain; charset=ISO-8859-1")])
    assert texts(read(path)) == ["größer"]


def test_pages_are_read_as_pages_in_the_encoding_of_the_header(write):
    pytest.importorskip("resiliparse")
    page = (
        "<html><head><meta charset='utf-8'><title>Grüße</title></head><body><p>Viele größere Eulen.</p></body></html>"
    )
    results = read(write([record(0, page.encode("latin-1"), kind="text/html; charset=ISO-8859-1")]))
    [document] = [one for one in results if isinstance(one, Document)]
    assert document.text.strip() == "Viele größere Eulen."
    assert (document.metadata["title"], document.metadata["url"]) == ("Grüße", "https://host0.example/page")


@pytest.mark.parametrize("share", [0.3, 0.55, 0.99])
def test_of_a_file_that_is_cut_off_the_beginning_is_read(write, share):
    whole = read(write(RECORDS))
    results = read(write(RECORDS, lambda data: data[: int(len(data) * share)]))
    read_texts = texts(results)
    assert read_texts == texts(whole)[: len(read_texts)]
    assert len(read_texts) >= int(12 * share) - 1
    assert isinstance(results[-1], Reject)
    assert "copy it again" in results[-1].reason


def test_a_damaged_record_costs_itself(write):
    def damage(data):
        middle = len(data) // 2
        return data[:middle] + b"\xff" * 12 + data[middle + 12 :]

    results = read(write(RECORDS, damage))
    good = set(texts(read(write(RECORDS)))) & set(texts(results))
    assert len(good) >= 10


def test_a_large_page_is_refused(write):
    results = read(write([record(0, b"x" * 2000), record(1, b"small")]), limit=1000)
    assert texts(results) == ["small"]
    assert "`max_document_bytes`" in results[0].reason
