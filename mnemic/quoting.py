"""Values in a condition: a text of a bank, such as an id, may hold quotes where the bank is damaged or hostile."""

from __future__ import annotations

from collections.abc import Iterable


def quoted(value: object) -> str:
    """``value`` as a text of SQL."""
    return "'" + str(value).replace("'", "''") + "'"


def one_of(column: str, values: Iterable[object]) -> str:
    """The condition that ``column`` holds one of ``values``."""
    return f"{column} IN ({', '.join(map(quoted, values))})"
