"""Docstrings by parsing, against the standard library's own `ast.walk` and `ast.get_docstring`."""

from __future__ import annotations

import argparse
import ast
import asyncio.events
import typing
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources.docstrings import UnreadableCode, docstrings

LONG = "A sentence that is long enough to be worth a document."


def oracle(code: str, shortest: int) -> Counter[str]:
    """Every docstring of a file, by visiting every node of its tree."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    docstrings = (ast.get_docstring(node) for node in ast.walk(ast.parse(code)) if isinstance(node, kinds))
    return Counter(text.strip() for text in docstrings if text is not None and len(text.strip()) >= shortest)


@pytest.mark.parametrize("module", [argparse, typing, asyncio.events, ast])
def test_same_docstrings_as_the_standard_library_finds(module: object) -> None:
    with open(str(module.__file__), "rb") as file:  # type: ignore[attr-defined]
        code = file.read()
    entries = docstrings(code)
    assert len(entries) > 5
    assert Counter(text for _, text in entries) == oracle(code.decode(), 40)
    assert len({name for name, _ in entries}) == len(entries)


def test_names_are_qualified_and_in_source_order() -> None:
    code = f'''
"""{LONG} module"""
class Array:
    """{LONG} class"""
    def sum(self):
        """{LONG} sum"""
        def inner():
            """{LONG} inner"""
try:
    async def fetch():
        """{LONG} fetch"""
except ImportError:
    def fetch():
        """{LONG} other"""
else:
    if True:
        def _private():
            """{LONG} private"""
match 1:
    case 1:
        def fetch():
            """{LONG} third"""
'''
    assert [(name, text.rsplit(" ", 1)[1]) for name, text in docstrings(code.encode())] == [
        ("", "module"),
        ("Array", "class"),
        ("Array.sum", "sum"),
        ("Array.sum.inner", "inner"),
        ("fetch", "fetch"),
        ("fetch#2", "other"),
        ("_private", "private"),
        ("fetch#3", "third"),
    ]


def test_short_docstrings_and_other_strings_are_left_out() -> None:
    code = f'def a():\n    "Return the name."\ndef b():\n    x = 1\n    "{LONG}"\n'
    code += f'def c():\n    f"{LONG}"\ndef d():\n    b"{LONG}"\n'
    assert docstrings(code.encode()) == []
    assert docstrings(code.encode(), shortest=5) == [("a", "Return the name.")]


def test_indentation_is_taken_away() -> None:
    code = f'def a():\n    """{LONG}\n\n        indented\n    flush\n    """\n'
    assert docstrings(code.encode()) == [("a", f"{LONG}\n\n    indented\nflush")]


def test_the_coding_cookie_is_honoured() -> None:
    code = f'# -*- coding: latin-1 -*-\n"""{LONG} Café."""\n'
    assert docstrings(code.encode("latin-1")) == [("", f"{LONG} Café.")]


@pytest.mark.parametrize(
    "code",
    [
        b"def broken(:\n",
        b"print 'Python 2'\n",
        b"x = '\xff'\n",
        b"\0",
        b"(" * 5000 + b")" * 5000,
        b"x = " + b"-" * 100_000 + b"1",
    ],
)
def test_unreadable_code_is_told_with_a_reason(code: bytes) -> None:
    with pytest.raises(UnreadableCode) as error:
        docstrings(code)
    assert str(error.value)


def test_foreign_warnings_stay_silent(recwarn: pytest.WarningsRecorder) -> None:
    assert docstrings(f'"""{LONG}"""\nx = "\\d"\nassert (1, "x")\n1 is 1\n'.encode())
    assert not recwarn.list


def test_nothing_is_executed() -> None:
    assert docstrings(f'"""{LONG}"""\nraise SystemExit(1)\n'.encode()) == [("", LONG)]


def test_depth_is_bounded_by_the_parser_only() -> None:
    depth = 90
    code = "".join(" " * level + f"class C{level}:\n" for level in range(depth)) + " " * depth + f'"""{LONG}"""\n'
    assert docstrings(code.encode()) == [(".".join(f"C{level}" for level in range(depth)), LONG)]


blocks = st.recursive(
    st.sampled_from(["pass", "x = 1", "'not first, long enough to be taken for a docstring by mistake'"]),
    lambda inner: st.tuples(
        st.sampled_from(["def f():", "async def g():", "class C:", "if x:", "for y in z:", "with a:", "while b:"]),
        st.booleans(),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=12,
)


def write(block: object, level: int) -> str:
    indent = "    " * level
    if isinstance(block, str):
        return f"{indent}{block}\n"
    head, documented, inner = typing.cast(tuple[str, bool, list[object]], block)
    doc = f'{indent}    """{LONG}\n\n{indent}    Level {level} of {head}"""\n' if documented else ""
    return f"{indent}{head}\n{doc}" + "".join(write(child, level + 1) for child in inner)


@settings(max_examples=60)
@given(st.lists(blocks, max_size=4))
def test_any_nesting_gives_what_ast_walk_gives(tree: list[object]) -> None:
    code = "".join(write(block, 0) for block in tree)
    entries = docstrings(code.encode())
    assert Counter(text for _, text in entries) == oracle(code, 40)
    assert len({name for name, _ in entries}) == len(entries)
    assert entries == docstrings(code.encode())
