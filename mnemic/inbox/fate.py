"""What became of a row that was remembered: `mnemic why` tells it, of waiting rows and of those in documents."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mnemic.conditions.values import text
from mnemic.inbox.calls import SOURCE
from mnemic.inbox.waiting import NAME
from mnemic.terminal import one_line

if TYPE_CHECKING:
    from mnemic.bank import Bank


def fate(bank: Bank, beginning: str, tenant: str | None = None) -> dict[str, Any]:
    """Of the row whose id begins so: whether it waits, and else its document, as facts with a ``story`` for a person.

    Empty for what is no such row. With ``tenant`` rows of others are none.
    """
    if not re.fullmatch("[0-9a-f]{8,64}", beginning):
        return {}
    beginning = beginning[:32]  # a later piece of a text has an id that begins with the row's
    waiting = [(call, row) for call in bank.inbox(tenant) for row in call.rows if row.id.startswith(beginning)]
    if len(waiting) == 1:
        call, row = waiting[0]
        lines = [
            f"row {row.id}",
            f"  remembered at {call.remembered:%Y-%m-%d %H:%M} UTC, not yet consolidated",
            f"  the next build makes a document of its call, which has {len(call.rows)} such",
            f"  {one_line(row.speaker + ': ' if row.speaker else '', 60)}{one_line(row.text, 200)}",
        ]
        facts = {"id": row.id, "tenant": call.tenant, "speaker": row.speaker, "time": row.time, "text": row.text}
        return {"remembered": {**facts, "pending": True}, "story": "\n".join(lines)}
    if NAME not in bank.view:
        return {}
    names = ["id", "call", "tenant", "remembered", "forgotten"]
    rows = bank.view.table(NAME, names, f"id LIKE '{beginning}%'").to_pylist()
    if len(rows) != 1 or (tenant is not None and rows[0]["tenant"] != tenant):
        return {}
    (own,) = rows
    where = f"source = {text(SOURCE)} AND locator = {text(own['call'])}"
    documents = bank.view.table("documents", ["id"], where)["id"].to_pylist()
    place = "forgotten since" if own["forgotten"] else "in no document: it was left out or removed"
    if documents and not own["forgotten"]:
        place = f"in the document {documents[0]}: `mnemic why` tells more of that"
    lines = [f"row {own['id']}", f"  remembered at {own['remembered']:%Y-%m-%d %H:%M} UTC, {place}"]
    return {"remembered": {**own, "pending": False, "documents": documents}, "story": "\n".join(lines)}
