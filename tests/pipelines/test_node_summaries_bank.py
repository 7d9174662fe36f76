"""Summaries of the nodes of the tree: asked about from the leaves up, checked, paid once, and given by a search."""

import json
from itertools import zip_longest

import pytest
from scripted_server import ScriptedServer
from written_bank import written_recipe

import mnemic
from mnemic.dataset import Store
from mnemic.errors import BudgetReached, QueryError, RecipeError, TooManyRejects
from mnemic.notes.ledger import ledger
from pipelines.faults import POINTS
from pipelines.steps import node_ascent, node_summaries

FAULTS = {"429": 0.15, "500": 0.1, "dropped": 0.05, "half": 0.05, "not json": 0.1}
BATCHES = [pytest.param(1, 1, {}, marks=pytest.mark.slow), (7, 3, FAULTS)]
LONG = {
    f"2023-{month:02d}-01T09:00:00Z": [f"Room {month}{number} of the house is {colour}." for number in range(6)]
    for month, colour in enumerate(("red", "blue", "green", "white"), 1)
}


def gist(prompt):
    """The first and the last unit, the last first, which is what the summary cites too."""
    units = prompt["units"][:1] + prompt["units"][1:][-1:]
    return {"text": " ".join(unit["text"][:400] for unit in reversed(units)), "n": [unit["n"] for unit in units[::-1]]}


def build(recipe, **options):
    return mnemic.build(recipe, device="cpu", engine="inline", **options)


def recipe_of(root, server, **changes):
    tree = {"min_leaf": 2, "branching": 3}
    server.summary = gist
    return written_recipe(root, server.address, LONG, cluster=tree, node_summaries={}, **changes)


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """(recipe, server) of a bank that nothing disturbed."""
    with ScriptedServer() as server:
        recipe = recipe_of(tmp_path_factory.mktemp("calm"), server)
        build(recipe)
        yield recipe, server


def copied(recipe, server, place, **written):
    server.summary = gist
    changes = {"server": server.address, **written}
    return {**recipe, "bank": str(place / "bank"), "written": {**recipe["written"], **changes}}


def asked(server):
    """Contents of requests about nodes, in the order in which they came."""
    orders = [body["messages"] for body in server.bodies]
    return [json.loads(user["content"]) for system, user in orders if "found to be alike" in system["content"]]


def rows_of(recipe):
    bank = mnemic.open_bank(recipe["bank"])
    return {(row["path"], row["tenant"]): row for row in bank.table("node_summaries").to_pylist()}, bank


def paid(recipe):
    return ledger(*(Store(recipe["bank"])[name].snapshot() for name in ("calls", "node_calls")))


def as_defined(bank):
    """(path, tenant) -> text, cited leaves, children of each node, from the leaves up, by the definition."""
    clusters = bank.table("clusters", ["path", "examples"]).to_pylist()
    events = {row["id"]: row for row in bank.table("events").to_pylist()}
    leaves = sorted((row for row in events.values() if row["leaf"]), key=lambda row: (row["document"], row["start"]))
    defined = {}
    for node in sorted(clusters, key=lambda node: -len(node["path"].split(".")) if node["path"] else 1):
        path = node["path"]
        below = sorted({one for one, _ in defined if one and one.rpartition(".")[0] == path and one != path})
        for tenant in ("one", "two"):
            children = [child for child in below if (child, tenant) in defined]
            if not below:
                examples = [events[one] for one in node["examples"]]
                own = [
                    (leaf["text"].removeprefix("Ada: "), [leaf["id"]])
                    for leaf in leaves
                    if leaf["tenant"] == tenant
                    and any(
                        one["document"] == leaf["document"] and one["start"] <= leaf["start"] < one["end"]
                        for one in examples
                    )
                ]
            else:
                own = [defined[child, tenant][:2] for child in children]
            if len(children) == 1:
                defined[path, tenant] = (*defined[children[0], tenant][:2], children)
            elif own:
                texts = [own[-1], own[0]] if len(own) > 1 else own
                rounds = zip_longest(*(cited for _, cited in texts))
                cited = dict.fromkeys(one for of_round in rounds for one in of_round if one)
                defined[path, tenant] = (" ".join(text[:400] for text, _ in texts), list(cited)[:40], children)
    return defined


def test_each_node_has_the_summary_of_its_children_or_of_its_examples(calm):
    recipe, server = calm
    rows, bank = rows_of(recipe)
    defined = as_defined(bank)
    assert {node: (row["text"], row["events"], row["children"]) for node, row in rows.items()} == defined
    assert {path.count(".") for path, _ in rows} > {0}, "the tree has two levels below the root at least"
    assert rows.keys() == {(row["path"], row["tenant"]) for row in bank.table("node_excerpts").to_pylist()}
    assert {row["prompt"] for row in rows.values()} == {"node/1"} and len({row["id"] for row in rows.values()}) == len(
        rows
    )
    answers = {row["call"]: row for row in bank.table("node_calls", where="kind = 'answer'").to_pylist()}
    for row in rows.values():
        [answer] = [answers[call] for call in row["calls"]]
        assert {*row["events"]} <= shown(answers, answer) and answer["tenant"] == row["tenant"]
    assert set(server.paid.values()) == {1} and len(asked(server)) == len({json.dumps(one) for one in asked(server)})
    assert paid(recipe).calls == sum(server.paid.values()) and paid(recipe).tokens == server.tokens
    assert build(recipe).steps == () and mnemic.plan(recipe, device="cpu").nothing_to_do


def shown(answers, answer):
    """All leaves that an answer was shown, itself or through what it was made of."""
    return {*answer["events"]}.union(*(shown(answers, answers[call]) for call in answer["below"]))


@pytest.mark.parametrize(("concurrent", "at_once", "faults"), BATCHES)
def test_any_batches_and_faults_give_the_same_rows(calm, tmp_path, monkeypatch, concurrent, at_once, faults):
    recipe, _ = calm
    monkeypatch.setattr(node_ascent, "NODES_AT_ONCE", at_once)
    with ScriptedServer(faults=faults) as server:
        other = copied(recipe, server, tmp_path, concurrent=concurrent)
        build({**other, "max_rejects": 1.0})
        assert bool(server.met) == bool(faults)
    rejects = Store(other["bank"])["rejects"].snapshot()
    assert rejects is None or not rejects.count("step = 'node_summaries'"), "take another schedule of faults"
    assert rows_of(other)[1].digest()["node_summaries"] == rows_of(recipe)[1].digest()["node_summaries"]


@pytest.mark.slow
def test_killed_at_every_fault_point_only_what_is_under_way_is_paid_again(nursery, calm, tmp_path):
    recipe, _ = calm
    with ScriptedServer() as server:
        disturbed = copied(recipe, server, tmp_path, concurrent=1)
        assert nursery.build(disturbed, until="node_excerpts")[0] == 0
        before, kills = sum(server.paid.values()), 0
        for point in POINTS:
            for passing in (1, 3):
                kills += nursery.build(disturbed, fault=f"node_summaries:{point}:{passing}")[0] == -9
        assert nursery.build(disturbed)[0] == 0
        calls = sum(server.paid.values()) - before
        nodes = {json.dumps(one) for one in asked(server)}
        assert kills >= 5 and len(nodes) <= calls <= len(nodes) + kills
        assert nursery.build(disturbed)[0] == 0 and sum(server.paid.values()) - before == calls
    assert rows_of(disturbed)[1].digest()["node_summaries"] == rows_of(recipe)[1].digest()["node_summaries"]


def test_a_budget_is_of_all_calls_and_a_plan_tells_what_is_left(calm, tmp_path):
    recipe, calm_server = calm
    packs = sum(calm_server.paid.values()) - len(asked(calm_server))
    with ScriptedServer() as server:
        other = copied(recipe, server, tmp_path, budget={"calls": packs + 2}, concurrent=1)
        with pytest.raises(BudgetReached, match=f"{packs + 2} calls allows no further request; .* nodes are left"):
            build(other)
        assert paid(other).calls == sum(server.paid.values()) == packs + 2
        [step] = [step for step in mnemic.plan(other, device="cpu").steps if step.step == "node_summaries"]
        assert step.kind == "pending" and "paid so far: 2 calls" in step.reasons[0]
        build({**other, "written": {**other["written"], "budget": {}}})
        assert sum(server.paid.values()) == sum(calm_server.paid.values())
    assert rows_of(other)[1].digest()["node_summaries"] == rows_of(recipe)[1].digest()["node_summaries"]


def test_an_invented_summary_is_a_reject_and_the_excerpt_stands_for_it_above(calm, tmp_path, monkeypatch):
    recipe, _ = calm
    monkeypatch.setattr(node_summaries, "ALWAYS_TOLERATED", 0)

    def sometimes(prompt):
        invented = {"text": "Zora Quill bought a castle for 900 dollars.", "n": [prompt["units"][0]["n"]]}
        return invented if any("time" in unit and "red" in unit["text"] for unit in prompt["units"]) else gist(prompt)

    with ScriptedServer() as server:
        other = copied(recipe, server, tmp_path)
        server.summary = sometimes
        with pytest.raises(TooManyRejects, match="summaries of nodes"):
            build({**other, "node_summaries": {"max_rejected": 0.0}})
        build({**other, "node_summaries": {"max_rejected": 1.0}})
        prompts = asked(server)
    rows, bank = rows_of(other)
    assert not any("Zora" in row["text"] for row in rows.values())
    excerpts = {(row["path"], row["tenant"]): row["text"] for row in bank.table("node_excerpts").to_pylist()}
    silent = {node for node in excerpts if node not in rows}
    assert silent and all("red" in excerpts[node] for node in silent)
    above = [node for node in silent if (node[0].rpartition(".")[0], node[1]) in rows]
    texts_of_parts = {unit["text"] for prompt in prompts for unit in prompt["units"] if "time" not in unit}
    assert above and all(excerpts[node] in texts_of_parts for node in above)
    rejects = Store(other["bank"])["rejects"].require().table(["step", "reason", "locator"]).to_pylist()
    mine = [row for row in rejects if row["step"] == "node_summaries"]
    assert mine and all(row["reason"].startswith("A summary of a node is left out: the ") for row in mine)
    for path, tenant in silent:
        [hit] = bank.search("red rooms", words=500, level="node", where=[{"tenant": tenant}, f"path = '{path}'"])
        assert (hit.text, hit.writer) == (excerpts[path, tenant], "") and hit.reason.startswith("excerpt of ")


def test_a_search_gives_nodes_by_their_summaries(calm):
    recipe, _ = calm
    rows, bank = rows_of(recipe)
    plain = {(row["path"], row["tenant"]): row for row in bank.table("node_excerpts").to_pylist()}
    hits = bank.search("Which rooms are green?", words=None, k=50, level="node", where={"tenant": "one"})
    by_id = {row["id"]: node for node, row in plain.items()}
    assert hits and [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    for hit in hits:
        row = rows[by_id[hit.id]]
        assert (hit.text, list(hit.sources), hit.writer, hit.tenant) == (row["text"], row["events"], "scripted", "one")
        parts = [int(part.rpartition("rank ")[2]) for part in hit.reason.split(", ")[1:]]
        assert hit.score == pytest.approx(sum(1 / (20 + rank) for rank in parts))
    assert any("words of its summary" in hit.reason for hit in hits)
    assert 'summary="by scripted"' in hits.text()
    for words in (5, 20, 60):
        assert bank.search("rooms", words=words, level="node").words <= words
    with pytest.raises(QueryError, match="no column session"):
        bank.search("rooms", level="node", where={"session": "s1"})


def test_answers_about_what_is_gone_go_and_a_model_is_asked_anew(tmp_path):
    with ScriptedServer() as server:
        other = recipe_of(tmp_path, server)
        build(other)
        before = sum(server.paid.values())
        settings = {**other, "packs": {"tokens": 64}}
        build(settings)
        nodes = len(asked(server))
        assert sum(server.paid.values()) > before, "packs changed"
        assert mnemic.plan(settings, device="cpu").nothing_to_do
        (tmp_path / "chats" / "two.json").unlink()
        build(settings)
        rows, bank = rows_of(settings)
        assert {tenant for _, tenant in rows} == {"one"}
        answers = bank.table("node_calls", where="kind = 'answer'").to_pylist()
        assert {row["tenant"] for row in answers} == {"one"}, "answers about what is gone are gone"
        assert nodes <= len(asked(server)) and paid(settings).calls == sum(server.paid.values())
        build(settings, anew=["node_summaries"])
        assert rows_of(settings)[0] == rows and len(asked(server)) > nodes


def test_without_a_model_or_excerpts_it_is_refused(tmp_path):
    recipe = written_recipe(tmp_path, "http://127.0.0.1:9/v1", LONG, cluster={}, node_summaries={})
    for missing, sentence in (("written", "add the section `written`"), ("excerpts", "write `excerpts: {}`")):
        with pytest.raises(RecipeError, match=sentence):
            mnemic.plan({name: value for name, value in recipe.items() if name != missing})
    for settings, sentence in (
        ({"tokens": 3}, "64 to 100,000"),
        ({"grounded": 2}, "a share"),
        ({"writer": 1}, "written"),
    ):
        with pytest.raises(RecipeError, match=sentence):
            mnemic.plan({**recipe, "node_summaries": settings})
