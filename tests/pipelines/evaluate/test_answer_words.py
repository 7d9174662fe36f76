"""Words of answers in what a search hands on: counted as by hand, and told by the command."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic.command import main
from pipelines.evaluate.answer_words import BUDGETS, answer_words, content, word_shares
from pipelines.evaluate.bootstrap import mean_interval
from pipelines.evaluate.questions import Question, read_questions


def question(text, answer, category=None, tenant=None):
    return Question(text, tenant, frozenset({"x"}), category, text, answer)


def test_content_is_the_stems_of_words_that_say_something():
    assert content("Adopting a dog, and the dogs' barking!") == {"adopt", "dog", "bark"}
    assert content("on 7 May 2023") == {"7", "may", "2023"}
    assert content("1,000 stories of glasses") == {"1,000", "story", "glass"}
    assert content("She was there.") == content("") == frozenset()


@given(st.text(max_size=200))
def test_content_is_the_same_in_any_case_and_of_any_order_of_sentences(text):
    assert all(word == word.lower() for word in content(text))
    assert content(f"{text}\nthe piston") == content(f"the piston\n{text}") == content(text) | {"piston"}


def test_shares_are_those_that_are_counted_by_hand(tiny):
    bank = tiny.open()
    asked_of_all = [question("table index version", "an index of the table"), question("lease of a bank", "Zanzibar")]
    shares = word_shares(bank, asked_of_all)
    assert list(shares) == ["rows", "dated rows"], "this bank has no notes"
    for way, dated in (("rows", False), ("dated rows", True)):
        by_hand = np.zeros((2, len(BUDGETS)))
        for row, one in enumerate(asked_of_all):
            for column, budget in enumerate(BUDGETS):
                hits = bank.search(one.text, words=budget, dated=dated)
                texts = " ".join(hits.dated if dated else [hit.text for hit in hits])
                expected = {"index", "tabl"} if row == 0 else {"zanzibar"}
                by_hand[row, column] = len(expected & content(texts)) / len(expected)
        assert np.array_equal(shares[way], by_hand)
    assert shares["rows"][1].tolist() == [0, 0, 0]


def test_questions_without_an_answer_are_left_out_and_categories_are_told(tiny):
    bank = tiny.open()
    questions = [
        question("table index", "index", "a"),
        question("table index version", "Zanzibar", "b"),
        question("anything", ""),
        question("anything else", "of the"),
    ]
    words = answer_words(bank, questions)
    assert words.questions == 2 and words.cost is None
    first = words.shares[0]
    assert (first.way, first.words, first.share.value) == ("rows", 250, 0.5)
    assert first.categories == {"a": 1.0, "b": 0.0}
    assert all(one.value == 0 for one in words.gains["dated rows"])
    assert answer_words(bank, questions[2:]) is None


def test_an_interval_holds_the_mean():
    values = np.array([0.0, 1.0, 1.0, 0.5] * 25)
    one = mean_interval(values)
    assert one.value == values.mean() and one.low < one.value < one.high
    assert mean_interval(np.ones(9)).low == mean_interval(np.ones(9)).high == 1.0


@pytest.mark.parametrize(
    ("answer", "read"), [("Paris", "Paris"), (1999, "1999"), (2.5, "2.5"), (None, ""), (["a"], ""), (True, "")]
)
def test_an_answer_is_a_text_or_a_number_and_others_are_none(tmp_path, answer, read):
    file = tmp_path / "questions.jsonl"
    file.write_text(json.dumps({"question": "q?", "evidence": ["a"], "answer": answer}))
    ((one,), _) = read_questions(file)
    assert one.answer == read


def test_the_command_tells_them(tiny, tmp_path, capsys):
    file = tmp_path / "questions.jsonl"
    document = tiny.open().table("documents", ["id"])["id"][0].as_py()
    file.write_text(json.dumps({"question": "table index", "evidence": [document], "answer": "index", "category": "x"}))
    assert main(["eval", tiny.open().path, "--questions", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "words of answers that stand in 250, 500, 1,000 words of a search (1 questions)" in shown
    assert "dated rows" in shown and "against those above  +0.0%" in shown and "notes cost" not in shown
    assert main(["eval", tiny.open().path, "--questions", str(file), "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert answers["shares"][0]["categories"] == {"x": 1.0}
