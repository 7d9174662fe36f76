"""The commands that remember, list and forget, and what `search`, `why`, `show` and `pack` say of what waits."""

import io
import json

import pytest

import mnemic
from mnemic.command import main


@pytest.fixture
def place(tiny, tmp_path):
    return tiny.copy(tmp_path)["bank"]


def output_of(capsys, *arguments, code=0):
    assert main(list(arguments)) == code
    output = capsys.readouterr()
    return output.err if code else output.out


def test_a_text_is_remembered_found_explained_and_forgotten(place, capsys):
    arguments = ("Zebras graze beside the observatory.", "--tenant", "zoo", "--key", "k", "--time", "2026-03-02")
    row = output_of(capsys, "remember", place, *arguments).strip()
    assert output_of(capsys, "remember", place, *arguments).strip() == row
    assert "stands for something else" in output_of(
        capsys, "remember", place, "x", "--tenant", "zoo", "--key", "k", code=2
    )
    shown = output_of(capsys, "search", place, "zebras observatory", "--tenant", "zoo", "--explain")
    assert "remembered, not yet consolidated" in shown and row[:12] in shown
    (hit,) = map(json.loads, output_of(capsys, "search", place, "zebras", "--json", "-k", "1").splitlines())
    assert hit["pending"] and hit["id"] == row
    assert "not yet consolidated" in output_of(capsys, "why", place, row[:10])
    assert "1 remembered texts wait" in output_of(capsys, "show", place)
    assert "are not in it" in output_of(capsys, "pack", place, place + ".tar")
    listed = json.loads(output_of(capsys, "remember", place, "--list", "--json"))["waiting"]
    assert [one["rows"][0]["id"] for one in listed] == [row]
    assert "No row" in output_of(capsys, "forget", place, row, "--tenant", "another", code=5)
    assert output_of(capsys, "forget", place, row) == "1 row forgotten\n"
    assert output_of(capsys, "remember", place, "--list").startswith("0 rows wait")
    assert "no id of a row" in output_of(capsys, "forget", place, "'; --", code=2)


def test_a_conversation_is_read_from_a_file_or_the_standard_input(place, tmp_path, capsys, monkeypatch):
    lines = ['{"speaker": "Ada", "text": "I mended\u2028it.\x85"}', "", '{"text": "Good.", "time": "2026-03-02T09:30"}']
    (tmp_path / "talk.jsonl").write_text("\r\n".join(lines), encoding="utf-8", newline="")
    ids = json.loads(output_of(capsys, "remember", place, "--turns", str(tmp_path / "talk.jsonl"), "--json"))["ids"]
    (call,) = mnemic.open_bank(place).inbox()
    assert [row.id for row in call.rows] == ids and call.turns and call.rows[0].speaker == "Ada"
    for data, words in (
        (b"A note.", None),
        (b"caf\xe9", "not UTF-8"),
        (b" \n", "nothing to be seen"),
        (b"a\0b", "NUL"),
    ):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        answer = output_of(capsys, "remember", place, code=2 if words else 0)
        assert words is None or words in answer
    (tmp_path / "talk.jsonl").write_text("no json")
    assert "Line 1" in output_of(capsys, "remember", place, "--turns", str(tmp_path / "talk.jsonl"), code=2)
    assert "cannot be read" in output_of(capsys, "remember", place, "--turns", str(tmp_path / "nothing"), code=2)
    assert "one of them" in output_of(capsys, "remember", place, "text", "--turns", "-", code=2)
