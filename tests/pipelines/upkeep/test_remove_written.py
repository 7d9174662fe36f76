"""A canary goes through all of written memory: what a removal leaves of it, and what an erasure leaves in the files."""

import json
import shutil
from pathlib import Path

import pytest
from lance.file import LanceFileReader
from scripted_server import ScriptedServer, fact, relation
from written_bank import STORY, written_recipe

import mnemic

CANARY = "Zibbelquax"
TOLD = {
    "2023-05-08T09:00:00Z": ["I moved to Paris yesterday.", "I like blue tea."],
    "2023-09-01T09:00:00Z": [
        f"I moved to {CANARY} in August.",
        f"Rex met {CANARY} Hill on 3 May 2023.",
        "I like blue tea.",
    ],
    "2024-02-02T09:00:00Z": ["It is cold here. I like blue tea."],
}
SECOND = {"tenant": "one", "session": "s1"}
HELD = {"documents", "units", "events", "edges", "timelines", "packs", "calls", "notes", "relations", "summaries"}
HELD |= {"excerpts", "node_excerpts", "rejects"}
"""Datasets in which the canary must stand before, so that its absence means something."""


def facts(prompt):
    items = []
    for unit in prompt["units"]:
        town = next((one for one in ("Paris", CANARY) if f"moved to {one}" in unit["text"]), None)
        if town:
            since = {"Paris": "2023-05-07", CANARY: "2023-08"}[town]
            items.append(fact(f"Ada moved to {town}", [unit["n"]], "Ada", "home", town, since))
        if "blue tea" in unit["text"]:
            items.append(fact("Ada likes blue tea", [unit["n"]], "Ada"))
        if f"{CANARY} Hill" in unit["text"]:
            items.append(fact(f"Rex met {CANARY} Hill", [unit["n"]], "Rex"))
            items.append(fact(f"Rex sold {CANARY} for 900 dollars", [unit["n"]], "Rex"))
    return {"facts": items}


def triples(prompt):
    items = []
    for unit in prompt["units"]:
        if f"{CANARY} Hill" in unit["text"]:
            items.append(relation("Rex", "met", f"{CANARY} Hill", [unit["n"]], "2023-05-03"))
            items.append(relation("Rex", "ate", f"{CANARY} Cake", [unit["n"]]))
    return {"relations": items}


@pytest.fixture(scope="module")
def server():
    with ScriptedServer(facts) as scripted:
        scripted.relations = triples
        yield scripted


def recipe_of(root, server):
    complete = written_recipe(root, server.address, TOLD, tenants=("one",), cluster={"min_leaf": 2, "branching": 2})
    written_recipe(root, server.address, STORY, tenants=("two",))
    complete["written"] |= {"summaries": True, "relations": True}
    complete |= {"node_excerpts": {"words": 500}, "excerpts": {"words": 40}}
    return {**complete, "names": {}, "times": {}, "timelines": {}, "context": {}, "notes": {"max_rejected": 1.0}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, server):
    complete = recipe_of(tmp_path_factory.mktemp("whole"), server)
    mnemic.build(complete, device="cpu", engine="inline")
    return complete


@pytest.fixture
def built(whole, tmp_path):
    return {**whole, "bank": str(shutil.copytree(whole["bank"], tmp_path / "bank"))}


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from strings(one)


def holding(bank):
    """Datasets of a release in which the canary stands."""
    tables = {name: bank.table(name).to_pylist() for name in bank.release.versions}
    return {name for name, rows in tables.items() if any(CANARY.lower() in one.lower() for one in strings(rows))}


def files_with(bank):
    """Files of the bank, of whatever version or none, in which the canary stands, decoded or as they are."""
    there = set()
    for path in Path(bank).rglob("*"):
        if not path.is_file():
            continue
        texts = [path.read_bytes().decode("utf-8", "replace")]
        if path.suffix == ".lance":
            for batch in LanceFileReader(str(path)).read_all(batch_size=1000).to_batches():
                texts += [text for column in batch.columns for text in strings(column.to_pylist())]
        if any(CANARY.lower() in text.lower() for text in texts):
            there.add(str(path.relative_to(bank)))
    return there


def of_tenant_two(bank):
    """Rows of the other tenant, as text; a node of the tree is both tenants'."""
    names = sorted(HELD - {"rejects", "node_excerpts", "events"})
    return {
        name: sorted(json.dumps(row, default=str) for row in bank.table(name, where={"tenant": "two"}).to_pylist())
        if name != "calls"
        else sorted(row["answer"] for row in bank.table(name, where="tenant = 'two'").to_pylist())
        for name in names
        if "tenant" in bank.dataset(name).schema.names
    }


def test_a_removed_session_is_in_nothing_that_was_written_and_what_it_closed_is_open(built, server):
    before = mnemic.open_bank(built["bank"])
    assert holding(before) >= HELD
    assert [note.value for note in before.notes("Ada", "home", tenant="one")] == [CANARY]
    assert [one.object for one in before.relations("Ada", "home", tenant="one")] == [CANARY]
    assert len(before.timeline(CANARY.upper() + " hill")) == 1
    [tea] = [note for note in before.notes("Ada", tenant="one") if note.text == "Ada likes blue tea"]
    assert len(tea.sources) == 3
    paid, others = sum(server.paid.values()), of_tenant_two(before)
    mnemic.remove(built["bank"], SECOND)
    for again in (False, True):
        if again:
            mnemic.build(built, device="cpu", engine="inline")
            assert mnemic.plan(built, device="cpu").nothing_to_do
        after = mnemic.open_bank(built["bank"])
        assert holding(after) == set()
        [home] = after.notes("Ada", "home", tenant="one", closed=True)
        assert (home.value, home.state, home.stop, home.closed_by) == ("Paris", "current", None, "")
        [related] = after.relations("Ada", "home", tenant="one", closed=True)
        assert (related.object, related.state, related.stop) == ("Paris", "current", None)
        [left] = [note for note in after.notes("Ada", tenant="one") if note.text == "Ada likes blue tea"]
        assert set(left.sources) == {source for source in tea.sources if source.document in documents_of(after)}
        assert len(left.sources) == 2, "the note is carried by the sessions that are left"
        assert of_tenant_two(after) == others
    assert sum(server.paid.values()) == paid, "nothing was asked again"
    assert [note.value for note in before.notes("Ada", "home", tenant="one")] == [CANARY], "a release is what it was"


@pytest.mark.slow
def test_an_erased_session_is_in_no_file(built):
    assert len(files_with(built["bank"])) >= len(HELD)
    outcome = mnemic.remove(built["bank"], SECOND, erase=True)
    assert outcome.proof.before > 0 and outcome.proof.after == 0
    assert files_with(built["bank"]) == set()
    mnemic.build(built, device="cpu", engine="inline")
    assert files_with(built["bank"]) == set()
    bank = mnemic.open_bank(built["bank"])
    assert [note.value for note in bank.notes("Ada", "home", tenant="one")] == ["Paris"]


def documents_of(bank):
    return set(bank.table("documents", ["id"])["id"].to_pylist())
