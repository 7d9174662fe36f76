"""What a command has begun and not yet ended: a row of `runs` that is written first, and another at the end.

A command that changes several datasets cannot do so at once. Killed in between, it is finished by the next writer of
the bank, a build or a command, before that does anything of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from mnemic.dataset import Store
from mnemic.dataset.write import append_rows
from mnemic.facts import mapping
from mnemic.schema import INTENTS, RUNS
from pipelines.steps.contracts import Context

_ENDED = "ended"


@dataclass(frozen=True)
class Intent:
    """A ``command`` that was begun by ``run``; ``facts`` say what it is to do."""

    command: str
    run: str
    facts: Mapping[str, Any]


def begin(context: Context, command: str, facts: Mapping[str, Any]) -> Intent:
    """Write down what a command is about to do."""
    intent = Intent(command, context.run, facts)
    _write(context, intent, facts)
    return intent


def end(context: Context, intent: Intent) -> None:
    """Write down that it is done."""
    _write(context, intent, {_ENDED: True})


def unfinished(store: Store) -> Intent | None:
    """The command that was begun last, where it has not ended."""
    snapshot = store["runs"].snapshot()
    if snapshot is None:
        return None
    chosen = ", ".join(f"'{command}'" for command in INTENTS)
    rows = snapshot.in_commit_order(["step", "run", "record"], f"step IN ({chosen})").to_pylist()
    if not rows:
        return None
    facts = mapping(rows[-1]["record"], f"The record of the last {rows[-1]['step']} of {store.root}")
    return None if facts.get(_ENDED) else Intent(rows[-1]["step"], rows[-1]["run"], facts)


def _write(context: Context, intent: Intent, facts: Mapping[str, Any]) -> None:
    row = {
        "run": intent.run,
        "step": intent.command,
        "fingerprint": "",
        "started": datetime.now(UTC),
        "seconds": 0.0,
        "rows": 0,
        "rejects": 0,
        "record": json.dumps(facts, sort_keys=True),
    }
    table = pa.Table.from_pylist([row], schema=RUNS)
    context.commit(lambda: append_rows(context.store["runs"], table, RUNS, {"mnemic.run": context.run}))
