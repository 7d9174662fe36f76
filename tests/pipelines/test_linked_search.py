"""Searches that follow links in a bank that was built: against the definition, and inside tenants and conditions."""

import json

import numpy as np
import pytest
from tiny_encoder import save_tiny_encoder

import mnemic
from mnemic.links import HOP, NAMED, SOURCES
from mnemic.links.names import Names, name_of
from mnemic.vectors import vectors

FILMS = ("Kiss Tell", "Night Rain", "Blue Gate", "Iron Song", "Paper Boat", "Last Stop")
PEOPLE = ("Ada Stone", "Ben Hill", "Cleo Marsh", "Dora Field", "Emil Brook", "Flora Lake")


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    root = tmp_path_factory.mktemp("linked")
    notes = []
    for number, (film, person) in enumerate(zip(FILMS, PEOPLE, strict=True)):
        other = PEOPLE[(number + 2) % len(PEOPLE)]
        for tenant in ("north", "south"):
            own = {"who": tenant, "year": f"19{number}0"}
            notes.append(
                {
                    **own,
                    "title": film,
                    "text": f"It is a film. It was made by {person}. A {other} sang. {tenant}{number}.",
                }
            )
            notes.append(
                {**own, "title": person, "text": f"Born in a village. Fond of boats. {tenant} {number} lives."}
            )
    notes.append({"who": "south", "year": "2000", "title": "Secret", "text": "Kiss Tell was stolen. Nobody knows."})
    lines = [json.dumps({"id": str(number), **note}) for number, note in enumerate(notes)]
    (root / "notes.jsonl").write_text("\n".join(lines))
    recipe = {
        "name": "linked",
        "bank": str(root / "bank"),
        "sources": [
            {
                "kind": "folder",
                "name": "notes",
                "path": str(root / "notes.jsonl"),
                "id_field": "id",
                "tenant_field": "who",
                "columns": {"year": "text"},
            }
        ],
        "deduplicate": {"method": "exact"},
        "embed": {"model": str(save_tiny_encoder(root / "encoder")), "dtype": "float32"},
        "cluster": False,
        "context": {},
    }
    mnemic.build(recipe, device="cpu", engine="inline")
    return mnemic.open_bank(recipe["bank"])


def ranked(bank, query, **settings):
    hits = bank.search(query, words=None, k=50, **settings)
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))


def by_the_definition(bank, query, level):
    """Document -> score: that without links, a share for a name in the question, and one for names in sentences."""
    plain = ranked(bank, query, level=level, links=False)
    rows = bank.table("documents", ["id", "tenant", "title"]).to_pylist()
    names = Names(name_of(row["title"]) for row in rows)
    called = {row["id"]: names.numbers[name_of(row["title"]).lower()] for row in rows}
    tenant = {row["id"]: row["tenant"] for row in rows}
    asked = {number for number, _ in names.find(query, capitals=False)}
    score = {hit.document: hit.score for hit in plain}
    top = max(score.values())
    by_name = {one: score.get(one, 0.0) + top * NAMED * (called[one] in asked) for one in called}
    units = bank.table("units", ["document", "text", "embedding"]).combine_chunks()
    [vector] = bank.encoder.encode_queries([query])
    stored = vectors(units["embedding"], np.float64)
    cosines = stored @ vector.astype(np.float64) / np.linalg.norm(stored, axis=1) / np.linalg.norm(vector)
    best = {hit.document: hit.id for hit in plain}
    sources = sorted(best, key=lambda one: (-by_name[one], best[one]))[:SOURCES]
    reached: dict[str, float] = {}
    for document, text, cosine in zip(units["document"].to_pylist(), units["text"].to_pylist(), cosines, strict=True):
        if document not in sources:
            continue
        for number, _ in names.find(text):
            if number in asked or number == called[document]:
                continue
            for other, its in called.items():
                if its == number and tenant[other] == tenant[document]:
                    weight = by_name[document] * cosine
                    reached[other] = max(reached.get(other, 0.0), weight)
    most = max(reached.values(), default=1.0)
    return {one: by_name[one] + top * HOP * max(reached.get(one, 0.0), 0.0) / most for one in called}


@pytest.mark.parametrize("query", ["who made the film Kiss Tell?", "born in a village", "Night Rain or Blue Gate, ada"])
@pytest.mark.parametrize("level", ["session", None])
def test_links_raise_what_the_definition_raises(bank, query, level):
    hits = ranked(bank, query, level=level, links=True)
    expected = by_the_definition(bank, query, level)
    assert {hit.document: hit.score for hit in hits} == pytest.approx(
        {hit.document: expected[hit.document] for hit in hits}, abs=1e-5
    )
    plain = {hit.document: hit.score for hit in ranked(bank, query, level=level, links=False)}
    assert {hit.document for hit in hits if "name" in hit.reason} == {
        one for one, score in expected.items() if score > plain.get(one, 0.0) + 1e-9
    }


def test_a_second_document_is_found_by_the_first_with_the_reason_in_words(bank):
    query, where = "who made Iron Song?", {"tenant": "north"}
    hits = ranked(bank, query, where=where, level="session")
    assert [hit.metadata["title"] for hit in hits[:2]] == ["Iron Song", "Dora Field"] or {
        hit.metadata["title"] for hit in hits[:3]
    } >= {"Iron Song", "Dora Field"}
    reasons = {hit.metadata["title"]: hit.reason for hit in hits}
    assert reasons["Iron Song"].startswith('the question names "Iron Song", ')
    assert reasons["Dora Field"].startswith('named "Dora Field" in "Iron Song", ')
    assert not any("named" in hit.reason for hit in ranked(bank, query, where=where, level="session", links=False))


@pytest.mark.parametrize("level", ["session", None, "event"])
def test_a_tenant_is_a_boundary_for_links_too(bank, level):
    for tenant in ("north", "south"):
        for query in ("Kiss Tell and the Secret", "who made Iron Song?", "ada stone, secret"):
            hits = ranked(bank, query, where={"tenant": tenant}, level=level, links=True)
            assert hits and {hit.tenant for hit in hits} == {tenant}
            alone = [(hit.id, hit.score, hit.reason) for hit in hits]
            again = ranked(bank, query, where=[{"tenant": tenant}, "words > 0"], level=level, links=True)
            assert [(hit.id, hit.reason) for hit in again] == [(one[0], one[2]) for one in alone]
    assert not any("Secret" in hit.reason for hit in ranked(bank, "Kiss Tell", where={"tenant": "north"}, links=True))


@pytest.mark.parametrize("level", ["session", None])
def test_a_condition_and_a_level_hold_for_rows_that_links_lead_to(bank, level):
    for where in ("year = '1930'", "year <> '1930'", {"source": "nobody"}, "words > 11"):
        hits = ranked(bank, "who made Iron Song?", where=where, level=level, links=True)
        ids = set(bank.table("events", ["id"], where)["id"].to_pylist())
        assert {hit.id for hit in hits} <= ids
        assert all(hit.level == "session" for hit in hits) or level is None
        assert bool(hits) == (where != {"source": "nobody"})


def test_equal_questions_have_equal_answers_and_a_bank_without_titles_has_no_links(bank, tmp_path):
    first, second = (ranked(bank, "who made Blue Gate?", level="session") for _ in range(2))
    assert [(hit.id, hit.score, hit.reason) for hit in first] == [(hit.id, hit.score, hit.reason) for hit in second]
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "one.txt").write_text("Iron Song is a film. Dora Field made it.")
    recipe = {
        "name": "bare",
        "bank": str(tmp_path / "bank"),
        "sources": [{"kind": "folder", "path": str(tmp_path / "notes")}],
        "deduplicate": {"method": "exact"},
        "embed": {"model": bank.release.recipe["embed"]["model"], "dtype": "float32"},
        "cluster": False,
    }
    mnemic.build(recipe, device="cpu", engine="inline")
    bare = mnemic.open_bank(recipe["bank"])
    for level in ("session", None):
        with_links, without = (ranked(bare, "Iron Song", level=level, links=links) for links in (True, False))
        assert [(hit.id, hit.score, hit.reason) for hit in with_links] == [
            (hit.id, hit.score, hit.reason) for hit in without
        ]
