"""The HTTP API of a served bank: what it answers, to whom, and how it is described."""

import asyncio
import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from served_bank import SECRETS, TOKENS, served, served_recipe, write_tokens

import mnemic
from mnemic.serve.access import AccessError, TokenTable, add_token
from mnemic.serve.callers import Callers
from mnemic.serve.running import HOST, listen


def test_a_search_is_that_of_the_bank_for_the_tenant(callers, two_tenants):
    bank = mnemic.open_bank(two_tenants)
    for tenant, client in callers.items():
        body = {"query": "who nests or sleeps below the gate", "words": 120}
        answer = client.post("/v1/search", json=body).json()
        results = bank.search(body["query"], words=120, where={"tenant": tenant})
        assert [hit["id"] for hit in answer["hits"]] == [hit.id for hit in results]
        assert answer["text"] == results.text() and answer["words"] == results.words
        assert answer["release"] == bank.release.name
        assert not any("bm25" in hit for hit in answer["hits"]), "how often words stand in the whole bank is nobody's"


def test_conditions_narrow_what_is_the_tenants_own(callers):
    client = callers["north"]
    everything = client.post("/v1/search", json={"query": "table", "words": 4000, "k": 200}).json()["hits"]
    body = {"query": "table", "words": 4000, "k": 200, "where": "words > 12", "source": ["notes"], "level": "event"}
    long = client.post("/v1/search", json=body).json()["hits"]
    assert long and all(hit["words"] > 12 and hit["level"] == "event" for hit in long) and len(everything) > len(long)
    assert client.post("/v1/search", json={"query": "table", "source": "mail"}).json()["hits"] == []


def test_why_and_trace_know_the_tenants_own_rows(callers, ids):
    for tenant, client in callers.items():
        other = next(name for name in SECRETS if name != tenant)
        why = client.post("/v1/why", json={"id": ids[tenant]["document"][:20]}).json()
        assert why["kind"] == "document" and why["document"]["id"] == ids[tenant]["document"] and "kept" in why["story"]
        assert why["memories"]["suffix"] == "store"
        event = client.post("/v1/why", json={"id": ids[tenant]["event"]}).json()
        assert event["kind"] == "event" and "begins here" in event["story"]
        traced = client.post("/v1/trace", json={"text": f"Nobody may know that {SECRETS[tenant]}."}).json()
        assert traced["covered"] > 0.9 and traced["spans"][0]["sources"][0]["tenant"] == tenant
        foreign = client.post("/v1/trace", json={"text": f"They say: {SECRETS[other]}"}).json()
        assert foreign["spans"] == [] and foreign["covered"] == 0


def test_readers_in_many_threads_get_equal_answers(callers, two_tenants):
    questions = [f"which {word} is below {place}" for word in ("table", "lease", "heron") for place in ("gate", "row")]
    bank = mnemic.open_bank(two_tenants)
    alone = {
        (tenant, query): [hit.id for hit in bank.search(query, words=60, where={"tenant": tenant})]
        for tenant in callers
        for query in questions
    }

    def ask(pair):
        tenant, query = pair
        answer = callers[tenant].post("/v1/search", json={"query": query, "words": 60})
        return [hit["id"] for hit in answer.json()["hits"]]

    pairs = list(alone) * 3
    with ThreadPoolExecutor(8) as pool:
        for pair, hits in zip(pairs, pool.map(ask, pairs), strict=True):
            assert hits == alone[pair]


def test_the_page_describes_each_path_and_asks_nobody(server):
    document = httpx.get(f"{server.address}/openapi.json", verify=False).json()
    assert document["openapi"].startswith("3.1")
    assert {"/v1/search", "/v1/why", "/v1/trace", "/v1/remember", "/v1/chat/completions"} <= set(document["paths"])
    search = document["components"]["schemas"]["SearchArguments"]
    assert search["required"] == ["query"] and "tenant" not in search["properties"]
    for methods in document["paths"].values():
        for operation in methods.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                assert content["schema"]["$ref"].rpartition("/")[2] in document["components"]["schemas"]
    answer = httpx.get(f"{server.address}/docs", verify=False)
    assert all(path in answer.text for path in document["paths"]) and "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for outside in ("src=", "@import", "url("):
        assert outside not in answer.text


def test_the_document_is_openapi(server):
    """By the JSON schema of requests: each example of the page is a request that its schema takes."""
    import jsonschema

    document = httpx.get(f"{server.address}/openapi.json", verify=False).json()
    examples = 0
    for methods in document["paths"].values():
        for operation in methods.values():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content:
                schema = {**content["schema"], "components": document["components"]}
                jsonschema.Draft202012Validator(schema).validate(content["example"])
                examples += 1
    assert examples == 5


def test_a_server_needs_a_token_and_a_bank_of_several_tenants_a_tenant(two_tenants, token_file, tiny):
    bank = mnemic.open_bank(two_tenants)
    good = "g" * 30
    with pytest.raises(AccessError, match="needs a token"):
        Callers(bank, None, None, "north")
    with pytest.raises(mnemic.MnemicError, match=r"2 tenants \(north, south\), and nobody may see all"):
        Callers(bank, None, good, None)
    with pytest.raises(mnemic.MnemicError, match="no document of the tenant 'nort'"):
        Callers(bank, None, good, "nort")
    assert Callers(bank, None, good, "north").access(good).tenant == "north"
    assert Callers(tiny.open(), None, good, None).access(good).tenant == ""
    bound = Callers(bank, str(token_file), None, "south")
    assert bound.access(TOKENS["north"]) is None and bound.access(TOKENS["south"]).tenant == "south"
    for strange in ("", "x", good[:-1], TOKENS["south"] + " ", "\udc80" * 30, "ä" * 30):
        assert bound.access(strange) is None


def test_a_file_of_tokens_is_its_owners_alone_and_is_read_again(two_tenants, tmp_path, token_file):
    add_token(token_file, "north")
    add_token(token_file, ' "odd" tenant ')
    table = TokenTable.read(token_file)
    assert len(table) == 4 and list(table.tenants.values())[2:] == ["north", ' "odd" tenant ']
    callers = Callers(mnemic.open_bank(two_tenants), str(token_file), None, None)
    assert callers.access(TOKENS["north"]).tenant == "north"
    token_file.write_text(f"{TOKENS['south']} south\n")
    assert callers.access(TOKENS["north"]) is None, "a token that is taken out is none from then on"
    assert callers.access(TOKENS["south"]).tenant == "south"
    token_file.chmod(0o644)
    assert callers.access(TOKENS["south"]) is None, "nobody knows who has read it"
    for content, fault in (("short north\n", "can be guessed"), ("", "has no token"), (f"{'a' * 40} x\n" * 2, "twice")):
        file = tmp_path / "faulty.txt"
        file.touch(mode=0o600)
        file.write_text(content)
        with pytest.raises(AccessError, match=fault):
            TokenTable.read(file)
    file.chmod(0o640)
    with pytest.raises(AccessError, match="chmod 600"):
        TokenTable.read(file)
    with pytest.raises(AccessError, match="is no file"):
        TokenTable.read(tmp_path)


def test_a_new_release_is_answered_without_a_restart(tmp_path):
    recipe = {name: value for name, value in served_recipe(tmp_path).items() if name in _SEARCHED}
    mnemic.build(recipe, device="cpu")
    headers = {"Authorization": f"Bearer {TOKENS['north']}"}
    with served(recipe["bank"], write_tokens(tmp_path / "tokens.txt")) as running:
        encoder = running.current.bank.encoder
        before = running.current.bank
        with httpx.Client(base_url=running.address, headers=headers, timeout=30, verify=False) as client:
            ask = {"query": "a walrus plays the zither"}
            first = client.post("/v1/search", json=ask).json()
            assert "walrus" not in first["text"]
            with (tmp_path / "notes.jsonl").open("a") as file:
                file.write(json.dumps({"id": "new", "who": "north", "text": "A walrus plays the zither."}) + "\n")
            mnemic.build(recipe, device="cpu")
            seconds = until(lambda: "walrus" in client.post("/v1/search", json=ask).json()["text"], 20)
            assert seconds < 10, "a second or so on an idle machine"
            assert client.get("/v1/bank").json()["release"] == mnemic.open_bank(recipe["bank"]).release.name
        assert running.current.bank.encoder is encoder, "it is not loaded again"
        assert not any("walrus" in hit.text for hit in before.search(ask["query"], where={"tenant": "north"}))


_SEARCHED = ("name", "bank", "sources", "embed", "segment", "cluster")


def until(true, seconds):
    """Wait until ``true()``, and return the seconds that it took; at most ``seconds``."""
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < seconds
        time.sleep(0.05)
    return time.monotonic() - start


def test_the_commands_of_the_page_are_requests_that_are_answered(callers):
    page = (Path(__file__).parents[3] / "docs" / "serve.md").read_text()
    requests = re.findall(r"curl http://127\.0\.0\.1:8765(\S+) .*?-d '(\{.*?\})'", page, re.DOTALL)
    assert [path for path, _ in requests] == ["/v1/search", "/v1/chat/completions"]
    for path, body in requests:
        assert (
            callers["north"]
            .post(path, json=json.loads(body) | ({"max_tokens": 4} if "model" in body else {}))
            .is_success
        )
    for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL):
        assert "memory" in json.loads(block)["mcpServers"]


def test_no_part_of_an_answer_waits_for_the_client_to_acknowledge_another():
    async def sends_at_once():
        answered = asyncio.get_running_loop().create_future()

        def connected(_, writer):
            options = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            answered.set_result(bool(options))
            writer.close()

        with listen(0) as listening:
            async with await asyncio.start_server(connected, sock=listening):
                _, client = await asyncio.open_connection(HOST, listening.getsockname()[1])
                at_once = await answered
                client.close()
        return at_once

    assert asyncio.run(sends_at_once())
