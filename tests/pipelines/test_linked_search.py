"""Searches that follow links in a bank that was built: against the definition, and inside tenants and conditions."""

from pathlib import Path

import numpy as np
import pytest
from placed_bank import placed_recipe

import mnemic
from mnemic.links.hops import HOP, NAMED, SOURCES
from mnemic.links.names import Lexicon, name_of
from mnemic.vectors import vectors

FILMS = ("Kiss Tell", "Night Rain", "Blue Gate", "Iron Song", "Paper Boat", "Last Stop")
PEOPLE = ("Ada Stone", "Ben Hill", "Cleo Marsh", "Dora Field", "Emil Brook", "Flora Lake")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
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
    complete = placed_recipe(root, [{"id": str(number), **note} for number, note in enumerate(notes)], mean_units=50)
    [source] = complete["sources"]
    return {**complete, "sources": [{**source, "columns": {"year": "text"}}]}


@pytest.fixture(scope="module")
def bank(recipe):
    mnemic.build(recipe, device="cpu", engine="inline")
    return mnemic.open_bank(recipe["bank"])


@pytest.fixture(scope="module")
def named(recipe, tmp_path_factory):
    """The same bank with names, built of small fragments."""
    place = tmp_path_factory.mktemp("named") / "bank"
    complete = {**recipe, "bank": str(place), "names": {}, "fragment_characters": 200}
    mnemic.build(complete, device="cpu", engine="inline")
    return mnemic.open_bank(place)


def ranked(bank, query, **settings):
    hits = bank.search(query, words=None, k=50, **settings)
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))


def by_the_definition(bank, query, level):
    """Document -> score: that without links, a share for a name in the question, and one for names in sentences."""
    plain = ranked(bank, query, level=level, links=False)
    rows = bank.table("documents", ["id", "tenant", "title"]).to_pylist()
    names = Lexicon(filter(None, (name_of(row["title"]) for row in rows)))
    called = {row["id"]: names.numbers.get(name_of(row["title"]).lower(), -1) for row in rows}
    tenant = {row["id"]: row["tenant"] for row in rows}
    sought = {number for number, _ in names.find(query, capitals=False)}
    score = {hit.document: hit.score for hit in plain}
    top = max(score.values())
    by_name = {one: score.get(one, 0.0) + top * NAMED * (called[one] in sought) for one in called}
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
            if number in sought or number == called[document]:
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


def test_names_are_a_dataset_of_their_own_and_the_same_however_it_is_built(bank, named, recipe, tmp_path):
    grown = {**recipe, "bank": str(tmp_path / "grown")}
    mnemic.build(grown, device="cpu", engine="inline")
    assert mnemic.open_bank(grown["bank"]).digest() == bank.digest() and "edges" not in bank.digest()
    mnemic.build({**grown, "names": {}}, device="cpu", engine="inline")
    digest = mnemic.open_bank(grown["bank"]).digest()
    assert digest == named.digest()
    assert {name: digest[name] for name in bank.digest() if name != "bank"} == {
        name: one for name, one in bank.digest().items() if name != "bank"
    }
    assert all(step.kind == "done" for step in mnemic.plan({**grown, "names": {}}, device="cpu").steps)
    edges = named.table("edges").to_pylist()
    texts = {row["id"]: row["text"] for row in named.table("documents", ["id", "text"]).to_pylist()}
    assert {row["name"] for row in edges} >= {person.lower() for person in PEOPLE}
    assert all(texts[row["document"]][row["start"] : row["end"]].lower().endswith(row["name"][-3:]) for row in edges)
    tenants = {(row["entity"], row["tenant"]) for row in edges}
    assert len(tenants) == len({row["entity"] for row in edges}), "tenants share no entity"


def test_a_walk_raises_documents_that_share_names_inside_tenant_and_condition(bank, named):
    query = "a sang"
    plain = {hit.document: hit.score for hit in ranked(bank, query, where={"tenant": "north"}, level="session")}
    hits = ranked(named, query, where={"tenant": "north"}, level="session")
    assert {hit.tenant for hit in hits} == {"north"}
    assert any(hit.reason.startswith(('shares "', 'mentions "')) for hit in hits)
    assert any(hit.score > plain.get(hit.document, 0.0) + 1e-6 for hit in hits)
    for where in ("year = '1930'", "year <> '1930'", {"source": "nobody"}):
        ids = set(named.table("events", ["id"], where)["id"].to_pylist())
        assert {hit.id for hit in ranked(named, query, where=where, level="session")} <= ids
    again = ranked(named, query, where={"tenant": "north"}, level="session")
    assert [(hit.id, hit.score, hit.reason) for hit in again] == [(hit.id, hit.score, hit.reason) for hit in hits]
    without = ranked(named, query, where={"tenant": "north"}, level="session", links=False)
    other = ranked(bank, query, where={"tenant": "north"}, level="session", links=False)
    assert [(hit.id, hit.score) for hit in without] == [(hit.id, hit.score) for hit in other]


def test_a_removed_document_takes_its_names_along(named, recipe, tmp_path):
    lines = Path(recipe["sources"][0]["path"]).read_text().splitlines()
    (tmp_path / "notes.jsonl").write_text("\n".join(lines[:-1]))
    source = {**recipe["sources"][0], "path": str(tmp_path / "notes.jsonl")}
    fewer = {**recipe, "bank": str(tmp_path / "bank"), "names": {}, "sources": [source]}
    mnemic.build({**fewer, "sources": recipe["sources"]}, device="cpu", engine="inline")
    mnemic.build(fewer, device="cpu", engine="inline")
    bank = mnemic.open_bank(fewer["bank"])
    documents = set(bank.table("documents", ["id"])["id"].to_pylist())
    edges = bank.table("edges", ["document", "start", "end"]).to_pylist()
    assert {row["document"] for row in edges} <= documents
    assert len(edges) == len([row for row in named.table("edges").to_pylist() if row["document"] in documents])
