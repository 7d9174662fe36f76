"""Sessions, events and nodes by few words: summaries and excerpts as results, with the rows that they are made of."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

import mnemic
from mnemic.command import main
from mnemic.errors import QueryError
from mnemic.search.nodes import search_nodes
from mnemic.vectors import vectors
from mnemic.words import count_words


@pytest.fixture
def leaves(noted):
    return {row["id"]: row for row in noted.table("events", ["id", "tenant", "text", "session"], "leaf").to_pylist()}


@pytest.mark.parametrize("level", ["session", "event"])
def test_a_row_has_its_short_text_and_names_its_sources(noted, leaves, level):
    whole = noted.search("Where does Ada live?", words=None, k=20, level=level)
    short = noted.search("Where does Ada live?", words=None, k=20, level=level, short=True)
    assert [(hit.id, hit.score) for hit in short] == [(hit.id, hit.score) for hit in whole], (
        "the ranking is that of all"
    )
    for hit, long in zip(short, whole, strict=True):
        if not hit.sources:
            assert hit == long, "an event of one turn is its own excerpt"
            continue
        assert {leaves[one]["session"] for one in hit.sources} == {hit.session}
        assert hit.words == count_words(hit.text) <= long.words
        if level == "event":
            assert hit.writer == "" and hit.text == "\n".join(leaves[one]["text"] for one in hit.sources)
            assert hit.reason.startswith(f"excerpt of {len(hit.sources)} rows, ")
        else:
            assert hit.writer == "scripted" and hit.reason.startswith("summary by scripted of ")
    assert any(hit.sources for hit in short)


def test_a_budget_holds_more_sessions_by_their_summaries(noted):
    where = {"tenant": "one"}
    whole, short = (noted.search("Ada", words=26, level="session", where=where, short=short) for short in (False, True))
    assert len(short) > len(whole) and short.words <= 26
    dated = noted.search("Ada moved", words=26, level="session", where=where, short=True, dated=True)
    assert dated.dated_words <= 26
    tokens = noted.search("Ada", tokens=120, tokenizer=len, level="session", where=where, short=True)
    assert sum(len(hit.text) for hit in tokens) <= 120


def test_a_prompt_says_what_is_an_excerpt_and_who_wrote_a_summary(noted):
    summaries = noted.search("Ada", words=60, level="session", short=True).text()
    assert 'summary="by scripted"' in summaries and "excerpt=" not in summaries
    excerpts = noted.search("Ada", words=60, level="event", short=True).text()
    assert 'excerpt="of ' in excerpts and "summary=" not in excerpts
    assert "summary=" not in noted.search("Ada", words=60, level="session").text()


def test_nodes_are_ranked_by_centroid_and_words_as_defined(noted):
    query = "the piston broke"
    hits = noted.search(query, words=None, k=50, level="node", where={"tenant": "one"})
    rows = {row["id"]: row for row in noted.table("node_excerpts", where={"tenant": "one"}).to_pylist()}
    clusters = noted.table("clusters", ["path", "centroid"])
    centroids = vectors(clusters["centroid"]).astype(np.float64)
    question = noted.encoder.encode_queries([query])[0].astype(np.float64)
    cosines = centroids @ question / np.linalg.norm(centroids, axis=1) / np.linalg.norm(question)
    cosine = dict(zip(clusters["path"].to_pylist(), cosines.tolist(), strict=True))
    places = {score: rank for rank, score in enumerate(sorted({cosine[row["path"]] for row in rows.values()})[::-1], 1)}
    assert hits and [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    for hit in hits:
        row = rows[hit.id]
        assert (hit.text, list(hit.sources), hit.level) == (row["text"], row["events"], "node")
        assert hit.similarity == pytest.approx(cosine[row["path"]], abs=1e-6)
        words = 0.0 if hit.bm25 is None else 1 / (20 + int(hit.reason.rpartition("words: rank ")[2]))
        assert hit.score == pytest.approx(1 / (20 + places[cosine[row["path"]]]) + words)
    shown = [frozenset(hit.sources) for hit in hits]
    assert all(not one <= frozenset().union(*shown[:place]) for place, one in enumerate(shown) if place)


def test_a_parent_chooses_among_what_its_children_have_chosen(noted):
    rows = noted.table("node_excerpts").to_pylist()
    below: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        if row["path"]:
            below.setdefault((row["path"].rpartition(".")[0], row["tenant"]), set()).update(row["events"])
    inner = [row for row in rows if (row["path"], row["tenant"]) in below]
    assert inner and all(below[row["path"], row["tenant"]].issuperset(row["events"]) for row in inner)


def test_a_tenant_is_a_boundary_for_nodes_and_other_conditions_are_told(noted, leaves):
    hits = noted.search("Ada", words=200, level="node", where={"tenant": "two"})
    assert hits and {leaves[one]["tenant"] for hit in hits for one in hit.sources} == {"two"}
    assert noted.search("Ada", words=200, level="node", where={"tenant": "nobody"}) == []
    with pytest.raises(QueryError, match="no column session in node_excerpts"):
        noted.search("Ada", level="node", where={"session": "s1"})


@pytest.mark.parametrize("words", [3, 20, 90])
def test_nodes_keep_the_budget(noted, words):
    results = noted.search("Ada and Rex", words=words, level="node")
    assert results and results.words <= words
    assert noted.search("Ada and Rex", words=words, level="node") == results


def test_what_there_is_not_is_a_sentence(noted, tiny):
    bank = tiny.open()
    with pytest.raises(QueryError, match="no excerpts of nodes"):
        bank.search("table", level="node")
    with pytest.raises(QueryError, match="no short texts of its sessions"):
        bank.search("table", level="session", short=True)
    with pytest.raises(QueryError, match="Short texts are of sessions"):
        noted.search("Ada", short=True)
    assert [field for field in bank.search("table")[0:1] if field.sources or field.writer] == []


def test_the_command_shows_them(noted, capsys):
    assert main(["search", noted.path, "Ada", "--level", "node", "--explain"]) == 0
    shown = capsys.readouterr().out
    assert "label: " in shown and "excerpt of " in shown
    assert main(["search", noted.path, "Ada", "--level", "session", "--short", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(row["sources"] and row["writer"] == "scripted" for row in rows)
    assert main(["search", noted.path, "Ada", "--level", "session", "--json"]) == 0
    assert all("sources" not in json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert dataclasses.is_dataclass(noted.search("Ada")[0]) and search_nodes.__doc__


@pytest.mark.parametrize("level", ["session", "event"])
def test_what_was_remembered_stands_whole_beside_short_texts(noted, tmp_path, level):
    bank = mnemic.open_bank(shutil.copytree(noted.path, tmp_path / "bank"))
    text = "Zebras graze behind the observatory of Kilimanjaro."
    (identity,) = bank.remember(text, tenant="one")
    hits = bank.search("zebras behind the observatory", words=200, level=level, short=True)
    assert hits[0].pending and hits[0].text == text and identity.startswith(hits[0].id)
    before = noted.search("zebras behind the observatory", words=200, level=level, short=True)
    assert {hit.id for hit in before} & {hit.id for hit in hits}, "rows of the release stand beside it"


def test_notes_and_what_was_remembered_share_a_budget(noted, tmp_path):
    bank = mnemic.open_bank(shutil.copytree(noted.path, tmp_path / "bank"))
    bank.remember([{"speaker": "Ada", "text": "I live in Porto by now."}], tenant="one")
    results = bank.search("Where does Ada live?", words=60, where={"tenant": "one"}, notes=0.5)
    assert any(hit.pending for hit in results) and results.notes
    assert count_words("\n".join([*(hit.text for hit in results), *(note.text for note in results.notes)])) <= 60
    other = bank.search("Where does Ada live?", words=60, where={"tenant": "two"}, notes=0.5)
    assert not any(hit.pending for hit in other)
