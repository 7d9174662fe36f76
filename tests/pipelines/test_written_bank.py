"""A bank with notes that a language model wrote: what is asked, what is paid, and what stands at the end."""

import json
import shutil
from datetime import date
from pathlib import Path

import pytest
from scripted_server import ScriptedServer, fact, first_words
from written_bank import STORY, homes, written_recipe

import mnemic
from mnemic.dataset import Store
from mnemic.errors import BudgetReached, ModelError, RecipeError, TooManyRejects
from mnemic.notes.ledger import ledger
from pipelines.faults import POINTS

FAULTS = {"429": 0.15, "500": 0.1, "dropped": 0.05, "half": 0.05, "not json": 0.1, "cut": 0.1, "schema": 0.05}
LONG = {
    f"2023-{month:02d}-01T09:00:00Z": [f"Room {month}{number} of the house is {colour}." for number in range(8)]
    for month, colour in enumerate(("red", "blue", "green", "white", "black", "grey"), 1)
}


def build(recipe, **options):
    return mnemic.build(recipe, device="cpu", engine="inline", **options)


def paid(recipe):
    return ledger(Store(recipe["bank"])["calls"].snapshot())


def facts_of(recipe):
    bank = mnemic.open_bank(recipe["bank"])
    return sorted((note.tenant, note.text, note.subject) for note in bank.notes(closed=True)), bank.digest()


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """(recipe, server) of a bank that nothing disturbed."""
    with ScriptedServer() as server:
        recipe = written_recipe(tmp_path_factory.mktemp("calm"), server.address, LONG)
        build(recipe)
        yield recipe, server


def copied(recipe, server, place: Path, **written):
    """The recipe of an empty bank over the same texts and another server."""
    return {
        **recipe,
        "bank": str(place / "bank"),
        "written": {**recipe["written"], "server": server.address, **written},
    }


def test_every_unit_has_its_note_and_nothing_is_asked_twice(calm):
    recipe, server = calm
    notes, _ = facts_of(recipe)
    assert len(notes) == 2 * 6 * 8
    assert ("one", "Room 10 of the house is", "Ada") in notes
    assert set(server.paid.values()) == {1}, "two tenants said the same, which was asked once"
    assert build(recipe).steps == ()
    assert mnemic.plan(recipe, device="cpu").nothing_to_do


def test_what_is_sent_is_source_text_in_json_and_a_constant_system_text(calm):
    _, server = calm
    assert len({body["messages"][0]["content"] for body in server.bodies}) == 1
    prompts = [json.loads(body["messages"][1]["content"]) for body in server.bodies]
    assert all(prompt.keys() <= {"units", "context"} for prompt in prompts)
    assert {unit["speaker"] for prompt in prompts for unit in prompt["units"]} == {"Ada"}
    first = next(unit for prompt in prompts for unit in prompt["units"] if unit["text"].startswith("Room 10"))
    assert first == {"n": 0, "speaker": "Ada", "time": "2023-01-01T09:00Z", "text": "Room 10 of the house is red."}
    assert all("Authorization" not in headers for headers in server.headers)


def test_the_ledger_is_what_the_server_counted(calm):
    recipe, server = calm
    total = paid(recipe)
    assert total.calls == sum(server.paid.values()) and total.tokens == server.tokens and total.uncounted == 0


def test_faults_change_neither_notes_nor_digest(calm, tmp_path):
    recipe, _ = calm
    with ScriptedServer(faults=FAULTS) as server:
        disturbed = copied(recipe, server, tmp_path, concurrent=3, max_tokens=400)
        build({**disturbed, "max_rejects": 1.0})
        answered = set(server.met)
        assert {"429", "cut", "not json"} <= answered
        assert server.most_at_once <= 3
        total = paid(disturbed)
        assert total.calls == sum(server.paid.values()) - server.met["half"]
        again = sum(server.paid.values())
        build({**disturbed, "max_rejects": 1.0})
        assert sum(server.paid.values()) == again
    notes, digest = facts_of(disturbed)
    rejects = Store(disturbed["bank"])["rejects"].require().count("step = 'calls'")
    whole, calm_digest = facts_of(recipe)
    assert set(notes) <= set(whole)
    if rejects == 0:
        assert notes == whole and digest["packs"] == calm_digest["packs"]


@pytest.mark.parametrize("concurrent", [7, *(pytest.param(count, marks=pytest.mark.slow) for count in (1, 2))])
def test_any_number_of_requests_at_once_gives_the_same_bank(calm, tmp_path, concurrent):
    recipe, _ = calm
    with ScriptedServer() as server:
        other = copied(recipe, server, tmp_path, concurrent=concurrent)
        build(other)
    assert facts_of(other) == facts_of(recipe)


@pytest.mark.parametrize("passings", [(1,), pytest.param((1, 2), marks=pytest.mark.slow)])
def test_killed_at_every_fault_point_only_what_is_under_way_is_paid_again(nursery, calm, tmp_path, passings):
    recipe, _ = calm
    with ScriptedServer() as server:
        disturbed = copied(recipe, server, tmp_path, concurrent=1)
        assert nursery.build(disturbed, until="packs")[0] == 0
        kills = 0
        for point in POINTS:
            for passing in passings:
                fault = f"calls:{point}:{passing}"
                code, _ = nursery.build(disturbed, fault=fault)
                kills += code == -9
        for point in POINTS:
            nursery.build(disturbed, fault=f"notes:{point}")
        assert nursery.build(disturbed)[0] == 0
        calls = sum(server.paid.values())
        assert kills >= 3 * len(passings)
        assert len(server.paid) < calls <= len(server.paid) + kills
        before = calls
        assert nursery.build(disturbed)[0] == 0
        assert sum(server.paid.values()) == before
    assert facts_of(disturbed) == facts_of(recipe)
    total = paid(disturbed)
    assert len(server.paid) == total.calls, "what a kill took is in no row"


def test_a_budget_is_never_exceeded_and_the_next_build_carries_on(calm, tmp_path):
    recipe, _ = calm
    with ScriptedServer() as server:
        other = copied(recipe, server, tmp_path, budget={"calls": 4}, concurrent=3)
        with pytest.raises(BudgetReached, match="4 calls allows no further request") as reached:
            build(other)
        assert reached.value.exit_code == 13
        assert sum(server.paid.values()) == paid(other).calls == 4
        with pytest.raises(BudgetReached):
            build(other)
        assert sum(server.paid.values()) == 4
        tokens = {**other, "written": {**other["written"], "budget": {"tokens": paid(other).tokens + 3000}}}
        with pytest.raises(BudgetReached, match="tokens"):
            build(tokens)
        assert paid(other).tokens <= tokens["written"]["budget"]["tokens"]
        price = {"prompt": 1.0, "answer": 2.0}
        build({**other, "written": {**other["written"], "budget": {"money": 1.0}, "price": price}})
        assert set(server.paid.values()) == {1}
        assert 0 < paid(other).money < 1
    assert facts_of(other) == facts_of(recipe)


def test_a_plan_estimates_what_is_left(calm, tmp_path):
    recipe, _ = calm
    with ScriptedServer() as server:
        other = copied(recipe, server, tmp_path, price={"prompt": 1000.0, "answer": 1000.0})
        build(other, until="packs")
        step = next(step for step in mnemic.plan(other, device="cpu").steps if step.step == "calls")
        assert not server.bodies
    packs = Store(other["bank"])["packs"].require().count()
    assert (step.kind, step.todo, step.total, step.unit) == ("new", packs, packs, "packs")
    assert f"about {packs} requests" in step.reasons[0] and "in money" in step.reasons[0]


def test_an_answer_of_the_same_content_is_good_in_later_recipes_too(calm, tmp_path):
    """Another size of packs and back again: nothing that was paid is asked again."""
    recipe, _ = calm
    with ScriptedServer() as server:
        other = copied(recipe, server, tmp_path)
        build(other)
        first = sum(server.paid.values())
        build({**other, "packs": {"tokens": 120}})
        calls = sum(server.paid.values())
        assert calls > first
        build(other)
        assert sum(server.paid.values()) == calls
    assert facts_of(other) == facts_of(recipe)


STRANGE = {
    "no json": lambda prompt: "facts are below",
    "cites nobody": lambda prompt: {"facts": [fact("Room 10 is red", [77], "Ada")]},
    "a key too many": lambda prompt: {"facts": [], "run": "os.system('touch /tmp/owned')"},
    "deep": lambda prompt: {"facts": [[[[[[[[[[[[[]]]]]]]]]]]]]},
}


@pytest.mark.parametrize("name", STRANGE)
def test_an_answer_that_will_not_do_is_asked_once_more_and_then_a_reject(tmp_path, name):
    story = {"2023-01-01T09:00:00Z": ["Room 10 of the house is red."]}
    with ScriptedServer(STRANGE[name]) as server:
        recipe = written_recipe(tmp_path, server.address, story, tenants=("one",))
        build(recipe, until="notes")
        assert sum(server.paid.values()) == 2 and len(server.paid) == 2
        assert "problem_of_your_last_answer" in server.bodies[1]["messages"][1]["content"]
        assert build(recipe, until="notes").steps == () and sum(server.paid.values()) == 2
    (reject,) = Store(recipe["bank"])["rejects"].require().table(["reason", "locator"], "step = 'calls'").to_pylist()
    assert reject["reason"].startswith("The language model gave no usable answer: ")
    assert Store(recipe["bank"])["notes"].require().count() == 0


def test_an_answer_of_ten_megabytes_is_cut_off_and_code_is_text(tmp_path):
    story = {"2023-01-01T09:00:00Z": ["Room 10 of the house is red."]}
    for fault in ("large", "code", "no protocol"):
        with ScriptedServer(faults={fault: 1.0}) as server:
            recipe = written_recipe(tmp_path, server.address, story, tenants=("one",))
            shutil.rmtree(recipe["bank"], ignore_errors=True)
            build(recipe, until="calls")
            stored = Store(recipe["bank"])["calls"].require().table(["answer", "verdict"], "kind = 'answer'")
            assert set(stored["verdict"].to_pylist()) == {"bad"}
            assert max(map(len, stored["answer"].to_pylist())) <= 1 << 16
    assert not Path("/tmp/owned").exists()


def test_invented_facts_are_rejects_with_their_reasons(tmp_path):
    story = {"2023-01-01T09:00:00Z": ["I have a red house near Lyon since 2019."]}
    wrong = [
        fact("Ada has a red house near Madrid", [0], "Ada"),
        fact("Ada has 3 red houses near Lyon", [0], "Ada"),
        fact('Ada says "a blue house" near Lyon', [0], "Ada"),
        fact("Ada has a red house near Lyon", [0, 9], "Ada"),
        fact("Ada has a red house near Lyon", [0], "Bob"),
        fact("Ada has a red house near Lyon", [0], "Ada", "home", "Berlin"),
        fact("Ada has a red house near Lyon", [0], "Ada", when="soon"),
        fact("Ada has a red house near Lyon", [0], "Ada", when="1999"),
        fact("gardening delights elderly sailors whenever possible", [0], "Ada"),
    ]
    right = fact("Ada has a red house near Lyon", [0], "Ada", "house", "red", "2019")
    with ScriptedServer(lambda prompt: {"facts": [*wrong, right]}) as server:
        recipe = written_recipe(tmp_path, server.address, story, tenants=("one",))
        build({**recipe, "notes": {"max_rejected": 1.0}})
        (note,) = mnemic.open_bank(recipe["bank"]).notes()
        assert (note.text, note.value, note.start.year, note.precision) == (right["text"], "red", 2019, "year")
        reasons = Store(recipe["bank"])["rejects"].require().table(["reason"], "step = 'notes'")["reason"].to_pylist()
        expected = ("Madrid", "number 3", "quotation", "unit 9", "Bob", "Berlin", "soon", "1999", "long words")
        assert len(reasons) == len(wrong)
        assert all(any(word in reason for reason in reasons) for word in expected)
        shutil.rmtree(recipe["bank"])
        many = [{**one, "text": f"{one['text']} {number}"} for one in wrong for number in range(2)]
        server.script = lambda prompt: {"facts": many}
        with pytest.raises(TooManyRejects, match="max_rejected"):
            build(recipe)


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """A bank of somebody who moves twice, told in three sessions."""
    with ScriptedServer(homes) as server:
        recipe = written_recipe(tmp_path_factory.mktemp("moved"), server.address, STORY)
        build(recipe)
    return recipe


def test_a_later_home_closes_an_earlier_one_and_both_stay_readable(moved):
    bank = mnemic.open_bank(moved["bank"])
    assert [note.value for note in bank.notes("ada", "home", tenant="one")] == ["Oslo"]
    history = bank.notes("Ada", "home", tenant="one", closed=True)
    assert [(note.value, note.state) for note in history] == [
        ("Paris", "closed"),
        ("Rome", "closed"),
        ("Oslo", "current"),
    ]
    assert history[0].closed_by == history[1].id and history[0].stop == history[1].start
    for day, home in ((date(2023, 6, 1), "Paris"), (date(2023, 12, 24), "Rome"), (date(2030, 1, 1), "Oslo")):
        assert [note.value for note in bank.notes("Ada", "home", tenant="one", as_of=day)] == [home]
    assert bank.notes("Ada", "home", tenant="one", as_of=date(2020, 1, 1)) == []


def test_a_removed_session_reopens_what_it_had_closed_and_leaves_no_text(tmp_path):
    with ScriptedServer(homes) as server:
        recipe = written_recipe(tmp_path, server.address, STORY, tenants=("one",))
        build(recipe)
        before, cost = mnemic.open_bank(recipe["bank"]), paid(recipe)
        release = before.release.name
        written_recipe(tmp_path, server.address, dict(list(STORY.items())[:2]), tenants=("one",))
        build(recipe)
        calls = sum(server.paid.values())
    bank = mnemic.open_bank(recipe["bank"])
    (home,) = bank.notes("Ada", "home")
    assert (home.value, home.state, home.stop) == ("Rome", "current", None)
    assert calls == 3 == paid(recipe).calls and paid(recipe) == cost, "what was paid stays in the ledger"
    rows = bank.table("calls", ["answer", "document", "kind"]).to_pylist()
    assert not any("Oslo" in row["answer"] for row in rows)
    earlier = mnemic.open_bank(recipe["bank"], release)
    assert [note.value for note in earlier.notes("Ada", "home")] == ["Oslo"], "an earlier release knows what it knew"


def test_a_session_that_arrives_late_takes_its_place_in_the_middle(moved, tmp_path):
    with ScriptedServer(homes) as server:
        first, _, last = STORY.items()
        recipe = written_recipe(tmp_path, server.address, dict([first, last]))
        build(recipe)
        written_recipe(tmp_path, server.address, STORY)
        build(recipe)
        assert sum(server.paid.values()) == 3
    late, whole = mnemic.open_bank(recipe["bank"]), mnemic.open_bank(moved["bank"])
    assert [note.value for note in late.notes(closed=True)] == [note.value for note in whole.notes(closed=True)]


def test_a_server_that_refuses_ends_the_build_without_telling_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv("SCRIPTED_KEY", "sk-very-secret-123456")
    with ScriptedServer(faults={"refused": 1.0}) as server:
        recipe = written_recipe(tmp_path, server.address, STORY)
        recipe["written"]["key_variable"] = "SCRIPTED_KEY"
        with pytest.raises(ModelError, match="status 401") as refused:
            build(recipe)
        assert server.headers[0]["Authorization"] == "Bearer sk-very-secret-123456"
    assert "very-secret" not in str(refused.value) and "key_variable" in str(refused.value)
    files = [file for file in Path(recipe["bank"]).rglob("*") if file.is_file()]
    assert files and not any(b"very-secret" in file.read_bytes() for file in files)
    monkeypatch.delenv("SCRIPTED_KEY")
    with pytest.raises(RecipeError, match="SCRIPTED_KEY, which is not set"):
        build(recipe)


def test_a_server_without_schemas_is_asked_in_plainer_forms(tmp_path):
    with ScriptedServer(first_words) as server:
        server.takes = (None,)
        recipe = written_recipe(tmp_path, server.address, STORY, tenants=("one",))
        build(recipe)
        forms = [body.get("response_format", {}).get("type") for body in server.bodies]
    assert forms[:3].count("json_schema") >= 1 and forms[-1] is None
    assert "Answer with JSON of this schema" in server.bodies[-1]["messages"][0]["content"]
    assert len(mnemic.open_bank(recipe["bank"]).notes()) == 6


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "needs one language model"),
        ({"server": "http://a/v1", "name": "m", "model": "x"}, "needs one language model"),
        ({"server": "http://a/v1"}, "add `name`"),
        ({"server": "http://a/v1", "name": "m", "key_variable": "sk-123 456"}, "no name of an environment variable"),
        ({"server": "http://a/v1", "name": "m", "budget": {"cents": 5}}, "has no 'cents'"),
        ({"server": "http://a/v1", "name": "m", "budget": {"money": 5}}, "`price` names none"),
        ({"server": "http://a/v1", "name": "m", "concurrent": 0}, "1 to 256"),
    ],
)
def test_wrong_settings_are_refused_in_a_sentence(tmp_path, settings, sentence):
    recipe = {**written_recipe(tmp_path, "http://a/v1", STORY), "written": settings}
    with pytest.raises(RecipeError, match=sentence) as refused:
        mnemic.plan(recipe)
    assert "sk-123" not in str(refused.value)


def test_excerpts_of_nodes_hold_one_tenant_each_and_follow_their_events(tmp_path):
    tree = {"min_leaf": 4, "branching": 2}
    recipe = written_recipe(tmp_path, "http://127.0.0.1:9/v1", LONG, cluster=tree)
    recipe = {name: value for name, value in recipe.items() if name not in ("packs", "written")}
    build(recipe)
    bank = mnemic.open_bank(recipe["bank"])
    rows, leaves = bank.table("node_excerpts").to_pylist(), events_of(bank)
    assert {row["path"] for row in rows} == {*bank.table("clusters", ["path"])["path"].to_pylist()}
    for row in rows:
        assert {leaves[event]["tenant"] for event in row["events"]} == {row["tenant"]}
        assert row["text"] == "\n".join(leaves[event]["text"] for event in row["events"])
    assert mnemic.plan(recipe, device="cpu").nothing_to_do
    (tmp_path / "chats" / "two.json").unlink()
    build(recipe)
    after = mnemic.open_bank(recipe["bank"])
    assert {row["tenant"] for row in after.table("node_excerpts").to_pylist()} <= {"one"}
    assert {row["tenant"] for row in after.table("excerpts").to_pylist()} == {"one"}


def events_of(bank):
    rows = bank.table("events", ["id", "tenant", "text"], "leaf").to_pylist()
    return {row["id"]: row for row in rows}
