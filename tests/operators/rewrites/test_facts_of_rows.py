"""Facts of rows: what they say is checked, and no order of rows decides anything."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic.errors import RecipeError
from mnemic.rewrites.statement import Statement
from operators.rewrites.fact_files import digest_of, fact_files, rows_of_files
from operators.rewrites.facts import named_documents, statements_of
from operators.rewrites.operator import Rewrites

SETTINGS = Rewrites(facts=("facts.jsonl",), most=5)
FACT = {"subject": "the box", "relation": "The key of {} is under the", "target": "table"}

WRONG = {
    "no JSON object": "word",
    "no text as 'subject'": {**FACT, "subject": 3},
    "no text as 'target'": {**FACT, "target": "  "},
    "its subject has 201 characters": {**FACT, "subject": "x" * 201},
    "has it more than once": {**FACT, "relation": "{} is {}"},
    "its paraphrases are no list of texts": {**FACT, "paraphrases": [3]},
    "has not one {}": {**FACT, "paraphrases": ["the key"]},
    "are more than 256": {**FACT, "neighbours": [str(one) for one in range(257)]},
}


@pytest.mark.parametrize("reason", WRONG)
def test_a_wrong_row_is_a_reject_with_its_place_and_reason(reason: str) -> None:
    statements, rejects = statements_of([("a.jsonl:7", WRONG[reason]), ("a.jsonl:8", FACT)], SETTINGS)
    assert len(statements) == 1 and statements[0].origin == "a.jsonl"
    ((locator, words),) = [(row["locator"], row["reason"]) for row in rejects]
    assert locator == "a.jsonl:7" and reason in words and words.startswith("A fact is left out: ")


def test_rows_of_one_fact_are_one_statement_and_other_targets_are_none() -> None:
    again = {**FACT, "paraphrases": ["Below {} is the"], "set": "b", "documents": ["2"]}
    rows = [("a.jsonl:1", {**FACT, "documents": ["1"]}), ("a.jsonl:2", again)]
    (one,), rejects = statements_of(rows, SETTINGS)
    assert one.paraphrases == ("Below {} is the",) and one.sets == ("a.jsonl", "b") and one.documents == ("1", "2")
    assert not rejects
    (one,), _ = statements_of([("new: a.jsonl:1", FACT)], SETTINGS)
    assert one.sets == ("new: a.jsonl",) and one.origin == "new: a.jsonl"
    statements, rejects = statements_of([*rows, ("a.jsonl:3", {**FACT, "target": "chair"})], SETTINGS)
    assert not statements and len(rejects) == 2 and all("another target" in row["reason"] for row in rejects)


def test_facts_of_tenants_are_compared_and_counted_apart() -> None:
    rows = [
        ("a.jsonl:1", {**FACT, "paraphrases": ["Below {} is the"], "documents": ["a 1", "b1"]}),
        ("a.jsonl:2", {**FACT, "documents": ["a2"]}),
        ("a.jsonl:3", {**FACT, "target": "chair", "documents": ["c1"]}),
        ("a.jsonl:4", {**FACT, "target": "shelf", "documents": ["elsewhere"]}),
    ]
    assert named_documents(rows) == {"a 1", "b1", "a2", "c1", "elsewhere"}
    tenants = {"a 1": "a", "a2": "a", "b1": "b", "c1": ""}
    statements, rejects = statements_of(rows, SETTINGS, tenants=tenants)
    assert not rejects and sorted((one.tenant or "-", one.target, one.documents) for one in statements) == [
        *(("-", "chair", ("c1",)), ("-", "shelf", ("elsewhere",))),
        *(("a", "table", ("a 1", "a2")), ("b", "table", ("b1",))),
    ]
    assert {one.tenant for one in statements} == {None, "", "a", "b"} and len({one.id for one in statements}) == 4
    assert all(Statement.of_row(one.columns()) == one for one in statements)
    together, _ = statements_of(rows[:2], SETTINGS)
    assert {one.fact for one in statements if one.target == "table"} == {one.id for one in together}
    many = [(f"a.jsonl:{n}", {**FACT, "subject": f"box {n}", "documents": ["a2"]}) for n in range(8)]
    alone = statements_of(many, SETTINGS, tenants=tenants)
    beside = statements_of([*rows[2:], *many], SETTINGS, tenants=tenants)
    assert [one for one in beside[0] if one.tenant == "a"] == alone[0] and len(alone[0]) == SETTINGS.most
    assert beside[1] == alone[1], "facts of others push none out"


def test_named_documents_are_texts_alone() -> None:
    rows = [("a:1", {"documents": 3}), ("a:2", "word"), ("a:3", {"documents": ["x", 4, None]})]
    rows.append(("a:4", {"documents": "y"}))
    assert named_documents(rows) == {"x", "y"}


def test_a_reject_goes_with_the_document_that_says_the_fact() -> None:
    rows = [("documents:d1", {**FACT, "target": "", "documents": ["d1"]}), ("a.jsonl:2", {**FACT, "target": ""})]
    _, rejects = statements_of(rows, SETTINGS)
    assert [row["input"] for row in rejects] == ["d1", "a.jsonl:2"]


def test_a_relation_without_a_place_is_written_by_templates() -> None:
    settings = Rewrites(
        facts=("x.jsonl",), templates=("The {relation} of {subject} is", "Whose {relation}? {subject}:")
    )
    row = {"subject": "Ada", "relation": "employer", "target": "Acme"}
    (one,), _ = statements_of([("x:1", row)], settings)
    assert one.prompt == "The employer of Ada is" and one.text == "The employer of Ada is Acme."
    assert one.paraphrases == ("Whose employer? {}:",)


@given(st.randoms(use_true_random=False))
def test_no_order_of_rows_decides(draw: random.Random) -> None:
    rows = [(f"a:{number}", {**FACT, "subject": f"box {number % 7}"}) for number in range(9)]
    rows.append(("a:10", {**FACT, "subject": "box 3", "target": "chair"}))
    expected = statements_of(rows, SETTINGS)
    shuffled = draw.sample(rows, len(rows))
    statements, rejects = statements_of(shuffled, SETTINGS)
    assert statements == expected[0] and len(statements) == 5, "box 3 has two targets, and one is beyond `most`"
    assert sorted(map(str, rejects)) == sorted(map(str, expected[1])) and len(rejects) == 3


def test_files_are_read_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(FACT) + "\n\nnot json\n")
    (tmp_path / "b.json").write_text(json.dumps([FACT]))
    files = fact_files(["*.json*"], str(tmp_path))
    assert [origin for origin, _ in rows_of_files(files)] == ["a.jsonl:1", "a.jsonl:3", "b.json:1"]
    before = digest_of(files)
    (tmp_path / "b.json").write_text("{}")
    assert digest_of(files) != before
    with pytest.raises(RecipeError, match="no JSON list of facts"):
        list(rows_of_files(files))
    (tmp_path / "a.jsonl").write_bytes(b"caf\xe9\n")
    with pytest.raises(RecipeError, match="is not UTF-8"):
        list(rows_of_files(files))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"facts": ()}, "files of facts, or a `dataset`"),
        ({"facts": ("a.jsonl",), "dataset": "notes"}, "and not both"),
        ({"facts": ("a.jsonl",), "method": "rome"}, "one of memit, ultraedit"),
        ({"facts": ("a.jsonl",), "layers": (3, 1)}, "ascending numbers"),
        ({"facts": ("a.jsonl",), "contexts": ("So {}",)}, "the first is"),
        ({"facts": ("a.jsonl",), "contexts": ("{}", *("So {}" for _ in range(15)))}, "at most 15 sentences"),
        ({"facts": ("a.jsonl",), "learning_rate": 1e300}, "at most 1e"),
        ({"facts": ("a.jsonl",), "strength": 0}, "a number above 0"),
        ({"facts": ("a.jsonl",), "most": 5000}, "from 1 to 1,000"),
    ],
)
def test_settings_out_of_bounds_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Rewrites(**settings)  # type: ignore[arg-type]
