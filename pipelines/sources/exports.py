"""What exports of conversations with assistants have in common: one JSON file, a list with an object a conversation.

A damaged conversation is not lost: the messages of it that can be decoded are put together again, and told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from pipelines.sources.contracts import Document, Reject
from pipelines.sources.json_stream import Damage, JsonStream, Like, streamed
from pipelines.sources.json_values import kind_of

_MOST_STRANGERS = 1_000
"""Elements without the layout that are told one by one."""

Take = Callable[[Any, int], Iterator[Document | Reject]]
"""Reads a conversation, the second value being its number in the file."""


@dataclass(frozen=True)
class ExportLayout:
    """How an assistant's export lays out conversations. What makes one returns None where it cannot."""

    owner: str
    like: Like  # whether a value is a conversation
    salvage: Callable[[str], Any]  # makes one of what can be read of damaged text
    renamed: Callable[[dict[str, Any]], Any]  # makes one of an object whose key of the messages is damaged


def export_name(locator: str) -> str:
    """What the export that a file belongs to is called: like its folder, or like the file where it has none."""
    folder, name = os.path.split(locator)
    stem = os.path.splitext(name)[0]
    return folder if folder and stem.lower().startswith("conversations") else os.path.splitext(locator)[0]


def conversations(
    file: BinaryIO, locator: str, limit: int, layout: ExportLayout, take: Take
) -> Iterator[Document | Reject]:
    """The conversations of a file of this layout, as ``take`` reads them."""

    def read(stream: JsonStream) -> Iterator[Document | Reject]:
        strangers: list[Reject] = []
        count = 0
        stream.enter()
        for element in stream.elements(layout.like, keep=True):
            if isinstance(element, Damage):
                place = f"{locator}#{element.number}"
                value = layout.salvage(element.text)
                yield Reject(place, f"{_rest(value)} {element.reason}")
                if value is None:
                    continue
                number = element.number
            else:
                number, value = element
            if not layout.like(value) and isinstance(value, dict) and (other := layout.renamed(value)) is not None:
                yield Reject(f"{locator}#{number}", f"The messages of entry {number} stand under another key.", "note")
                value = other
            if layout.like(value):
                count += 1
                yield from take(value, number)
            elif len(strangers) < _MOST_STRANGERS:
                reason = f"Entry {number} is {kind_of(value)} that is no conversation of {layout.owner}; leave it out."
                strangers.append(Reject(f"{locator}#{number}", reason))
        if count:
            yield from strangers
        elif strangers:
            yield Reject(locator, f"The file holds no conversations of {layout.owner}; leave it out.", "empty")

    yield from streamed(file, locator, limit, read)


def _rest(value: Any) -> str:
    return "The conversation cannot be read." if value is None else "A part of the conversation cannot be read."
