"""`mnemic serve`."""

from __future__ import annotations

import argparse
import os

from mnemic.errors import MissingExtra, RecipeError

SUMMARY = "a bank as a server: tools for agents (MCP), an HTTP API, and chat completions with its memories"
EXAMPLES = """  mnemic serve memory/notes --stdio                             tools for an agent that starts it
  mnemic serve memory/notes --tokens tokens.txt --new-token ""  writes a token for a bank without tenants, and ends
  mnemic serve memory/chats --tokens tokens.txt --new-token team  the same, for the tenant team
  mnemic serve memory/chats --tokens tokens.txt                 http://127.0.0.1:8765, /docs says how to ask it
  MNEMIC_TOKEN=$(cat token) mnemic serve memory/chats --tenant team --port 9000"""

PORT = 8765


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("--tenant", help="whose memory is served; needed where there are several, and tokens say none")
    parser.add_argument(
        "--tokens",
        metavar="FILE",
        help="tokens that callers may use, one a line with its tenant behind it; nobody else may read the file. "
        "Without it the one token of the environment variable MNEMIC_TOKEN",
    )
    parser.add_argument(
        "--new-token", metavar="TENANT", help="add a fresh token for this tenant to the file --tokens, and end"
    )
    parser.add_argument("--stdio", action="store_true", help="tools on standard input and output, in place of HTTP")
    parser.add_argument(
        "--port", type=int, default=PORT, help=f"of 127.0.0.1 (default {PORT}); 0 takes a free one and says which"
    )
    parser.add_argument("--release", help="a release for ever, in place of the newest one")


def run(arguments: argparse.Namespace) -> int:
    if not 0 <= arguments.port <= 65535:
        raise RecipeError(f"There is no port {arguments.port}; give one from 1 to 65535, or 0 for a free one.")
    # Requests are answered side by side: threads within the product of one only wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from mnemic.serve.running import HttpServer, bound, listen, serve_stdio
    except ImportError as error:
        if not (error.name or "").startswith(("mcp", "starlette", "uvicorn", "pydantic", "anyio", "sse_starlette")):
            raise
        raise MissingExtra(
            f"`mnemic serve` needs {error.name}, which is not installed: run `pip install 'mnemic[serve]'`."
        ) from error
    from mnemic.serve.access import VARIABLE, add_token
    from mnemic.serve.callers import Callers
    from mnemic.serve.current import CurrentBank
    from mnemic.serve.refusals import log

    if arguments.new_token is not None:
        if not arguments.tokens:
            raise RecipeError("A new token needs a file; name it with --tokens.")
        add_token(arguments.tokens, arguments.new_token)
        print(f"a token is added as the last line of {arguments.tokens}")
        return 0
    current = CurrentBank(arguments.bank, arguments.release)
    try:
        if arguments.stdio:
            serve_stdio(current, bound(current.bank, arguments.tenant))
            return 0
        callers = Callers(current.bank, arguments.tokens, os.environ.get(VARIABLE), arguments.tenant)
        server = HttpServer(current, callers, listen(arguments.port))
        log(f"release {current.bank.release.name} under {server.address}, described in {server.address}/docs")
        server.run()
    except KeyboardInterrupt:
        log("ended")
    return 0
