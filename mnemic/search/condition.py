"""The rows of a level, beside what a search may look at (`mnemic.conditions`).

Both hold before the search, in every index and for every neighbour: a row that does not meet them is never ranked, and
so never found.
"""

from __future__ import annotations

from collections.abc import Collection

from mnemic.conditions import all_of


def of_level(level: str | None, where: str | None, columns: Collection[str]) -> str | None:
    """The condition ``where`` on rows of one level, or on leaves; older banks hold nothing but events."""
    rows = f"level = '{level}'" if level else "leaf" if "leaf" in columns else None
    return all_of(where, rows)
