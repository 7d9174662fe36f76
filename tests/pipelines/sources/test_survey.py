"""What `mnemic init --folder` finds, and that the recipe that it writes reads it all."""

import json

import pytest
import record_files as files
import yaml

from mnemic.command import main
from pipelines.recipe import load_recipe
from pipelines.sources.contracts import Document, Reject
from pipelines.sources.recognise import FORMATS, HEAD, recognised, unreadable
from pipelines.sources.survey import proposals, survey

LIMIT = 1_000_000
SESSION = {"id": "team", "sessions": [{"id": "m", "turns": [{"speaker": "Ada", "text": "It works."}]}]}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "X"
    (root / "sub").mkdir(parents=True)
    files.write_csv(root / "a.csv")
    files.write_csv(root / "sub" / "b.csv")
    (root / "other.csv").write_text("id;description\n1;Something long about one\n2;Something long about two\n")
    files.write_parquet(root / "sub" / "rows.parquet")
    files.write_arrow(root / "rows.feather")
    files.write_saved_dataset(root / "saved")
    (root / "README").write_text("A text without an ending.")
    (root / "note.md").write_text("# A note")
    (root / "sub" / "talk.json").write_text(json.dumps(SESSION))
    (root / "lines.jsonl").write_text('{"body": "A line with a body of text", "id": 3}\n')
    (root / "pic.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (root / "blob.dat").write_bytes(bytes(range(256)))
    (root / ".hidden.txt").write_text("hidden")
    return root


def read(recipe):
    return [result for source in recipe.sources for item in source.manifest() for result in source.read(item, LIMIT)]


def test_the_recipe_reads_all_that_can_be_read(folder, tmp_path, capsys):
    assert main(["init", str(tmp_path / "r.yaml"), "--folder", str(folder)]) == 0
    out = capsys.readouterr().out
    for line in ("3  csv", "1  parquet", "1  hf-dataset", "not read       a PNG image: pic.png", "blob.dat"):
        assert line in out
    recipe = load_recipe(tmp_path / "r.yaml")
    assert recipe.context is not None and "# embed: {model: " in (tmp_path / "r.yaml").read_text(), "other sources only"
    results = read(recipe)
    texts = [one.text for one in results if isinstance(one, Document)]
    assert texts.count(files.ROWS[0]["body"]) == 5  # two tables, Parquet, Arrow and a saved dataset
    for text in ("A text without an ending.", "# A note", "Ada: It works.", "A line with a body of text"):
        assert texts.count(text) == 1
    assert sum("Something long" in text for text in texts) == 2
    assert not any("hidden" in text or "PNG" in text for text in texts)
    assert not [one for one in results if isinstance(one, Reject) and one.severity != "empty"]


def test_a_second_file_of_the_same_format_needs_no_new_recipe(folder, tmp_path):
    assert main(["init", str(tmp_path / "r.yaml"), "--folder", str(folder)]) == 0
    (folder / "sub" / "later.md").write_text("Later.")
    assert "Later." in [one.text for one in read(load_recipe(tmp_path / "r.yaml")) if isinstance(one, Document)]


def test_an_ending_that_stands_for_two_formats_is_sorted_by_content(tmp_path):
    root = tmp_path / "X"
    root.mkdir()
    for number in range(8):
        (root / f"note{number}.txt").write_text(f"Note {number}.")
        (root / f"talk{number}.txt").write_text(json.dumps(SESSION))
    chosen = proposals(survey(str(root)), str(root))
    assert [(one.settings["kind"], one.settings.get("others"), one.files) for one in chosen] == [
        ("conversations", "leave", 8),
        ("folder", "leave", 8),
    ]
    recipe = load_recipe({"name": "r", "sources": [one.settings for one in chosen]})
    texts = [one.text for one in read(recipe) if isinstance(one, Document)]
    assert sorted(texts) == sorted([f"Note {number}." for number in range(8)] + ["Ada: It works."] * 8)


def test_a_folder_of_text_alone_keeps_the_commented_recipe(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("A text.")
    assert main(["init", str(tmp_path / "r.yaml"), "--folder", str(tmp_path / "texts")]) == 0
    assert "# suffixes: [.txt" in (tmp_path / "r.yaml").read_text()


def test_one_file_is_a_source(tmp_path):
    path = files.write_csv(tmp_path / "a.csv")
    assert main(["init", str(tmp_path / "r.yaml"), "--folder", str(path)]) == 0
    [source] = yaml.safe_load((tmp_path / "r.yaml").read_text())["sources"]
    assert source["kind"] == "csv"
    assert len(read(load_recipe(tmp_path / "r.yaml"))) == len(files.ROWS)


def test_paths_are_those_of_the_recipe(folder, tmp_path, monkeypatch):
    (tmp_path / "recipes").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["init", "recipes/r.yaml", "--folder", "X"]) == 0
    assert read(load_recipe(tmp_path / "recipes" / "r.yaml"))


@pytest.mark.parametrize(
    ("head", "phrase"),
    [(b"\x89PNG", "a PNG image"), (b"\x80\x04\x95", "runs code"), (b"\0\0\0\x20ftypmp42", "a video"), (b"x", "")],
)
def test_what_nothing_reads_is_named(head, phrase):
    assert phrase in unreadable(head) if phrase else not unreadable(head)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.kind)
def test_no_recogniser_raises(form):
    import random

    draw = random.Random(form.kind)
    heads = [b"", b"\0", b"{", b"[", b"<", b"PK\3\4", b"From ", b"\xff\xfe", b"{" * 5000, bytes(draw.randbytes(HEAD))]
    recognise = form.has("recognise") or (lambda name, head: False)  # one is known by its folder
    for head in heads:
        for name in ("a", "a.json", "a.csv", "a.zip", "a.html", "\udcff", "A.TXT"):
            assert recognise(name, head) in (True, False)


def test_a_folder_source_takes_no_other_format_as_text(tmp_path):
    from pipelines.sources.folder import Folder

    files.write_csv(tmp_path / "a.txt").rename(tmp_path / "a.csv")
    (tmp_path / "talk.txt").write_text(json.dumps(SESSION))
    (tmp_path / "plain.txt").write_text("Just text.")
    (tmp_path / "old.txt").write_text(r"{\rtf1 Old.}")
    (tmp_path / "data.txt").write_text('<?xml version="1.0"?><a>b</a>')
    source = Folder(path=str(tmp_path), suffixes=[".txt", ".csv"])
    results = [result for item in source.manifest() for result in source.read(item, LIMIT)]
    rejects = {one.locator: one.reason for one in results if isinstance(one, Reject)}
    assert "It is RTF" in rejects["old.txt"]
    assert "It is XML" in rejects["data.txt"]
    assert "`kind: csv`" in rejects["a.csv"]
    assert "`kind: conversations`" in rejects["talk.txt"]
    assert [one.text for one in results if isinstance(one, Document)] == ["Just text."]
    assert recognised("plain.txt", b"Just text.").kind == "folder"
