"""People's own metadata: fields of records become typed columns of documents and events, for conditions and results."""

import json

import pytest
from tiny_encoder import save_tiny_encoder

import mnemic
from mnemic.command import main
from mnemic.errors import RecipeError
from mnemic.metadata import RESERVED, metadata_fields
from pipelines.recipe import load_recipe

COLUMNS = {"author": "text", "rating": "number", "published": "time", "tags": "list"}
RECORDS = [
    {"text": "The garden needs water.", "author": "Ada", "rating": 4, "published": "2026-03-01", "tags": ["a", "b"]},
    {"text": "A piston broke again. It was hot.", "author": "Bob", "rating": "2.5", "published": 1767225600},
    {"text": "She tuned every string.", "author": {"name": "Cleo"}, "rating": "many", "published": "soon", "tags": "c"},
    {"text": "Nothing is said of this one."},
]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    root = tmp_path_factory.mktemp("metadata")
    (root / "notes.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    (root / "plain.txt").write_text("A text of another source, about the garden.")
    return {
        "name": "own",
        "bank": str(root / "bank"),
        "sources": [
            {"kind": "folder", "name": "notes", "path": str(root / "notes.jsonl"), "columns": COLUMNS},
            {"kind": "folder", "name": "plain", "path": str(root / "plain.txt")},
        ],
        "embed": {"model": str(save_tiny_encoder(root / "encoder")), "dtype": "float32"},
        "cluster": False,
    }


@pytest.fixture(scope="module")
def bank(recipe):
    mnemic.build(recipe, device="cpu")
    return mnemic.open_bank(recipe["bank"])


def test_fields_are_typed_columns_of_documents_units_and_events(bank):
    for name in ("documents", "units", "events"):
        own = metadata_fields(bank.view.dataset(name).schema)
        assert [field.name for field in own] == list(COLUMNS), name
    rows = bank.view.table("documents", ["locator", *COLUMNS]).sort_by("locator").to_pylist()
    first, second, third, fourth, plain = rows
    assert (first["author"], first["rating"], first["tags"]) == ("Ada", 4.0, ["a", "b"])
    assert (second["rating"], f"{second['published']:%Y-%m-%d}", second["tags"]) == (2.5, "2026-01-01", None)
    assert [third[name] for name in COLUMNS] == [None, None, None, ["c"]]
    assert [fourth[name] for name in COLUMNS] == [plain[name] for name in COLUMNS] == [None] * 4


def test_every_event_has_what_its_document_states(bank):
    documents = {row["id"]: row for row in bank.view.table("documents", ["id", *COLUMNS]).to_pylist()}
    events = bank.view.table("events", ["document", *COLUMNS]).to_pylist()
    assert len(events) > len(documents)
    for event in events:
        assert all(event[name] == documents[event["document"]][name] for name in COLUMNS)


def test_a_value_of_another_type_is_a_note_that_names_field_and_way_out(bank):
    notes = bank.view.table("rejects", ["locator", "reason", "severity"]).to_pylist()
    assert {note["severity"] for note in notes} == {"note"}
    assert {note["locator"] for note in notes} == {"notes.jsonl#3"}
    reasons = " ".join(sorted(note["reason"] for note in notes))
    for phrase in (
        "`author`, which is an object",
        "`rating`, which is a text, not a number",
        "`published`, which cannot",
    ):
        assert phrase in reasons


@pytest.mark.parametrize(
    ("condition", "texts"),
    [
        ("author = 'Ada'", {"The garden needs water."}),
        ("rating < 3", {"A piston broke again.\nIt was hot."}),
        ("published >= date '2026-02-01'", {"The garden needs water."}),
        ("array_has(tags, 'c')", {"She tuned every string."}),
        ("author IS NULL AND rating IS NULL AND tags IS NULL AND source = 'notes'", {"Nothing is said of this one."}),
    ],
)
def test_a_condition_may_ask_for_them(bank, condition, texts):
    hits = bank.search("garden", where=condition, k=9, level="session")
    assert {hit.text for hit in hits} == texts


def test_results_show_them(bank, capsys):
    [hit] = bank.search("piston", where="author = 'Bob'", k=1, level="session")
    assert hit.metadata == {"author": "Bob", "rating": 2.5, "published": hit.metadata["published"]}
    assert main(["search", bank.path, "piston", "--where", "author = 'Bob'"]) == 0
    assert "author: Bob" in capsys.readouterr().out


def test_a_bank_without_columns_has_none_and_gains_them_later(recipe, tmp_path):
    source = {key: value for key, value in recipe["sources"][0].items() if key != "columns"}
    plain = recipe | {"name": "later", "bank": str(tmp_path / "bank"), "sources": [source]}
    mnemic.build(plain, device="cpu")
    before = mnemic.open_bank(plain["bank"])
    assert not metadata_fields(before.view.dataset("events").schema)
    named = plain | {"sources": [source | {"columns": COLUMNS}]}
    assert mnemic.plan(named).steps[0].kind == "pending"
    mnemic.build(named, device="cpu")
    after = mnemic.open_bank(plain["bank"])
    fresh = named | {"bank": str(tmp_path / "fresh")}
    mnemic.build(fresh, device="cpu")
    assert after.digest() == mnemic.open_bank(fresh["bank"]).digest()
    assert after.search("garden", where="rating = 4", k=3)
    other = named | {"sources": [source | {"columns": {"rating": "text"}}]}
    with pytest.raises(RecipeError, match="'rating' of the source 'notes' has another type in this bank"):
        mnemic.plan(other)


def test_a_column_may_have_another_name_than_its_field(recipe, tmp_path):
    renamed = {"kind": "folder", "path": recipe["sources"][0]["path"]}
    renamed["columns"] = {"by": {"type": "text", "field": "author"}}
    own = recipe | {"bank": str(tmp_path / "bank"), "sources": [renamed]}
    mnemic.build(own, device="cpu")
    assert {row["by"] for row in mnemic.open_bank(own["bank"]).view.table("documents", ["by"]).to_pylist()} == {
        "Ada",
        "Bob",
        None,
    }


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"text": "text"}, "has a name of mnemic's own"),
        ({"cluster": "text"}, "has a name of mnemic's own"),
        ({"Author": "text"}, "columns"),
        ({"author": "date"}, "columns"),
    ],
)
def test_a_column_that_cannot_be_is_refused(recipe, columns, sentence):
    with pytest.raises(RecipeError, match=sentence):
        load_recipe(recipe | {"sources": [recipe["sources"][0] | {"columns": columns}]})


def test_sources_agree_on_a_columns_type(recipe):
    first, second = recipe["sources"]
    with pytest.raises(RecipeError, match="`rating` is number in 'notes' and text in 'plain'"):
        load_recipe(recipe | {"sources": [first, second | {"columns": {"rating": "text"}}]})


def test_no_column_of_a_step_can_be_taken(bank):
    for name in ("documents", "units", "events"):
        assert {*bank.view.dataset(name).schema.names} - {*COLUMNS} <= RESERVED
