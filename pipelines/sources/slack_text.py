"""Text of Slack's messages: mentions become names, links their labels, and blocks of bots the text in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from pipelines.sources.json_stream import Damage, JsonStream
from pipelines.sources.json_values import Unusable, kind_of
from pipelines.sources.transcript import usable_name

_MARK = re.compile(r"<([^<>\n]{1,4000})>")
_DEEPEST = 8
"""Levels of blocks that are looked into."""

_PLAIN = {"&lt;": "<", "&gt;": ">", "&amp;": "&"}
_ENTITY = re.compile("|".join(_PLAIN))


def people(file: BinaryIO) -> dict[str, str]:
    """Id -> name of the users that `users.json` lists; closes it. What cannot be read has no name."""
    names: dict[str, str] = {}
    with file:
        try:
            stream = JsonStream(file, 4_000_000)
            stream.enter()
            for element in stream.elements(_is_user):
                if not isinstance(element, Damage) and _is_user(element[1]):
                    name = _name(element[1])
                    if own := usable_name(element[1]["id"]):
                        names[own] = name or own
        except (OSError, Unusable):
            pass
    return names


def message_text(record: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """What a message says, and the names of the files that it shares. Raises `Unusable` for a text that is none."""
    text = record.get("text", "")
    if text is not None and not isinstance(text, str):
        raise Unusable(f"The `text` of the message is {kind_of(text)}, not a string; correct it.")
    words = plain(text or "", names)
    if not words.strip():
        parts = [*_texts(record.get("attachments")), *_texts(record.get("blocks"))]
        words = "\n".join(plain(part, names) for part in dict.fromkeys(parts))
    files = record.get("files")
    shared = (
        [usable_name(file.get("name")) for file in files if isinstance(file, dict)] if isinstance(files, list) else []
    )
    return " ".join(filter(None, (words, *(f"[shares {name}]" for name in shared if name))))


def plain(text: str, names: Mapping[str, str]) -> str:
    """Slack's markup as text: `<@U1>` is a name, `<#C1|general>` a channel, `<https://x|label>` a label and address."""

    def mark(match: re.Match[str]) -> str:
        target, _, label = match[1].partition("|")
        if target.startswith("@"):
            return f"@{names.get(target[1:]) or label or target[1:]}"
        if target.startswith("#"):
            return f"#{label or target[1:]}"
        if target.startswith("!"):
            return label or f"@{target[1:].partition('^')[0]}"
        return f"{label} ({target})" if label and label != target else target

    return _ENTITY.sub(lambda match: _PLAIN[match[0]], _MARK.sub(mark, text))


def _is_user(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("id"), str) and ("profile" in value or "name" in value)


def _name(user: Mapping[str, Any]) -> str:
    profile = user.get("profile")
    profile = profile if isinstance(profile, dict) else {}
    stated = (profile.get("display_name"), user.get("real_name"), profile.get("real_name"), user.get("name"))
    return next(filter(None, map(usable_name, stated)), "")


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    """The texts in attachments and blocks, in their order."""
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for part in value:
            yield from _texts(part, depth + 1)
    elif isinstance(value, dict):
        for key in ("pretext", "title", "text", "fallback" if "text" not in value else "", "elements", "fields"):
            part = value.get(key)
            if isinstance(part, str) and part.strip():
                yield part
            elif isinstance(part, list | dict):
                yield from _texts(part, depth + 1)
