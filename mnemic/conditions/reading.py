"""Names and values, SQL, and lists of these, as one condition: all parts must hold."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import pyarrow as pa

from mnemic.conditions import values
from mnemic.errors import QueryError

Where = str | Mapping[str, Any] | Sequence["Where"] | None

OF_DOCUMENTS = ("tenant", "source", "collection", "session", "document")
"""Names whose values are the same in all rows of a document."""

MANY = 100_000
"""Values that a name may have."""
MOST = 1_000
"""The most conditions of one search."""
DEEP = 16
"""Lists of conditions that may stand in each other."""

_TIMES = {
    "after": ("end_time", ">="),
    "before": ("start_time", "<"),
    "meant_after": ("meant_end", ">"),
    "meant_before": ("meant_start", "<"),
}
"""Name -> column and comparison: when a row was said, and the days that it speaks of (`operators.times`)."""
_NAMES = (*OF_DOCUMENTS, "speaker", *_TIMES)


@dataclass(frozen=True)
class Conditions:
    """Conditions that all must hold: ``named``, pairs of a name and its values or time, and ``texts``, SQL."""

    named: tuple[tuple[str, tuple[str, ...] | datetime], ...] = ()
    texts: tuple[str, ...] = ()

    @classmethod
    def of(cls, where: Where) -> Conditions:
        """``where`` is SQL over the columns, a mapping, a list of conditions, or None for no condition.

        A mapping has the names tenant, source, collection, session, document, speaker (a value, or a list of which one
        must hold; an empty list finds nothing) and after, before (times, or ISO 8601: from the first, and before the
        second), and meant_after, meant_before, the same of the days that a row speaks of. Raises `QueryError` for an
        unknown name, an unreadable time, and a value that is none: None, bytes, an iterator, NaN.
        """
        parts = list(_flat(where, 0))
        texts = tuple(dict.fromkeys(part for part in parts if isinstance(part, str)))
        if sum(map(len, texts)) > values.LONGEST:
            raise values.too_long(max(texts, key=len), sum(map(len, texts)))
        named = dict.fromkeys(pair for part in parts if not isinstance(part, str) for pair in _pairs(part))
        if len(named) + len(texts) > MOST:
            raise QueryError(f"{len(named) + len(texts):,} conditions stand in one list; give at most {MOST:,}.")
        return cls(tuple(named), texts)

    @property
    def vary(self) -> bool:
        """Whether they may hold for one row of a document and not for another; SQL is not looked into."""
        return bool(self.texts) or any(name not in OF_DOCUMENTS for name, _ in self.named)

    def sql(self, schema: pa.Schema, dataset: str) -> str | None:
        """All of it as SQL for rows of ``dataset``, which have this ``schema``; None where nothing is asked.

        Raises `QueryError` for SQL that is not one condition on these columns, and for a column that is not there.
        """
        named = [_named(name, value, schema.names, dataset) for name, value in self.named]
        if not self.texts:
            return all_of(*named)
        from mnemic.conditions.rewrite import rewritten  # sqlglot takes a tenth of a second to import

        return all_of(*named, *(rewritten(text, schema, dataset) for text in self.texts))

    def of_documents(self) -> str | None:
        """The part that a row of `documents` can be asked, as SQL; SQL over `events` is not looked into."""
        of_document = [(name, value) for name, value in self.named if name in OF_DOCUMENTS]
        return all_of(*(_among("id" if name == "document" else name, value) for name, value in of_document))

    def of_columns(self, columns: Collection[str]) -> str | None:
        """The part that is the same in all rows of a document, as SQL for other rows of it, as far as they have it."""
        return all_of(*(_among(name, value) for name, value in self.named if name in OF_DOCUMENTS and name in columns))


def all_of(*conditions: str | None) -> str | None:
    """One condition that holds where all of ``conditions``, SQL of mnemic's own, hold."""
    return values.joined("AND", [one for one in conditions if one]) or None


def _flat(where: Where, depth: int) -> Iterator[str | Mapping[str, Any]]:
    if where is None:
        return
    if isinstance(where, str):
        text = str.__str__(where)
        if text.strip():
            yield text
        return
    if isinstance(where, Mapping):
        yield where
        return
    if not isinstance(where, list | tuple):
        raise QueryError(
            f"{values.shown(where)} is no condition; give SQL, a mapping as {{'tenant': 'team'}}, or a list of them."
        )
    if depth == DEEP:
        raise QueryError(f"Conditions stand in more than {DEEP} lists in each other; put them into one list.")
    for one in where:
        yield from _flat(one, depth + 1)


def _pairs(mapping: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...] | datetime]]:
    for name, value in mapping.items():
        if not isinstance(name, str) or name not in _NAMES:
            near = difflib.get_close_matches(str(name), _NAMES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_NAMES)}."
            raise QueryError(
                f"A search has no condition {values.shown(name)}: {hint} Other columns can be named in SQL."
            )
        if _is_none(value):
            raise QueryError(
                f"The condition {name}={values.shown(value)} has no value, which must not mean every {name}. "
                "Give a value, or leave the name out."
            )
        yield str.__str__(name), values.moment(value, name) if name in _TIMES else _choices(name, value)


def _choices(name: str, value: Any) -> tuple[str, ...]:
    """The alternatives of a condition, each once."""
    if isinstance(value, Iterator):
        raise QueryError(f"The condition {name} has an iterator, which can be read only once; give list(...) of it.")
    if isinstance(value, Mapping):
        raise QueryError(f"The condition {name} has a mapping for a value; give a list, as list(...) of its keys.")
    if isinstance(value, str | bytes | bytearray | memoryview) or not isinstance(value, Iterable) or _is_scalar(value):
        return (_choice(name, value),)
    several = tuple(value)
    if len(several) > MANY:
        raise QueryError(f"The condition {name} has {len(several):,} values; give at most {MANY:,}.")
    return tuple(dict.fromkeys(_choice(name, one) for one in several))


def _choice(name: str, value: Any) -> str:
    as_py = getattr(value, "as_py", None) or (getattr(value, "item", None) if _is_scalar(value) else None)
    value = as_py() if as_py is not None and not isinstance(value, str) else value
    if isinstance(value, str):
        return str.__str__(value)
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if whole or isinstance(value, UUID) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    raise QueryError(
        f"The condition {name} has {values.shown(value)} for a value, neither text nor a number; give its text."
    )


def _is_scalar(value: Any) -> bool:
    """Whether ``value`` is one value of numpy or torch, though it has the methods of an array."""
    return getattr(value, "shape", None) == ()


def _is_none(value: Any) -> bool:
    """Whether ``value`` is None, or what pandas and floats have in the place of it."""
    missing = value is None or type(value).__name__ in ("NAType", "NaTType")
    return missing or (isinstance(value, float) and math.isnan(value))


def _named(name: str, value: tuple[str, ...] | datetime, columns: Collection[str], dataset: str) -> str:
    column = _TIMES[name][0] if name in _TIMES else "speakers" if name == "speaker" else name
    if column not in columns and column.startswith("meant_"):
        raise QueryError(
            f"This bank does not know in {dataset} which days are meant, so that {name} cannot be asked of it. Write "
            "`times: {}` into its recipe and build it again, or ask with after and before when it was said."
        )
    if column not in columns:
        raise QueryError(
            f"This bank has no column {column} in {dataset}, so that {name} cannot be asked of it. If an older mnemic "
            "built it, build it again; else write a condition in SQL over the columns that are there."
        )
    if isinstance(value, datetime):
        return f"{column} {_TIMES[name][1]} {values.timestamp(value)}"
    if name == "speaker":
        return _spoken(value)
    return _among(column, value)


def _spoken(speakers: tuple[str, ...]) -> str:
    quoted = ", ".join(map(values.text, speakers))
    if len(speakers) > 1:
        return f"array_has_any(speakers, make_array({quoted}))"
    return f"array_has(speakers, {quoted})" if speakers else "false"


def _among(column: str, choices: tuple[str, ...] | datetime) -> str:
    assert not isinstance(choices, datetime)
    return f"{column} IN ({', '.join(map(values.text, choices))})" if choices else "false"
