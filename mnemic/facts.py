"""Facts that a bank holds as JSON: releases, records of steps, configurations.

A bank may be damaged, or come from somebody else, so nothing of this is trusted: a text is read within limits, and what
it says has the expected shape, or a sentence tells which part of the bank has not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mnemic.errors import BankError, MnemicError
from mnemic.terminal import one_line

LONGEST = 16 << 20
"""Characters of one text."""

DEEPEST = 64
"""Lists and mappings inside one another."""

ADVICE = (
    "The bank is damaged, or mnemic did not write it: `mnemic verify` names the files that changed, and `mnemic show` "
    "with --release opens an earlier release."
)


def parsed(text: Any, place: str) -> Any:
    """The JSON value of ``text``, which stands in the bank at ``place``. Raises ``BankError`` where it is none."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    if not isinstance(text, str):
        raise BankError(f"{place} holds no text. {ADVICE}")
    if len(text) > LONGEST:
        raise BankError(f"{place} has {len(text):,} characters, and at most {LONGEST:,} are read. {ADVICE}")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BankError(f"{place} is no JSON ({one_line(str(error), 80)}). {ADVICE}") from error
    if _deeper(value, DEEPEST):
        raise BankError(f"{place} has more than {DEEPEST} lists inside one another. {ADVICE}")
    return value


def mapping(text: Any, place: str) -> dict[str, Any]:
    """The JSON object of ``text``. Raises ``BankError`` where it is another value, or none."""
    value = parsed(text, place)
    if not isinstance(value, dict):
        raise BankError(f"{place} is {_kind(value)}, not an object. {ADVICE}")
    return value


def numbers(text: Any, place: str) -> list[int]:
    """The whole numbers of ``text``, a JSON list. Raises ``BankError`` where it is another value."""
    value = parsed(text, place)
    if not isinstance(value, list) or not all(type(one) is int for one in value):
        raise BankError(f"{place} is no list of whole numbers. {ADVICE}")
    return value


def check_types(values: Mapping[str, Any], types: Mapping[str, type | tuple[type, ...]], place: str) -> None:
    """Raise ``BankError`` where ``values`` lacks a name of ``types``, or has a value of another type under it."""
    for name, kinds in types.items():
        if name not in values:
            raise BankError(f"{place} has no {name!r}. {ADVICE}")
        if not isinstance(values[name], kinds) or (isinstance(values[name], bool) and kinds is int):
            raise BankError(f"{place} has {_kind(values[name])} as {name!r}. {ADVICE}")


@contextmanager
def consistent(what: str, bank: str) -> Iterator[None]:
    """Turn errors of values that contradict each other into a ``BankError``: a damaged row may name what is not there.

    ``what`` says in the plural which values they are. For code that works on the values of a bank alone: an error of a
    caller's argument would be taken for one of the bank.
    """
    try:
        yield
    except MnemicError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, StopIteration) as error:
        reason = f"{type(error).__name__}: {one_line(str(error), 100)}"
        raise BankError(
            f"{what} of {bank} do not fit together ({reason}). `mnemic verify {bank} --deep` says whether a file has "
            "changed since it was written; if none has, this is a fault of mnemic. Another release opens with "
            "--release, and a build makes a new one."
        ) from error


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "nothing"}
    return names.get(type(value), "a number")


def _deeper(value: Any, depth: int) -> bool:
    layer = [value]
    for _ in range(depth):
        layer = [inner for outer in layer if isinstance(outer, dict | list) for inner in _inside(outer)]
        if not layer:
            return False
    return True


def _inside(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value
