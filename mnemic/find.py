"""A row by the beginning of its id, as `mnemic why` is asked for it."""

from __future__ import annotations

import re
from typing import Any

from mnemic.conditions.values import shown, text
from mnemic.errors import BankError
from mnemic.terminal import one_line
from mnemic.view import View, fitting


def find(view: View, prefix: str) -> tuple[str, dict[str, Any]]:
    """("document" or "event", row) whose id begins with ``prefix``. Raises ``BankError`` for none, or several."""
    if not isinstance(prefix, str) or not re.fullmatch("[0-9a-f]+", prefix):
        raise BankError(
            f"{shown(prefix)} is no id. Ids are hexadecimal; `mnemic search --json` and `mnemic export` show them."
        )
    matches: list[tuple[str, str]] = []
    for kind in ("document", "event"):
        if f"{kind}s" in view:
            ids = view.dataset(f"{kind}s").table(["id"], f"id LIKE '{prefix}%'")["id"].to_pylist()
            matches += [(kind, identity) for identity in sorted(filter(None, ids))[:3]]
    if not matches:
        raise BankError(f"No document or event of {view.path} has an id that begins with {prefix}.")
    if len(matches) > 1:
        several = ", ".join(one_line(identity, 64) for _, identity in matches[:3])
        raise BankError(f"Several ids begin with {prefix}: {several}. Give more of it.")
    kind, identity = matches[0]
    rows = view.dataset(f"{kind}s")
    columns = [name for name in rows.schema.names if name not in ("signature", "vector")]
    with fitting(view, f"Ids of {kind}s"):
        return kind, rows.table(columns, f"id = {text(identity)}").to_pylist()[0]
