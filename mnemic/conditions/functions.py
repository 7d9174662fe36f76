"""The functions that a condition may call, each with the arguments that it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from mnemic.conditions import values
from mnemic.conditions.terms import LIST, NUMBER, TEXT, TIME, TRUTH, Term, beside, kind_of
from mnemic.errors import QueryError
from mnemic.kept import KEPT, expand

PARTS = ("year", "quarter", "month", "week", "day", "doy", "dow", "hour", "minute", "second")
"""Of a time, what `date_part` tells."""


@dataclass(frozen=True)
class Call:
    """A call of a function on rows of ``dataset``, which has ``columns``."""

    name: str
    arguments: list[Term]
    dataset: str
    columns: frozenset[str]

    def sql(self, *arguments: str) -> str:
        return f"{self.name}({', '.join(arguments)})"


def _plain(result: str, *kinds: str) -> Callable[[Call], Term]:
    """A function of arguments of these kinds, in this order."""

    def write(call: Call) -> Term:
        if tuple(argument.kind for argument in call.arguments) != kinds:
            raise QueryError(f"{call.name} takes {' and '.join(kinds)}; give these.")
        return Term(call.sql(*(argument.sql for argument in call.arguments)), result)

    return write


def _pattern(call: Call) -> Term:
    kinds = [argument.kind for argument in call.arguments]
    if kinds not in ([TEXT] * 2, [TEXT] * 3) or any(argument.literal is None for argument in call.arguments[1:]):
        raise QueryError("regexp_like takes text and a pattern in quotes, such as regexp_like(text, 'v[0-9]+').")
    return Term(call.sql(*(argument.sql for argument in call.arguments)), TRUTH)


def _first_known(call: Call) -> Term:
    if len(call.arguments) < 2:
        raise QueryError("coalesce takes a column and what stands for a missing value, such as coalesce(score, 0.0).")
    first = call.arguments[0]
    sql = [beside(first, call.arguments[1]), *(beside(other, first) for other in call.arguments[1:])]
    return Term(call.sql(*sql), first.kind)


def _holds(call: Call) -> Term:
    column, value = _list_and(call)
    element = Term("an element", kind_of(column.type.value_type), None, column.type.value_type)  # type: ignore[union-attr]
    return Term(call.sql(column.sql, beside(value, element)), TRUTH)


def _overlaps(call: Call) -> Term:
    column, value = _list_and(call)
    text_list = kind_of(column.type.value_type) == TEXT  # type: ignore[union-attr]
    if value.kind != LIST or value.literal is None or isinstance(value.literal, str) != text_list:
        raise QueryError(f"{call.name} takes a column and values like its own, such as ['Ada', 'Ben']; give these.")
    return Term(call.sql(column.sql, value.sql), TRUTH)


def _list_and(call: Call) -> tuple[Term, Term]:
    if len(call.arguments) != 2 or call.arguments[0].type is None or not pa.types.is_list(call.arguments[0].type):
        raise QueryError(f"{call.name} takes a column of lists and a value, such as {call.name}(speakers, 'Ada').")
    return call.arguments[0], call.arguments[1]


def _part_of_time(call: Call) -> Term:
    arguments = call.arguments
    if len(arguments) != 2 or arguments[1].kind != TIME or str(arguments[0].literal).lower() not in PARTS:
        raise QueryError(f"date_part takes one of {', '.join(PARTS)}, in quotes, and a time; give these.")
    return Term(call.sql(values.text(str(arguments[0].literal).lower()), arguments[1].sql), NUMBER)


def _not_a_number(call: Call) -> Term:
    if len(call.arguments) != 1 or call.arguments[0].type is None or not pa.types.is_floating(call.arguments[0].type):
        raise QueryError("isnan takes a column of fractions, such as isnan(score).")
    return Term(call.sql(call.arguments[0].sql), TRUTH)


def _kept(call: Call) -> Term:
    """`mnemic.kept.KEPT`, written out here: nothing that a user writes is expanded later."""
    if call.arguments or call.dataset != "documents":
        raise QueryError("kept() asks rows of documents, without arguments, which of them are no duplicates.")
    return Term(f"({expand(KEPT, call.columns)})", TRUTH)


FUNCTIONS: Mapping[str, Callable[[Call], Term]] = {
    **dict.fromkeys(("lower", "upper"), _plain(TEXT, TEXT)),
    **dict.fromkeys(("length", "char_length", "character_length"), _plain(NUMBER, TEXT)),
    **dict.fromkeys(("starts_with", "ends_with", "contains"), _plain(TRUTH, TEXT, TEXT)),
    **dict.fromkeys(("array_length", "cardinality"), _plain(NUMBER, LIST)),
    **dict.fromkeys(("array_has", "array_contains", "list_has", "list_contains"), _holds),
    **dict.fromkeys(("array_has_any", "array_has_all"), _overlaps),
    "strpos": _plain(NUMBER, TEXT, TEXT),
    "abs": _plain(NUMBER, NUMBER),
    "regexp_like": _pattern,
    "coalesce": _first_known,
    "date_part": _part_of_time,
    "isnan": _not_a_number,
    "kept": _kept,
}
