"""Facts that somebody else has written: what is odd is a reject, and never the end of a build."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from mnemic.errors import RecipeError
from operators.contracts import REJECTED
from operators.rewrites.fact_files import rows_of_files
from operators.rewrites.facts import statements_of
from operators.rewrites.operator import Rewrites

SETTINGS = Rewrites(facts=("facts.jsonl",))
FACT = {"subject": "the box", "relation": "The key of {} is under the", "target": "table"}


def test_lines_end_where_json_lines_do(tmp_path: Path) -> None:
    rows = [{**FACT, "subject": f"a{end}box"} for end in ("\u2028", "\x85", "\u2029")]
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "a.jsonl").write_bytes("\r\n".join(lines).encode())
    read = list(rows_of_files([tmp_path / "a.jsonl"]))
    assert [origin for origin, _ in read] == ["a.jsonl:1", "a.jsonl:2", "a.jsonl:3"]
    assert [row for _, row in read] == rows


ODD = {
    "half a subject": {**FACT, "subject": "\ud800 box"},
    "half a neighbour": {**FACT, "neighbours": ["\udfff"]},
    "half a document": {**FACT, "documents": ["\ud800"]},
    "half a document of another fault": {**FACT, "target": "", "documents": ["\ud800"]},
    "a set that is no name": {**FACT, "set": {"a": ["b"]}},
    "deep": json.loads("[" * 400 + "]" * 400),
    "deep documents": {**FACT, "documents": json.loads("[" * 400 + "]" * 400)},
    "not a number": {**FACT, "subject": float("nan")},
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_row_is_a_reject_that_can_be_written(name: str) -> None:
    statements, rejects = statements_of([("a.jsonl:1", ODD[name]), ("a.jsonl:2", FACT)], SETTINGS)
    assert [one.subject for one in statements] == ["the box"]
    (row,) = pa.Table.from_pylist(rejects, schema=REJECTED).to_pylist()
    assert row["locator"] == "a.jsonl:1" and row["input"] and row["reason"].startswith("A fact is left out: ")


def test_a_relation_puts_no_subject_into_a_template() -> None:
    settings = Rewrites(facts=("x.jsonl",), templates=("The {relation} of {subject} is",))
    (one,), _ = statements_of([("x:1", {**FACT, "relation": "{subject}'s {relation}"})], settings)
    assert one.prompt == "The {subject}'s {relation} of the box is"
    for template in ("{subject} and {subject} {relation}", "{} {subject} {relation}"):
        with pytest.raises(RecipeError, match="subject} once"):
            Rewrites(facts=("x.jsonl",), templates=(template,))


def test_a_fact_of_removed_documents_is_a_reject() -> None:
    rows = [
        ("a.jsonl:1", {**FACT, "documents": ["d1"]}),
        ("a.jsonl:2", {**FACT, "subject": "x", "documents": ["d1", "d2"]}),
    ]
    statements, (reject,) = statements_of(rows, SETTINGS, frozenset({"d1"}))
    assert [(one.subject, one.documents) for one in statements] == [("x", ("d2",))]
    assert reject["locator"] == "a.jsonl:1" and "removed from the bank" in reject["reason"]
