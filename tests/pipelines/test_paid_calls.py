"""A build is interrupted, or its server goes: what was paid is kept once, and nothing is asked twice."""

import pytest
from scripted_server import ScriptedServer
from test_written_bank import LONG, build, paid
from written_bank import written_recipe

import mnemic
from mnemic.errors import Unreachable
from mnemic.writing import served
from pipelines.steps import asking


@pytest.fixture
def recipe(tmp_path):
    def of(server, **written):
        fields = written_recipe(tmp_path, server.address, LONG, tenants=("one",))
        return {**fields, "written": {**fields["written"], **written}}

    return of


def test_an_interruption_keeps_what_is_under_way(recipe):
    """The sink of `mnemic build` raises where Ctrl-C was pressed."""
    with ScriptedServer(slow=0.05) as server:
        fields = recipe(server, concurrent=4)

        def interrupt(event):
            if event.step == "calls" and event.kind == "progress":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            build(fields, sinks=[interrupt])
        calls = sum(server.paid.values())
        assert 0 < calls == paid(fields).calls < len(LONG) * 2, "all that was asked is in a row"
        build(fields)
        assert set(server.paid.values()) == {1}
    assert len(mnemic.open_bank(fields["bank"]).notes()) == 6 * 8


def test_an_interruption_just_after_a_commit_writes_no_row_twice(recipe, monkeypatch):
    """A signal may come anywhere, also between a commit and the line after it."""
    append, interrupted = asking.append_rows, []

    def land(*arguments):
        append(*arguments)
        if not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt

    with ScriptedServer() as server:
        fields = recipe(server, concurrent=2)
        monkeypatch.setattr(asking, "append_rows", land)
        with pytest.raises(KeyboardInterrupt):
            build(fields)
        assert paid(fields).calls == sum(server.paid.values()) > 0
        build(fields)
        assert set(server.paid.values()) == {1} and paid(fields).calls == len(server.paid)


def test_an_interruption_while_a_reply_is_read_loses_no_answer(recipe, monkeypatch):
    judge, interrupted = asking.judge, []

    def interrupt(*arguments):
        if not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt
        return judge(*arguments)

    with ScriptedServer() as server:
        fields = recipe(server, concurrent=2)
        monkeypatch.setattr(asking, "judge", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build(fields)
        assert paid(fields).calls == sum(server.paid.values()) > 0
        build(fields)
        assert set(server.paid.values()) == {1}


def test_a_server_that_goes_ends_the_build_and_the_next_one_carries_on(recipe, monkeypatch):
    monkeypatch.setattr(served, "_BACK_OFF", 0.001)
    with ScriptedServer() as server:
        fields = recipe(server, concurrent=2)
        answer = server.script

        def goes(prompt):
            if sum(server.paid.values()) >= 4:
                server.faults["dropped"] = 1.0
            return answer(prompt)

        server.script = goes
        with pytest.raises(Unreachable, match="does not answer") as failure:
            build(fields)
        assert failure.value.exit_code == 12
        calls = sum(server.paid.values())
        assert 4 <= calls == paid(fields).calls
        server.faults.clear()
        server.script = answer
        build(fields)
        assert set(server.paid.values()) == {1}
    assert len(mnemic.open_bank(fields["bank"]).notes()) == 6 * 8


def test_prices_and_limits_may_change_between_builds_without_a_call(recipe):
    with ScriptedServer() as server:
        fields = recipe(server)
        build(fields)
        calls = len(server.bodies)
        other = {"price": {"prompt": 2.0}, "budget": {"calls": 1}, "concurrent": 9, "timeout": 5.0, "form": "plain"}
        build({**fields, "written": {**fields["written"], **other}})
        assert len(server.bodies) == calls
        build({**fields, "written": {**fields["written"], "revision": "2"}})
        assert len(server.bodies) == 2 * calls, "another model is asked anew"
        build(fields)
        assert len(server.bodies) == 2 * calls
