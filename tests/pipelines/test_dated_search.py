"""Days in the texts of a search, under its budget, and conditions on the days that are meant."""

import json
from datetime import UTC, datetime

import pytest
from tiny_encoder import save_tiny_encoder

import mnemic
from mnemic.errors import QueryError
from mnemic.words import count_words

TURNS = {
    "monday": ["I mended the parser yesterday.", "We sail next month.", "In 2016 I was a sailor.", "It is warm."],
    "tuesday": ["The parser broke last week.", "I slept today."],
}
DAYS = {"monday": "2023-05-08T09:00:00Z", "tuesday": "2023-06-13T09:00:00Z"}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    root = tmp_path_factory.mktemp("dated")
    sessions = [
        {"id": day, "time": DAYS[day], "turns": [{"speaker": "Ada", "text": text} for text in turns]}
        for day, turns in TURNS.items()
    ]
    overnight = [
        {"speaker": "Bob", "text": "I left yesterday.", "time": "2023-05-08T23:50:00Z"},
        {"speaker": "Ada", "text": "Yesterday? I too.", "time": "2023-05-09T00:10:00Z"},
    ]
    (root / "chats").mkdir()
    (root / "chats" / "team.json").write_text(json.dumps({"id": "team", "sessions": sessions}))
    (root / "chats" / "night.json").write_text(
        json.dumps({"id": "night", "sessions": [{"id": "n", "turns": overnight}]})
    )
    return {
        "name": "dated",
        "bank": str(root / "bank"),
        "sources": [{"kind": "conversations", "path": str(root / "chats")}],
        "embed": {"model": str(save_tiny_encoder(root / "encoder")), "dtype": "float32"},
        "segment": {"mean_units": 2},
        "cluster": False,
        "times": {},
    }


@pytest.fixture(scope="module")
def bank(recipe):
    mnemic.build(recipe, device="cpu", engine="inline")
    return mnemic.open_bank(recipe["bank"])


def test_texts_have_the_day_of_their_session_once_and_those_of_their_times(bank):
    results = bank.search("who mended the parser", words=None, k=50, where={"tenant": "team"})
    texts = "\n".join(results.dated)
    assert texts.count("[8 May 2023]") == texts.count("[13 June 2023]") == 1
    assert "yesterday (7 May 2023)" in texts and "last week (week of 5 June 2023)" in texts
    assert "next month (June 2023)" in texts and "In 2016 I" in texts
    assert "yesterday (7 May 2023)" in results.text() and "(7 May" not in results.text(dated=False)
    assert "[8 May" not in results.text(), "the day is in the line around a text"
    assert results.dated_words == sum(map(count_words, results.dated)) > results.words


def test_a_time_is_resolved_against_the_turn_that_says_it(bank):
    [session] = bank.search("who left", words=None, k=1, level="session", where={"tenant": "night"})
    assert "yesterday (7 May 2023)" in session.dated and "Yesterday (8 May 2023)? I too" in session.dated
    assert [time for _, time in session.spoken] == [
        datetime(2023, 5, 8, 23, 50, tzinfo=UTC),
        datetime(2023, 5, 9, 0, 10, tzinfo=UTC),
    ]


@pytest.mark.parametrize("level", [None, "event", "session"])
@pytest.mark.parametrize("words", [12, 20, 33, 60])
def test_the_budget_counts_the_days_where_that_is_asked_for(bank, words, level):
    results = bank.search("the parser was mended yesterday", words=words, level=level, dated=True)
    assert results and (results.dated_words <= words or len(results) == 1)
    assert bank.search("the parser was mended yesterday", words=words, level=level).words <= words
    tokens = bank.search("the parser", words=None, tokens=words, tokenizer=lambda text: len(text.split()), dated=True)
    assert sum(len(text.split()) for text in tokens.dated) <= words or len(tokens) == 1


def test_the_same_rows_are_found_whether_or_not_their_days_are_written(bank):
    without, dated = (bank.search("parser", words=None, k=5, dated=one) for one in (False, True))
    assert [(hit.id, hit.score) for hit in without] == [(hit.id, hit.score) for hit in dated]


def test_conditions_ask_for_the_days_that_are_meant(bank):
    def texts(**where):
        return {hit.text for hit in bank.search("parser", words=None, k=50, where={"tenant": "team", **where})}

    june = texts(meant_after="2023-06-01", meant_before="2023-07-01")
    assert june == {f"Ada: {text}" for text in ("We sail next month.", "The parser broke last week.", "I slept today.")}
    assert texts(meant_before="2017-01-01") == {"Ada: In 2016 I was a sailor."}
    assert texts(meant_after="2023-05-08", meant_before="2023-06-01") == set()
    assert texts(meant_after="2024-01-01") == set()
    assert texts(meant_after="2023-06-01", before="2023-06-01") == {"Ada: We sail next month."}


def test_a_bank_that_does_not_know_what_is_meant_says_how_it_would(recipe, tmp_path):
    bare = {**{name: recipe[name] for name in recipe if name != "times"}, "bank": str(tmp_path / "bare")}
    mnemic.build(bare, device="cpu", engine="inline")
    with pytest.raises(QueryError, match=r"times: \{\}"):
        mnemic.open_bank(bare["bank"]).search("parser", where={"meant_after": "2023-06-01"})


def test_any_size_of_fragments_gives_the_same_columns(bank, recipe, tmp_path):
    other = {**recipe, "bank": str(tmp_path / "small"), "fragment_characters": 40}
    mnemic.build(other, device="cpu", engine="inline")
    assert mnemic.open_bank(other["bank"]).digest() == bank.digest()
