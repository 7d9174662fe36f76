"""Docstrings of a Python file, found by parsing and never by importing.

A docstring is the first string literal of a module, class or function body (PEP 257). Importing a package to read it
runs foreign code, needs its dependencies and takes seconds; `ast` reads the same text from the file alone. Docstrings
are most of the prose of an installed package: in an environment of 78 distributions they are 95 % of the characters
(41.8 of 44.1 million), the rest being documentation files, licences and long descriptions.
"""

from __future__ import annotations

import ast
import inspect
import warnings
from collections import Counter
from collections.abc import Iterator

SHORTEST = 40
"""Docstrings of fewer characters ("Return the name.") say nothing that the signature does not; they are left out."""

Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class UnreadableCode(Exception):
    """The bytes are not a Python file that this interpreter can parse; the message says why and where."""


def docstrings(code: bytes, shortest: int = SHORTEST) -> list[tuple[str, str]]:
    """The docstrings of a file as (qualified name, text), in the order in which they stand.

    The module's own has the name "". Names are dotted (`Array.sum`, `outer.inner`); the second docstring under one name
    (an overload, a property's setter, the other arm of an `if`) ends in `#2`, the third in `#3`. Texts are cleaned as
    by `inspect.cleandoc`.

    Raises `UnreadableCode` for bytes that are not Python.
    """
    entries: list[tuple[str, str]] = []
    seen: Counter[str] = Counter()
    for name, definition in _definitions(parse_code(code)):
        text = _literal(definition)
        text = inspect.cleandoc(text).strip() if text is not None else ""
        if len(text) < shortest:
            continue
        seen[name] += 1
        entries.append((name if seen[name] == 1 else f"{name}#{seen[name]}", text))
    return entries


def parse_code(code: bytes) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's code are no concern of the reader
            return ast.parse(code)
    except SyntaxError as error:
        line = f" in line {error.lineno}" if error.lineno else ""
        raise UnreadableCode(f"{error.msg}{line}") from error
    except RecursionError as error:
        raise UnreadableCode("expressions are nested too deeply") from error
    except (ValueError, MemoryError) as error:
        raise UnreadableCode(str(error) or type(error).__name__) from error


def _definitions(module: ast.Module) -> Iterator[tuple[str, Definition]]:
    """Modules, classes and functions in source order. A stack, since nesting is the file's choice, not ours.

    Definitions are statements, so only lists of statements are searched: expressions are most of a tree's nodes.
    """
    stack: list[tuple[str, ast.AST]] = [("", module)]
    while stack:
        name, node = stack.pop()
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{name}.{node.name}" if name else node.name
            yield name, node
        elif isinstance(node, ast.Module):
            yield name, node
        inner = [
            child for field in ("body", "handlers", "cases", "orelse", "finalbody") for child in _list(node, field)
        ]
        stack.extend((name, child) for child in reversed(inner))


def _list(node: ast.AST, field: str) -> list[ast.AST]:
    children = getattr(node, field, None)
    return children if isinstance(children, list) else []


def _literal(definition: Definition) -> str | None:
    first = definition.body[0] if definition.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return first.value.value
    return None
