"""A condition written by a user, checked against the columns that there are, and written as SQL for Lance.

The SQL comes from the tree alone, with a bracket around every part, so that nothing in it ends an expression around it.
Only the nodes that are named here pass. ``NOT`` is carried down to the comparisons, and long chains of AND and OR are
written in groups: Lance takes time that doubles with every NOT inside a NOT, and ends the process in a chain of tens of
thousands.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pyarrow as pa
from sqlglot import exp

from mnemic.conditions import values
from mnemic.conditions.functions import FUNCTIONS, Call
from mnemic.conditions.grammar import DEEPEST, nearest, parse
from mnemic.conditions.terms import LIST, NUMBER, OTHER, TEXT, TRUTH, Term, beside, kind_of, literal
from mnemic.errors import QueryError

_COMPARISONS = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM",
    exp.NullSafeNEQ: "IS DISTINCT FROM",
}
_ARITHMETIC = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%"}
_LOGIC = (exp.And, exp.Or, exp.Not)
_PREDICATES = (*_COMPARISONS, *_LOGIC, exp.In, exp.Between, exp.Like, exp.ILike, exp.Is, exp.Escape)
_MOST_NUMBER = 2**64
_FORMS = (
    "comparisons, AND, OR, NOT, IN, BETWEEN, LIKE, ILIKE, IS NULL, date '2026-01-31', "
    f"timestamp '2026-01-31 09:30:00', + - * / %, and {', '.join(sorted(FUNCTIONS))}"
)


def rewritten(sql: str, schema: pa.Schema, dataset: str) -> str:
    """The condition ``sql`` over rows of ``dataset``, which have this ``schema``, as SQL that means the same.

    Raises `QueryError` for text that is not one expression of truth over these columns, or that says more than a
    condition may.
    """
    tree = parse(sql, schema.names)
    try:
        return _Writer(schema, dataset).truth(tree, 0)
    except RecursionError:
        raise QueryError(
            f"The condition {values.shown(sql)} is nested too deep; write it with fewer brackets."
        ) from None
    except QueryError as error:
        raise QueryError(f"The condition {values.shown(sql)} cannot be applied to {dataset}: {error}") from None


class _Writer:
    """Writes the nodes of one condition."""

    def __init__(self, schema: pa.Schema, dataset: str) -> None:
        self._types = {field.name: field.type for field in schema}
        self._dataset = dataset

    def truth(self, node: exp.Expression, depth: int, negated: bool = False) -> str:
        """An expression of truth as SQL; ``negated``, its contrary (unknown stays unknown)."""
        _bounded(depth)
        while isinstance(node, exp.Paren | exp.Not):
            negated ^= isinstance(node, exp.Not)
            node = node.this
        if isinstance(node, exp.And | exp.Or):
            word = "AND" if isinstance(node, exp.And) != negated else "OR"
            return values.joined(word, [self.truth(part, depth + 1, negated) for part in _parts(node)])
        if isinstance(node, exp.Boolean):
            return "true" if bool(node.this) != negated else "false"
        if isinstance(node, exp.Is):
            return self._is(node, depth, negated)
        sql = self._predicate(node, depth)
        return f"NOT ({sql})" if negated else sql

    def term(self, node: exp.Expression, depth: int) -> Term:
        """An operand; one of truth only in brackets, as a column, a function, or true and false."""
        _bounded(depth)
        if isinstance(node, exp.Paren):
            inner = node.this
            if isinstance(inner, _PREDICATES):
                return Term(f"({self.truth(inner, depth + 1)})", TRUTH)
            return self.term(inner, depth + 1)
        if isinstance(node, _PREDICATES):
            raise QueryError("a comparison is compared; put it in brackets.")
        if isinstance(node, exp.Column):
            return self._column(node)
        if isinstance(node, exp.Boolean):
            return literal(bool(node.this))
        if isinstance(node, exp.Literal):
            return literal(str(node.this) if node.is_string else _number(str(node.this)))
        if isinstance(node, exp.Neg):
            return self._negative(self.term(node.this, depth + 1))
        if isinstance(node, exp.Cast):
            return _cast(node)
        if type(node) in _ARITHMETIC:
            return self._arithmetic(node, depth)
        if isinstance(node, exp.Anonymous):
            return self._call(node, depth)
        if isinstance(node, exp.Null):
            raise QueryError("nothing equals NULL; write IS NULL or IS NOT NULL.")
        raise _unsupported(node)

    def _predicate(self, node: exp.Expression, depth: int) -> str:
        if type(node) in _COMPARISONS:
            left, right = self.term(node.this, depth + 1), self.term(node.expression, depth + 1)
            sign = _COMPARISONS[type(node)]
            if left.kind == TRUTH and sign in ("<", "<=", ">", ">="):
                raise QueryError("true and false have no order; use = or <>.")
            return f"{beside(left, right)} {sign} {beside(right, left)}"
        if isinstance(node, exp.In):
            return self._among(node, depth)
        if isinstance(node, exp.Between):
            value, low, high = (self.term(node.args[name], depth + 1) for name in ("this", "low", "high"))
            if value.kind == TRUTH:
                raise QueryError("true and false have no order; use = or <>.")
            return f"{_subject(value, low)} BETWEEN {beside(low, value)} AND {beside(high, value)}"
        if isinstance(node, exp.Like | exp.ILike):
            return self._like(node, depth)
        if isinstance(node, exp.Escape):
            raise QueryError("LIKE takes no ESCAPE; write \\% and \\_ for the signs themselves.")
        term = self.term(node, depth)
        if term.kind != TRUTH:
            raise QueryError(f"{term.sql} is {term.kind}, not true or false; compare it with a value.")
        return term.sql

    def _among(self, node: exp.In, depth: int) -> str:
        if {name for name, value in node.args.items() if value} - {"this", "expressions"} or not node.expressions:
            raise QueryError("IN needs a list of values, such as source IN ('wiki', 'mail').")
        value = self.term(node.this, depth + 1)
        choices = [self.term(choice, depth + 1) for choice in node.expressions]
        return f"{_subject(value, choices[0])} IN ({', '.join(beside(choice, value) for choice in choices)})"

    def _like(self, node: exp.Like | exp.ILike, depth: int) -> str:
        value, pattern = self.term(node.this, depth + 1), self.term(node.expression, depth + 1)
        if value.kind != TEXT or not isinstance(pattern.literal, str):
            raise QueryError("LIKE compares text with a pattern in quotes, such as tenant LIKE 'team%'.")
        word = "LIKE" if isinstance(node, exp.Like) else "ILIKE"
        return f"{value.sql} {'NOT ' if node.args.get('negate') else ''}{word} {pattern.sql}"

    def _is(self, node: exp.Is, depth: int, negated: bool) -> str:
        value, what = self.term(node.this, depth + 1), node.expression
        word = "IS NOT" if bool(node.args.get("negate")) != negated else "IS"
        if isinstance(what, exp.Null):
            return f"{value.sql} {word} NULL"
        if isinstance(what, exp.Boolean) and value.kind == TRUTH:
            return f"{value.sql} {word} {'TRUE' if what.this else 'FALSE'}"
        raise QueryError("IS takes NULL, or TRUE and FALSE of what is true or false; use = for values.")

    def _column(self, node: exp.Column) -> Term:
        identifier = node.this
        if not isinstance(identifier, exp.Identifier) or any(
            node.args.get(name) for name in ("table", "db", "catalog")
        ):
            raise QueryError("columns are named alone; leave out what stands before the dot.")
        named = str(identifier.this)
        names = [name for name in self._types if name == named] or [
            name for name in self._types if name.lower() == named.lower()
        ]
        if len(names) != 1 or set("`'\"") & set(names[0]):
            hint = nearest(named, self._types)
            raise QueryError(
                f"there is no column {values.shown(named)}{hint}. Write SQL over {', '.join(self._types)}; times as "
                "start_time > date '2026-01-31', text in single quotes."
            )
        kind = self._types[names[0]]
        return Term(f"`{names[0]}`", kind_of(kind), None, kind)

    def _negative(self, term: Term) -> Term:
        if term.kind != NUMBER:
            raise QueryError(f"{term.sql} is {term.kind} and has no negative; write - before numbers only.")
        if isinstance(term.literal, int | float):
            return literal(-term.literal)
        return Term(f"(- {term.sql})", NUMBER)

    def _arithmetic(self, node: exp.Expression, depth: int) -> Term:
        sign = _ARITHMETIC[type(node)]
        left, right = self.term(node.this, depth + 1), self.term(node.expression, depth + 1)
        if (left.kind, right.kind) != (NUMBER, NUMBER):
            raise QueryError(f"{left.sql} {sign} {right.sql} is no sum of numbers; times are compared, not added.")
        if sign in "/%" and not right.literal:
            raise QueryError(f"{left.sql} is divided by {right.sql}; divide by a number other than 0.")
        return Term(f"({left.sql} {sign} {right.sql})", NUMBER)

    def _call(self, node: exp.Anonymous, depth: int) -> Term:
        name = str(node.this).lower()
        if name not in FUNCTIONS:
            raise QueryError(f"there is no function {values.shown(name)}; known are {', '.join(sorted(FUNCTIONS))}.")
        arguments = [
            _array([self.term(one, depth + 2) for one in items])
            if (items := _items(argument)) is not None
            else self.term(argument, depth + 1)
            for argument in node.expressions
        ]
        return FUNCTIONS[name](Call(name, arguments, self._dataset, frozenset(self._types)))


def _parts(node: exp.Expression) -> list[exp.Expression]:
    """The operands of a chain of one word, in order, without the brackets that make no difference."""
    kind, parts, waiting = type(node), [], [node]
    while waiting:
        node = waiting.pop()
        while isinstance(node, exp.Paren):
            node = node.this
        if type(node) is kind:
            waiting += [node.expression, node.this]
        else:
            parts.append(node)
    return parts


def _bounded(depth: int) -> None:
    if depth > 2 * DEEPEST:
        raise QueryError("it is nested too deep; write it with fewer brackets and signs.")


def _subject(value: Term, other: Term) -> str:
    """The value that is looked for in a list or a range. A literal is written for the columns there, too."""
    if value.kind == OTHER:
        raise QueryError(f"{value.sql} holds {OTHER} to compare; ask whether it IS NULL.")
    return beside(value, other)


def _number(digits: str) -> int | float:
    value = float(digits)
    if (abs(value) > _MOST_NUMBER and digits.isdigit()) or value in (float("inf"), float("-inf")):
        raise QueryError(f"{values.shown(digits)} is larger than any number that a bank holds; write a smaller one.")
    return int(digits) if digits.isdigit() else value


def _cast(node: exp.Cast) -> Term:
    """``date '...'``, ``timestamp '...'`` and the same as CAST('...' AS ...): a time."""
    to, value = node.to, node.this
    name = getattr(to.this, "name", "").lower()
    if name not in ("date", "timestamp") or to.expressions or not isinstance(value, exp.Literal) or not value.is_string:
        raise QueryError("a cast makes a date or a timestamp of a text, as in date '2026-01-31'; leave out others.")
    if name == "date":
        try:
            return literal(datetime.combine(date.fromisoformat(str(value.this)), datetime.min.time()))
        except ValueError:
            raise QueryError(
                f"date {values.shown(str(value.this))} is no day; write it as date '2026-01-31'."
            ) from None
    return literal(values.moment(str(value.this), "timestamp "))


def _items(node: Any) -> list[exp.Expression] | None:
    """The values of ['a', 'b'] and make_array('a', 'b'); None for another node."""
    if isinstance(node, exp.Array) or (isinstance(node, exp.Anonymous) and str(node.this).lower() == "make_array"):
        return list(node.expressions)
    return None


def _array(items: list[Term]) -> Term:
    if not items or any(item.literal is None or item.kind != items[0].kind for item in items):
        raise QueryError("a list holds values of one kind, such as ['Ada', 'Ben']; give at least one.")
    return Term(f"make_array({', '.join(item.sql for item in items)})", LIST, items[0].literal)


def _unsupported(node: Any) -> QueryError:
    return QueryError(f"{values.shown(type(node).__name__)} is not supported there; a condition may have {_FORMS}.")
