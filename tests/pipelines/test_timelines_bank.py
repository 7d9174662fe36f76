"""Timelines of a bank: the order of the times that are meant, inside tenants, from Python and from the shell."""

import json
import random
from datetime import date, datetime

import pytest
from tiny_encoder import save_tiny_encoder

import mnemic
from mnemic.command import main
from mnemic.errors import QueryError

TURNS = {
    "2023-05-08T09:00:00Z": ["I moved to Rome in August 2021.", "Rex came yesterday.", "It is warm here."],
    "2023-06-13T09:00:00Z": ["We go to Oslo next month with Rex.", "In 2016 I was a sailor."],
    "2022-01-02T09:00:00Z": ["Rex slept today."],
}
MEANT = ["In 2016 I was", "I moved to Rome", "Rex slept", "Rex came", "We go to Oslo"]
"""The order of what is meant in `TURNS`."""


def timeline_recipe(root, order=None, tenants=("north", "south"), **changes):
    chats = root / "chats"
    chats.mkdir()
    for tenant in tenants:
        sessions = [
            {"id": f"s{number}", "time": time, "turns": [{"speaker": "Ada", "text": text} for text in TURNS[time]]}
            for number, time in enumerate(order or TURNS)
        ]
        (chats / f"{tenant}.json").write_text(json.dumps({"id": tenant, "sessions": sessions}))
    return {
        "name": "timelines",
        "bank": str(root / "bank"),
        "sources": [{"kind": "conversations", "path": str(chats)}],
        "embed": {"model": str(save_tiny_encoder(root / "encoder")), "dtype": "float32"},
        "segment": {"mean_units": 2},
        "cluster": False,
        "timelines": {},
        **changes,
    }


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    complete = timeline_recipe(tmp_path_factory.mktemp("timelines"))
    mnemic.build(complete, device="cpu", engine="inline")
    return complete


@pytest.fixture(scope="module")
def bank(recipe):
    return mnemic.open_bank(recipe["bank"])


def told(steps):
    return [step.text.removeprefix("Ada: ") for step in steps]


def test_events_stand_in_the_order_of_what_they_mean(bank):
    steps = bank.timeline(tenant="north", meant=True)
    assert all(text.startswith(start) for text, start in zip(told(steps), MEANT, strict=True))
    assert [step.words for step in steps] == ["2016", "August 2021", "2 January 2022", "7 May 2023", "July 2023"]
    assert {step.tenant for step in steps} == {"north"}
    assert all(step.text[step.start : step.end] for step in steps)
    every = bank.timeline(tenant="north")
    assert [step for step in every if step.kind == "meant"] == steps
    assert [(step.first, step.stop) for step in every] == sorted((step.first, step.stop) for step in every)
    assert "It is warm here." in told(every) and len(every) == len(steps) + 1
    assert len(bank.timeline()) == 2 * len(every)


def test_a_timeline_of_a_name_a_span_and_a_number(bank):
    rex = told(bank.timeline("REX", tenant="north"))
    assert [text[:5] for text in rex] == ["Rex s", "Rex c", "We go"]
    assert told(bank.timeline("Rome", tenant="south"))[0].startswith("I moved to Rome")
    assert len(bank.timeline("ada", tenant="north")) == 6, "who speaks is a name of the event"
    inside = bank.timeline(tenant="north", after=date(2021, 8, 31), before="2022-01-03", meant=True)
    assert [text[:5] for text in told(inside)] == ["I mov", "Rex s"]
    assert [text[:5] for text in told(bank.timeline(tenant="north", after=datetime(2021, 9, 1), k=1))] == ["Rex s"]
    assert bank.timeline("of") == bank.timeline("Nobody") == bank.timeline(tenant="nobody") == []
    for wrong in ({"k": 0}, {"after": "soon"}):
        with pytest.raises(QueryError):
            bank.timeline(**wrong)


def test_any_order_of_arrival_gives_the_same_rows_and_builds_twice_nothing(bank, recipe, tmp_path):
    assert mnemic.plan(recipe, device="cpu").nothing_to_do
    times = list(TURNS)
    random.Random(3).shuffle(times)
    late = timeline_recipe(tmp_path, times, fragment_characters=60)
    for file in (tmp_path / "chats").iterdir():
        whole = json.loads(file.read_text())
        names = {time: f"s{number}" for number, time in enumerate(TURNS)}
        for session in whole["sessions"]:
            session["id"] = names[session["time"]]
        file.write_text(json.dumps(whole))
    mnemic.build(late, device="cpu", engine="inline")
    other = mnemic.open_bank(late["bank"])
    columns = ("words", "text", "names", "kind", "first", "stop", "tenant")
    assert [[getattr(step, name) for name in columns] for step in other.timeline(tenant="north")] == [
        [getattr(step, name) for name in columns] for step in bank.timeline(tenant="north")
    ]


def test_a_bank_without_the_section_is_as_it_was_and_says_so(bank, recipe, tmp_path):
    plain = {name: value for name, value in recipe.items() if name != "timelines"} | {"bank": str(tmp_path / "bank")}
    mnemic.build(plain, device="cpu", engine="inline")
    bare = mnemic.open_bank(plain["bank"])
    assert {name: one for name, one in bank.digest().items() if name not in ("bank", "timelines")} == {
        name: one for name, one in bare.digest().items() if name != "bank"
    }
    with pytest.raises(QueryError, match="Add the section `timelines`"):
        bare.timeline()


def test_the_command_tells_the_same(bank, recipe, capsys):
    assert main(["timeline", recipe["bank"], "Rex", "--tenant", "north", "--meant"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2 January 2022") and "Rex slept" in lines[0] and "3 steps of 'Rex'" in lines[-1]
    assert main(["timeline", recipe["bank"], "--after", "2023-05-01", "-k", "2", "--json"]) == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert [step["event"] for step in steps] == [step.event for step in bank.timeline(after="2023-05-01", k=2)]
    assert main(["timeline", recipe["bank"], "--before", "soon"]) == QueryError.exit_code
