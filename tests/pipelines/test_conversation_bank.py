"""Conversations from the file to the answer: turns with ids, speakers and times, found under a budget."""

import json

import numpy as np
import pytest
from tiny_encoder import save_tiny_encoder

import mnemic
from mnemic.command import main
from mnemic.errors import BankError, QueryError
from pipelines.evaluate.questions import Question
from pipelines.evaluate.recall import evidence_recall

TOPICS = {"garden": "the roses need water", "engine": "a piston broke again", "violin": "she tuned every string"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two conversations of three sessions, one about each topic; in the second the speakers are others."""
    root = tmp_path_factory.mktemp("chats")
    for name, speakers in (("north", ("Ada", "Bob")), ("south", ("Cleo", "Dan"))):
        sessions = [
            {
                "id": topic,
                "time": f"2026-0{month}-01T10:00:00Z",
                "turns": [
                    {"id": f"{topic}-{turn}", "speaker": speakers[turn % 2], "text": f"{words} {turn} {name} {topic}"}
                    for turn in range(6)
                ],
            }
            for month, (topic, words) in enumerate(TOPICS.items(), start=1)
        ]
        (root / f"{name}.json").write_text(json.dumps({"id": name, "sessions": sessions}))
    questions = [
        {"question": f"{words} 3 {name} {topic}", "evidence": [f"{topic}-3"], "tenant": name, "category": topic}
        for name in ("north", "south")
        for topic, words in TOPICS.items()
    ]
    questions.append({"question": "who?", "evidence": ["nobody-1"], "tenant": "north"})
    (root / "questions.jsonl").write_text("\n".join(map(json.dumps, questions)))
    return root


@pytest.fixture(scope="module")
def bank(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("bank")
    recipe = {
        "name": "chats",
        "bank": str(root / "bank"),
        "sources": [{"kind": "conversations", "path": str(folder / "*th.json")}],
        "embed": {"model": str(save_tiny_encoder(root / "encoder")), "dtype": "float32"},
        "segment": {"mean_units": 3},
        "cluster": {"min_leaf": 4, "branching": 4},
    }
    mnemic.build(recipe, device="cpu")
    return mnemic.open_bank(recipe["bank"])


def test_turns_are_leaves_with_ids_speakers_and_times(bank):
    turns = bank.table("events", where="leaf").to_pylist()
    assert len(turns) == 36 and {row["level"] for row in turns} == {"turn"}
    row = next(row for row in turns if row["tenant"] == "south" and row["turns"] == ["violin-1"])
    assert row["speakers"] == ["Dan"] and row["text"] == "Dan: she tuned every string 1 south violin"
    assert (row["session"], row["collection"]) == ("violin", "south")
    assert row["start_time"].isoformat() == "2026-03-01T10:00:00+00:00"
    events = {event["id"]: event for event in bank.table("events", where="level = 'event'").to_pylist()}
    parent = events[row["parent"]]
    assert "violin-1" in parent["turns"] and parent["speakers"] == ["Cleo", "Dan"]


def test_a_search_of_one_tenant_never_gives_another_ones_turns(bank):
    for level in (None, "session", "event"):
        hits = bank.search("a piston broke again", words=None, k=100, where={"tenant": "north"}, level=level)
        assert hits and {event.tenant for event in hits} == {"north"}
        assert all("south" not in event.text for event in hits)
    (only,) = bank.search("piston", words=None, k=9, where={"session": "engine", "tenant": "south"}, level="session")
    assert only.turns == [f"engine-{turn}" for turn in range(6)]
    spoken = bank.search("strings", words=None, k=99, where={"speaker": "Cleo"})
    assert spoken and all(event.speakers == ["Cleo"] for event in spoken)


def test_the_event_and_the_document_speak_for_a_turn(bank):
    best = max(bank.search("tuned 4", where={"tenant": "north"}), key=lambda event: event.score)
    assert best.turns == ["violin-4"] and best.event_bm25 > 0 and best.document_bm25 > 0
    assert "words of its event: rank" in best.reason and "words of its document: rank 1" in best.reason


def test_recall_of_evidence_counts_what_the_budget_holds(bank):
    question = Question(
        "she tuned every string 2 north violin", "north", frozenset({"violin-2", "garden-0"}), None, "1"
    )
    other = Question("she tuned", None, frozenset({"nothing like this"}), None, "2")
    recall = evidence_recall(bank, [question, other])
    assert (recall.questions, recall.left_out, recall.unknown) == (1, 1, ("nothing like this",))
    by_hand = []
    for budget in (250, 500, 1000, 2000):
        events = bank.search(question.text, words=budget, where={"tenant": "north"})
        turns = {turn for event in events for turn in event.turns}
        by_hand.append(len({"violin-2", "garden-0"} & turns) / 2)
    assert [one.recall.value for one in recall.under_words] == by_hand
    best = bank.search(question.text, words=None, k=25, where={"tenant": "north"})
    first = sorted(best, key=lambda event: (-event.score, event.id))[:5]
    assert recall.at_k[0].recall.value == len({"violin-2", "garden-0"} & {event.turns[0] for event in first}) / 2
    assert recall.at_k[0].words == sum(event.words for event in first)
    session = evidence_recall(bank, [question], "session")
    assert all(one.recall.value in (0.0, 0.5, 1.0) for one in session.at_k)
    with pytest.raises(QueryError, match="None of the evidence of 1 questions"):
        evidence_recall(bank, [other])


def test_evaluating_questions_on_the_command_line(bank, folder, capsys):
    assert main(["eval", bank.path, "--questions", str(folder / "questions.jsonl"), "--level", "turn"]) == 0
    output = capsys.readouterr().out
    assert "6 questions, searched are turns" in output and "evidence found under 250 words" in output
    assert "garden" in output and "left out: 1 questions" in output
    assert main(["eval", bank.path, "--questions", str(folder / "questions.jsonl"), "--json"]) == 0
    (recall,) = json.loads(capsys.readouterr().out)["recall"]
    values = [one["recall"]["value"] for one in recall["under_words"]]
    assert values == sorted(values) and values[-1] == 1.0, "every turn of a conversation fits into 2,000 words"
    assert np.isclose(recall["at_k"][2]["recall"]["value"], 1.0)


def test_the_search_command_knows_tenants(bank, capsys):
    assert main(["search", bank.path, "tuned 4", "--tenant", "north", "--words", "30", "--explain"]) == 0
    output = capsys.readouterr().out
    assert all(part in output for part in ("north.json#north/violin", "2026-03-01", "document "))
    assert "south" not in output


def test_a_tenant_or_speaker_that_nobody_is_is_told_with_those_who_are_there(bank, capsys):
    assert main(["search", bank.path, "tuned 4", "--tenant", "nobody"]) == 2
    sentence = capsys.readouterr().err
    assert "There is no tenant 'nobody' in " in sentence and "There are: north, south." in sentence
    assert main(["search", bank.path, "tuned 4", "--speaker", "cleo", "--speaker", "Dan"]) == 2
    sentence = capsys.readouterr().err
    assert "There is no speaker 'cleo'" in sentence and "Did you mean 'Cleo'? There are: " in sentence
    assert main(["search", bank.path, "tuned 4", "--tenant", "south", "--speaker", "Cleo"]) == 0
    capsys.readouterr()
    assert main(["search", bank.path, "tuned 4", "--tenant", "north", "--speaker", "Cleo"]) == 2
    assert "There are: Ada, Bob." in capsys.readouterr().err, "nobody of another tenant is named"


def test_questions_of_tenants_that_the_bank_does_not_have_are_an_error(bank):
    foreign = [Question("she tuned", tenant, frozenset({"violin-2"}), None, "1") for tenant in ("east", "west")]
    with pytest.raises(QueryError, match=r"asked of the tenants east, west, and .* has north, south; give the file"):
        evidence_recall(bank, foreign)
    one_of_ours = Question("she tuned", "north", frozenset({"violin-2"}), None, "1")
    assert evidence_recall(bank, [*foreign, one_of_ours]).questions >= 1


OUT_OF_BRACKETS = [
    "true) OR (true",
    "1=1) OR (1=1",
    "true) OR (true --",
    "') OR ('1'='1",
    "tenant IS NOT NULL) OR (leaf",
]


@pytest.mark.parametrize("sql", [*OUT_OF_BRACKETS, "true OR true", "tenant = 'south' OR words > 0 -- all"])
def test_no_condition_widens_a_tenant_whichever_way_it_comes(bank, sql, capsys):
    pytest.importorskip("langchain_core")
    from mnemic.adapters.langchain import BankRetriever

    settings = [{}, {"level": "session"}, {"level": "turn"}, {"route": 1}, {"route": 64, "level": "event"}]
    for setting in settings:
        for where in ([{"tenant": "north"}, sql], [sql, [[{"tenant": "north"}]]]):
            try:
                hits = bank.search("a piston broke", words=None, k=100, where=where, **setting)
            except QueryError as error:
                assert sql in OUT_OF_BRACKETS and "The condition" in str(error)
            else:
                assert sql not in OUT_OF_BRACKETS and hits and {event.tenant for event in hits} == {"north"}
    retriever = BankRetriever(bank=bank, words=None, k=100, where={"tenant": "north"})
    try:
        documents = retriever.invoke("a piston broke", where=sql)
        assert {document.metadata["tenant"] for document in documents} == {"north"}
    except QueryError:
        assert sql in OUT_OF_BRACKETS
    code = main(["search", bank.path, "a piston broke", "-k", "100", "--tenant", "north", "--where", sql, "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == (2 if sql in OUT_OF_BRACKETS else 0) and {line["tenant"] for line in lines} <= {"north"}


def test_an_export_leaves_out_what_it_leaves_out_whatever_the_condition_says(bank, capsys):
    for sql in OUT_OF_BRACKETS:
        assert main(["export", bank.path, "documents", "-", "--where", sql]) == 2
        assert capsys.readouterr().out == ""
    assert main(["export", bank.path, "documents", "-", "--where", "tenant = 'north' OR kept()"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == bank.dataset("documents").count("kept()")


def test_rows_of_a_table_are_asked_for_as_a_search_is(bank):
    turns = bank.table("events", ["tenant"], [{"tenant": "north"}, "leaf OR true"])
    assert set(turns["tenant"].to_pylist()) == {"north"}
    assert len(bank.table("documents", ["id"], {"tenant": "south"})) == 3
    for where in ("true) OR (true", {"speaker": "Ada"}, {"tenant": None}, b"true"):
        with pytest.raises(QueryError):
            bank.table("documents", ["id"], where)
    for prefix in ("", "' OR '1'='1", "%", ["a"], b"aa", None):
        with pytest.raises(BankError, match="is no id"):
            bank.find(prefix)
    with pytest.raises(BankError, match=r"begins with a{61}\.{4} "):
        bank.find("a" * 5000)


@pytest.mark.parametrize("vector", [np.full(32, np.nan), np.full(32, np.inf), np.ones(31), np.ones((1, 32))])
def test_a_vector_that_no_query_has_is_told(bank, vector):
    for setting in ({}, {"route": 2}):
        with pytest.raises(QueryError, match="The vector of the query"):
            bank.search("piston", vector=vector, **setting)
