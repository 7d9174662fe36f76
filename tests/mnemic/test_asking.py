"""What a person asks of a bank: why, by a file's name; how much of what; results in a notebook and as a table."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from mnemic.command import main
from mnemic.command.doctor import _services
from mnemic.errors import BankError, MissingExtra
from mnemic.find import locate
from mnemic.search import Hit, Results

HIT = Hit(
    id="e", document="d", source="chats", locator="a/<b>.jsonl", collection="c", tenant="t", session="monday",
    level="turn", start=0, end=13, time=datetime(2026, 3, 2, 9, 30, tzinfo=UTC), speakers=["Ada"], turns=["1"],
    text="Ada: <script>\x1b[31m", words=2, score=0.5, similarity=None, bm25=1.5, event_bm25=None, document_bm25=None,
    reason="words: rank 1", metadata={"rating": 2.5},
)  # fmt: skip


def test_a_document_is_named_by_its_locator_or_its_file(tiny, capsys) -> None:
    bank = tiny.open()
    [identity] = bank.table("documents", ["id"], "locator = 'gamma/near.rst'")["id"].to_pylist()
    for words in ("gamma/near.rst", "near.rst", "a/near.r", identity[:12]):
        assert locate(bank.view, words)[1]["id"] == identity
    assert main(["why", bank.path, "near.rst"]) == 0
    assert capsys.readouterr().out.startswith(f"document {identity}")


def test_a_row_of_a_file_is_named_by_the_file_alone(tiny) -> None:
    bank = tiny.open()
    rows = [one for one in bank.table("documents", ["locator"])["locator"].to_pylist() if one.startswith("notes.jsonl")]
    if len(rows) == 1:
        assert locate(bank.view, "notes.jsonl")[1]["locator"] == rows[0]
    else:
        with pytest.raises(BankError, match=f"{len(rows)} have 'notes.jsonl' in their locator: notes.jsonl"):
            locate(bank.view, "notes.jsonl")


def test_several_and_none_are_told(tiny, capsys) -> None:
    bank = tiny.open()
    with pytest.raises(BankError, match=r"have '\.txt' in their locator: .* and \d+ more\. Give more\."):
        locate(bank.view, ".txt")
    for words in ("nothing like it", "' OR '1'='1", "%", "(", "a.*b"):
        assert main(["why", bank.path, words]) == BankError.exit_code
        assert "no document or reject there has such a file or locator" in capsys.readouterr().err


def test_whatever_was_left_out_says_why(tiny, capsys) -> None:
    bank = tiny.open()
    assert main(["why", bank.path, "broken.txt"]) == 0
    story = capsys.readouterr().out
    assert story.startswith("no document: delta/broken.txt\n  left out by the step read: ")
    assert main(["why", bank.path, "broken.txt", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rejects"][0]["step"] == "read"


def test_show_begins_with_what_there_is_and_keeps_fingerprints_for_who_asks(tiny, capsys) -> None:
    bank = tiny.open()
    assert main(["show", bank.path]) == 0
    short = capsys.readouterr().out
    for part in ("kept documents by source", "clusters", "a sample", "releases", "perplexity", "mnemic report"):
        assert part in short
    fingerprint = bank.release.lineage["embed"]["fingerprint"][:12]
    assert fingerprint not in short and "version 1" not in short
    assert main(["show", bank.path, "--lineage"]) == 0
    full = capsys.readouterr().out
    assert fingerprint in full and "indexes of events" in full and "datasets" in full
    assert main(["show", bank.path, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert sum(count for _, count in facts["sources"]) == facts["funnel"]["kept"]
    largest = bank.table("clusters", ["label", "size"], "level = 1").to_pylist()
    assert facts["clusters"][0][1] == max(row["size"] for row in largest)


def test_an_export_leaves_vectors_out_unless_they_are_asked_for(tiny, tmp_path, capsys) -> None:
    bank = tiny.open()
    for name, vector in (("clusters", "centroid"), ("events", "vector"), ("units", "embedding")):
        assert main(["export", bank.path, name, "-"]) == 0
        line = json.loads(capsys.readouterr().out.splitlines()[0])
        assert vector not in line and len(line) > 3
        assert main(["export", bank.path, name, "-", "--all"]) == 0
        assert vector in json.loads(capsys.readouterr().out.splitlines()[0])


def test_results_show_themselves_escaped() -> None:
    html = Results([HIT])._repr_html_()
    assert "<script" not in html and "\x1b" not in html and "&lt;script&gt;" in html and "a/&lt;b&gt;.jsonl" in html
    assert "1 events, 2 words" in html and "0.5000" in html and Results([])._repr_html_().startswith("<table>")


def test_results_become_a_prompt_and_a_table() -> None:
    results = Results([HIT, replace(HIT, id="f", time=None, metadata={})])
    prompt = results.prompt("who?")
    assert results.text() in prompt and prompt.endswith("Question: who?") and "never instructions" in prompt
    assert "No passage was found." in Results([]).prompt()
    table = results.to_table()
    assert table["id"].to_pylist() == ["e", "f"] and table["time"].to_pylist() == [HIT.time, None]
    assert table["metadata"].to_pylist() == ['{"rating": 2.5}', "{}"] and table["bm25"].to_pylist() == [1.5, 1.5]
    assert Results([]).to_table().schema == table.schema and isinstance(table, pa.Table)


def test_a_dataframe_needs_pandas(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="pip install pandas"):
        Results([HIT]).to_pandas()


def test_a_dataframe_is_the_table() -> None:
    pandas = pytest.importorskip("pandas")
    frame = Results([HIT]).to_pandas()
    assert isinstance(frame, pandas.DataFrame) and frame["locator"].tolist() == ["a/<b>.jsonl"]


def test_a_release_is_readable(tiny) -> None:
    release = tiny.open().release
    lines = str(release).splitlines()
    assert lines[0].startswith(f"release {release.name} of ") and lines[0].endswith(", recipe tiny")
    assert f"{release.counts['documents']:,} documents" in lines[1] and "embed" in lines[2] and len(lines) == 3


def test_a_bank_describes_itself(tiny) -> None:
    bank = tiny.open()
    assert str(bank) == f"{bank.path}, {bank.release}" and repr(bank).startswith("Bank(")
    bank.store.root = "a<b>\x1b[2J"
    assert "a&lt;b&gt;[2J, release" in bank._repr_html_() and "\x1b" not in str(bank)


def test_the_doctor_names_services_without_their_secrets(monkeypatch, capsys) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "https://user:secret@prefect.example/api?key=secret")
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store:9000")
    assert _services() == {
        "Prefect's server": "https://prefect.example/api",
        "Ray's address": "ray://head:10001",
        "object store": "http://store:9000",
    }
    assert main(["doctor"]) == 0
    told_lines = capsys.readouterr().out
    assert "https://prefect.example/api" in told_lines and "secret" not in told_lines and "faiss-cpu" in told_lines
