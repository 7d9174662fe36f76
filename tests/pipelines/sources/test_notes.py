"""Notes: Markdown with front matter, vaults of Obsidian, exports of Notion, and notebooks."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.sources.document_files import SENTENCE, markdown, notebook, notion, zipped
from pipelines.sources.contracts import Document, Reject
from pipelines.sources.front_matter import parted
from pipelines.sources.kinds import find_source
from pipelines.sources.markdown import first_heading
from pipelines.sources.notebooks import recognise as is_notebook
from pipelines.sources.recognise import entries_of, recognised_folder

LIMIT = 1_000_000


def read(kind: str, path: Path, **settings: Any) -> dict[str, Document | Reject]:
    source = find_source(kind)(path=str(path), **settings)  # type: ignore[call-arg]
    return {result.locator: result for item in source.manifest() for result in source.read(item, LIMIT)}


def documents(results: dict[str, Document | Reject]) -> dict[str, Document]:
    return {place: result for place, result in results.items() if isinstance(result, Document)}


def test_front_matter_is_metadata_and_no_text() -> None:
    fields, text, fault = parted(markdown().decode())
    assert not fault and text.startswith("# A heading")
    assert fields == {
        "title": "The log",
        "tags": ["harbour", "tides"],
        "aliases": ["log", "journal"],
        "date": datetime(2026, 3, 1, tzinfo=UTC),
        "rating": 4.5,
    }


@pytest.mark.parametrize(
    ("block", "fields"),
    [
        ("", {}),
        ("title: 1984", {"title": 1984}),
        ("Tags: '#one #two'", {"tags": ["one", "two"]}),
        ("categories:\n  - a\n  - b", {"tags": ["a", "b"]}),
        ("authors: [Ada, Bob]", {"author": "Ada, Bob"}),
        ("nested: {a: 1}\nfree key: x", {"free_key": "x"}),
        ("created: 2026-03-01T10:00:00+02:00", {"date": datetime(2026, 3, 1, 8, tzinfo=UTC)}),
        ("draft: yes", {"draft": "true"}),
        ("empty:", {}),
    ],
)
def test_fields_have_plain_values_and_usual_names(block: str, fields: dict[str, object]) -> None:
    assert parted(f"---\n{block}\n---\ntext") == (fields, "text", "")


@pytest.mark.parametrize(
    "text",
    [
        "---\na: [1\n---\ntext",
        "---\na: !!python/object/apply:os.system [ls]\n---\ntext",
        "---\na: &x 1\nb: *x\n---\ntext",
    ],
)
def test_front_matter_that_is_no_yaml_stays_in_the_text(text: str) -> None:
    fields, body, fault = parted(text)
    assert (fields, body) == ({}, text) and fault.endswith("correct it.")


@pytest.mark.parametrize("text", ["--- not\ntext", "a\n---\nb: 1\n---\n", "---\nno end", "---\njust words\n---\ntext"])
def test_a_rule_is_no_front_matter(text: str) -> None:
    assert parted(text) == ({}, text, "")


@given(st.text(alphabet="a:-[]{}&*!|>'\"#%@`\n \t0\u2028é", max_size=200))
def test_any_front_matter_keeps_the_text(block: str) -> None:
    fields, text, _ = parted(f"---\n{block}\n---\nThe text.")
    assert text.endswith("The text.")
    assert all(isinstance(value, str | int | float | list | datetime) for value in fields.values())


def test_hostile_front_matter_is_quick() -> None:
    begin = time.process_time()
    for block in ("[" * 60_000, "a: &a [x]\n" + "".join(f"k{n}: [*a, *a]\n" for n in range(3000)), "- " * 30_000):
        parted(f"---\n{block}\n---\ntext")
    assert time.process_time() - begin < 10


def test_the_first_heading_is_none_of_the_code() -> None:
    assert first_heading("text\n\n# One #\n") == "One"
    assert first_heading("```\n# no\n```\n# late") == ""


def test_a_vault_leaves_templates_out_and_keeps_links(tmp_path: Path) -> None:
    (tmp_path / ".obsidian").mkdir()
    (tmp_path / ".obsidian" / "templates.json").write_text('{"folder": "My forms"}')
    for name in ("My forms/daily.md", "days/2026-03-02.md", "Crane.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{SENTENCE} [[Ropes|rope]] `[[no]]` #iron/old #12\n")
    results = documents(read("obsidian", tmp_path))
    assert set(results) == {"days/2026-03-02.md", "Crane.md"}
    day = results["days/2026-03-02.md"]
    assert day.time == datetime(2026, 3, 2, tzinfo=UTC)
    assert day.metadata["links"] == ["Ropes"] and day.metadata["tags"] == ["iron/old"]
    assert results["Crane.md"].metadata["title"] == "Crane"
    assert set(documents(read("obsidian", tmp_path, templates="days"))) == {"My forms/daily.md", "Crane.md"}
    form = recognised_folder(str(tmp_path), entries_of(str(tmp_path)))
    assert form is not None and form.kind == "obsidian"


def test_settings_of_a_vault_that_lead_elsewhere_are_not_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_text('{"folder": "notes"}')
    vault = tmp_path / "vault"
    (vault / ".obsidian").mkdir(parents=True)
    (vault / ".obsidian" / "templates.json").symlink_to(outside)
    (vault / "notes").mkdir()
    (vault / "notes" / "a.md").write_text(SENTENCE)
    assert set(documents(read("obsidian", vault))) == {"notes/a.md"}


def test_an_export_of_notion_is_read_packed_and_unpacked(tmp_path: Path) -> None:
    identity = "0123456789abcdef0123456789abcdef"
    (tmp_path / "Export-1.zip").write_bytes(notion())
    packed = documents(read("notion", tmp_path / "Export-1.zip"))
    (page,) = (page for page in packed.values() if page.metadata["title"] == "The log")
    assert page.metadata["status"] == "Done" and page.metadata["tags"] == ["harbour", "tides"]
    assert page.time == datetime(2026, 3, 1, 9, 30, tzinfo=UTC) and page.collection == "Harbour"
    folder = tmp_path / "export" / f"Harbour {identity}"
    folder.mkdir(parents=True)
    (folder / f"The log {identity}.md").write_text(page.text)
    (unpacked,) = documents(read("notion", tmp_path / "export")).values()
    assert (unpacked.text, unpacked.metadata, unpacked.collection) == (page.text, page.metadata, "Harbour")
    form = recognised_folder(str(folder), entries_of(str(folder)))
    assert form is not None and form.kind == "notion"


def test_a_link_in_an_export_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "Export.zip").write_bytes(zipped({"../evil 0123456789abcdef0123456789abcdef.md": SENTENCE}))
    (reject,) = read("notion", tmp_path / "Export.zip").values()
    assert isinstance(reject, Reject) and "leads out" in reject.reason


def test_outputs_of_a_notebook_come_where_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "log.ipynb").write_bytes(notebook())
    (bare,) = documents(read("notebook", tmp_path)).values()
    assert "```python\nprint(1 + 1)\n```" in bare.text and "\n2\n" not in bare.text
    assert bare.metadata == {"title": "The log", "author": "Ada", "programming_language": "python"}
    (full,) = documents(read("notebook", tmp_path, outputs=True)).values()
    assert "```\n2\n```" in full.text


def test_cells_of_format_three_and_fences_in_code(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "heading", "level": 2, "source": "Old"},
        {"cell_type": "code", "input": "s = '''\n```\n'''", "language": "python"},
        {"cell_type": "code", "input": 5},
    ]
    (tmp_path / "old.ipynb").write_text(json.dumps({"worksheets": [{"cells": cells}], "nbformat": 3}))
    source = find_source("notebook")(path=str(tmp_path))  # type: ignore[call-arg]
    document, note = (result for item in source.manifest() for result in source.read(item, LIMIT))
    assert isinstance(document, Document) and document.text == "## Old\n\n````\ns = '''\n```\n'''\n````"
    assert isinstance(note, Reject) and note.severity == "note" and "the first is 3" in note.reason


def test_json_that_is_no_notebook_is_none() -> None:
    assert is_notebook("a.json", notebook())
    assert not is_notebook("a.json", b'{"cells": 4}') and not is_notebook("a.ipynb", b"[]")
