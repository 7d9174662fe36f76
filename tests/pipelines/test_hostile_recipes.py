"""Recipes that somebody wrote to exhaust or to make talk: each is a sentence, soon, and tells no secret."""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnemic.errors import RecipeError
from pipelines.recipe import load_recipe

BASE = "name: x\nsources: [{kind: folder, path: t}]\n"
SECRET = "hunter2-hunter2"

LEVELS = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))
MERGES = "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 9))

HOSTILE = {
    "aliases": f"a0: &a0 [{', '.join(['lol'] * 10)}]\n{LEVELS}embed: *a8\n",
    "aliases for a bank": f"a0: &a0 [{', '.join(['lol'] * 10)}]\n{LEVELS}bank: *a8\n",
    "aliases as keys": f"a0: &a0 [{', '.join(['lol'] * 10)}]\n{LEVELS}? *a8\n: 1\n",
    "merges": f"a0: &a0 {{k: 1}}\n{MERGES}",
    "an alias in itself": "embed: &a {model: *a}\n",
    "a source in itself": "embed: &a [*a]\n",
    "keys": "embed:\n" + "".join(f"  k{i}: 1\n" for i in range(24_000)),
    "keys beside": "".join(f"k{i}: 1\n" for i in range(4_000)),
    "long keys": "".join(f"{'k' * 1000}{i}: 1\n" for i in range(200)),
    "lists": "embed: " + "[" * 20_000 + "]" * 20_000,
    "mappings": "embed: " + "{a: " * 3000 + "1" + "}" * 3000,
    "dashes": "embed:\n  " + "- " * 10_000 + "1",
    "questions": "? " * 10_000,
    "one long word": "embed: " + "a" * 240_000,
    "one long text": 'embed: "' + "a " * 120_000 + '"',
    "a comment": "#" * 240_000 + "\nembed: 1",
    "blank lines": "\n" * 240_000 + "embed: 1",
    "anchors": "".join(f"a{i}: &b{i} 1\n" for i in range(9_000)),
    "decimals": "max_document_bytes: " + "9" * 5000,
    "hexadecimals": "max_document_bytes: 0x" + "f" * 5000,
    "sixties": "max_document_bytes: 1" + ":59" * 5000,
    "bits without a bit": "max_document_bytes: 0b",
    "an exponent": "max_rejects: 1.0e+99999999",
    "a date": "max_rejects: 2026-99-99",
    "a float of sixties": "max_rejects: 1:._",
    "a key of lists": "? [a, b]\n: c",
    "a key of mappings": "? {a: b}\n: c",
    "a number as key": "embed: {5: 1}",
    "a merge of a number": "<<: 5",
    "a tag of Python": "x: !!python/object/apply:os.system ['touch owned']",
    "a set": "embed: !!set {model}",
    "pairs": "embed: !!omap [a: 1]",
    "bytes": "embed: !!binary aGVsbG8=",
    "half a character": 'bank: "\\ud800"',
    "half a character as key": '"\\ud800": 1',
    "a NUL": 'bank: "a\\0b"',
    "escapes": '"mod\\e[31mel": 3',
    "kinds": "embed: {dtype: [a]}",
}


def refused(content: str | Path | Mapping[str, Any]) -> str:
    """What is said of a recipe, within two seconds of a processor and 64 MB, without a cause that quotes it."""
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(RecipeError) as caught:
            load_recipe(content)
        limit = 6 if isinstance(content, Path) else 2
        assert time.process_time() - start < limit, "traced, it takes thrice as long"
        assert tracemalloc.get_traced_memory()[1] < 64e6
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert message.endswith((".", "?")) and len(message) < 10_000
    assert SECRET not in message + repr(caught.value) + repr(caught.value.__cause__) + repr(caught.value.__context__)
    return message


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_recipe_is_a_sentence(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "r.yaml"
    path.write_text(BASE + HOSTILE[what], encoding="utf-8")
    refused(path)
    assert os.listdir() == ["r.yaml"]


def test_hostile_values_from_python_are_too() -> None:
    deep: Any = 1
    for _ in range(3000):
        deep = {"a": deep}
    bomb: Any = "lol"
    for _ in range(12):
        bomb = [bomb] * 10
    itself: dict[str, Any] = {}
    itself["a"] = itself
    for value in (deep, bomb, itself, {f"k{i}": 1 for i in range(30_000)}, 10**5000, "a\0b", {5: 1}, {"\udfff": 1}):
        for place in ("embed", "bank", "language_model", "sources", "nothing_of_the_name"):
            refused({"name": "x", "sources": [{"kind": "folder", "path": "t"}], place: value})


def test_files_that_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("pipe", "zero", "folder"):
        assert "is a folder, a pipe or a device" in refused(tmp_path / f"{name}.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * 250_001)
    assert "larger than a recipe may be (250,000 bytes)" in refused(tmp_path / "large.yaml")
    for content in (b"\xff\xfen\0", b"\x7fELF\x02\x01\0\0", b"a: \xff", b"a: b\0"):
        (tmp_path / "binary.yaml").write_bytes(content)
        assert "not readable as YAML" in refused(tmp_path / "binary.yaml")
    for name in ("x" * 5000, "a\0b", "~nobody-of-this-name/r.yaml", ""):
        assert load_fails(name)


def load_fails(name: str) -> bool:
    with pytest.raises(RecipeError, match=r"Give the path of a YAML file|give the path of a YAML file"):
        load_recipe(name)
    return True


@pytest.mark.parametrize(
    "change",
    [
        {"storage_option": {"aws_secret_access_key": SECRET}},
        {"storage_options": {"aws_secret_acess_key": SECRET}},
        {"storage_options": SECRET},
        {"storage_options": [SECRET]},
        {"storage_options": {"aws_secret_access_key": [SECRET]}},
        {"storage_options": {"aws_endpoint": f"http://u:{SECRET}@h"}},
        {"storage_options": {"aws_secret_access_key": SECRET, "timeot": "soon"}},
        {"bank": {"aws_secret_access_key": SECRET}},
        {"bank": [SECRET]},
        {"language_model": {"aws_secret_access_key": SECRET}},
        {"max_rejects": SECRET},
        {"max_document_bytes": f"{SECRET} {SECRET}"},
        {"embed": SECRET},
        {"embed": [SECRET]},
        {"embed": {"dtype": SECRET}},
        {"embed": {"batch_tokens": SECRET}},
        {"segment": {"method": SECRET}},
        {"sources": [SECRET]},
        {"sources": SECRET},
        {"sources": [{"kind": SECRET}]},
        {"sources": [{"kind": [SECRET]}]},
        {"sources": [{"kind": "folder", "path": "t", "name": [SECRET]}]},
        {"sources": [{"kind": "folder", "path": "t", "suffixes": [SECRET]}]},
        {"sources": [{"kind": "folder", "path": "t", "password": SECRET}]},
        {"name": f"{SECRET} and {SECRET}", "token": SECRET},
    ],
)
def test_a_secret_in_a_wrong_place_is_not_told(change: dict[str, Any]) -> None:
    refused({"name": "x", "bank": "s3://b/x", "sources": [{"kind": "folder", "path": "t"}], **change})


@pytest.mark.parametrize(
    "line",
    [
        "aws_secret_access_key: *SECRET",
        "aws_secret_access_key: !SECRET",
        "aws_secret_access_key: !!SECRET x",
        "aws_secret_access_key: @SECRET",
        "aws_secret_access_key: &SECRET x\n  a: &SECRET y\n  b: *SECRET-more",
        "aws_secret_access_key: 'SECRET' SECRET",
        "aws_secret_access_key: SECRET: SECRET",
        "aws_secret_access_key: %SECRET",
        'aws_secret_access_key: "\\xSECRET"',
        "aws_secret_access_key: [SECRET",
        "aws_secret_access_key: SECRET\n aws_region",
    ],
)
def test_nor_by_the_parser(tmp_path: Path, line: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(f"{BASE}storage_options:\n  {line.replace('SECRET', SECRET)}\n")
    refused(path)


def test_what_is_no_secret_is_still_named() -> None:
    sentences = refused({"name": "x", "sources": ["texts"], "segment": {"method": "magic"}, "max_rejects": 2})
    assert "'texts' is not a source" in sentences and "no segmenter 'magic'" in sentences and "(given: 2)" in sentences


def test_aliases_and_merges_that_people_write_are_read(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "name: x\nsources:\n  - &texts {kind: folder, name: a, path: t}\n  - {<<: *texts, name: b}\n"
        "embed: {dtype: &dtype float32}\n"
    )
    assert [(source.name, source.path) for source in load_recipe(path).sources] == [("a", "t"), ("b", "t")]  # type: ignore[attr-defined]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["auto", "folder", "float32", "1e999", "0x1", "~", "!!set", "*a", "\ud800", SECRET]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["kind", "path", "model", "method", "dtype", "name"]) | st.text(), inner)
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(["name", "bank", "sources", "storage_options", "embed", "segment", "deduplicate", "max_rejects"])
EXAMPLES = 150


def sentence_or_recipe(content: str | Path | Mapping[str, Any]) -> None:
    """A recipe or a sentence, and nothing else; hypothesis prints what fails, and the seed that finds it again."""
    try:
        load_recipe(content)
    except RecipeError as error:
        assert SECRET not in str(error) + repr(error.__cause__)


def any_values(examples: int) -> None:
    @settings(max_examples=examples, print_blob=True)
    @given(st.dictionaries(KEYS, VALUES, max_size=6))
    def check(content: dict[str, Any]) -> None:
        sentence_or_recipe({"name": "x", "sources": [{"kind": "folder", "path": "t"}], **content})

    check()


def any_text(path: Path, examples: int) -> None:
    whole = BASE + "embed: {dtype: float32}\nstorage_options: {aws_region: eu}\nmax_rejects: 0.5\n"
    pieces = st.sampled_from(
        ["[", "]", "{", "}", ": ", "- ", "&a ", "*a", "<<: ", "!!", "'", '"', "\n ", "0x", "\0", "? "]
    )

    @settings(
        max_examples=examples,
        print_blob=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        st.lists(st.tuples(st.integers(0, len(whole)), st.integers(0, 9), pieces | st.binary(max_size=3)), max_size=6)
    )
    def check(edits: list[tuple[int, int, str | bytes]]) -> None:
        data = whole.encode()
        for begin, length, piece in edits:
            data = data[:begin] + (piece.encode() if isinstance(piece, str) else piece) + data[begin + length :]
        path.write_bytes(data)
        sentence_or_recipe(path)

    check()


def test_any_values_are_a_recipe_or_a_sentence() -> None:
    any_values(EXAMPLES)


def test_any_edit_of_a_recipe_is_one_or_a_sentence(tmp_path: Path) -> None:
    any_text(tmp_path / "r.yaml", EXAMPLES)


@pytest.mark.slow
def test_many_more_of_both(tmp_path: Path) -> None:
    any_values(40 * EXAMPLES)
    any_text(tmp_path / "r.yaml", 40 * EXAMPLES)
