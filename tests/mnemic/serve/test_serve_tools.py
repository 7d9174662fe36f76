"""The tools of a served bank by the client of the Model Context Protocol's own SDK, and hostile messages to them."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from served_bank import SECRETS, TOKENS

import mnemic
from mnemic.command import main

ROOT = Path(__file__).parents[3]
QUERY = {"query": "who nests or sleeps below the gate", "words": 80}
COMMAND = [sys.executable, "-m", "mnemic", "serve"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def called(server, tenant, *calls):
    """Results of tools over HTTP, for the token of ``tenant``."""

    async def call():
        headers = {"Authorization": f"Bearer {TOKENS[tenant]}"}
        async with (
            httpx2.AsyncClient(headers=headers, verify=False) as http,
            Client(streamable_http_client(f"{server.address}/mcp", http_client=http)) as client,
        ):
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            return tools, [await client.call_tool(name, values) for name, values in calls]

    return asyncio.run(call())


def test_the_sdks_client_calls_the_tools_over_http(server, two_tenants, ids):
    bank = mnemic.open_bank(two_tenants)
    for tenant in TOKENS:
        calls = [("search", QUERY), ("why", {"id": ids[tenant]["event"]}), ("trace", {"text": SECRETS[tenant]})]
        tools, (search, why, trace) = called(server, tenant, *calls)
        assert set(tools) == {"search", "why", "trace", "remember"}
        assert "tenant" not in json.dumps([tool.input_schema for tool in tools.values()])
        assert tools["search"].annotations.read_only_hint and not tools["remember"].annotations.read_only_hint
        results = bank.search(QUERY["query"], words=80, where={"tenant": tenant})
        assert search.content[0].text == results.text() and not search.is_error
        assert [hit["id"] for hit in search.structured_content["hits"]] == [hit.id for hit in results]
        assert ids[tenant]["event"] in why.content[0].text
        assert trace.structured_content["spans"][0]["text"] in SECRETS[tenant]


def test_the_sdks_client_of_an_earlier_protocol_is_answered_too(server):
    async def call():
        headers = {"Authorization": f"Bearer {TOKENS['north']}"}
        async with httpx2.AsyncClient(headers=headers, verify=False) as http:
            transport = streamable_http_client(f"{server.address}/mcp", http_client=http)
            async with Client(transport, mode="legacy") as client:
                return await client.call_tool("search", QUERY)

    assert SECRETS["north"] in asyncio.run(call()).content[0].text


def hostile_calls(ids):
    """Of a client of the tenant south: (tool, arguments) that are refused, or find nothing of the tenant north."""
    north, secret = ids["north"], SECRETS["north"]
    return [
        ("search", {"query": secret}),
        ("search", {"query": secret, "tenant": "north"}),
        ("search", {"query": secret, "where": "tenant = 'north'"}),
        ("search", {"query": secret, "where": "1 = 1) OR (tenant = 'north'"}),
        ("search", {"query": secret, "where": "true; DROP TABLE events"}),
        ("search", {"query": secret, "words": -1}),
        ("search", {"query": secret, "words": 10**12}),
        ("search", {"query": secret, "words": "many"}),
        ("search", {"query": "x" * 200_000}),
        ("search", {"query": ""}),
        ("search", {"query": {"$ne": None}}),
        ("search", {}),
        ("search", {"query": "table", "level": "../event"}),
        ("why", {"id": north["document"]}),
        ("why", {"id": north["event"]}),
        ("why", {"id": f"{north['event'][:6]}"}),
        ("why", {"id": "notes.jsonl#north-0"}),
        ("why", {"id": "/etc/passwd"}),
        ("why", {"id": "' OR 1=1 --"}),
        ("trace", {"text": secret}),
        ("trace", {"text": secret, "where": "tenant = 'north'"}),
        ("trace", {"text": "x" * 500_000}),
        ("remember", {"text": "a", "turns": [{"text": "b"}]}),
        ("remember", {"text": "a", "tenant": "north"}),
        ("delete", {"id": north["document"]}),
        ("__class__", {}),
    ]


def harmless(result, two_tenants):
    text = json.dumps([part.text for part in result.content]) + json.dumps(result.structured_content)
    hits = (result.structured_content or {}).get("hits", [])
    own = all("south" in hit["locator"] for hit in hits)
    return own and SECRETS["north"] not in text and two_tenants not in text and "Traceback" not in text


def test_hostile_calls_over_http_are_refused_and_it_serves_on(server, two_tenants, ids):
    calls = hostile_calls(ids)
    _, results = called(server, "south", *calls)
    for call, result in zip(calls, results, strict=True):
        assert harmless(result, two_tenants), call
        assert result.is_error or call in (calls[0], calls[2]) or call[0] == "trace", call
        assert len(result.content[0].text) < 1_000 or not result.is_error
    _, (result,) = called(server, "north", ("search", {"query": SECRETS["north"]}))
    assert SECRETS["north"] in result.content[0].text


ENVELOPES = {
    "no method": {"jsonrpc": "2.0", "id": 1},
    "another version": {"jsonrpc": "1.0", "id": 1, "method": "ping"},
    "a batch": [{"jsonrpc": "2.0", "id": 1, "method": "ping"}],
    "an unknown method": {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "resources/read",
        "params": {"uri": "file:///etc/passwd"},
    },
    "a name that is none": {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": 5}},
    "no arguments": {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "search", "arguments": 1}},
    "no name": {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": []},
    "an id that is none": {"jsonrpc": "2.0", "id": {"a": 1}, "method": "ping"},
    "params of another kind": {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": "north"},
}


@pytest.mark.parametrize("message", ENVELOPES.values(), ids=ENVELOPES)
def test_an_odd_message_over_http_is_refused(message, server, two_tenants):
    headers = {"Authorization": f"Bearer {TOKENS['south']}", "Accept": "application/json, text/event-stream"}
    with httpx.Client(headers=headers, verify=False, timeout=30) as client:
        for version in ("2025-06-18", "2026-07-28", "1999-01-01", "../.."):
            reply = client.post(f"{server.address}/mcp", json=message, headers={"MCP-Protocol-Version": version})
            assert "error" in reply.json() or reply.json()["result"].get("isError"), (version, reply.text)
            assert two_tenants not in reply.text and "Traceback" not in reply.text and len(reply.text) < 3_000
        for method in ("GET", "DELETE"):
            assert client.request(method, f"{server.address}/mcp").status_code == 405


def test_the_sdks_client_starts_the_command_and_hostile_calls_leave_it_serving(two_tenants, ids):
    arguments = [*COMMAND[1:], two_tenants, "--tenant", "south", "--stdio"]
    calls = hostile_calls(ids)

    async def call():
        async with Client(StdioServerParameters(command=COMMAND[0], args=arguments, env=ENVIRONMENT)) as client:
            first = await client.call_tool("search", QUERY)
            hostile = [await client.call_tool(*one) for one in calls if one[0] != "trace"]
            return first, hostile, await client.call_tool("search", QUERY)

    first, hostile, last = asyncio.run(call())
    expected = mnemic.open_bank(two_tenants).search(QUERY["query"], words=80, where={"tenant": "south"}).text()
    assert first.content[0].text == last.content[0].text == expected
    assert all(harmless(result, two_tenants) for result in hostile)
    assert sum(result.is_error for result in hostile) == len(hostile) - 2


@pytest.mark.slow
def test_odd_lines_on_standard_input_leave_it_serving(two_tenants, tmp_path):
    """Raw lines: no JSON, a message of ten megabytes, letters that are none; and then a request that is one."""
    lines = [b"", b"{", b"null", b"[]", b"\xff\xfe\x00", b"5", b'{"jsonrpc": "2.0"}', b'{"a": ' * 5_000]
    lines += [b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": "' + b"x" * (10 << 20) + b'"}}']
    lines += [json.dumps({"jsonrpc": "2.0", "id": 7, "method": "server/discover", "params": {"_meta": META}}).encode()]
    command = [*COMMAND, two_tenants, "--tenant", "north", "--stdio"]
    with (tmp_path / "log").open("w+b") as log:
        running = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=log, env=ENVIRONMENT)
        running.stdin.write(b"\n".join(lines) + b"\n")
        running.stdin.flush()
        answer = json.loads(running.stdout.readline())
        while answer.get("id") != 7:
            assert "error" in answer
            answer = json.loads(running.stdout.readline())
        assert answer["result"]["capabilities"]["tools"] is not None
        running.stdin.close()
        assert running.wait(60) == 0
    written = (tmp_path / "log").read_text()
    assert "too long" in written and "Traceback" not in written


META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def test_the_command_says_what_it_needs(two_tenants, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MNEMIC_TOKEN", raising=False)
    assert main(["serve", two_tenants, "--stdio"]) == 5 and "2 tenants" in capsys.readouterr().err
    assert main(["serve", two_tenants, "--tenant", "north"]) == 2 and "needs a token" in capsys.readouterr().err
    assert main(["serve", two_tenants, "--port", "70000"]) == 2 and "no port 70000" in capsys.readouterr().err
    assert main(["serve", two_tenants, "--new-token", "north"]) == 2 and "--tokens" in capsys.readouterr().err
    monkeypatch.setenv("MNEMIC_TOKEN", "short")
    assert main(["serve", two_tenants, "--tenant", "north"]) == 2 and "can be guessed" in capsys.readouterr().err
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setenv("MNEMIC_TOKEN", "s" * 30)
        port = str(other.getsockname()[1])
        assert main(["serve", two_tenants, "--tenant", "north", "--port", port]) == 2
        assert "is not free" in capsys.readouterr().err
    file = tmp_path / "new.txt"
    assert main(["serve", two_tenants, "--tokens", str(file), "--new-token", "north"]) == 0
    assert file.stat().st_mode & 0o777 == 0o600 and file.read_text().endswith(" north\n")
    assert file.read_text().split()[0] not in capsys.readouterr().out, "a token stands in its file alone"


def test_without_the_extra_the_command_names_it(monkeypatch, capsys):
    for name in [name for name in sys.modules if name == "mcp" or name.startswith(("mcp.", "mnemic.serve"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp", None)
    assert main(["serve", "nowhere", "--stdio"]) == 11 and "mnemic[serve]" in capsys.readouterr().err
