"""Code in pieces: by function and class, and together all of the file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipelines.sources.code as code_module
from pipelines.sources.code import SourceCode, recognise
from pipelines.sources.code_pieces import pieces_of, python_pieces
from pipelines.sources.contracts import Document, Reject

CLASS = '''import os

# About the class.
@final
class Log:
    """Reads."""

    size = 1

    @property
    def one(self):
        return 1

    # About two.
    def two(self):
        def inner():
            pass
        return inner
    last = 2

def three(): return 3
if True:
    def hidden(): pass
'''

RUST = """use std::io;

/// About the log.
pub struct Log {
    pages: Vec<String>,
}

impl Log {
    pub fn add(&mut self) {
    }
}

fn main() {
    println!("}");
}
"""


def read(path: Path, **settings: int) -> list[Document | Reject]:
    source = SourceCode(path=str(path), **settings)  # type: ignore[arg-type]
    return [result for item in source.manifest() for result in source.read(item, 1_000_000)]


def test_python_is_parted_by_what_it_defines() -> None:
    pieces, fault = python_pieces(CLASS, 100)
    assert not fault
    assert [(piece.name, piece.line) for piece in pieces] == [("", 1), ("Log", 3), ("three", 21)]
    assert pieces[0].text == "import os\n\nif True:\n    def hidden(): pass"
    assert pieces[1].text.startswith("# About the class.\n@final") and pieces[1].text.endswith("last = 2")


def test_a_long_class_is_its_head_and_its_methods() -> None:
    pieces, _ = python_pieces(CLASS, 5)
    assert [piece.name for piece in pieces] == ["", "Log", "Log.one", "Log.two", "three"]
    assert pieces[2].text == "    @property\n    def one(self):\n        return 1"
    assert pieces[3].text.startswith("    # About two.") and pieces[3].text.endswith("last = 2")


@pytest.mark.parametrize("longest", [1, 5, 120])
def test_no_line_of_python_is_lost(longest: int) -> None:
    for file in sorted(Path(code_module.__file__).parent.glob("*.py"))[:25]:
        text = file.read_text()
        pieces, fault = python_pieces(text, longest)
        assert not fault
        lines = sorted(line for piece in pieces for line in piece.text.split("\n") if line.strip())
        assert lines == sorted(line for line in text.split("\n") if line.strip()), file
        names = {n.name for n in ast.parse(text).body if isinstance(n, ast.ClassDef | ast.FunctionDef)}
        assert names <= {piece.name for piece in pieces}


def test_other_languages_end_a_piece_where_a_block_closes() -> None:
    assert [piece.name for piece in pieces_of(RUST, 5)] == ["Log", "Log", "main"]
    assert [piece.line for piece in pieces_of(RUST, 5)] == [1, 8, 13]
    assert pieces_of(RUST, 100)[0].text == RUST.strip()


@given(st.lists(st.sampled_from(["", "}", "fn a() {", "  x", "end", "def b", "// c", "\tz", "a();"]), max_size=60))
def test_pieces_are_all_of_any_file(lines: list[str]) -> None:
    text = "\n".join(lines)
    joined = "\n".join(piece.text for piece in pieces_of(text, 4))
    assert [line for line in joined.split("\n") if line.strip()] == [line for line in lines if line.strip()]


def test_code_that_cannot_be_parsed_is_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text("print 'hello'\n")
    document, note = read(tmp_path)
    assert isinstance(document, Document) and document.text == "print 'hello'"
    assert isinstance(note, Reject) and note.severity == "note" and "line 1" in note.reason


def test_names_that_stand_twice_have_two_locators(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def f(): return 1\ndef f(): return 2\n")
    assert [result.locator for result in read(tmp_path)] == ["a.py#f", "a.py#f#2"]


def test_lines_that_programs_write_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.min.js").write_text("x" * 30_000)
    (reject,) = read(tmp_path)
    assert isinstance(reject, Reject) and "20,000" in reject.reason


def test_code_is_recognised_by_its_name_or_its_first_line() -> None:
    assert recognise("a.rs", b"fn") and recognise("run", b"#!/bin/sh\n") and not recognise("a.txt", b"fn")
