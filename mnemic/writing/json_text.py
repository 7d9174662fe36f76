"""Reads JSON that a model wrote, strictly, and checks it against a schema of the few kinds that our prompts use.

The text may be anything: a fence of Markdown around it is taken off, and nothing else is mended. Repeated keys, NaN and
infinities, numbers of more than 15 digits and nesting deeper than `DEEPEST` are faults.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

LARGEST = 1 << 20
"""Characters of an answer that is parsed."""

DEEPEST = 12
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
"""A string, which may lack its end, or a bracket."""
_FENCE = re.compile(r"\A\s*```(?:json)?[ \t]*\n(.*)\n[ \t]*```\s*\Z", re.DOTALL)


class Malformed(ValueError):
    """The text is no JSON, or not of the schema; the message is a phrase."""


def read_json(text: str, schema: Mapping[str, Any]) -> Any:
    """The value of ``text``. Raises ``Malformed``."""
    if len(text) > LARGEST:
        raise Malformed(f"the answer has {len(text):,} characters, more than {LARGEST:,}")
    fenced = _FENCE.match(text)
    body = fenced[1] if fenced else text
    if _depth(body) > DEEPEST:
        raise Malformed(f"the answer is nested deeper than {DEEPEST}")
    try:
        value = json.loads(
            body, object_pairs_hook=_each_once, parse_constant=_refused, parse_int=_integer, parse_float=_number
        )
    except Malformed:
        raise
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the answer is no JSON ({str(error)[:80]})") from error
    for fault in _faults(value, schema, "the answer"):
        raise Malformed(fault)
    return value


def _depth(text: str) -> int:
    """The deepest nesting of brackets outside of strings, in one pass whatever the text holds."""
    depth = deepest = 0
    for token in _TOKEN.finditer(text):
        if token[0] in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token[0] in "]}":
            depth -= 1
    return deepest


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len({*keys}) < len(keys):
        raise Malformed("the answer has a key twice")
    return dict(pairs)


def _refused(name: str) -> Any:
    raise Malformed(f"the answer holds {name}")


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > 15:
        raise Malformed("the answer holds a number of more than 15 digits")
    return int(digits)


def _number(text: str) -> float:
    if len(text) > 32 or float(text) in (float("inf"), float("-inf")):
        raise Malformed("the answer holds a number that is too long")
    return float(text)


_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def _faults(value: Any, schema: Mapping[str, Any], place: str) -> Iterator[str]:
    """What of ``schema`` does not hold of ``value``, as phrases."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(_is(value, kind) for kind in kinds):
        yield f"{place} is no {' or '.join(kinds)}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place} is none of {', '.join(map(str, schema['enum']))}"
    if isinstance(value, str) and len(value) > schema.get("maxLength", LARGEST):
        yield f"{place} has {len(value):,} characters, more than {schema['maxLength']}"
    if isinstance(value, str) and len(value) < schema.get("minLength", 0):
        yield f"{place} is empty"
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", LARGEST):
            yield f"{place} has {len(value)} items"
            return
        for number, item in enumerate(value):
            yield from _faults(item, schema["items"], f"item {number} of {place}")
    if isinstance(value, dict):
        fields = schema["properties"]
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{place} lacks {name!r}"
        for name, inner in value.items():
            if name not in fields:
                yield f"{place} has {name[:40]!r}, which nobody asked for"
            else:
                yield from _faults(inner, fields[name], f"{name!r} of {place}")


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
