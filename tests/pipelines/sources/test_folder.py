"""The folder source: what it lists, what becomes a document, and what is rejected with which sentence."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mnemic.errors import SourceError
from pipelines.sources.contracts import Document, Item, Reject
from pipelines.sources.files import _fits
from pipelines.sources.folder import Folder

Found = Document | Reject


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with files at several depths, hidden ones, and one whose suffix is not asked for."""
    root = tmp_path / "corpus"
    for name in ["a.txt", "b.md", "c.log", ".hidden.txt", "x/d.txt", "x/y/e.rst", "x/y/f.TXT", ".git/g.txt", "z/h.txt"]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of {name}")
    return root


def everything(source: Folder, limit: int = 10_000) -> list[Found]:
    return [entry for item in source.manifest() for entry in source.read(item, limit)]


def locators(source: Folder) -> list[str]:
    return [item.locator for item in source.manifest()]


# ---------------------------------------------------------------- what is listed


def test_files_are_listed_relative_and_sorted_without_hidden_ones(tree: Path) -> None:
    source = Folder(path="corpus", root=str(tree.parent))
    assert locators(source) == ["a.txt", "b.md", "x/d.txt", "x/y/e.rst", "x/y/f.TXT", "z/h.txt"]
    first = source.manifest()[0]
    status = (tree / "a.txt").stat()
    assert first == Item("a.txt", status.st_size, str(status.st_mtime_ns))


def test_an_edit_changes_the_stamp_and_nothing_else_does(tree: Path) -> None:
    source = Folder(path=str(tree))
    before = source.manifest()
    assert source.manifest() == before
    os.utime(tree / "b.md", ns=(1, 1))
    after = source.manifest()
    assert [item.locator for item, other in zip(before, after, strict=True) if item != other] == ["b.md"]


def test_ids_and_identity_do_not_depend_on_the_place(tree: Path) -> None:
    moved = tree.parent / "elsewhere"
    source = Folder(path=str(tree))
    before, read = source.identity(), everything(source)
    tree.rename(moved)
    source = Folder(path="elsewhere", root=str(tree.parent))
    assert source.identity() == before
    assert everything(source) == read
    assert str(tree.parent) not in json.dumps(before)


def test_identity_changes_with_what_is_read(tree: Path) -> None:
    base = {"path": str(tree)}
    identities = [
        Folder.model_validate(base | change).identity()
        for change in ({}, {"suffixes": [".md"]}, {"text_field": "body"}, {"id_field": "id"}, {"path": f"{tree}/*.md"})
    ]
    assert len({json.dumps(identity, sort_keys=True) for identity in identities}) == len(identities)
    reordered = Folder(path=str(tree), suffixes=[".B", ".a"]).identity()
    assert reordered == Folder(path=str(tree), suffixes=[".a", ".b"]).identity()


@pytest.mark.parametrize(
    "pattern",
    ["*.txt", "*", "**/*.txt", "x/*", "x/**/*.rst", "*/d.*", "[xz]/*.txt", "**/y/*", "x/?/e.rst", "**/x/**/*"],
)
def test_a_glob_finds_what_pathlib_finds(tree: Path, pattern: str) -> None:
    """Locators are relative to the glob's fixed folder; hidden files stay out."""
    suffixes = {".txt", ".md", ".rst"}
    expected = [
        path
        for path in tree.glob(pattern)
        if path.is_file() and path.suffix.lower() in suffixes and "/." not in str(path.relative_to(tree.parent))
    ]
    source = Folder(path=f"corpus/{pattern}", root=str(tree.parent))
    fixed = tree / "x" if pattern.startswith("x/") else tree
    assert locators(source) == sorted(path.relative_to(fixed).as_posix() for path in expected)
    assert all(isinstance(entry, Document) for entry in everything(source))


def test_many_stars_cost_no_more_than_a_few(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*"d" * 60)
    deep.mkdir(parents=True)
    (deep / "deep.txt").write_text("deep")
    (deep / "deep.md").write_text("deep")
    start = time.process_time()
    for stars in ("**/" * 8, "**/d/" * 12, "*/" * 60, "**/*/" * 20):
        assert [item.locator[-8:] for item in Folder(path=f"{tmp_path}/{stars}*.md").manifest()] == ["/deep.md"], stars
    assert time.process_time() - start < 2


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from("ab"), min_size=1, max_size=5),
    st.lists(st.sampled_from(["**", "*", "a", "b"]), max_size=6),
)
def test_a_glob_fits_what_its_expression_fits(path: list[str], pattern: list[str]) -> None:
    """As a regular expression over names; `**` at the end wants a name, as the files below a folder have one."""
    names = [*pattern, "*"] if pattern[-1:] == ["**"] else pattern
    expression = "".join({"**": "(?:[ab]/)*", "*": "[ab]/"}.get(part, f"{part}/") for part in names)
    assert _fits(tuple(path), tuple(pattern)) == bool(re.fullmatch(expression, "".join(f"{name}/" for name in path)))


def test_a_named_file_is_read_whatever_its_suffix_and_a_bracket_is_only_a_name(tree: Path) -> None:
    assert everything(Folder(path=str(tree / "c.log"))) == [Document("c.log", "text of c.log")]
    (tree / "notes[1].md").write_text("bracket")
    assert everything(Folder(path=str(tree / "notes[1].md"))) == [Document("notes[1].md", "bracket")]


def test_the_home_folder_is_expanded(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tree.parent))
    assert locators(Folder(path="~/corpus/x/d.txt", root="/elsewhere")) == ["d.txt"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"path": "no/such"}, r"no/such' of the source 'mine' does not exist; correct `path`"),
        ({"path": "nowhere/*.txt"}, "does not exist"),
        ({"suffixes": [".pdf", ".doc"]}, r"found no file under '.*corpus' .* \.pdf, \.doc; .*`mnemic init --folder`"),
        ({"path": "corpus/*.pdf"}, r"found no file under '.*\*\.pdf'"),
    ],
)
def test_a_missing_or_empty_source_says_what_to_do(tree: Path, change: dict[str, object], sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence):
        Folder.model_validate({"name": "mine", "path": "corpus", "root": str(tree.parent)} | change).manifest()


def test_a_folder_that_may_not_be_listed_is_an_error_not_a_gap(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def guarded(path: str) -> object:
        if path.endswith("y"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(SourceError, match=r"x/y' of the source 'folder' cannot be read \(Permission denied\); give"):
        Folder(path=str(tree)).manifest()


def test_a_named_file_that_may_not_be_read_is_an_error(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(SourceError, match=r"a.txt' .* cannot be read \(Permission denied\)"):
        Folder(path=str(tree / "a.txt")).manifest()


@pytest.mark.parametrize("suffixes", [["md"], []])
def test_suffixes_are_checked(suffixes: list[str]) -> None:
    with pytest.raises(ValidationError):
        Folder(path="x", suffixes=suffixes)


# ---------------------------------------------------------------- links


def test_links_stay_inside_the_folder(tree: Path) -> None:
    secret = tree.parent / "secret"
    secret.mkdir()
    (secret / "key.txt").write_text("secret")
    (tree / "out.txt").symlink_to(secret / "key.txt")
    (tree / "relative.txt").symlink_to("../secret/key.txt")
    (tree / "in.txt").symlink_to("x/d.txt")
    (tree / "nowhere.txt").symlink_to("missing")
    (tree / "circle.txt").symlink_to("circle.txt")
    (tree / "outer").symlink_to(secret)
    (tree / "x" / "up").symlink_to("..")
    entries = {entry.locator: entry for entry in everything(Folder(path=str(tree)))}
    assert not any(isinstance(entry, Document) and "secret" in entry.text for entry in entries.values())
    for name in ("out.txt", "relative.txt", "outer"):
        entry = entries[name]
        assert isinstance(entry, Reject) and "outside the folder" in entry.reason and entry.severity == "reject"
    assert entries["in.txt"] == Document("in.txt", "text of x/d.txt")
    assert isinstance(entries["nowhere.txt"], Reject) and isinstance(entries["circle.txt"], Reject)
    inner = entries["x/up"]
    assert isinstance(inner, Reject) and inner.severity == "empty"
    assert not any(name.startswith("x/up/") for name in entries)


def test_a_sibling_whose_name_begins_alike_is_outside(tree: Path) -> None:
    sibling = tree.parent / "corpus-private"
    sibling.mkdir()
    (sibling / "a.txt").write_text("secret")
    (tree / "s.txt").symlink_to(sibling / "a.txt")
    entries = {entry.locator: entry for entry in everything(Folder(path=str(tree)))}
    assert isinstance(entries["s.txt"], Reject)


def test_the_source_itself_may_be_a_link(tree: Path) -> None:
    (tree.parent / "link").symlink_to(tree)
    (tree.parent / "latest.txt").symlink_to(tree / "a.txt")
    assert everything(Folder(path=str(tree.parent / "link"))) == everything(Folder(path=str(tree)))
    assert everything(Folder(path=str(tree.parent / "latest.txt"))) == [Document("latest.txt", "text of a.txt")]


def test_pipes_are_not_listed_and_never_opened(tree: Path) -> None:
    os.mkfifo(tree / "pipe.txt")
    assert "pipe.txt" not in locators(Folder(path=str(tree)))
    entries = list(Folder(path=str(tree)).read(Item("pipe.txt", 0, ""), 100))
    assert isinstance(entries[0], Reject) and "regular file" in entries[0].reason


# ---------------------------------------------------------------- text files


def test_a_text_file_is_a_document_in_the_collection_of_its_first_folder(tree: Path) -> None:
    entries = everything(Folder(path=str(tree), suffixes=[".txt", ".rst"]))
    assert entries == [
        Document("a.txt", "text of a.txt", ""),
        Document("x/d.txt", "text of x/d.txt", "x"),
        Document("x/y/e.rst", "text of x/y/e.rst", "x"),
        Document("x/y/f.TXT", "text of x/y/f.TXT", "x"),
        Document("z/h.txt", "text of z/h.txt", "z"),
    ]


def test_bad_text_files_are_rejected_and_the_others_kept(tree: Path) -> None:
    (tree / "a.txt").write_bytes(b"caf\xe9")
    (tree / "b.md").write_bytes(b" \n")
    (tree / "x/d.txt").write_bytes(b"a\0b")
    (tree / "z/h.txt").write_bytes(b"x" * 101)
    entries = everything(Folder(path=str(tree)), limit=100)
    rejects = {entry.locator: entry for entry in entries if isinstance(entry, Reject)}
    assert set(rejects) == {"a.txt", "b.md", "x/d.txt", "z/h.txt"}
    assert "offset 3" in rejects["a.txt"].reason and "iconv" in rejects["a.txt"].reason
    assert [entry.locator for entry in rejects.values() if entry.severity == "empty"] == ["b.md"]
    assert "max_document_bytes" in rejects["z/h.txt"].reason
    assert {entry.locator for entry in entries if isinstance(entry, Document)} == {"x/y/e.rst", "x/y/f.TXT"}


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_file_that_went_away_is_rejected(tree: Path, name: str) -> None:
    (tree / name).write_text('{"text": "x"}\n')
    source = Folder(path=str(tree))
    item = next(item for item in source.manifest() if item.locator == name)
    (tree / name).unlink()
    (entry,) = source.read(item, 100)
    assert isinstance(entry, Reject) and "not there" in entry.reason and str(tree) not in entry.reason


def test_a_name_that_is_not_utf_8_is_rejected(tree: Path) -> None:
    with open(os.fsencode(tree) + b"/caf\xe9.txt", "wb") as file:
        file.write(b"text")
    source = Folder(path=str(tree))
    (tree / r"caf\xe9.txt").write_text("a file whose name is what the other's is shown as")
    bad, good = (item for item in source.manifest() if "caf" in item.locator)
    if not bad.locator.endswith("/"):
        bad, good = good, bad
    bad.locator.encode()
    (reject,) = source.read(bad, 100)
    assert isinstance(reject, Reject) and "name is not UTF-8; rename it" in reject.reason
    (document,) = source.read(good, 100)
    assert isinstance(document, Document)


def test_a_file_that_was_made_readable_is_another_item(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`chmod` leaves the time of a file as it is; what could not be read must be read after it."""
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("a.txt") and access(path, mode))
    before = {item.locator: item for item in Folder(path=str(tree)).manifest()}
    monkeypatch.undo()
    after = {item.locator: item for item in Folder(path=str(tree)).manifest()}
    assert {name for name in before if before[name] != after[name]} == {"a.txt"}


@pytest.mark.parametrize("blank", ["", " \n\t", "\u200b", "\ufeff\u2060 \u00ad"])
def test_text_of_which_nothing_is_seen_is_empty(tree: Path, blank: str) -> None:
    (tree / "blank.txt").write_text(blank)
    source = Folder(path=str(tree / "blank.txt"))
    (entry,) = source.read(source.manifest()[0], 100)
    assert isinstance(entry, Reject) and entry.severity == "empty"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=60))
def test_any_bytes_are_one_document_or_one_reject(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.txt"
    path.write_bytes(data)
    source = Folder(path=str(path))
    item = source.manifest()[0]
    (entry,) = source.read(item, 50)
    assert [entry] == list(source.read(item, 50))
    if isinstance(entry, Document):
        assert len(data) <= 50 and entry.text.encode() and b"\0" not in data
