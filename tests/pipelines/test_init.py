"""`mnemic init` writes recipes that `mnemic plan` can read, whatever the file and the folder are called."""

import pytest

from mnemic.command import main
from pipelines.recipe import SHIPPED, load_recipe

HOSTILE = [
    "notes",
    "é",
    "naïve résumé",
    "日本語",
    "🙂",
    "my: notes # 1",
    "- item",
    "-f",
    "'single' and \"double\"",
    "back\\slash",
    " spaces ",
    "*anchor &x !tag",
    "{a: 1}",
    "[x",
    "%percent",
    "true",
    "null",
    "2024",
    "1e5",
    "..",
    "line\nbreak",
    "tab\tand\x85and\u2028and\x7f",
    "x" * 200,
]


@pytest.mark.parametrize("word", HOSTILE)
def test_what_init_writes_can_be_read(word, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    file = f"{word}.yaml"
    assert main(["init", f"--folder={word}", "--", file]) == 0
    recipe = load_recipe(tmp_path / "here" / file)
    (source,) = recipe.sources
    assert source.path == word
    assert recipe.root == f"memory/{recipe.name}"


@pytest.mark.parametrize(
    ("file", "name"),
    [("notes", "notes"), ("my notes", "my-notes"), ("résumé", "resume"), ("a.b_c-1", "a.b_c-1"), ("2024", "2024")],
)
def test_a_recipe_is_called_like_its_file(file, name, tmp_path):
    assert main(["init", str(tmp_path / f"{file}.yaml")]) == 0
    assert load_recipe(tmp_path / f"{file}.yaml").name == name


def test_files_without_a_latin_letter_get_names_that_differ(tmp_path):
    for stem in ("日本", "中国"):
        assert main(["init", str(tmp_path / f"{stem}.yaml")]) == 0
    assert load_recipe(tmp_path / "日本.yaml").name != load_recipe(tmp_path / "中国.yaml").name


@pytest.mark.parametrize("shipped", sorted(path.stem for path in SHIPPED.glob("*.yaml") if path.stem != "folder"))
def test_other_shipped_recipes_are_copied_as_they_are(shipped, tmp_path):
    assert main(["init", str(tmp_path / "r.yaml"), "--from", shipped]) == 0
    assert (tmp_path / "r.yaml").read_text() == (SHIPPED / f"{shipped}.yaml").read_text()


def test_the_commands_that_it_shows_can_be_pasted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "my notes.yaml"]) == 0
    assert "mnemic plan 'my notes.yaml'; mnemic build 'my notes.yaml'" in capsys.readouterr().out
    assert main(["init", "--", "-f.yaml"]) == 0
    assert "mnemic plan ./-f.yaml" in capsys.readouterr().out


def test_what_cannot_be_written_is_a_sentence_and_writes_nothing(tmp_path, capsys):
    assert main(["init", str(tmp_path / "r.yaml"), "--folder", ""]) == 2
    assert "`sources[0].path`" in capsys.readouterr().err
    assert not (tmp_path / "r.yaml").exists()
    assert main(["init", str(tmp_path / "nowhere" / "r.yaml")]) == 2
    assert "a folder that exists" in capsys.readouterr().err
    (tmp_path / "r.yaml").write_text("mine")
    assert main(["init", str(tmp_path / "r.yaml")]) == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "r.yaml").read_text() == "mine"
    assert main(["init", str(tmp_path / "r.yaml"), "--from", "dmo"]) == 2
    assert "Choose one of: conversations, demo" in capsys.readouterr().err
