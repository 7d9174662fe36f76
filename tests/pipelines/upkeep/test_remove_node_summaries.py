"""A canary in what a language model wrote of the nodes of the tree, whose texts are made of one another."""

import pytest
from scripted_server import ScriptedServer
from test_remove_written import CANARY, SECOND, facts, files_with, holding, recipe_of, strings, triples

import mnemic

HELD = {"node_calls", "node_summaries", "rejects"}


def gossip(prompt):
    """All units in one; of turns of the canary something that they do not say, which is a reject."""
    texts = [unit["text"] for unit in prompt["units"]]
    gathered = " ".join(text[:300] for text in texts)
    if "Hill" in gathered and "time" in prompt["units"][0] and len(texts) % 2:
        gathered = f"{CANARY} Castle costs 900 dollars."
    return {"text": gathered[:1100], "n": [unit["n"] for unit in prompt["units"]][:40]}


@pytest.fixture
def built(tmp_path):
    with ScriptedServer(facts) as server:
        server.relations, server.summary = triples, gossip
        recipe = {**recipe_of(tmp_path, server), "node_summaries": {"max_rejected": 1.0}}
        mnemic.build(recipe, device="cpu", engine="inline")
        yield recipe, server


def answers_of(bank):
    return {row["call"]: row for row in bank.table("node_calls", where="kind = 'answer'").to_pylist()}


@pytest.mark.parametrize("erase", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_was_made_of_a_removed_session_goes_at_every_level(built, erase):
    recipe, server = built
    before = mnemic.open_bank(recipe["bank"])
    assert holding(before) >= HELD
    with_it = {call for call, row in answers_of(before).items() if any(CANARY in one for one in strings(row))}
    others = {call: row for call, row in answers_of(before).items() if not made_of(answers_of(before), call) & with_it}
    paid = sum(server.paid.values())
    outcome = mnemic.remove(recipe["bank"], SECOND, erase=erase)
    assert outcome.datasets["node_calls"] >= len(with_it) > 1, "of a node, and of those above it"
    after = mnemic.open_bank(recipe["bank"])
    assert holding(after) == set()
    left = answers_of(after)
    assert all(call in others for call in left) and not any(set(row["below"]) - left.keys() for row in left.values())
    assert {row["tenant"] for row in others.values()} >= {"two"} and {**left}.items() >= of_two(others).items()
    assert all(set(row["calls"]) <= left.keys() for row in after.table("node_summaries").to_pylist())
    mnemic.build(recipe, device="cpu", engine="inline")
    assert mnemic.plan(recipe, device="cpu").nothing_to_do
    again = mnemic.open_bank(recipe["bank"])
    assert holding(again) == set() and sum(server.paid.values()) > paid, "a model was asked with what is left"
    nodes = {(row["path"], row["tenant"]) for row in again.table("node_excerpts").to_pylist()}
    assert {(row["path"], row["tenant"]) for row in again.table("node_summaries").to_pylist()} == nodes
    if erase:
        assert outcome.proof.after == 0 and files_with(recipe["bank"]) == set()


def made_of(answers, call):
    return {call}.union(*(made_of(answers, one) for one in answers[call]["below"]))


def of_two(answers):
    return {call: row for call, row in answers.items() if row["tenant"] == "two"}
