"""Hostile requests to the HTTP server: each is refused or finds nothing, tells nothing, and the server serves on."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from served_bank import SECRETS, TOKENS, served

from mnemic.serve.connections import TimedConnection

SOUTH = {"Authorization": f"Bearer {TOKENS['south']}"}
SECRET = SECRETS["north"]
PLAIN = httpx.Client(verify=False, timeout=30)  # without certificates, which take longer to read than an answer

OTHERS = {
    "its words": {"query": SECRET},
    "a condition": {"query": SECRET, "where": "tenant = 'north'"},
    "a condition that widens": {"query": SECRET, "where": "tenant = 'north' OR 1 = 1"},
    "a condition that is always true": {"query": SECRET, "where": "NOT (tenant <> 'north' AND tenant <> 'south')"},
    "brackets": {"query": SECRET, "where": "true) OR (tenant = 'north'"},
    "a comment": {"query": SECRET, "where": "tenant = 'north' -- "},
    "a second statement": {"query": SECRET, "where": "true; SELECT * FROM events"},
    "a subquery": {"query": SECRET, "where": "id IN (SELECT id FROM events WHERE tenant = 'north')"},
    "an argument": {"query": SECRET, "tenant": "north"},
    "a mapping": {"query": SECRET, "where": {"tenant": "north"}},
    "a list of conditions": {"query": SECRET, "where": ["tenant = 'north'"]},
    "quotes in a name": {"query": SECRET, "source": "x') OR tenant = 'north' OR ('a' = 'a"},
    "many rows": {"query": "table lease row heron cobalt", "words": 20000, "k": 200},
    "sessions": {"query": SECRET, "words": 20000, "k": 200, "level": "session"},
    "a name of the prototype": {"query": SECRET, "__proto__": {"tenant": "north"}},
}

ODD_BODIES = {
    "nothing": b"",
    "no JSON": b"{'query': 1}",
    "a list": b"[]",
    "null": b"null",
    "a number": b"1e999",
    "not a number": b'{"query": "x", "words": NaN}',
    "a name twice": b'{"query": "a", "query": "b"}',
    "deep": b'{"query": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "not UTF-8": b'{"query": "\xff\xfe"}',
    "half a letter": b'{"query": "\\ud800"}',
    "a long number": b'{"query": "x", "words": ' + b"9" * 10_000 + b"}",
    "true for a number": b'{"query": "x", "words": true}',
    "a huge query": json.dumps({"query": "x" * 500_000}).encode(),
    "two MiB": b'{"query": "' + b"x" * (2 << 20) + b'"}',
    "an empty query": b'{"query": ""}',
    "blanks": b'{"query": "   "}',
}

PATHS = ("/../etc/passwd", "/v1/../../etc/passwd", "/v1/search/", "//v1/search", "/v1/%2e%2e/search", "/v1/search%00")
PATHS += (
    "/docs/../../mnemic",
    "/mcp/../v1/bank",
    "/v1/models/..%2f..%2fetc%2fpasswd",
    "/.env",
    "/v1/search?tenant=north",
)


def harmless(text, two_tenants):
    """Whether an answer has nothing of the other tenant, no path, and no traceback."""
    lowered = text.lower()
    secret = any(word in lowered for word in ("cobalt", "heron", "north-"))
    return not secret and "traceback" not in lowered and two_tenants not in text and "/tmp" not in text


def serves_on(callers):
    answer = callers["north"].post("/v1/search", json={"query": SECRET, "words": 60})
    return answer.status_code == 200 and SECRET in answer.text.replace("\\n", " ")


@pytest.mark.parametrize("body", OTHERS.values(), ids=OTHERS)
def test_no_wording_finds_what_is_another_tenants(body, callers, two_tenants):
    reply = callers["south"].post("/v1/search", json=body)
    assert reply.status_code in (200, 400)
    assert harmless(reply.text.replace(SECRET, ""), two_tenants)
    if reply.status_code == 200:
        assert {hit["locator"].split("-")[0] for hit in reply.json()["hits"]} <= {"notes.jsonl#south"}
        assert SECRET not in reply.text
    assert serves_on(callers)


def test_no_id_of_another_tenant_is_one(callers, two_tenants, ids):
    south = callers["south"]
    mine = [ids["south"]["document"], ids["south"]["event"], "notes.jsonl#south-0"]
    foreign = [
        *ids["north"].values(),
        "notes.jsonl#north-0",
        "north-0",
        "notes.jsonl",
        *(f"{one:x}" for one in range(16)),
    ]
    foreign += [ids["north"]["document"][:8], f"{ids['north']['event']}' OR tenant = 'north", "%", "_", "a' OR '1'='1"]
    assert all(south.post("/v1/why", json={"id": one}).status_code == 200 for one in mine)
    for one in foreign:
        reply = south.post("/v1/why", json={"id": one})
        assert reply.status_code in (200, 404), one
        assert harmless(reply.text.replace(one, ""), two_tenants), one
        if reply.status_code == 200:
            facts = reply.json()
            assert facts.get("document", facts.get("event"))["tenant"] == "south"
        assert not any(identity in reply.text for identity in ids["north"].values() if identity not in one)
    for text in (SECRET, f"It is known that {SECRET}, they say.", SECRET.upper()):
        assert south.post("/v1/trace", json={"text": text}).json()["spans"] == []
    assert south.post("/v1/trace", json={"text": SECRET, "tenant": "north"}).status_code == 400
    assert serves_on(callers)


@pytest.mark.parametrize("path", ["/v1/search", "/v1/why", "/v1/trace", "/v1/chat/completions", "/mcp"])
def test_an_odd_body_is_refused_with_a_sentence(path, server, callers, two_tenants):
    headers = {**SOUTH, "Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    with httpx.Client(base_url=server.address, headers=headers, timeout=30, verify=False) as client:
        for name, body in ODD_BODIES.items():
            reply = client.post(path, content=body)
            assert 400 <= reply.status_code < 500, (path, name)
            assert harmless(reply.text, two_tenants), (path, name)
            assert len(reply.text) < 1_500 and reply.json()["error"]["message"], (path, name)
    assert serves_on(callers)


def test_no_path_leads_elsewhere(server, callers, two_tenants):
    host, port = "127.0.0.1", server.port
    for path in PATHS:
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
            head = f"{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: {SOUTH['Authorization']}\r\n"
            reply = raw(server, f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
            status = int(reply.split()[1])
            assert 400 <= status < 500, (method, path, status)
            assert harmless(reply.decode("latin-1"), two_tenants)
    assert serves_on(callers)


def test_tokens_that_are_none_are_refused_alike(server, callers, two_tenants):
    good = TOKENS["south"]
    faulty = (
        "",
        "Bearer",
        f"Basic {good}",
        good,
        f"Bearer {good[:-1]}",
        f"Bearer {good}x",
        f"Bearer {good},x",
    )
    faulty += (
        f"Bearer {good.upper()}",
        f"Bearer {'a' * 5000}",
        "Bearer \xff\xfe",
        "Bearer south",
        f"Bearer {good} north",
    )
    answers = set()
    for value in faulty:
        headers = [(b"Authorization", value.encode("latin-1"))] if value else []
        for path in ("/v1/bank", "/v1/models", "/v1/models/x", "/nowhere"):
            reply = PLAIN.get(f"{server.address}{path}", headers=headers)
            answers.add((reply.status_code, reply.text))
            assert reply.headers["www-authenticate"].startswith("Bearer")
        reply = PLAIN.post(f"{server.address}/mcp", headers=headers, json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
        answers.add((reply.status_code, reply.text))
    twice = [(b"Authorization", f"Bearer {TOKENS[tenant]}".encode()) for tenant in ("south", "north")]
    answers.add((PLAIN.get(f"{server.address}/v1/bank", headers=twice).status_code, reply.text))
    assert len(answers) == 1 and next(iter(answers))[0] == 401
    assert serves_on(callers)


def test_requests_of_other_hosts_and_origins_are_refused(server, callers):
    own = f"127.0.0.1:{server.port}"
    hosts = (
        "evil.example",
        "evil.example:80",
        f"evil.example:{server.port}",
        "127.0.0.1",
        "127.0.0.1:1",
        f"{own}.evil.example",
    )
    hosts += (
        f"127.0.0.1.evil.example:{server.port}",
        f"[::1]:{server.port}",
        f"0.0.0.0:{server.port}",
        "",
        "localhost:99999",
    )
    for path in ("/v1/bank", "/docs", "/mcp", "/health"):
        for host in hosts:
            reply = PLAIN.get(f"{server.address}{path}", headers={**SOUTH, "Host": host})
            assert reply.status_code == 421, (path, host)
        for origin in (
            "null",
            "http://evil.example",
            f"https://{own}",
            "http://127.0.0.1",
            f"http://{own}.evil.example",
        ):
            reply = PLAIN.get(f"{server.address}{path}", headers={**SOUTH, "Origin": origin})
            assert reply.status_code == 403, (path, origin)
    for host in (own, f"localhost:{server.port}"):
        assert PLAIN.get(f"{server.address}/v1/bank", headers={**SOUTH, "Host": host}).status_code == 200
    assert PLAIN.get(f"{server.address}/v1/bank", headers={**SOUTH, "Origin": f"http://{own}"}).status_code == 200
    assert serves_on(callers)


def test_slow_and_broken_clients_are_ended(two_tenants, monkeypatch):
    monkeypatch.setattr(TimedConnection, "head_seconds", 0.4)
    monkeypatch.setattr(TimedConnection, "read_seconds", 0.4)
    token = TOKENS["north"]
    with served(two_tenants, token=token, tenant="north") as server:
        server.server.config.app.body_seconds = 0.4
        head = f"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {token}\r\n"
        json_head = f"{head}Content-Type: application/json\r\n"
        slow = [b"", b"POST", head.encode(), f"{json_head}Content-Length: 50\r\n\r\n{{".encode()]
        slow += [f"{json_head}Transfer-Encoding: chunked\r\n\r\n5\r\n{{    \r\n".encode()]
        for start in slow:
            with connection(server) as open_socket:
                open_socket.sendall(start)
                began = time.monotonic()
                reply = received(open_socket)
                assert time.monotonic() - began < 10
                assert reply == b"" or b" 408 " in reply.split(b"\r\n")[0]
        broken = [b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", b"G" * 100_000, b"GET /\r\n\r\n"]
        broken += [
            f"{head}Content-Length: -1\r\n\r\n".encode(),
            f"{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\n".encode(),
        ]
        broken += [f"{head}X: {'y' * 100_000}\r\n\r\n".encode(), b"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"]
        for start in broken:
            reply = raw(server, start)
            assert reply == b"" or b" 4" in reply.split(b"\r\n")[0], (start[:40], reply[:60])
        with connection(server, receive=4096) as lazy:  # asks and asks, and never reads an answer
            body = json.dumps({"query": "table", "words": 20000, "k": 200})
            request = f"{json_head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
            began = time.monotonic()
            with pytest.raises(OSError):
                while time.monotonic() - began < 20:
                    lazy.sendall(request)
        headers = {"Authorization": f"Bearer {token}"}
        assert PLAIN.get(f"{server.address}/v1/bank", headers=headers).status_code == 200


def test_more_requests_and_connections_than_it_takes_are_refused(two_tenants, monkeypatch):
    monkeypatch.setattr(TimedConnection, "most", 12)
    token = TOKENS["north"]
    with served(two_tenants, token=token, tenant="north") as server:
        guard = server.server.config.app
        guard.at_once = 2
        head = f"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {token}\r\n"
        waiting = [connection(server) for _ in range(2)]
        for one in waiting:
            one.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n".encode())
        time.sleep(0.3)
        headers = {"Authorization": f"Bearer {token}"}
        reply = PLAIN.get(f"{server.address}/v1/bank", headers=headers)
        assert reply.status_code == 503 and reply.headers["retry-after"] == "1"
        for one in waiting:
            one.close()
        time.sleep(0.3)
        idle = [connection(server) for _ in range(12)]
        time.sleep(0.3)
        with connection(server) as refused:
            assert received(refused) == b""
        for one in idle:
            one.close()
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda _: PLAIN.get(f"{server.address}/health").status_code, range(16)))
        assert set(statuses) <= {200, 503}
        assert PLAIN.get(f"{server.address}/v1/bank", headers=headers).status_code == 200


def connection(server, receive=None):
    sock = socket.socket()
    if receive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    sock.settimeout(15)
    sock.connect(("127.0.0.1", server.port))
    return sock


def received(sock):
    """Everything until the server ends the connection."""
    parts = []
    try:
        while part := sock.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def raw(server, request):
    with connection(server) as sock:
        try:
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        return received(sock)
