"""A bank with relations: paid once, readable in two times, and edges of a search; other banks stay as they are."""

import json
from datetime import date

import pytest
from scripted_server import ScriptedServer, relation
from test_written_bank import FAULTS, LONG, build, copied, paid
from written_bank import HOMES, STORY, homes, written_recipe

import mnemic
from mnemic.command import main
from mnemic.dataset import Store
from mnemic.errors import QueryError, TooManyRejects
from pipelines.recipe import load_recipe


def moves(prompt):
    """A script: a relation for each town that a unit names."""
    return {
        "relations": [
            relation("Ada", "moved to", town, [unit["n"]])
            for unit in prompt["units"]
            for town in HOMES
            if town in unit["text"]
        ]
    }


def rooms(prompt):
    words = [(unit, unit["text"].split()) for unit in prompt["units"]]
    return {"relations": [relation(f"Room {one[1]}", "is", one[-1].strip("."), [unit["n"]]) for unit, one in words]}


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    with ScriptedServer(homes) as server:
        server.relations = moves
        recipe = written_recipe(tmp_path_factory.mktemp("moved"), server.address, context={})
        build(recipe)
        facts = sum(server.paid.values())
        recipe["written"]["relations"] = True
        steps = {step.step: step for step in mnemic.plan(recipe, device="cpu").steps}
        assert (steps["calls"].kind, steps["notes"].kind, steps["relations"].kind) == ("pending", "after", "new")
        assert "relations" not in mnemic.open_bank(recipe["bank"]).release.versions
        build(recipe)
        assert sum(server.paid.values()) == 2 * facts == paid(recipe).calls, "facts were not asked for again"
        assert mnemic.plan(recipe, device="cpu").nothing_to_do
    return recipe


def test_relations_of_triples_and_of_attributes_are_readable_in_two_times(moved):
    bank = mnemic.open_bank(moved["bank"])
    assert [one.object for one in bank.relations("ada", "home", tenant="one")] == ["Oslo"]
    history = bank.relations("Ada", "HOME", tenant="one", closed=True)
    assert [(one.object, one.state) for one in history] == [
        ("Paris", "closed"),
        ("Rome", "closed"),
        ("Oslo", "current"),
    ]
    for day, home in ((date(2023, 6, 1), "Paris"), (date(2023, 12, 24), "Rome"), (date(2030, 1, 1), "Oslo")):
        assert [one.object for one in bank.relations("Ada", "home", tenant="one", as_of=day)] == [home]
    assert len(bank.relations("ada", "moved to", tenant="one")) == 3, "a subject may have moved to several towns"
    assert {(one.label, one.state) for one in bank.relations("paris", tenant="two", closed=True)} == {
        ("home", "closed"),
        ("moved to", "current"),
    }
    assert bank.relations("paris", "home") == bank.relations("nobody") == []
    assert {one.tenant for one in bank.relations()} == {"one", "two"}
    notes = {note.id: note for note in bank.notes(closed=True)}
    rows = {row["id"]: row for row in bank.table("relations").to_pylist()}
    homes_of = [rows[one.id] for one in bank.relations(label="home", closed=True)]
    assert len(homes_of) == 6 and all(notes[row["note"]].value == row["object"] for row in homes_of)
    earlier = mnemic.open_bank(moved["bank"], bank.releases()[0].name)
    with pytest.raises(QueryError, match=r"has no relations\. Add the section `relations`"):
        earlier.relations()


def test_an_earlier_release_knows_what_it_knew_and_late_history_takes_its_place(tmp_path):
    with ScriptedServer(homes) as server:
        first, second, last = STORY.items()
        recipe = written_recipe(tmp_path, server.address, dict([first, last]), tenants=("one",), relations={})
        build(recipe)
        before = mnemic.open_bank(recipe["bank"])
        written_recipe(tmp_path, server.address, dict([first, second, last]), tenants=("one",))
        build(recipe)
        assert sum(server.paid.values()) == 3, "relations of attributes cost no call"
    after = mnemic.open_bank(recipe["bank"])
    both = [
        [(one.object, one.closed_by != "") for one in bank.relations("Ada", closed=True)] for bank in (before, after)
    ]
    assert both == [[("Paris", True), ("Oslo", False)], [("Paris", True), ("Rome", True), ("Oslo", False)]]
    day = date(2023, 12, 24)
    assert [[one.object for one in bank.relations(as_of=day)] for bank in (before, after)] == [["Paris"], ["Rome"]]


@pytest.mark.slow
def test_faults_requests_at_once_and_fragments_change_no_relation(tmp_path):
    answers = []
    for name, faults, concurrent, characters in (("calm", {}, 1, 0), ("disturbed", FAULTS, 5, 300)):
        with ScriptedServer(faults=faults) as server:
            server.relations = rooms
            root = tmp_path / name
            root.mkdir()
            recipe = written_recipe(root, server.address, LONG)
            recipe = copied(recipe, server, root, concurrent=concurrent, relations=True)
            recipe |= {"fragment_characters": characters} if characters else {}
            build({**recipe, "max_rejects": 1.0})
            spent = sum(server.paid.values())
            assert paid(recipe).calls == spent - server.met["half"]
            build({**recipe, "max_rejects": 1.0})
            assert sum(server.paid.values()) == spent
        store = Store(recipe["bank"])
        lost = store["rejects"].require().count("step = 'calls'")
        bank = mnemic.open_bank(recipe["bank"])
        answers.append(({row["id"] for row in bank.table("relations").to_pylist()}, bank.digest()["relations"], lost))
    (whole, digest, _), (others, other_digest, lost) = answers
    assert len(whole) == 2 * 6 * 8 and others <= whole
    assert lost or other_digest == digest


def test_relations_join_documents_in_a_search_and_other_banks_answer_as_before(moved, tmp_path):
    bank = mnemic.open_bank(moved["bank"])
    where = {"tenant": "one"}
    hits = bank.search("who lives in Oslo?", words=None, k=10, level="session", where=where)
    assert any(hit.reason.startswith('shares "ada"') or 'mentions "ada"' in hit.reason.lower() for hit in hits)
    assert {hit.tenant for hit in hits} == {"one"}
    plain = {**moved, "bank": str(tmp_path / "bank")}
    plain = {name: one for name, one in plain.items() if name not in ("written", "packs", "excerpts")}
    build(plain)
    bare = mnemic.open_bank(plain["bank"])
    for level in ("session", None):
        with_them, without = (
            one.search("who lives in Oslo?", words=None, k=10, level=level, where=where, links=False, notes=False)
            for one in (bank, bare)
        )
        assert [(hit.id, hit.score, hit.reason) for hit in with_them] == [
            (hit.id, hit.score, hit.reason) for hit in without
        ]
    first = mnemic.open_bank(moved["bank"], bank.releases()[0].name)
    hits, same = (
        one.search("who lives in Oslo?", words=None, k=10, level="session", where=where, notes=False)
        for one in (first, bare)
    )
    assert [(hit.id, hit.score, hit.reason) for hit in hits] == [(hit.id, hit.score, hit.reason) for hit in same]


def test_a_preset_that_wants_relations_asks_for_them_and_a_recipe_may_not(tmp_path):
    recipe = written_recipe(tmp_path, "http://127.0.0.1:9/v1", STORY)
    for written, runs, prompts in (
        ({"preset": "hipporag2"}, True, 2),
        ({"preset": "hipporag2", "relations": False}, True, 1),
        ({"preset": "graphiti"}, False, 1),
        ({"relations": True}, True, 2),
        ({}, False, 1),
    ):
        complete = load_recipe({**recipe, "written": {**recipe["written"], **written}})
        assert (complete.relations is not None) == runs, written
        assert len(complete.written.prompts) == prompts, written
    named = {step.step for step in mnemic.plan({**recipe, "relations": {}}).steps}
    assert "relations" in named


def test_a_model_that_invents_relations_ends_the_step(tmp_path):
    with ScriptedServer(homes) as server:
        server.relations = lambda prompt: {
            "relations": [relation(f"Zora{one}", "ate", "Lima", [prompt["units"][0]["n"]]) for one in range(60)]
        }
        recipe = written_recipe(tmp_path, server.address, STORY, tenants=("one",))
        recipe["written"]["relations"] = True
        with pytest.raises(TooManyRejects, match="relations that the language model wrote"):
            build({**recipe, "relations": {"max_rejected": 0.0}, "max_rejects": 0.0})


def test_the_command_tells_the_same(moved, capsys):
    assert main(["relations", moved["bank"], "Ada", "--tenant", "one", "--label", "home", "--closed"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Ada - home - Paris" in lines[0] and "until 2023-08-01" in lines[0] and lines[-1].startswith("3 relations")
    assert main(["relations", moved["bank"], "--as-of", "2023-06-01", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["total"] == len(mnemic.open_bank(moved["bank"]).relations(as_of=date(2023, 6, 1)))
    assert main(["relations", moved["bank"], "--as-of", "soon"]) == QueryError.exit_code
