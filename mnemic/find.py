"""A row by the beginning of its id, or a document by its file or locator, as `mnemic why` is asked for it."""

from __future__ import annotations

import re
from typing import Any

import pyarrow.compute as pc

from mnemic.catalogue import CATALOGUE
from mnemic.conditions import all_of
from mnemic.conditions.values import shown, text
from mnemic.errors import BankError
from mnemic.terminal import one_line
from mnemic.view import View, fitting


def find(view: View, prefix: str, tenant: str | None = None) -> tuple[str, dict[str, Any]]:
    """("document" or "event", row) whose id begins with ``prefix``. Raises ``BankError`` for none, or several.

    With ``tenant`` only its rows are looked at: an id of another one is an id of nothing.
    """
    check_prefix(prefix)
    matches: list[tuple[str, str]] = []
    for kind in ("document", "event"):
        if f"{kind}s" in view:
            ids = view.dataset(f"{kind}s").table(["id"], _begins(prefix, tenant))["id"].to_pylist()
            matches += [(kind, identity) for identity in sorted(filter(None, ids))[:3]]
    if not matches:
        raise BankError(
            f"No document or event of {view.path} has an id that begins with {one_line(prefix, 64)}. `mnemic search "
            "--json` and `mnemic export` show them."
        )
    if len(matches) > 1:
        several = ", ".join(one_line(identity, 64) for _, identity in matches[:3])
        raise BankError(f"Several ids begin with {one_line(prefix, 64)}: {several}. Give more of it.")
    kind, identity = matches[0]
    rows = view.dataset(f"{kind}s")
    columns = [name for name in rows.schema.names if name not in ("signature", "vector")]
    with fitting(view, f"Ids of {kind}s"):
        return kind, rows.table(columns, f"id = {text(identity)}").to_pylist()[0]


def locate(view: View, words: str, tenant: str | None = None) -> tuple[str, dict[str, Any]]:
    """("document", "event" or "reject", row) that ``words`` name: the beginning of an id, a locator, or a file's name.

    A locator counts whole, without its folders, without what stands behind the file's name (`notes.jsonl#3`,
    `a.py::f`), or in part. Rejects are those of the bank's newest state, and stand behind documents. With
    ``tenant`` only its rows are looked at, and no rejects, which have no tenant. Raises ``BankError`` for none, and for
    several, which are named.
    """
    if re.fullmatch("[0-9a-f]+", words) and _is_id(view, words, tenant):
        return find(view, words, tenant)
    where = all_of(f"contains(locator, {text(words)})", _of_tenant(tenant))
    documents = view.dataset("documents").table(["id", "locator"], where)
    for column in _matches(documents["locator"], words):
        ids = documents.filter(column)
        if len(ids) == 1:
            return find(view, ids["id"][0].as_py(), tenant)
        if len(ids) > 1:
            raise _several(words, [f"{one_line(row['locator'], 100)} ({row['id'][:12]})" for row in ids.to_pylist()])
    snapshot = None if tenant is not None else view.store["rejects"].snapshot()
    if snapshot is not None:
        names = ["step", "severity", "locator", "reason", "run"]
        rejects = snapshot.in_commit_order(names, CATALOGUE["rejects"].counted)
        for column in _matches(rejects["locator"], words):
            rows: list[dict[str, Any]] = rejects.filter(column).to_pylist()
            places = sorted({row["locator"] for row in rows})
            if len(places) == 1:
                return "reject", {"locator": places[0], "rejects": rows}
            if places:
                raise _several(words, [one_line(place, 100) for place in places])
    if tenant is not None:
        raise BankError(
            f"No document or event of yours has {shown(words)} as its id, its file or its locator; a search gives ids."
        )
    raise BankError(
        f"{shown(words)} is no id of {view.path}, and no document or reject there has such a file or locator. "
        "`mnemic search --explain` and `mnemic export` show ids, `mnemic show --failures` lists what was left out."
    )


def check_prefix(prefix: object) -> None:
    """Raise ``BankError`` where no id can begin with ``prefix``."""
    if not isinstance(prefix, str) or not re.fullmatch("[0-9a-f]+", prefix):
        raise BankError(
            f"{shown(prefix)} is no id. Ids are hexadecimal; `mnemic search --json` and `mnemic export` show them."
        )


def _is_id(view: View, prefix: str, tenant: str | None) -> bool:
    where = _begins(prefix, tenant)
    return any(name in view and view.dataset(name).count(where) > 0 for name in ("documents", "events"))


def _begins(prefix: str, tenant: str | None) -> str | None:
    """The condition that an id begins with ``prefix``, which is hexadecimal, and is of ``tenant``."""
    return all_of(f"id LIKE '{prefix}%'", _of_tenant(tenant))


def _of_tenant(tenant: str | None) -> str | None:
    return None if tenant is None else f"tenant = {text(tenant)}"


def _matches(locators: Any, words: str) -> Any:
    """Boolean columns, from the strictest way of reading ``words`` as a locator to the loosest."""
    escaped = re.escape(words)
    yield pc.equal(locators, words)
    yield pc.match_substring_regex(locators, f"(^|[/:]){escaped}$")
    yield pc.match_substring_regex(locators, f"(^|[/:]){escaped}(#|::)")
    yield pc.match_substring(locators, words)


def _several(words: str, places: list[str]) -> BankError:
    more = f" and {len(places) - 5:,} more" if len(places) > 5 else ""
    return BankError(f"{len(places):,} have {shown(words)} in their locator: {', '.join(places[:5])}{more}. Give more.")
