"""What is remembered through a server: found by the next search of its tenant, and by nobody else."""

import shutil
import time
from pathlib import Path

import pytest
from served_bank import TOKENS, served, write_tokens

import mnemic
from mnemic.errors import BankError, InboxFull
from mnemic.inbox import inbox
from mnemic.serve import actions
from mnemic.serve.access import Access
from mnemic.serve.actions import Actions, ActionState
from mnemic.serve.current import CurrentBank
from mnemic.serve.refusals import Refused, refusal_of

NORTH, SOUTH = Access("north"), Access("south")
WALRUS = "A walrus plays the zither in the orangery."


@pytest.fixture
def bank(two_tenants, tmp_path):
    return str(shutil.copytree(two_tenants, tmp_path / "bank"))


@pytest.fixture
def remembering(bank):
    return Actions(CurrentBank(bank), ActionState())


def texts(remembering, access, query="who plays the zither"):
    hits = remembering.run("search", access, {"query": query, "words": 20}).data["hits"]
    return [(hit["text"], hit["pending"]) for hit in hits]


def test_the_next_search_of_the_tenant_finds_it(remembering, bank):
    ids = remembering.run("remember", NORTH, {"text": WALRUS, "key": "zoo"}).data["ids"]
    assert (WALRUS, True) in texts(remembering, NORTH)
    assert all("walrus" not in text for text, _ in texts(remembering, SOUTH))
    assert remembering.run("remember", NORTH, {"text": WALRUS, "key": "zoo"}).data["ids"] == ids
    assert remembering.run("remember", SOUTH, {"text": "Another.", "key": "zoo"}).data["ids"] != ids, (
        "keys are of tenants"
    )
    why = remembering.run("why", NORTH, {"id": ids[0]})
    assert (
        why.data["kind"] == "remembered"
        and why.data["remembered"]["text"] == WALRUS
        and why.data["remembered"]["pending"]
    )
    for beginning in (ids[0], ids[0][:24], ids[0][:8]):
        with pytest.raises(mnemic.MnemicError, match="No document or event of yours"):
            remembering.run("why", SOUTH, {"id": beginning})
    assert [call.tenant for call in mnemic.open_bank(bank).inbox()] == ["north", "south"]


def test_turns_keep_their_speakers_and_times(remembering, bank):
    turns = [{"text": "Who plays?", "speaker": "Ada"}, {"text": WALRUS, "time": "2026-03-02T09:30"}]
    ids = remembering.run("remember", SOUTH, {"turns": turns, "speaker": "Ben"}).data["ids"]
    (call,) = mnemic.open_bank(bank).inbox("south")
    assert [row.id for row in call.rows] == ids and [row.speaker for row in call.rows] == ["Ada", "Ben"]
    assert f"{call.rows[1].time:%Y-%m-%d %H:%M}" == "2026-03-02 09:30"


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"text": ""},
        {"text": " \u200b "},
        {"text": "a\x00b"},
        {"text": "a", "turns": []},
        {"turns": [{"speaker": "Ada"}]},
        {"turns": [{"text": "a", "tenant": "south"}]},
        {"text": "a", "tenant": "south"},
        {"text": "a", "time": "yesterday"},
        {"text": "a", "key": "k" * 500},
        {"turns": [{"text": "a"}] * 2_000},
        {"text": "x" * 200_000},
    ],
)
def test_what_cannot_be_remembered_is_refused_and_nothing_stays(remembering, bank, values):
    with pytest.raises(mnemic.MnemicError):
        remembering.run("remember", NORTH, values)
    assert mnemic.open_bank(bank).inbox() == []


def test_nobody_fills_the_inbox_of_all(remembering, monkeypatch):
    monkeypatch.setattr(actions, "A_MINUTE", 3)
    for number in range(3):
        remembering.run("remember", NORTH, {"text": f"number {number}"})
    with pytest.raises(Refused, match="3 calls a minute") as refused:
        remembering.run("remember", NORTH, {"text": "one more"})
    assert refused.value.status == 429
    remembering.run("remember", SOUTH, {"text": "of another"})


def test_whoever_may_try_again_is_told_when(remembering, bank, monkeypatch):
    monkeypatch.setattr(inbox, "PENDING_CALLS", 0)
    with pytest.raises(InboxFull) as full:
        remembering.run("remember", NORTH, {"text": WALRUS})
    assert (refusal_of(full.value).status, refusal_of(full.value).retry) == (429, 60)
    Path(bank, "inbox").write_text("a file")
    with pytest.raises(BankError, match="no folder") as broken:
        remembering.run("remember", NORTH, {"text": WALRUS})
    assert refusal_of(broken.value).retry is None, "it does not pass by waiting"


def test_a_release_that_is_served_for_ever_remembers_nothing(bank):
    release = mnemic.open_bank(bank).release.name
    pinned = Actions(CurrentBank(bank, release), ActionState())
    with pytest.raises(Refused, match="without --release"):
        pinned.run("remember", NORTH, {"text": WALRUS})


def test_it_is_found_over_http_at_once(bank, tmp_path):
    import httpx

    with served(bank, write_tokens(tmp_path / "tokens.txt")) as server:
        headers = {"Authorization": f"Bearer {TOKENS['north']}"}
        with httpx.Client(base_url=server.address, headers=headers, timeout=30, verify=False) as client:
            client.post("/v1/search", json={"query": "zither"})
            started = time.monotonic()
            assert client.post("/v1/remember", json={"text": WALRUS}).status_code == 200
            assert "walrus" in client.post("/v1/search", json={"query": "who plays the zither", "words": 20}).text
            assert time.monotonic() - started < 10, "a tenth of a second on an idle machine"
