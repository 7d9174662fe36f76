"""The registry of sources, and what counts as text."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from mnemic.errors import RecipeError
from pipelines.recipe import load_recipe
from pipelines.sources.contracts import Reject
from pipelines.sources.folder import Folder
from pipelines.sources.kinds import SOURCES, find_source
from pipelines.sources.python_environment import PythonEnvironment
from pipelines.sources.text import decode_text, read_bytes, text_fault

Offer = Callable[[str, str], None]

MAILBOX = """
from typing import ClassVar, Literal
from pydantic import BaseModel, ConfigDict
from pipelines.sources.contracts import Document, Item

class Mailbox(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    version: ClassVar[int] = 1
    kind: Literal["mailbox"] = "mailbox"
    name: str = "mailbox"
    def identity(self): return {}
    def manifest(self): return [Item("inbox", 1, "1")]
    def read(self, item, max_document_bytes): yield Document(item.locator, "A letter.")
"""


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Install a distribution that offers the entry point ``kind`` = ``value``."""

    def install(kind: str, value: str) -> None:
        info = tmp_path / "outside-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[mnemic.sources]\n{kind} = {value}\n")
        (tmp_path / "outside_mailbox.py").write_text(MAILBOX)
        monkeypatch.syspath_prepend(str(tmp_path))
        importlib.invalidate_caches()

    return install


def test_built_in_sources_are_found() -> None:
    assert find_source("folder") is Folder
    assert find_source("python-environment") is PythonEnvironment


@pytest.mark.parametrize("kind", sorted(SOURCES))
def test_a_source_is_a_strict_frozen_model_named_by_its_kind(kind: str) -> None:
    needed = {"python-environment": {}, "object-store": {"url": "s3://bucket/x"}}.get(kind, {"path": "x"})
    source = TypeAdapter(find_source(kind)).validate_python({"kind": kind, **needed})
    assert isinstance(source, BaseModel)
    assert (source.kind, source.name) == (kind, kind)  # type: ignore[attr-defined]
    with pytest.raises(ValidationError):
        find_source(kind)(path="x", unknown=1)
    with pytest.raises(ValidationError):
        source.name = "other"  # type: ignore[attr-defined]


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'folder'"):
        find_source("foldr")
    with pytest.raises(RecipeError, match="is the package that offers it installed"):
        find_source("zzz")


def test_another_package_offers_a_source(offer: Offer) -> None:
    offer("mailbox", "outside_mailbox:Mailbox")
    source = find_source("mailbox").model_validate({"kind": "mailbox"})  # type: ignore[attr-defined]
    assert [document.text for item in source.manifest() for document in source.read(item, 100)] == ["A letter."]
    with pytest.raises(RecipeError, match="did you mean 'mailbox'"):
        find_source("mailbx")


ROOTED = """
from typing import ClassVar, Literal
from pathlib import Path
from pydantic import BaseModel, ConfigDict
from pipelines.sources import Document, Item

class Letters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    version: ClassVar[int] = 1
    kind: Literal["letters"] = "letters"
    name: str = "letters"
    folder: str
    root: str = ""
    def identity(self): return {}
    def manifest(self): return [Item(path.name, 1, "1") for path in sorted((Path(self.root) / self.folder).iterdir())]
    def read(self, item, max_document_bytes): yield Document(item.locator, "A letter.")
"""


def test_a_source_of_another_package_gets_the_folder_of_the_recipe(offer: Offer, tmp_path: Path) -> None:
    offer("letters", "outside_letters:Letters")
    (tmp_path / "outside_letters.py").write_text(ROOTED)
    (tmp_path / "post").mkdir()
    (tmp_path / "post" / "one.txt").write_text("x")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: r\nsources: [{kind: letters, folder: post}]\n")
    (source,) = load_recipe(recipe).sources
    assert [item.locator for item in source.manifest()] == ["one.txt"]


def test_the_hint_for_a_misspelt_setting_comes_from_that_kind_of_source(offer: Offer, tmp_path: Path) -> None:
    offer("letters", "outside_letters:Letters")
    (tmp_path / "outside_letters.py").write_text(ROOTED)
    with pytest.raises(RecipeError) as caught:
        load_recipe({"name": "r", "sources": [{"kind": "letters", "folder": "x", "rooot": "y", "time_field": "z"}]})
    assert "`sources[0].rooot` is not a setting: did you mean `root`?" in str(caught.value)
    assert "`sources[0].time_field` is not a setting: known are folder, kind, name, root." in str(caught.value)
    with pytest.raises(RecipeError, match="did you mean `suffixes`"):
        load_recipe({"name": "r", "sources": [{"kind": "folder", "path": "x", "sufixes": []}]})
    with pytest.raises(RecipeError, match=r"There is no source of kind 'leters'.* did you mean 'letters'"):
        load_recipe({"name": "r", "sources": [{"kind": "leters"}]})


def test_a_built_in_source_cannot_be_replaced(offer: Offer) -> None:
    offer("folder", "outside_mailbox:Mailbox")
    assert find_source("folder") is Folder


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("outside_mailbox:Missing", "cannot be imported"),
        ("no_such_module:X", "cannot be imported"),
        ("pathlib:Path", "is not a pydantic model"),
    ],
)
def test_an_unusable_entry_point_is_told(offer: Offer, value: str, sentence: str) -> None:
    offer("mailbox", value)
    with pytest.raises(RecipeError, match=sentence):
        find_source("mailbox")


def test_text_faults() -> None:
    assert text_fault("plain \U0001f600 text") == ""
    assert "U+D800" in text_fault("ab\ud800") and "character 2" in text_fault("ab\ud800")
    assert "NUL" in text_fault("a\0b")


@pytest.mark.parametrize("data", [b"caf\xc3\xa9\n", b"\xef\xbb\xbfcaf\xc3\xa9\n", b"caf\xc3\xa9\r\n", b"caf\xc3\xa9\r"])
def test_utf_8_is_decoded_with_or_without_a_mark_and_with_any_line_end(data: bytes) -> None:
    assert decode_text(data, "x") == "café\n"


@pytest.mark.parametrize(
    ("data", "sentence", "severity"),
    [
        (b"caf\xe9 x", "byte 0xe9 at offset 3 .*iconv", "reject"),
        (b"\xef\xbb\xbfcaf\xe9", "offset 6", "reject"),
        (b"ab\0cd", "binary", "reject"),
        ("text".encode("utf-16"), "UTF-16.*iconv -f UTF-16", "reject"),
        (b"", "no text", "empty"),
        (b" \n\t\r\n", "no text", "empty"),
        (b"\xef\xbb\xbf", "no text", "empty"),
    ],
)
def test_what_is_not_text_is_rejected_with_a_reason(data: bytes, sentence: str, severity: str) -> None:
    decoded = decode_text(data, "x")
    assert isinstance(decoded, Reject)
    assert decoded.severity == severity
    assert re.search(sentence, decoded.reason)


def test_a_file_larger_than_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 11)
    assert read_bytes(str(path), None, "a.txt", 11) == b"x" * 11
    os.truncate(path, 1 << 40)
    result = read_bytes(str(path), None, "a.txt", 10)
    assert isinstance(result, Reject) and "max_document_bytes" in result.reason
