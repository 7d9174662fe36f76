"""CSV, Parquet, Arrow and saved datasets give the documents that JSON Lines of the same records give."""

import dataclasses
import json
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import record_files as files
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import SourceError
from pipelines.sources import delimited
from pipelines.sources import files as listing
from pipelines.sources.arrow import ArrowFiles
from pipelines.sources.contracts import Document, Reject
from pipelines.sources.delimited import Delimited, Dialect, RowEnds, sniffed
from pipelines.sources.folder import Folder
from pipelines.sources.hugging_face import HuggingFace
from pipelines.sources.kinds import find_source
from pipelines.sources.parquet import Parquet

LIMIT = 1_000_000


def read(source) -> list[Document | Reject]:
    items = source.manifest()
    if items[0].part is not None:
        items = list(source.located(items))
    return [result for item in items for result in source.read(item, LIMIT)]


def told(results) -> list[tuple]:
    """All that a document says, but for where it is from."""
    return [
        (one.locator.partition("#")[2], one.text, one.time, one.speaker) if isinstance(one, Document) else one
        for one in results
    ]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    path = files.write_lines(tmp_path_factory.mktemp("lines") / "rows.jsonl")
    return told(read(Folder(path=str(path), **files.SETTINGS)))


FORMATS = {
    "rows.csv": (files.write_csv, Delimited),
    "rows.tsv": (lambda path: files.write_csv(path, "\t"), Delimited),
    "semicolons.csv": (lambda path: files.write_csv(path, ";"), Delimited),
    "rows.parquet": (files.write_parquet, Parquet),
    "rows.feather": (files.write_arrow, ArrowFiles),
    "rows.arrows": (files.write_stream, ArrowFiles),
    "saved": (files.write_saved_dataset, HuggingFace),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_of_records_gives_the_same_documents(name, expected, tmp_path):
    write, source = FORMATS[name]
    assert len(expected) == len(files.ROWS)
    assert told(read(source(path=str(write(tmp_path / name)), **files.SETTINGS))) == expected


@pytest.mark.parametrize("name", FORMATS)
def test_metadata_is_what_the_recipe_names(name, tmp_path):
    write, source = FORMATS[name]
    columns = {"stars": "number", "when": {"type": "time", "field": "at"}}
    results = read(source(path=str(write(tmp_path / name)), text_field="body", columns=columns))
    assert [float(one.metadata["stars"]) for one in results] == [row["stars"] for row in files.ROWS]
    assert all(one.metadata["at"] for one in results)


@pytest.mark.parametrize("name", [*FORMATS, "rows.jsonl"])
def test_a_missing_column_is_told_with_those_that_there_are(name, tmp_path):
    write, source = FORMATS.get(name, (files.write_lines, Folder))
    results = read(source(path=str(write(tmp_path / name))))
    assert all(isinstance(one, Reject) and "`text_field`" in one.reason for one in results)
    if name != "rows.jsonl":
        assert len(results) == 1
        assert "only name, body, at, by, stars" in results[0].reason


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet", "rows.jsonl"])
def test_parts_of_a_file_are_the_file(name, tmp_path, monkeypatch):
    write, source = FORMATS.get(name, (files.write_lines, Folder))
    one = source(path=str(write(tmp_path / name)), text_field="body")
    whole = read(one)
    size = (tmp_path / name).stat().st_size
    for parts in (2, 3, 5, 40):
        monkeypatch.setattr(listing, "PART_BYTES", size // parts)
        items = one.manifest()
        assert len(items) >= parts
        items = list(one.located(items))
        assert [document for item in items for document in one.read(item, LIMIT)] == whole
        some = items[1::2]
        again = list(one.located([dataclasses.replace(item, part=dataclasses.replace(item.part)) for item in some]))
        assert again == some, "the parts that are left after a kill begin where they did"


@settings(max_examples=60)
@given(
    rows=st.lists(st.lists(st.text('ab",\n', max_size=6), min_size=2, max_size=2), min_size=1, max_size=12),
    cuts=st.lists(st.integers(1, 40), max_size=6),
    stop=st.integers(1, 60),
)
def test_the_automaton_ends_rows_where_the_csv_module_does(rows, cuts, stop):
    import csv
    import io

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    data = text.getvalue().encode()
    ends = []
    lines = data.decode().splitlines(keepends=True)
    reader = csv.reader(iter(lines))
    for _ in reader:
        ends.append(len("".join(lines[: reader.line_num]).encode()))
    expected = next((end for end in ends if end >= stop), None)
    advance, place, ended = RowEnds(Dialect()), 0, False
    bounds = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    for bound in bounds:
        if not ended and bound > place:
            passed, _, ended = advance(data[place:bound], stop - place)
            place += passed
    assert (place if ended else None) == expected


def test_a_quote_that_is_never_closed_costs_its_row(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('id,text\n1,one\n2,"two\n3,three\n4,four\n5,"fi""ve"\n6,six,more\n7,"se\nven"\n')
    results = read(Delimited(path=str(path)))
    assert [one.text for one in results if isinstance(one, Document)] == ["one", "three", "four", 'fi"ve', "se\nven"]
    assert [one.locator for one in results if isinstance(one, Reject)] == ["a.csv#3", "a.csv#7"]
    assert "has 3 fields where the columns are 2" in results[-2].reason


def test_quotes_inside_of_a_line_are_read_as_people_write_them(tmp_path):
    (tmp_path / "a.csv").write_text('id,text\n1,"so" they say\n2,5" wide\n')
    assert [one.text for one in read(Delimited(path=str(tmp_path)))] == ["so they say", '5" wide']


def test_a_quote_and_a_carriage_return_in_the_midst_cost_their_row(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'id,text\n1,good\n2,"so" they\rsay\n3,also good\n')
    results = read(Delimited(path=str(tmp_path)))
    assert [one.text for one in results if isinstance(one, Document)] == ["good", "also good"]
    assert [one.reason for one in results if not isinstance(one, Document)] == [
        "Row 3 has a quote too many; correct the row."
    ]


def test_bytes_that_do_not_fit_cost_their_row(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("text\nplain\ncafé\nend\n".encode("cp1252"))
    results = read(Delimited(path=str(path)))
    assert [one.text for one in results if isinstance(one, Document)] == ["plain", "end"]
    assert "`encoding`" in results[1].reason
    assert [one.text for one in read(Delimited(path=str(path), encoding="cp1252"))] == ["plain", "café", "end"]


@pytest.mark.parametrize(
    ("sample", "delimiter"), [("a,b\n1,2\n", ","), ("a;b\n1,5;2\n", ";"), ("a\n1\n", ","), ("", ",")]
)
def test_the_dialect_is_guessed(sample, delimiter):
    assert sniffed(sample.encode()).delimiter == delimiter


@pytest.mark.parametrize("piece", [',"', '\n"', ", '", '"', "',\"", "a;'b", '"\t'])
def test_quotes_that_open_everywhere_cost_no_time(piece):
    """`csv.Sniffer` takes minutes for 6 kB of them."""
    begun = time.process_time()
    sniffed((piece * 16_000)[:16_384].encode())
    assert time.process_time() - begun < 5


def test_the_plan_tells_the_dialect(tmp_path):
    source = Delimited(path=str(files.write_csv(tmp_path / "a.csv", ";")), text_field="body")
    [note] = source.notes(source.manifest())
    assert note == 'a.csv: fields parted by semicolon, quoted by ", columns name, body, at, by, stars'


def test_columns_of_a_file_without_a_first_row_of_names(tmp_path):
    (tmp_path / "a.csv").write_text("one,1\ntwo,2\n")
    results = read(Delimited(path=str(tmp_path), names=["text", "n"]))
    assert [(one.locator, one.text) for one in results] == [("a.csv#1", "one"), ("a.csv#2", "two")]


def test_a_damaged_row_group_leaves_the_others(tmp_path):
    path = files.write_parquet(tmp_path / "rows.parquet")
    place = pq.ParquetFile(path).metadata.row_group(1).column(1).data_page_offset
    data = bytearray(path.read_bytes())
    data[place : place + 40] = b"\xff" * 40
    path.write_bytes(data)
    results = read(Parquet(path=str(path), text_field="body"))
    documents = [one for one in results if isinstance(one, Document)]
    assert {one.text for one in documents} >= {files.ROWS[n]["body"] for n in (0, 1, 4, 5, 6)}
    assert any(isinstance(one, Reject) and one.reason.endswith("copy or write it again.") for one in results)


def test_a_text_that_is_not_utf8_costs_its_row(tmp_path):
    texts = pa.Array.from_buffers(
        pa.string(), 3, [None, pa.py_buffer(b"\0\0\0\0\3\0\0\0\6\0\0\0\t\0\0\0"), pa.py_buffer(b"one\xff\xfe\xfdtwo")]
    )
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    results = read(Parquet(path=str(tmp_path)))
    assert [one.text for one in results if isinstance(one, Document)] == ["one", "two"]
    assert "not UTF-8" in results[1].reason


def test_nanoseconds_and_days_are_times(tmp_path):
    table = pa.table(
        {
            "text": ["a", "b"],
            "at": pa.array([1_767_225_600_000_000_001, None], pa.timestamp("ns")),
            "day": pa.array([20_000, 20_001], pa.date32()),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    results = read(Parquet(path=str(tmp_path), time_field="at"))
    assert [one.time.year if one.time else None for one in results] == [2026, None]
    assert [one.time.year for one in read(Parquet(path=str(tmp_path), time_field="day"))] == [2024, 2024]


def test_a_saved_dataset_reads_what_its_state_names(tmp_path):
    folder = files.write_saved_dataset(tmp_path / "saved") / "train"
    files.write_stream(folder / "cache-1234.arrow")
    source = HuggingFace(path=str(tmp_path), text_field="body")
    assert [item.locator for item in source.manifest()] == ["saved/train/data-00000-of-00001.arrow"]
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | {"_indices_data_files": [{"filename": "i.arrow"}]}))
    [reject] = read(source)
    assert "flatten_indices" in reject.reason
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../../secret.arrow"}]}))
    assert isinstance(read(source)[0], Reject)
    (folder / "state.json").unlink()
    with pytest.raises(SourceError, match=r"state\.json"):
        source.manifest()


@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow", "hf-dataset"])
def test_a_plan_is_light(kind):
    import subprocess
    import sys

    code = (
        "import sys; from pipelines.sources.kinds import find_source;"
        f"find_source({kind!r}); print({{'pyarrow', 'numba', 'pandas', 'torch'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "numba" not in done.stdout and "torch" not in done.stdout and "pandas" not in done.stdout
    assert find_source(kind)


def test_lines_that_each_open_a_quote_are_read_again_only_so_often(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_VAIN", 1 << 18)
    path = tmp_path / "a.csv"
    path.write_text("text,b\nfirst,1\n" + 'a","\n' * 20_000)
    results = read(Delimited(path=str(path)))
    assert [one.text for one in results if isinstance(one, Document)] == ["first"]
    reasons = [one.reason for one in results if isinstance(one, Reject)]
    assert 2 < len(reasons) < 200 and "lines behind it are left out" in reasons[-1]
