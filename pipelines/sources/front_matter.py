"""What stands before the text of a Markdown file between lines of `---`: YAML, read as values and never as objects."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

LARGEST = 64 << 10
"""Characters of front matter; more is text."""

DEEPEST = 16
"""Values in one another, and the document and the stream that they are in."""

MOST = 100
"""Fields, and values of a list."""

_BLOCK = re.compile(r"---[ \t]*\n(.*?)(?<=\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FIELD = re.compile(r"[\w][\w \t-]{0,62}")
_SAME = {"authors": "author", "lang": "language", "permalink": "url", "tag": "tags", "keywords": "tags"} | {
    **{"alias": "aliases", "categories": "tags", "created": "date", "summary": "description"}
}
_LISTS = ("tags", "aliases")


def parted(text: str) -> tuple[dict[str, Any], str, str]:
    """(fields, text behind them, a sentence where they cannot be read). Fields have lower-case names.

    Values are strings, numbers, times in UTC and lists of strings. Aliases of YAML are refused, since a few of them
    stand for a billion values.
    """
    match = _BLOCK.match(text, 0, LARGEST)
    if match is None:
        return {}, text, ""
    import yaml

    try:
        _check(yaml.parse(match[1], Loader=yaml.SafeLoader))
        content = yaml.safe_load(match[1])
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError, AttributeError, TypeError) as error:
        reason = " ".join(str(getattr(error, "problem", None) or error).split())[:120]
        return {}, text, f"Its front matter is not YAML ({reason}), and stays in the text; correct it."
    if content is None:
        return {}, text[match.end() :].lstrip("\n"), ""
    if not isinstance(content, dict):  # a line between two rules
        return {}, text, ""
    return _fields(content), text[match.end() :].lstrip("\n"), ""


def _check(events: Iterable[Any]) -> None:
    """Raises `ValueError` for aliases, and where values are nested so deeply that scanning them takes minutes."""
    depth = 0
    for event in events:
        name = type(event).__name__
        depth += name.endswith("StartEvent") - name.endswith("EndEvent")
        if name == "AliasEvent":
            raise ValueError("it uses aliases")
        if depth > DEEPEST:
            raise ValueError(f"values are nested more than {DEEPEST} deep")


def _fields(content: dict[Any, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in list(content.items())[:MOST]:
        if not isinstance(key, str) or not _FIELD.fullmatch(key):
            continue
        name = re.sub(r"[ \t-]+", "_", key.strip().lower())
        name = _SAME.get(name, name) if _SAME.get(name) not in content else name
        plain = _list(value) if name in _LISTS else _value(value)
        if name == "author" and isinstance(plain, list):
            plain = ", ".join(plain)
        if plain not in (None, "", []):
            fields.setdefault(name, plain)
    return fields


def _list(value: Any) -> list[str]:
    """Tags as people write them: a list, or one string with commas, or spaces where there are none."""
    if isinstance(value, str):
        value = value.split(",") if "," in value else value.split() if "#" in value else [value]
    values = value if isinstance(value, list) else [value]
    plain = [_value(entry) for entry in values[:MOST] if not isinstance(entry, list | dict)]
    return [text for text in (str(entry).strip().lstrip("#") for entry in plain if entry is not None) if text]


def _value(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        return value.strip()[:2000]
    if isinstance(value, list):
        return [
            str(_value(entry)) for entry in value[:MOST] if entry is not None and not isinstance(entry, list | dict)
        ]
    return None
