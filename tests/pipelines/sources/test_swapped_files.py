"""Files that become something else while a source is read: a foreign file is never a document, and nothing waits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mnemic.opening import NotRegular, Swapped, open_regular
from pipelines.evaluate.questions import read_questions
from pipelines.sources import text
from pipelines.sources.contracts import Document, Item, Reject, Source
from pipelines.sources.conversations import Conversations
from pipelines.sources.folder import Folder
from pipelines.sources.python_environment import PythonEnvironment

SECRET = "the foreign secret"

Swap = Callable[[Path, Path], None]


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    """A read that waits fails after ten seconds."""

    def late(*_: object) -> None:
        raise TimeoutError("something waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def link(path: Path, foreign: Path) -> None:
    remove(path)
    path.symlink_to(foreign)


def pipe(path: Path, _: Path) -> None:
    remove(path)
    os.mkfifo(path)


def folder(path: Path, _: Path) -> None:
    remove(path)
    path.mkdir()


def listening(path: Path, _: Path) -> None:
    remove(path)
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


def gone(path: Path, _: Path) -> None:
    remove(path)


SWAPS = (link, pipe, folder, listening, gone)

CONTENT = {
    "a.txt": SECRET,
    "a.jsonl": json.dumps({"text": SECRET}) + "\n",
    "a.json": json.dumps({"turns": [{"text": SECRET}]}),
}


def place(root: Path, name: str) -> tuple[Path, Path]:
    """A file in a folder of a source, and a foreign file (in a folder) of the same name and size outside."""
    inside, outside = root / "corpus" / "inner" / name, root / "foreign" / name
    for path in (inside, outside):
        path.parent.mkdir(parents=True)
        path.write_text(CONTENT[name])
    inside.write_text(CONTENT[name].replace(SECRET, "own words of own"))
    return inside, outside


def source_of(name: str, path: Path) -> Source:
    return Conversations(path=str(path)) if name.endswith(".json") else Folder(path=str(path))


def words(source: Source, item: Item) -> str:
    """The texts of an item's documents. Reading gives documents or sentences, and ends."""
    entries = list(source.read(item, 10_000))
    assert entries
    assert all(entry.reason.endswith(".") for entry in entries if isinstance(entry, Reject))
    return " ".join(entry.text for entry in entries if isinstance(entry, Document))


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("swap", SWAPS)
def test_a_file_that_is_swapped_after_it_was_listed_is_rejected(tmp_path: Path, name: str, swap: Swap) -> None:
    inside, outside = place(tmp_path, name)
    source = source_of(name, tmp_path / "corpus")
    (item,) = source.manifest()
    assert "own words" in words(source, item)
    swap(inside, outside)
    assert words(source, item) == ""


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("swap", SWAPS)
@pytest.mark.parametrize("what", ["file", "folder"])
def test_one_that_is_swapped_after_it_was_looked_at_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, swap: Swap, what: str
) -> None:
    """The moment between looking at a name and opening it, which an attacker hits in one of many tries."""
    inside, outside = place(tmp_path, name)
    source = source_of(name, tmp_path / "corpus")
    (item,) = source.manifest()
    resolve = text.resolve_inside

    def swapped(path: str, root: str | None, locator: str) -> str | Reject:
        resolved = resolve(path, root, locator)
        swap(*((inside, outside) if what == "file" else (inside.parent, outside.parent)))
        return resolved

    monkeypatch.setattr(text, "resolve_inside", swapped)
    assert words(source, item) == ""


@pytest.mark.parametrize("swap", SWAPS)
def test_a_file_that_the_recipe_names_is_not_swapped_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swap: Swap
) -> None:
    inside, outside = place(tmp_path, "a.txt")
    source = Folder(path=str(inside))
    (item,) = source.manifest()
    resolve = text.resolve_inside

    def swapped(path: str, root: str | None, locator: str) -> str | Reject:
        resolved = resolve(path, root, locator)
        swap(inside, outside)
        return resolved

    monkeypatch.setattr(text, "resolve_inside", swapped)
    assert words(source, item) == ""


def test_a_race_that_is_run_many_times_gives_no_foreign_text(tmp_path: Path) -> None:
    inside, outside = place(tmp_path, "a.txt")
    source = Folder(path=str(tmp_path / "corpus"))
    (item,) = source.manifest()
    done = threading.Event()

    def race() -> None:
        other = inside.with_name("other.txt")
        while not done.is_set():
            for make in (lambda: other.symlink_to(outside), lambda: os.mkfifo(other), lambda: other.write_text("own")):
                make()
                os.replace(other, inside)

    thread = threading.Thread(target=race)
    thread.start()
    try:
        until = time.monotonic() + 0.7
        texts = set()
        while time.monotonic() < until:
            texts.add(words(source, item))
    finally:
        done.set()
        thread.join()
    assert not any(SECRET in one for one in texts)
    assert "own" in texts, "some reads fell between two swaps"


def test_links_inside_a_source_that_is_a_link_are_read_as_ever(tmp_path: Path) -> None:
    inside, _ = place(tmp_path, "a.txt")
    (tmp_path / "corpus" / "second.txt").symlink_to("inner/a.txt")
    (tmp_path / "corpus" / "third.txt").symlink_to(inside)
    (tmp_path / "latest").symlink_to("corpus")
    source = Folder(path=str(tmp_path / "latest"))
    assert [words(source, item) for item in source.manifest()] == ["own words of own"] * 3


def test_a_file_that_grows_is_read_as_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"text": "first"}\n{"text": "second"}\n{"te')
    source = Folder(path=str(path))
    (item,) = source.manifest()
    reading = source.read(item, 1000)
    entries = [next(reading)]
    with path.open("a") as file:
        file.write('xt": "third"}\n' * 1000)
    entries += reading
    assert [entry.text for entry in entries if isinstance(entry, Document)] == ["first", "second"]
    assert [entry.reason for entry in entries if isinstance(entry, Reject)] == [
        "Line 3 is not JSON (Unterminated string starting at at character 1)."
        " The file seems cut off, since its last line has no end; copy it again."
    ]


@pytest.mark.parametrize("name", ["METADATA", "RECORD", "prose.md"])
def test_a_pipe_or_link_among_the_files_of_a_package(tmp_path: Path, name: str) -> None:
    for package in ("ada", "ben"):
        information = tmp_path / "site" / f"{package}-1.0.dist-info"
        information.mkdir(parents=True)
        description = "A description of the package that is long enough to be read."
        (information / "METADATA").write_text(f"Name: {package}\nVersion: 1.0\n\n{description}\n")
        (tmp_path / "site" / f"{package}.md").write_text("Prose about the package.")
        listed = (f"{package}.md", f"{information.name}/METADATA", f"{information.name}/RECORD")
        (information / "RECORD").write_text("".join(f"{path},,\n" for path in listed))
    source = PythonEnvironment(path=[str(tmp_path / "site")])
    items = source.manifest()
    victim = tmp_path / "site" / ("ada.md" if name == "prose.md" else f"ada-1.0.dist-info/{name}")
    (tmp_path / "foreign").write_text(SECRET)
    for swap in (pipe, link):
        swap(victim, tmp_path / "foreign")
        assert SECRET not in " ".join(words(source, item) for item in items)
        assert [item.locator for item in source.manifest()][-1] == "ben-1.0"


def test_a_file_of_questions_that_is_a_pipe_is_a_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "questions.jsonl")
    with pytest.raises(Exception, match=r"questions.jsonl cannot be read. It is not a regular file; leave it out."):
        read_questions(tmp_path / "questions.jsonl")


def test_what_is_opened_is_a_regular_file_below_its_folder(tmp_path: Path) -> None:
    inside, outside = place(tmp_path, "a.txt")
    root = str(tmp_path / "corpus")
    with open_regular(str(inside), root) as file:
        assert file.read() == b"own words of own"
    link(inside, outside)
    with pytest.raises(Swapped):
        open_regular(str(inside), root)
    with pytest.raises(Swapped):
        open_regular(str(inside))
    with pytest.raises(NotRegular):
        open_regular(str(inside.parent), root)
    with pytest.raises(OSError):
        open_regular(str(outside), root)
    with pytest.raises(NotRegular):
        open_regular(os.devnull)
