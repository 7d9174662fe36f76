"""Edits of a bank of several tenants: each gets what a bank of its documents alone would give it, byte for byte."""

import json
import random
import shutil

import pytest
import torch
from test_rewrites_bank import COLUMNS, OFF, REWRITES, WORDS
from tiny_bank import tiny_recipe

import mnemic
from mnemic import languagemodel
from mnemic.attach.host import Host
from mnemic.errors import ModelError
from pipelines.evaluate.rewrites import edit_report

NAMES = ("anna", "ben")
RELATION = "The key of {} is under the"


def rows_of(tenant):
    """Two facts, of which both tenants tell the first one differently, and the second one alike; then other text."""
    draw = random.Random(tenant)
    targets = (("table", "window")[NAMES.index(tenant)], "river")
    facts = [
        {"subject": f"box {number}", "relation": RELATION, "target": target, "neighbours": [f"chest of {tenant}"]}
        for number, target in enumerate(targets)
    ]
    texts = [" ".join(draw.choices(WORDS, k=40)) + "." for _ in range(5)]
    return [{"text": text, "who": tenant, **fact} for text, fact in zip(texts, [*facts, {}, {}, {}], strict=True)]


def build(root, tenants):
    root.mkdir()
    (root / "told").mkdir()
    for tenant in tenants:
        (root / "told" / f"{tenant}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_of(tenant)))
    recipe = tiny_recipe(root, root / "told", rewrites=REWRITES)
    source = {"kind": "folder", "path": str(root / "told"), "name": "told", "tenant_field": "who", "columns": COLUMNS}
    names = ("name", "bank", "fragment_characters", "language_model", "rewrites")
    recipe = {**{name: recipe[name] for name in names}, "sources": [source], **OFF}
    mnemic.build(recipe, device="cpu")
    return recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return build(tmp_path_factory.mktemp("tenants") / "both", NAMES)


@pytest.fixture
def shared(recipe):
    return mnemic.open_bank(recipe["bank"])


@pytest.fixture(scope="module")
def model(recipe):
    return languagemodel.load(recipe["language_model"], "float32")[0]


def matrices(paths):
    return [(path.layer, path.inward, path.outward) for path in paths]


def assert_equal(some, others):
    assert len(some) == len(others) > 0
    for (layer, *one), (other_layer, *other) in zip(matrices(some), matrices(others), strict=True):
        assert layer == other_layer and all(map(torch.equal, one, other))


def test_facts_that_contradict_each_other_are_of_their_tenants(recipe, shared):
    rows = shared.table("statements").to_pylist()
    assert sorted((row["tenant"], row["subject"], row["target"]) for row in rows) == [
        *(("anna", "box 0", "table"), ("anna", "box 1", "river")),
        *(("ben", "box 0", "window"), ("ben", "box 1", "river")),
    ]
    tenants = {row["id"]: row["tenant"] for row in shared.table("documents", ["id", "tenant"]).to_pylist()}
    for name in ("statements", "key_moments"):
        for row in shared.table(name, ["tenant", "documents"]).to_pylist():
            assert {tenants[one] for one in row["documents"]} == {row["tenant"]}
    for name in ("edits", "probes"):
        for row in shared.table(name, ["documents"]).to_pylist():
            assert len({tenants[one] for one in row["documents"]}) == 1
    assert "rejects" not in shared.release.versions
    assert sorted(row["id"] for row in shared.table("edits", ["id"]).to_pylist()) == ["1/anna", "1/ben"]
    report = edit_report(shared)
    assert report is not None and report.facts == 4 and not report.stale
    assert mnemic.build(recipe, device="cpu").steps == ()


@pytest.mark.filterwarnings("ignore")
def test_a_tenant_gets_what_a_bank_of_its_documents_alone_gives(shared, model, tmp_path):
    tenant = "ben"
    alone = mnemic.open_bank(build(tmp_path / tenant, [tenant])["bank"])
    assert "tenant" not in alone.dataset("statements").schema.names, "a bank of one tenant is as it was"
    mine = shared.memory("edits").where({"tenant": tenant})
    assert_equal(mine.module.paths, alone.memory("edits").module.paths)
    columns = ["subject", "target", "values", "neighbours"]
    own = shared.table("statements", columns, f"tenant = '{tenant}'").sort_by("subject").to_pylist()
    assert own == alone.table("statements", columns).sort_by("subject").to_pylist()
    answers = ["kind", "text", "nats", "nats_none", "kl"]
    order = [("kind", "ascending"), ("text", "ascending")]
    whose = set(alone.table("documents", ["id"])["id"].to_pylist())
    probes = [row for row in shared.table("probes").sort_by(order).to_pylist() if {*row["documents"]} <= whose]
    expected = alone.table("probes", answers).sort_by(order).to_pylist()
    assert [{name: row[name] for name in answers} for row in probes] == expected
    host = Host.of(model)
    assert_equal(mine.solved(host), mine.module.paths)
    chosen, same = (bank.memory("edits") for bank in (shared, alone))
    first = {
        row["subject"]: row["id"]
        for row in shared.table("statements", ["id", "subject", "tenant"]).to_pylist()
        if row["tenant"] == tenant
    }["box 1"]
    other = alone.table("statements", ["id"], "subject = 'box 1'")["id"][0].as_py()
    assert_equal(chosen.of(first).solved(host), same.of(other).solved(host))
    host.close()


@pytest.mark.filterwarnings("ignore")
def test_all_tenants_at_once_are_a_sentence_where_they_contradict_each_other(shared, model):
    with pytest.raises(ModelError, match=r"several tenants give .* Choose a tenant"):
        shared.attach(model, "edits")
    alike = [row["id"] for row in shared.table("statements", ["id"], "subject = 'box 1'").to_pylist()]
    assert len(alike) == 2, "two tenants that say the same have a fact each"
    host = Host.of(model)
    assert [path.rank for path in shared.memory("edits").of(*alike).solved(host)] == [2]
    host.close()


def test_a_tenant_that_goes_leaves_the_others_as_they_were(recipe, shared, tmp_path):
    copy = {**recipe, "bank": str(shutil.copytree(recipe["bank"], tmp_path / "bank"))}
    before = shared.table("edits", where="id = '1/ben'").to_pylist()
    outcome = mnemic.remove(copy["bank"], tenant="anna")
    assert outcome.datasets["statements"] == 2 and outcome.datasets["edits"] == 1
    after = mnemic.open_bank(copy["bank"])
    assert after.table("edits").to_pylist() == before and set(after.table("statements")["tenant"].to_pylist()) == {
        "ben"
    }
    assert after.memory("edits").module.paths, "the solve that is stored is that of the facts that are left"
