"""Files that a recipe names by patterns: each once, in bounded time, or a sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mnemic.errors import RecipeError
from operators.named_files import contents, files_named


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "/".join("abcdefghij")
    folder.mkdir(parents=True)
    for place in (tmp_path, *folder.parents[:3], folder):
        (place / "facts.jsonl").write_text("{}\n")
    return tmp_path


def test_a_pattern_of_many_double_stars_names_each_file_once(root: Path) -> None:
    every = files_named(["**/*.jsonl"], str(root), (".jsonl",), 10, "facts")
    assert len(every) == 5
    for pattern in ("**/" * 200 + "*.jsonl", "**//**///*.jsonl"):
        assert files_named([pattern, "facts.jsonl"], str(root), (".jsonl",), 10, "facts") == every
    (root / "x**" / "y").mkdir(parents=True)
    (root / "x**" / "y" / "facts.jsonl").write_text("{}\n")
    assert len(files_named(["x**/**/*.jsonl"], str(root), (".jsonl",), 10, "facts")) == 1


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("nothing.jsonl", "name no file"),
        ("a", "name no file"),
        ("**/*", "is no file of facts"),
        ("pipe.jsonl", "no file"),
    ],
)
def test_what_is_no_file_of_its_kind_is_refused(root: Path, pattern: str, sentence: str) -> None:
    os.mkfifo(root / "pipe.jsonl")
    (root / "notes.md").write_text("# Notes")
    with pytest.raises(RecipeError, match=sentence):
        files_named([pattern], str(root), (".jsonl",), 10, "facts")


def test_more_files_than_may_be_and_one_that_is_gone_are_sentences(root: Path) -> None:
    with pytest.raises(RecipeError, match="5 files; name 4 at most"):
        files_named(["**/*.jsonl"], str(root), (".jsonl",), 4, "facts")
    with pytest.raises(RecipeError, match="cannot be read"):
        contents(root / "gone.jsonl")
