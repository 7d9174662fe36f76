"""A bank whose recipe masks personal data never holds it: in no column of any dataset, in no file, in no lineage."""

import json
import re
from pathlib import Path

import pytest
from test_curated_columns import rows_of, why

import mnemic
from mnemic.dataset import Store
from mnemic.errors import RecipeError

ORIGINALS = ("ada.lovelace@example.org", "grace@navy.example.mil", "+49 30 901820", "8.8.8.8", "4111 1111 1111 1111")
KEY = "a key that nobody may read in a bank"


def corpus_of(folder):
    ada, grace, phone, server, card = ORIGINALS
    folder.mkdir()
    (folder / "plain.txt").write_text(f"Write to {ada} or call {phone}. The server is {server}. " * 3)
    (folder / f"{grace}.txt").write_text("A file that is named after a person, and says nothing of her itself.")
    records = [
        {"id": ada, "text": f"Paid with {card} by {grace}.", "by": ada, "n": grace},
        {"id": grace, "text": 5, "by": ada},
        {"id": "x", "text": "A line without any personal data, for the sake of it.", "when": ada},
    ]
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    talk = {"session": f"with {grace}", "tenant": grace}
    turns = [
        {"speaker": ada, "text": f"My number is {phone}", **talk},
        {"speaker": grace, "text": f"Mine is on {server}", **talk},
    ]
    (folder / "talk").mkdir()
    (folder / "talk" / "talk.jsonl").write_text("".join(json.dumps(turn) + "\n" for turn in turns))
    return folder


def recipe_of(folder, **pii):
    corpus = folder / "corpus"
    if not corpus.exists():
        corpus_of(corpus)
    files = {"kind": "folder", "path": str(corpus), "exclude": ["talk/**"], "id_field": "id", "time_field": "when"}
    return {
        "name": "masked",
        "bank": str(folder / "bank"),
        "sources": [
            {**files, "columns": {"by": "text", "n": "number"}},
            {"kind": "conversations", "path": str(corpus / "talk")},
        ],
        "max_rejects": 1.0,
        "embed": False,
        "curate": {"pii": {"action": "mask", **pii}},
    }


def everything_in(recipe):
    """All values of all datasets, and all bytes of all files, as one text."""
    parts = []
    for place in sorted(Path(recipe["bank"]).glob("*.lance")):
        snapshot = Store(recipe["bank"])[place.stem].require()
        rows = snapshot.table(snapshot.schema.names).to_pylist()
        parts += [json.dumps(rows, default=str, ensure_ascii=False)]
    files = [file for file in Path(recipe["bank"]).rglob("*") if file.is_file()]
    return "\n".join([*parts, *(str(file) for file in files), *(file.read_bytes().decode("latin-1") for file in files)])


@pytest.mark.parametrize("key", ["", "MNEMIC_TEST_KEY"])
def test_no_original_is_anywhere_in_the_bank(key, tmp_path, monkeypatch):
    monkeypatch.setenv("MNEMIC_TEST_KEY", KEY)
    recipe = recipe_of(tmp_path, key=key)
    mnemic.build(recipe, device="cpu", engine="inline")
    everything = everything_in(recipe)
    assert not [original for original in (*ORIGINALS, KEY) if original in everything]
    rows = rows_of(recipe, "text", "turns", "tenant", "session", "by")
    assert len(rows) == 4 and {"[EMAIL"} == {row["by"][:6] for row in rows if row["by"]}
    (talk,) = [row for row in rows if row["turns"]]
    cut = [talk["text"][turn["start"] : turn["end"]] for turn in talk["turns"]]
    speaker = r"(\[EMAIL( \w{12})?\]: )?"
    patterns = [rf"{speaker}My number is \[PHONE( \w{{12}})?\]", rf"{speaker}Mine is on \[IP( \w{{12}})?\]"]
    assert all(re.fullmatch(pattern, text) for pattern, text in zip(patterns, cut, strict=True))
    rejects = mnemic.open_bank(recipe["bank"]).table("rejects", ["locator", "reason"]).to_pylist()
    assert any("[EMAIL" in reject["locator"] for reject in rejects)
    assert mnemic.plan(recipe, device="cpu").nothing_to_do
    assert "pii" not in mnemic.open_bank(recipe["bank"]).dataset("documents").schema.names


def test_pseudonyms_hold_a_bank_together_and_follow_their_key(tmp_path, monkeypatch):
    monkeypatch.setenv("MNEMIC_TEST_KEY", KEY)
    recipe = recipe_of(tmp_path, key="MNEMIC_TEST_KEY")
    mnemic.build(recipe, device="cpu", engine="inline")
    text = json.dumps(rows_of(recipe, "text", "turns", "tenant", "by"), default=str)
    people = set(re.findall(r"\[EMAIL \w{12}\]", text))
    assert len(people) == 2, "one for each person, wherever she stands"
    digest = mnemic.open_bank(recipe["bank"]).digest()
    again = {**recipe, "bank": str(tmp_path / "again"), "fragment_characters": 60}
    mnemic.build(again, device="cpu", engine="inline")
    assert mnemic.open_bank(again["bank"]).digest() == digest
    monkeypatch.setenv("MNEMIC_TEST_KEY", KEY + "!")
    assert not mnemic.plan(recipe, device="cpu").nothing_to_do
    mnemic.build(recipe, device="cpu", engine="inline")
    other = json.dumps(rows_of(recipe, "text", "turns", "tenant", "by"), default=str)
    assert not people & set(re.findall(r"\[EMAIL \w{12}\]", other))
    monkeypatch.delenv("MNEMIC_TEST_KEY")
    with pytest.raises(RecipeError, match="MNEMIC_TEST_KEY is not set"):
        mnemic.plan(recipe, device="cpu")


def test_masking_is_asked_for_and_a_bank_without_it_stays_as_it_is(tmp_path):
    recipe = recipe_of(tmp_path)
    plain = {**recipe, "curate": {"rules": {}}}
    mnemic.build(plain, device="cpu", engine="inline")
    assert mnemic.plan(plain, device="cpu").nothing_to_do
    assert ORIGINALS[0] in json.dumps(rows_of(plain, "text"))
    (step,) = [step for step in mnemic.plan(recipe, device="cpu").steps if step.step == "read"]
    assert step.todo, "all is read again"


def test_marked_documents_say_where_and_rules_may_count(tmp_path):
    recipe = recipe_of(tmp_path)
    rules = {"many_addresses": {"value": "pii_email", "max": 2}, "crowded": {"value": "pii / words", "max": 0.05}}
    recipe["curate"] = {"pii": "mark", "rules": rules}
    mnemic.build(recipe, device="cpu", engine="inline")
    rows = {row["locator"]: row for row in rows_of(recipe, "text", "pii", "decision")}
    row = rows["plain.txt"]
    spans = [(row["text"][span["begin"] : span["end"]], span["kind"]) for span in row["pii"]]
    assert spans == [(ORIGINALS[0], "email"), (ORIGINALS[2], "phone"), (ORIGINALS[3], "ip")] * 3
    assert row["decision"]["rules"] == ["many_addresses", "crowded"] and row["decision"]["value"] == 3
    story = why(recipe, row["id"])
    assert "personal data (email), characters 9 to 33" in story and ORIGINALS[0] not in story
    effects = {rule.rule: rule.alone for rule in mnemic.plan(recipe, device="cpu").effects.rules}
    assert effects == {
        "many_addresses": 1,
        "crowded": sum("crowded" in row["decision"]["rules"] for row in rows.values()),
    }
