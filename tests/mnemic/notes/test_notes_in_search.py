"""Notes in a search: they raise the rows that state them, share its budget, and cross no tenant and no condition."""

import json

import numpy as np
import pyarrow as pa
import pytest
from word_walk import walked_by_definition

from mnemic.command import main
from mnemic.dataset.index import search_text
from mnemic.errors import QueryError
from mnemic.notes.ledger import ledger
from mnemic.search import hybrid
from mnemic.search.answer import Budget, without_worst
from mnemic.search.fusion import RANK_CONSTANT, ranks
from mnemic.search.noting import NOTED_BESIDE_WALK, raise_sources, rank_notes
from mnemic.search.results import Results
from mnemic.search.walk import WALKED
from mnemic.vectors import vectors
from mnemic.words import count_words
from pipelines.evaluate.answer_words import BUDGETS, WAYS, answer_words, shown_answers
from pipelines.evaluate.questions import Question


@pytest.fixture
def bank(noted):
    return noted


def test_vectors_of_notes_are_those_of_the_bank_s_encoder(bank):
    rows = bank.table("notes", ["text", "vector"])
    expected = bank.encoder.encode(rows["text"].to_pylist())
    assert len(rows) == 10
    assert np.allclose(vectors(rows["vector"]), expected, atol=1e-3)


def by_the_definition(bank, query, where):
    """Event -> reciprocal rank of the best note that names it, from all notes of a tenant in float64."""
    notes = bank.table("notes", ["id", "text", "sources", "vector"], where).sort_by("id")
    question = bank.encoder.encode_queries([query])[0].astype(np.float64)
    matrix = vectors(notes["vector"]).astype(np.float64)
    cosines = matrix @ question / np.linalg.norm(matrix, axis=1) / np.linalg.norm(question)
    text = search_text(bank.dataset("notes"), "text", "id", query, 200, f"tenant = '{where['tenant']}'")
    scores = dict(zip(text["id"].to_pylist(), text["_score"].to_pylist(), strict=True))
    words = np.array([scores.get(one, np.nan) for one in notes["id"].to_pylist()])
    fused = 1 / (RANK_CONSTANT + ranks(cosines)) + 1 / (RANK_CONSTANT + ranks(words))
    shares: dict[str, float] = {}
    for rank, place in enumerate(np.argsort(-fused, kind="stable").tolist(), start=1):
        for source in notes["sources"][place].as_py():
            shares.setdefault(source["event"], NOTED_BESIDE_WALK / (RANK_CONSTANT + rank))
    return shares


def walked_to(bank, scores, tenant):
    """Event -> reciprocal rank in the walk over the tenant's turns that restarts at the ``scores`` of a search."""
    names = ["id", "tenant", "next", "text"]
    rows = [tuple(row.values()) for row in bank.table("events", names, "leaf").to_pylist() if row["tenant"] == tenant]
    exact = walked_by_definition(rows, scores)
    order = ranks(np.array([np.round(value, 7) or np.nan for value in exact.values()]))
    return dict(zip(exact, (WALKED / (RANK_CONSTANT + order)).tolist(), strict=True))


@pytest.mark.parametrize("query", ["Who mended the piston?", "Where does Ada live?", "a dog by the river"])
def test_a_row_gets_the_share_of_the_best_note_that_names_it_and_of_the_walk(bank, query):
    where = {"tenant": "one"}
    without, ranked = (bank.search(query, words=None, k=99, where=where, notes=notes) for notes in (False, True))
    shares = by_the_definition(bank, query, where)
    before = {hit.id: hit.score for hit in without}
    ways = walked_to(bank, before, "one")
    assert {hit.id: hit.score for hit in ranked} == pytest.approx(
        {one: score + shares.get(one, 0.0) + ways[one] for one, score in before.items()}, abs=1e-9
    )
    assert bank.search(query, words=None, k=99, where=where) == ranked, "a bank with notes ranks by them"
    for hit in ranked:
        assert ('note "' in hit.reason) == (hit.id in shares)
        assert "words of the best rows: rank " in hit.reason


def test_notes_lead_to_rows_that_no_signal_found_and_only_to_allowed_ones(bank):
    events = bank.dataset("events")
    notes = rank_notes(bank.dataset("notes"), "piston", bank.encoder.encode_queries(["piston"])[0], "tenant = 'one'")
    names = ["id", "document", "first_unit", "end_unit", "words", "previous", "next"]
    nothing = events.table(names, "false").append_column("_rowid", pa.array([], pa.uint64()))
    sources = {event for place in range(len(notes.rows)) for event in notes.events(place)}
    facts, scores, why = raise_sources(events, notes, nothing, np.zeros(0), "leaf")
    assert set(facts["id"].to_pylist()) == sources == why.keys() and (scores > 0).all()
    refused, _, _ = raise_sources(events, notes, nothing, np.zeros(0), "tenant = 'two'")
    assert len(refused) == 0


def test_a_search_without_notes_is_what_it_was(tiny, bank, monkeypatch):
    monkeypatch.setattr(hybrid, "walked", lambda *_: pytest.fail("no notes, no walk"))
    for settings in ({"notes": False}, {"notes": 0.5, "words": 30}, {"level": "session"}, {"level": "event"}):
        assert bank.search("Who is Rex?", where={"tenant": "one"}, **settings)
    bank = tiny.open()
    for query in ("table index version", "lease of a bank"):
        assert bank.search(query) == bank.search(query, notes=False)
        assert bank.search(query).notes == []


def test_notes_share_the_budget_with_rows_and_a_model_gets_both(bank):
    where = {"tenant": "one"}
    results = bank.search("Where did Ada move, and who is Rex?", words=30, where=where, dated=True, notes=0.5)
    assert results and results.notes
    texts = [*results.dated, *(note.dated for note in results.notes)]
    assert sum(map(count_words, texts)) == results.dated_words <= 30
    prompt = results.text()
    assert all(text.splitlines()[-1] in prompt for text in texts)
    assert prompt.count("<note n=") == len(results.notes) and 'writer="scripted"' in prompt
    assert "A language model wrote the notes" in results.prompt("Where?")
    assert "Ada moved to Paris." not in [note.text for note in results.notes], "a later home ended it"
    assert bank.search("Rex", words=30, where=where, dated=True, notes=0.5).text(sources=False).count("writer") == 0


def test_notes_stay_where_the_days_of_rows_cost_a_row_its_place(bank):
    """The line of a day is counted for the best row of a session; where another one is taken, the worst row goes."""
    query = "Ada Rex piston Rome sang river rains"
    for words in range(12, 60, 6):
        results = bank.search(query, words=words, where={"tenant": "one"}, notes=0.5, dated=True)
        trimmed = without_worst(Results([*results], 1.0, results.notes), Budget(1, None, None, 0.0, "within"), None)
        assert trimmed.notes == results.notes and len(trimmed) == min(len(results), 1)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("words", [8, 20, 60, 400])
def test_the_budget_holds_at_any_share(bank, share, words):
    for dated in (False, True):
        results = bank.search("Ada and Rex", words=words, where={"tenant": "two"}, notes=share, dated=dated)
        counted = results.dated_words if dated else results.words
        assert counted <= words or len(results) == 1
        again = bank.search("Ada and Rex", words=words, where={"tenant": "two"}, notes=share, dated=dated)
        assert again == results and again.notes == results.notes
        assert len({note.id for note in results.notes}) == len(results.notes)


def test_a_note_that_repeats_a_shown_row_is_left_out_and_others_have_their_days(bank):
    both = bank.search("Somebody sang", words=400, where={"tenant": "one"}, notes=0.5, dated=True)
    assert "Somebody sang." not in [note.text for note in both.notes], "its row is shown, and has all its words"
    away = bank.search("the cold piston broke", words=25, where={"tenant": "one"}, notes=0.5, dated=True)
    assert "Ada moved to Rome. (August 2023)" in [note.dated for note in away.notes], "its row is not shown"


def test_text_of_a_note_cannot_leave_its_element(bank):
    results = bank.search("It rains in Paris", words=60, where={"tenant": "one"}, notes=0.5)
    text = results.text()
    assert "</note-2>" in text if "<note n='1'>" in text or "<note n='9'>" in text else "</note>" in text
    assert text.count("<note-2 ") == len(results.notes)


def test_a_tenant_and_every_other_condition_is_a_boundary_for_notes(bank):
    leaves = {row["id"]: row for row in bank.table("events", ["id", "tenant", "session", "text"], "leaf").to_pylist()}
    for where, allowed in (
        ({"tenant": "two"}, lambda row: row["tenant"] == "two"),
        ({"session": "s1"}, lambda row: row["session"] == "s1"),
        ("text LIKE '%Rex%'", lambda row: "Rex" in row["text"]),
        ({"tenant": "one", "after": "2024-01-01"}, lambda row: row["session"] == "s2"),
        ({"speaker": "nobody"}, lambda row: False),
        ({"tenant": "nobody"}, lambda row: False),
    ):
        results = bank.search("Ada Rex piston Rome sang", words=300, where=where, notes=0.6)
        assert all(allowed(leaves[source.event]) for note in results.notes for source in note.note.sources), where
        assert all(allowed(leaves[hit.id]) for hit in results)
        ranked = bank.search("Ada Rex piston Rome sang", words=300, where=where, notes=True)
        assert all(allowed(leaves[hit.id]) for hit in ranked)


def test_what_cannot_be_is_a_sentence(bank, tiny):
    with pytest.raises(QueryError, match="no notes with vectors"):
        tiny.open().search("table", notes=True)
    for share in (1.0, 0.0, -1, float("nan"), "half", 5):
        with pytest.raises(QueryError, match="share notes="):
            bank.search("Ada", notes=share)
    with pytest.raises(QueryError, match="smallest rows"):
        bank.search("Ada", notes=True, level="session")
    with pytest.raises(QueryError, match="budget of words or tokens"):
        bank.search("Ada", words=None, k=5, notes=0.5)
    assert bank.search("Ada", level="session") == bank.search("Ada", level="session", notes=False)


def test_tokens_are_shared_as_words_are(bank):
    results = bank.search("Ada and Rex", tokens=60, tokenizer=len, where={"tenant": "one"}, notes=0.5)
    assert sum(len(one.text) for one in (*results, *results.notes)) <= 60 or len(results) == 1


def test_the_command_shows_notes(bank, capsys):
    question = ["search", bank.path, "Who is Rex?", "--tenant", "one", "--words", "30"]
    assert main([*question, "--notes", "0.5", "--explain"]) == 0
    shown = capsys.readouterr().out
    assert "note by scripted" in shown and " notes, " in shown and "meaning: rank" in shown
    assert main([*question, "--notes", "0.5", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert any("note" in row for row in rows) and any("locator" in row for row in rows)
    for flag in (["--no-notes"], ["--notes"]):
        assert main([*question, *flag]) == 0
    assert main([*question, "--notes", "2"]) == 2


def test_words_of_answers_are_counted_with_notes_and_their_cost_is_told(bank):
    answered = Question("Who mended the piston?", "one", frozenset({"x"}), "who", "1", "Ada mended the piston")
    words = answer_words(bank, [answered])
    assert [one.way for one in words.shares] == [way for way in WAYS for _ in BUDGETS]
    assert words.shares[-1].share.value == 1.0 and "against those above" in shown_answers(words)
    rows, paid = bank.dataset("events").count("leaf"), ledger(bank.dataset("calls"))
    assert words.cost.calls == pytest.approx(1000 * paid.calls / rows) and paid.calls == 6
    assert "notes cost 375 calls" in shown_answers(words)


@pytest.mark.parametrize("library", ["langchain", "llama_index"])
def test_retrievers_hand_notes_on(bank, library):
    pytest.importorskip({"langchain": "langchain_core", "llama_index": "llama_index.core"}[library])
    module = __import__(f"mnemic.adapters.{library}", fromlist=["BankRetriever"])
    retriever = module.BankRetriever(bank=bank, words=40, where={"tenant": "one"}, notes=0.5)
    documents = retriever.invoke("Who is Rex?") if library == "langchain" else retriever.retrieve("Who is Rex?")
    metadata = [json.loads(json.dumps(one.metadata, allow_nan=False)) for one in documents]
    assert "note" in [row["level"] for row in metadata] and "turn" in [row["level"] for row in metadata]
    assert [row["level"] == "note" for row in metadata] == sorted(row["level"] == "note" for row in metadata)
