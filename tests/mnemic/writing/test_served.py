"""The client of a server: retries, limits, forms, and answers of any size and speed."""

import time

import pytest
from scripted_server import ScriptedServer

from mnemic.errors import ModelError, RecipeError, Unreachable
from mnemic.writing import WritingRequest
from mnemic.writing import served as module
from mnemic.writing.pace import Pace
from mnemic.writing.served import ServedModel

REQUEST = WritingRequest("Write facts.", '{"units":[{"n":0,"text":"The house is red."}]}', {"type": "object"}, 50)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(module, "_BACK_OFF", 0.001)


def test_a_reply_has_its_text_and_its_tokens():
    with ScriptedServer() as server:
        reply = ServedModel(server.address, "scripted").ask(REQUEST)
    assert '"The house is red"' in reply.text
    assert reply.ended == "stop" and reply.counted and reply.prompt_tokens + reply.completion_tokens == server.tokens


@pytest.mark.parametrize("fault", ["429", "500", "dropped", "half"])
def test_what_may_pass_is_tried_eight_times_and_then_told(fault):
    with ScriptedServer(faults={fault: 1.0}) as server:
        with pytest.raises(Unreachable, match="does not answer") as failure:
            ServedModel(server.address, "scripted").ask(REQUEST)
        assert len(server.bodies) == 8
    assert failure.value.exit_code == 12


def test_a_server_that_recovers_answers():
    with ScriptedServer(faults={"429": 0.4, "500": 0.3}) as server:
        model = ServedModel(server.address, "scripted")
        for number in range(6):
            content = REQUEST.content.replace("red", f"red {number}")
            assert model.ask(WritingRequest("s", content, {"type": "object"}, 50)).ended == "stop"
        assert server.met["429"] + server.met["500"] > 0


@pytest.mark.parametrize("slowness", [{"slow": 5.0}, {"faults": {"trickled": 1.0}}], ids=["late", "trickled"])
def test_a_slow_server_is_cut_off_after_the_timeout(slowness):
    with ScriptedServer(**slowness) as server:
        model = ServedModel(server.address, "scripted", timeout=0.2)
        started = time.monotonic()
        with pytest.raises(Unreachable, match=r"no answer in 0\.2 s"):
            model.ask(REQUEST)
        assert time.monotonic() - started < 8 * 0.2 + 3


def test_no_more_is_read_than_the_largest_answer(monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 1000)
    with ScriptedServer(faults={"large": 1.0}) as server:
        reply = ServedModel(server.address, "scripted").ask(REQUEST)
    assert (reply.ended, reply.text, reply.counted) == ("oversized", "", False)
    assert reply.prompt_tokens + reply.completion_tokens == REQUEST.token_bound


def test_nobody_there_is_told_with_a_way_out():
    with pytest.raises(Unreachable, match="Start the server"):
        ServedModel("http://127.0.0.1:9/v1", "scripted").ask(REQUEST)


def test_the_form_is_probed_once():
    with ScriptedServer() as server:
        server.takes = ("json_object",)
        model = ServedModel(server.address, "scripted")
        model.ask(REQUEST)
        model.ask(REQUEST)
        assert [body["response_format"]["type"] for body in server.bodies] == ["json_schema", *["json_object"] * 2]
        server.takes = ()
        with pytest.raises(ModelError, match="status 400"):
            ServedModel(server.address, "scripted").ask(REQUEST)


@pytest.mark.parametrize(
    "address", ["ftp://a/v1", "127.0.0.1:80", "http://", "http://u:p@host/v1", "http://host/v1?key=1", "http://a b/v1"]
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused_unquoted(address):
    with pytest.raises(RecipeError, match="server") as refused:
        ServedModel(address, "m")
    assert "u:p" not in str(refused.value) and "key=1" not in str(refused.value)


def test_a_pace_lets_through_what_a_minute_may_have():
    now = [0.0]
    pace = Pace(requests=2, tokens=1000, clock=lambda: now[0])
    assert pace.delay(400) == 0.0 and pace.delay(400) == 0.0
    assert pace.delay(100) == pytest.approx(30.0)
    now[0] = 30.0
    assert pace.delay(700) == 0.0
    assert pace.delay(900) > 0
    now[0] = 90.0
    assert pace.delay(5000) == 0.0, "more than a minute has goes through with a full bucket"
    assert Pace(0, 0).delay(10**9) == 0.0
