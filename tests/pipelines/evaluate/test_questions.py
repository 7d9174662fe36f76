"""Questions and the ids of their evidence: two layouts, misspelt ids, and mistakes that name their line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnemic.errors import SourceError
from pipelines.evaluate.questions import Question, Skipped, read_questions
from pipelines.sources.contracts import Document
from pipelines.sources.conversations import Conversations

LOCOMO = Path(__file__).parents[3] / "shared" / "data" / "locomo_dev.json"


def write(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path


def asked(*evidence: object, **more: object) -> dict[str, object]:
    return {"question": "What did Ada mend?", "answer": "A kite.", "evidence": list(evidence), "category": 4, **more}


def sample(*questions: object, name: object = "conv-1") -> dict[str, object]:
    turns = [{"speaker": "Ada", "dia_id": f"D1:{n}", "text": f"Turn {n}."} for n in (1, 2)]
    return {"sample_id": name, "conversation": {"session_1": turns}, "qa": list(questions)}


def test_json_lines_with_every_field_and_with_none(tmp_path: Path) -> None:
    lines = [
        {"question": " Who? ", "evidence": ["t1", 2], "tenant": "team", "category": "who", "id": "q1"},
        "\n",
        {"query": "When?", "ids": "monday", "conversation": 7},
        {"question": "Where?", "relevant": [5, 5]},
        {"question": "Why?", "evidence": []},
        {"question": "How?", "evidence": [None, " "]},
        {"question": "Whose?"},
    ]
    questions, skipped = read_questions(write(tmp_path / "q.jsonl", lines))
    assert questions == [
        Question("Who?", "team", frozenset({"t1", "2"}), "who", "q1"),
        Question("When?", "7", frozenset({"monday"}), None, "3"),
        Question("Where?", None, frozenset({"5"}), None, "4"),
    ]
    assert skipped == [Skipped(f"line {n}", "The question names no evidence.") for n in (5, 6, 7)]


def test_a_json_list_is_read_like_its_lines(tmp_path: Path) -> None:
    values = [{"question": "Who?", "evidence": "t1"}, {"question": "When?", "evidence": "t2"}]
    lines = read_questions(write(tmp_path / "q.jsonl", list(values)))
    assert read_questions(write(tmp_path / "q.json", [values])) == lines


def test_locomos_questions_are_asked_of_the_tenant_that_the_source_makes(tmp_path: Path) -> None:
    path = write(tmp_path / "l.json", [[sample(asked("D1:1")), sample(asked("D1:2", category=2), name=None)]])
    questions, skipped = read_questions(path)
    assert questions == [
        Question("What did Ada mend?", "conv-1", frozenset({"D1:1"}), "single-hop", "conv-1/1", "A kite."),
        Question("What did Ada mend?", "2", frozenset({"D1:2"}), "temporal", "2/1", "A kite."),
    ]
    assert not skipped
    source = Conversations(path=str(path))
    talks = {d.tenant: d for item in source.manifest() for d in source.read(item, 10_000) if isinstance(d, Document)}
    assert all(q.evidence <= {turn.id for turn in talks[str(q.tenant)].turns} for q in questions)


@pytest.mark.parametrize(
    ("evidence", "ids", "unreadable"),
    [
        (["D8:6; D9:17"], {"D8:6", "D9:17"}, []),
        (["D9:1 D4:4 D4:6"], {"D9:1", "D4:4", "D4:6"}, []),
        (["D9:1,D4:4", "D9:1"], {"D9:1", "D4:4"}, []),
        (["D30:05"], {"D30:5"}, []),
        (["D:11:26"], {"D11:26"}, []),
        ([" d1:10 "], {"D1:10"}, []),
        (["D", "D1:2"], {"D1:2"}, ["D"]),
        (["D1:1:3", "D1:", ":3", "D1:2"], {"D1:2"}, ["D1:1:3", "D1:", ":3"]),
        (["D1:2", "D" + "1" * 36 + ":11"], {"D1:2", "D" + "1" * 36 + ":11"}, []),
        (["D1:2", "D" + "1" * 37 + ":11"], {"D1:2"}, ["D" + "1" * 37 + ":1"]),
        ("D1:1", {"D1:1"}, []),
    ],
)
def test_misspelt_ids_are_mended_where_they_can_mean_one_turn_only(
    tmp_path: Path, evidence: object, ids: set[str], unreadable: list[str]
) -> None:
    questions, skipped = read_questions(write(tmp_path / "l.json", [[sample(asked(evidence=evidence))]]))
    assert questions[0].evidence == ids
    place = "question 1 of 'conv-1'"
    assert skipped == [Skipped(place, f"{part!r} is no id of a turn.", whole=False) for part in unreadable]


def test_ids_that_stand_in_the_conversation_are_taken_as_they_are(tmp_path: Path) -> None:
    one = sample(asked("first turn", "D01:2", "second"))
    one["conversation"] = {"session_1": [{"id": "first turn", "text": "x"}, {"dia_id": "D01:2", "text": "y"}]}
    questions, skipped = read_questions(write(tmp_path / "l.json", [[one]]))
    assert questions[0].evidence == {"first turn", "D01:2"}
    assert [part.reason for part in skipped] == ["'second' is no id of a turn."]


def test_a_question_without_evidence_is_skipped_and_told(tmp_path: Path) -> None:
    path = write(tmp_path / "l.json", [[sample(asked(), asked("D1:1"), asked("D"))]])
    questions, skipped = read_questions(path)
    assert [question.id for question in questions] == ["conv-1/2"]
    assert [part.place for part in skipped if part.whole] == ["question 1 of 'conv-1'", "question 3 of 'conv-1'"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{question\n", "Line 2 is not JSON"),
        ("7\n", "Line 2 is a number, not an object"),
        ('{"evidence": ["a"]}\n', "There is no question in line 2; write it as `question`"),
        ('{"question": 7, "evidence": ["a"]}\n', "The field 'question' of line 2 is a number"),
        ('{"question": " ", "evidence": ["a"]}\n', "The field 'question' of line 2 is blank"),
        ('{"question": "x\\u0000", "evidence": ["a"]}\n', "The question of line 2 cannot be used. .*NUL"),
        ('{"question": "x", "evidence": [1.5]}\n', "The field 'evidence' of line 2 holds a number, not ids"),
        ('{"question": "x", "evidence": [true]}\n', "holds a boolean"),
        ('{"question": "x", "evidence": {"a": 1}}\n', "holds an object"),
        ('{"question": "x", "evidence": ["\\ud800"]}\n', "An id in the field 'evidence' of line 2 .*surrogate"),
        ('{"question": "x", "evidence": ["a"], "tenant": []}\n', "The field 'tenant' of line 2 is an array"),
        ('{"question": "x", "question": "y", "evidence": ["a"]}\n', "The key 'question' of line 2 stands twice"),
        ('{"question": "x", "evidence": ["a"], "id": "1"}\n', "The id '1' of line 2 is the id of line 1 too"),
        ('{"sample_id": "c", "qa": 3}\n', "The field 'qa' of line 2 is a number"),
        ('{"sample_id": "c", "qa": [3]}\n', "Question 1 of 'c' is a number"),
        ('{"question": "x", "evidence": ["a"]', "cut off"),
    ],
)
def test_a_mistake_names_its_line_and_nothing_is_used(tmp_path: Path, line: str, sentence: str) -> None:
    path = write(tmp_path / "q.jsonl", [{"question": "good", "evidence": ["t1"]}, line])
    with pytest.raises(SourceError, match=f"(?s)q.jsonl cannot be used:\n  .*{sentence}.*Mend these and run again"):
        read_questions(path)


def test_mistakes_come_at_once_but_no_more_than_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        read_questions(write(tmp_path / "q.jsonl", [7] * 9))
    sentences = str(caught.value).splitlines()
    assert [line.strip()[:6] for line in sentences[1:6]] == [f"Line {n}" for n in range(1, 6)]
    assert sentences[6:] == ["  and 4 more", "Mend these and run again."]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("q.jsonl", "", "No question in .* has evidence"),
        ("q.jsonl", '{"question": "x"}\n', r"has evidence \(1 have none\); write JSON Lines such as"),
        ("q.json", "[]", "No question in .* has evidence"),
        ("q.json", "", "The file holds nothing"),
        ("q.json", "{", "The file is not JSON"),
        ("q.json", '{"question": "x", "evidence": "a"}\n{}', "end its name in `.jsonl`"),
    ],
)
def test_a_file_without_a_question_is_told(tmp_path: Path, name: str, content: str, sentence: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(SourceError, match=sentence):
        read_questions(tmp_path / name)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot be read\. .*not there"):
        read_questions(tmp_path / "q.jsonl")
    with pytest.raises(SourceError, match="not a regular file"):
        read_questions(tmp_path)


def test_the_real_questions_find_their_turns() -> None:
    if not LOCOMO.exists():
        pytest.skip(f"{LOCOMO} is not there: LoCoMo's licence keeps it out of the repository")
    questions, skipped = read_questions(LOCOMO)
    assert (len(questions), len(skipped)) == (498, 2)
    source = Conversations(path=str(LOCOMO))
    documents = [d for i in source.manifest() for d in source.read(i, 10_000_000) if isinstance(d, Document)]
    turns = {(d.tenant, turn.id) for d in documents for turn in d.turns}
    assert all((question.tenant, id) in turns for question in questions for id in question.evidence)


FIELDS = "question query evidence ids tenant category id qa sample_id conversation session_1"
fields = st.sampled_from(FIELDS.split())
hostile = st.recursive(
    st.none() | st.booleans() | st.floats() | st.sampled_from(["", "\0", "\ud800", "D1:1", "q", 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=5),
    max_leaves=30,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(hostile, max_size=3), name=st.sampled_from(["h.json", "h.jsonl"]), cut=st.integers(0, 2))
def test_no_value_of_json_is_more_than_questions_and_a_sentence(
    tmp_path: Path, values: list[Any], name: str, cut: int
) -> None:
    text = json.dumps(values) if name == "h.json" else "\n".join(map(json.dumps, values))
    (tmp_path / name).write_text(text[: -cut or None])
    try:
        questions, skipped = read_questions(tmp_path / name)
    except SourceError as error:
        assert str(error).encode()
        return
    assert all(question.evidence and question.text.strip() and question.id for question in questions)
    assert len({question.id for question in questions}) == len(questions)
    assert all(part.reason.encode() and part.place.encode() for part in skipped)
