"""Trees of anything, changed while they are read, give documents and sentences: no foreign text, and no waiting."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mnemic.errors import SourceError
from pipelines.sources import text
from pipelines.sources.contracts import Document, Reject, Source
from pipelines.sources.conversations import Conversations
from pipelines.sources.folder import Folder

SECRET = "the foreign secret"
NAMES = (
    "a.txt",
    "b.md",
    "c.jsonl",
    "d.json",
    "e.ndjson",
    "inner",
    "inner.txt",
    "ü#1.txt",
    "new\nline.txt",
    "caf\udce9.txt",
)
PATTERNS = ("", "/**/*.txt", "/*", "/**/**/**/*", "/inner/**", "/*.jsonl", "/a.txt", "/**/[a-c].*", "/inner")
TEXTS: tuple[bytes, ...] = (
    b"",
    b"own words",
    b"\xff\xfe\x00",
    b"\0",
    b"\xe9",
    b'{"text": "own words"}\n' * 3,
    b'{"text": "\\ud800"}\n{"text": ' + b"[" * 5000,
    b'{"turns": [{"text": "own", "time": NaN, "id": 1e999}, null, {"text": ["a", 5]}]}',
    b'[{"sessions": {}}, {"turns": {"a": 1}}, {"id": {}, "turns": [{"text": "x"}]}, 1' + b"0" * 5000 + b"]",
    b'{"conversation": {"session_1": 5, "session_1_date_time": [], "session_2": [{"text": "own"}]}}',
    json.dumps({"text": "a", "a": {"b": [None, True, -0.0]}}).encode(),
)


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError("something waits")

    before = signal.signal(signal.SIGALRM, late)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()


def put(chance: random.Random, folder: Path, foreign: Path, depth: int = 0) -> None:
    """Something in the place of one of the names of ``folder``."""
    path = folder / chance.choice(NAMES)
    kind = chance.choice(("file", "file", "file", "folder", "folder", "pipe", "link", "gone"))
    remove(path)
    if kind == "file":
        path.write_bytes(b"".join(chance.choices(TEXTS, k=chance.randint(1, 2))))
    elif kind == "folder":
        path.mkdir()
        for _ in range(chance.randint(0, 4) if depth < 3 else 0):
            put(chance, path, foreign, depth + 1)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        targets = (str(foreign), str(foreign / chance.choice(NAMES)), "/dev/zero", "..", path.name, "a.txt", "nowhere")
        path.symlink_to(chance.choice(targets))


def folders(root: Path) -> list[Path]:
    return [Path(folder) for folder, _, _ in os.walk(root)]


def read(source: Source, item: object) -> list[Document | Reject]:
    entries = list(source.read(item, 2000))  # type: ignore[arg-type]
    assert entries, "an item leaves something"
    for entry in entries:
        if isinstance(entry, Reject):
            assert entry.reason.endswith(".") and str(source.path) not in entry.reason  # type: ignore[attr-defined]
        else:
            assert SECRET not in entry.text and len(entry.text.encode()) <= 2000
    return entries


def try_seed(root: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    corpus, foreign = root / "corpus", root / "foreign"
    for folder in (corpus, foreign):
        remove(folder)
        folder.mkdir()
    for name in NAMES:
        (foreign / name).write_bytes(b'{"text": "' + SECRET.encode() + b'"}\n')
    for _ in range(8):
        put(chance, corpus, foreign)
    kind = chance.choice((Folder, Conversations))
    source = kind(path=f"{corpus}{chance.choice(PATTERNS)}")
    if os.path.realpath(source._place()[0]).startswith(str(foreign)):
        return  # the path that a recipe names may lead anywhere
    resolve, often = text.resolve_inside, chance.choice((0.0, 0.3))

    def swapping(path: str, where: str | None, locator: str) -> str | Reject:
        resolved = resolve(path, where, locator)
        if chance.random() < often:
            put(chance, chance.choice(folders(corpus)), foreign)
        return resolved

    signal.alarm(10)
    with monkeypatch.context() as swaps:
        try:
            items = source.manifest()
        except SourceError as error:
            assert str(error).endswith(".")
            return
        for _ in range(chance.randint(0, 3)):
            put(chance, chance.choice(folders(corpus)), foreign)
        if os.path.islink(source._place()[0]):
            return
        swaps.setattr(text, "resolve_inside", swapping)
        for item in items:
            if not os.path.islink(source._place()[0]):
                read(source, item)
    signal.alarm(0)


def test_any_tree_gives_documents_and_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(150):
        print("seed", seed)  # the last one printed is the one that fails
        try_seed(tmp_path, seed, monkeypatch)


@pytest.mark.slow
def test_thousands_of_trees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = random.SystemRandom().randrange(1 << 40)
    for seed in range(first, first + 5000):
        print("seed", seed)
        try_seed(tmp_path, seed, monkeypatch)
