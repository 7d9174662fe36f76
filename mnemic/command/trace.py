"""`mnemic trace`."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from mnemic.bank import Bank, open_bank
from mnemic.errors import QueryError
from mnemic.terminal import coloured, one_line, plain, say
from mnemic.trace import LEAST, RARE, Trace, TracedSpan
from mnemic.trace.tracer import LONGEST

SUMMARY = "where a text, or what a model says, stands in a bank word for word"
EXAMPLES = """  mnemic trace memory/python-environment answer.txt
  echo "To tag a version of a dataset, call" | mnemic trace memory/python-environment
  mnemic trace memory/python-environment --generate "To read a table from disk,"
  mnemic trace memory/chats answer.txt --tenant team --json"""

_FILTERS = ("tenant", "source", "collection", "session")
_DOCUMENTS = 3
"""Documents of a span that a person is shown."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("file", metavar="FILE", nargs="?", help="text to trace; without it, the standard input is read")
    parser.add_argument("--generate", metavar="PROMPT", help="trace what the bank's language model says after PROMPT")
    parser.add_argument("--tokens", type=int, default=128, help="tokens that it generates (default 128)")
    parser.add_argument("--memory", action="append", help="memory that it generates with; may be given several times")
    parser.add_argument("--least", type=int, default=LEAST, help=f"tokens that a span has (default {LEAST})")
    parser.add_argument(
        "--rare", type=float, default=RARE, help=f"nats of surprise for which it may have fewer (default {RARE:g})"
    )
    add_filters(parser)
    parser.add_argument("--release", help="a release other than the newest")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def add_filters(parser: argparse.ArgumentParser) -> None:
    """The options that narrow a bank to documents."""
    for name in _FILTERS:
        parser.add_argument(f"--{name}", action="append", help=f"only of this {name}; may be given several times")
    parser.add_argument("--where", help="SQL condition over the columns of documents")


def where_of(arguments: argparse.Namespace) -> list[Any]:
    """The conditions of `add_filters`, all of which must hold."""
    named = {name: getattr(arguments, name) for name in _FILTERS if getattr(arguments, name) is not None}
    return [arguments.where, named]


def run(arguments: argparse.Namespace) -> int:
    bank = open_bank(arguments.bank, arguments.release)
    if arguments.generate is not None:
        text, tokenizer = _generated(bank, arguments.generate, arguments.tokens, arguments.memory)
    else:
        text, tokenizer = _read(arguments.file), None
    limit = {"least": arguments.least, "rare": arguments.rare, "tokenizer": tokenizer}
    trace = bank.trace(text, where_of(arguments), **limit)
    if arguments.json:
        say(json.dumps(trace.as_json()))
    else:
        print(shown(trace, coloured(sys.stdout)))
    return 0


def _read(file: str | None) -> str:
    """The text of ``file``, or of the standard input, up to a character more than is traced."""
    if file is None or file == "-":
        return sys.stdin.read(LONGEST + 1)
    with open(file, encoding="utf-8", errors="replace") as stream:
        return stream.read(LONGEST + 1)


def _generated(bank: Bank, prompt: str, tokens: int, memories: list[str] | None) -> tuple[str, Any]:
    """What the model of the bank's recipe says after ``prompt``, greedily, and its tokenizer."""
    import torch

    from mnemic import languagemodel

    if tokens < 1 or not prompt:
        raise QueryError("Nothing is generated of an empty prompt, or of less than one token; give more of both.")
    address = bank.release.recipe.get("language_model")
    if not isinstance(address, str):
        raise QueryError(f"The recipe of {bank.path} names no `language_model`; give a FILE to trace.")
    model, tokenizer = languagemodel.load(address)
    if memories:
        bank.attach(model, memories, tokenizer=tokenizer)
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    settings = {"max_new_tokens": tokens, "do_sample": False, "pad_token_id": 0}
    with torch.inference_mode():
        output = model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
    return tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True), tokenizer


def shown(trace: Trace, colour: bool) -> str:
    """A trace as lines for a person; with ``colour`` the whole text, its spans in yellow."""
    lines = [_coloured(trace), ""] if colour else []
    for span in trace:
        lines += _lines(span, colour)
    share = f"{trace.covered:.0%} of {len(trace.text):,} characters"
    count = f"{len(trace):,} span{'s' * (len(trace) != 1)}" if trace else "No span of it stands in the bank"
    return "\n".join([*lines, plain(f"{count}, {share}, from release {trace.release}")])


def _lines(span: TracedSpan, colour: bool) -> list[str]:
    text = one_line(span.text, 200)
    times = "once" if span.count == 1 else f"{span.count:,} times"
    facts = f"{times} in {span.documents:,} document{'s' * (span.documents != 1)}, {span.tokens} tokens"
    lines = [f"\x1b[33m{text}\x1b[0m" if colour else text, f"    {facts}"]
    for one in span.sources[:_DOCUMENTS]:
        place = f"{one_line(one.source, 100)}  {one_line(one.locator, 200)}  {one.start:,}-{one.end:,}"
        lines.append(f"    {place}  {one_line(one.document[:12], 12)}")
    return [*lines, ""]


def _coloured(trace: Trace) -> str:
    parts, last = [], 0
    for start, end in trace.ranges:
        parts += [plain(trace.text[last:start]), f"\x1b[33m{plain(trace.text[start:end])}\x1b[0m"]
        last = end
    return "".join([*parts, plain(trace.text[last:])])
