"""The SQL that a condition may be written in.

sqlglot parses it, with a vocabulary of its own here: the words and signs of conditions and nothing else, so that a
select, a command or a function with a grammar of its own is not even read. As Lance has it, text stands in single or
double quotes, a doubled quote is one quote in it, a backslash is a backslash, and names stand in backticks.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Collection
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.parser import Parser
from sqlglot.tokens import Token, Tokenizer, TokenType

from mnemic.conditions.values import LONGEST, shown, too_long
from mnemic.errors import QueryError
from mnemic.terminal import one_line

DEEPEST = 20
"""Brackets, and signs before a value, that may stand inside each other."""

_SIGNS = {
    "(": TokenType.L_PAREN,
    ")": TokenType.R_PAREN,
    "[": TokenType.L_BRACKET,
    "]": TokenType.R_BRACKET,
    ",": TokenType.COMMA,
    ".": TokenType.DOT,
    "-": TokenType.DASH,
    "+": TokenType.PLUS,
    "*": TokenType.STAR,
    "/": TokenType.SLASH,
    "%": TokenType.MOD,
    "=": TokenType.EQ,
    "<": TokenType.LT,
    ">": TokenType.GT,
    ";": TokenType.SEMICOLON,
    **dict.fromkeys("'`\"{}&^:!|\\~?@#$", TokenType.UNKNOWN),
}
_WORDS = {
    "AND": TokenType.AND,
    "OR": TokenType.OR,
    "NOT": TokenType.NOT,
    "IN": TokenType.IN,
    "IS": TokenType.IS,
    "BETWEEN": TokenType.BETWEEN,
    "LIKE": TokenType.LIKE,
    "ILIKE": TokenType.ILIKE,
    "NULL": TokenType.NULL,
    "TRUE": TokenType.TRUE,
    "FALSE": TokenType.FALSE,
    "DATE": TokenType.DATE,
    "TIMESTAMP": TokenType.TIMESTAMP,
    "AS": TokenType.ALIAS,
    "==": TokenType.EQ,
    "<>": TokenType.NEQ,
    "!=": TokenType.NEQ,
    "<=": TokenType.LTE,
    ">=": TokenType.GTE,
}
_PREFIXES = (TokenType.NOT, TokenType.DASH, TokenType.PLUS)
_OPEN, _CLOSE = (TokenType.L_PAREN, TokenType.L_BRACKET), (TokenType.R_PAREN, TokenType.R_BRACKET)


class _ConditionDialect(Dialect):  # type: ignore[misc]
    class Tokenizer(Tokenizer):  # type: ignore[misc]
        QUOTES: ClassVar = ["'", '"']
        IDENTIFIERS: ClassVar = ["`"]
        STRING_ESCAPES: ClassVar = ["'", '"']
        SINGLE_TOKENS: ClassVar = _SIGNS
        KEYWORDS: ClassVar = _WORDS
        COMMENTS: ClassVar = ["--", ("/*", "*/")]
        COMMANDS: ClassVar[set[Any]] = set()
        NUMERIC_LITERALS: ClassVar[dict[str, Any]] = {}

    class Parser(Parser):  # type: ignore[misc]
        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        FUNCTION_PARSERS: ClassVar = {"CAST": Parser.FUNCTION_PARSERS["CAST"]}
        NO_PAREN_FUNCTIONS: ClassVar[dict[Any, Any]] = {}
        NO_PAREN_FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {}


_DIALECT = _ConditionDialect()
logging.getLogger("sqlglot").addHandler(logging.NullHandler())


def parse(sql: str, columns: Collection[str]) -> exp.Expression:
    """``sql`` as the tree of one expression.

    Raises `QueryError` for text that is not one, that is too long or too deep, and for a column in double quotes, which
    make a text.
    """
    if len(sql) > LONGEST:
        raise too_long(sql, len(sql))
    try:
        tokens = _DIALECT.tokenize(sql)
        while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
            tokens.pop()
        if not tokens:
            raise QueryError(f"The condition {shown(sql)} says nothing; write one, or leave it out.")
        _check(sql, tokens, columns)
        trees = _DIALECT.parser().parse_into(exp.Condition, tokens, sql)
    except SqlglotError as error:
        raise QueryError(_unreadable(sql, error)) from None
    except (RecursionError, ValueError, AttributeError, TypeError, IndexError) as error:
        if isinstance(error, QueryError):
            raise
        raise QueryError(f"The condition {shown(sql)} cannot be read as SQL; write it in simpler terms.") from None
    if len(trees) != 1 or trees[0] is None:
        raise QueryError(f"The condition {shown(sql)} is not one expression; join several by AND.")
    return trees[0]


def _check(sql: str, tokens: list[Token], columns: Collection[str]) -> None:
    depth = prefixes = 0
    for token in tokens:
        kind = token.token_type
        depth += (kind in _OPEN) - (kind in _CLOSE)
        prefixes = prefixes + 1 if kind in _PREFIXES else 0 if kind not in _OPEN else prefixes
        if kind == TokenType.UNKNOWN:
            raise QueryError(f"The condition {shown(sql)} has {token.text!r}, which has no place there; leave it out.")
        if depth < 0:
            raise QueryError(f"The condition {shown(sql)} closes a bracket that it did not open; balance its brackets.")
        if depth > DEEPEST or prefixes > DEEPEST:
            raise QueryError(
                f"The condition {shown(sql)} is nested more than {DEEPEST} deep; write it with fewer brackets."
            )
        if kind == TokenType.STRING and sql[token.start] == '"' and token.text in columns:
            raise QueryError(
                f"The condition {shown(sql)} has {token.text} in double quotes, which make it a text. Write the column "
                f"as {token.text} or `{token.text}`, and text in single quotes."
            )
    if depth:
        raise QueryError(f"The condition {shown(sql)} opens a bracket that it does not close; balance its brackets.")


def _unreadable(sql: str, error: SqlglotError) -> str:
    details = getattr(error, "errors", None)
    reason = str(details[0].get("description", "")) if details else str(error).split("\n")[0]
    return (
        f"The condition {shown(sql)} is no SQL ({one_line(reason, 120).rstrip('.')}). Write one expression, such as "
        "words > 20 AND start_time > date '2026-01-31', with text in single quotes."
    )


def nearest(name: str, names: Collection[str]) -> str:
    """A hint at the one of ``known`` that ``name`` may have meant, with a comma before it; else nothing."""
    near = difflib.get_close_matches(name, sorted(names), n=1)
    return f", but {near[0]}" if near else ""
