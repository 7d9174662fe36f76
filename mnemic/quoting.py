"""Values in a condition: a text of a bank, such as an id, may hold quotes where the bank is damaged or hostile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

AT_ONCE = 1000
"""Values of one condition."""


def quoted(value: object) -> str:
    """``value`` as a text of SQL."""
    return "'" + str(value).replace("'", "''") + "'"


def one_of(column: str, values: Iterable[object]) -> str:
    """The condition that ``column`` holds one of ``values``; without values no row satisfies it."""
    listed = ", ".join(map(quoted, values))
    return f"{column} IN ({listed})" if listed else "false"


def parts_of(column: str, values: Sequence[object]) -> Iterator[str]:
    """`one_of` for `AT_ONCE` of ``values`` at a time: a condition on all of very many would be too long to read."""
    for start in range(0, len(values), AT_ONCE):
        yield one_of(column, values[start : start + AT_ONCE])
