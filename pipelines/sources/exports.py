"""What exports of conversations with assistants have in common: one JSON file, a list with an object a conversation.

A damaged conversation is not lost: the messages of it that can be decoded are put together again, and told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from pipelines.sources.contracts import Document, Reject
from pipelines.sources.json_stream import Damage, JsonStream, Like, streamed
from pipelines.sources.json_values import kind_of

_MOST_STRANGERS = 1_000
"""Elements without the layout that are told one by one."""

Take = Callable[[Any, int], Iterator[Document | Reject]]
"""Reads a conversation, the second value being its number in the file."""

Salvage = Callable[[str], Any]
"""What can be read of the text of a damaged conversation: one with fewer messages, or None."""


def export_name(locator: str) -> str:
    """What the export that a file belongs to is called: like its folder, or like the file where it has none."""
    folder, name = os.path.split(locator)
    stem = os.path.splitext(name)[0]
    return folder if folder and stem.lower().startswith("conversations") else os.path.splitext(locator)[0]


def conversations(
    file: BinaryIO, locator: str, limit: int, like: Like, layout: str, take: Take, salvage: Salvage
) -> Iterator[Document | Reject]:
    """The conversations of a file, as ``take`` reads those that are ``like`` them; ``layout`` says whose they are."""

    def read(stream: JsonStream) -> Iterator[Document | Reject]:
        strangers: list[Reject] = []
        count = 0
        for element in _elements(stream, like):
            if isinstance(element, Damage):
                place = f"{locator}#{element.number}"
                value = salvage(element.text)
                yield Reject(place, f"{_rest(value)} {element.reason}")
                if value is None:
                    continue
                number = element.number
            else:
                number, value = element
            if like(value):
                count += 1
                yield from take(value, number)
            elif len(strangers) < _MOST_STRANGERS:
                reason = f"Entry {number} is {kind_of(value)} that is no conversation of {layout}; leave it out."
                strangers.append(Reject(f"{locator}#{number}", reason))
        if count:
            yield from strangers
        elif strangers:
            yield Reject(locator, f"The file holds no conversations of {layout}; leave it out.", "empty")

    yield from streamed(file, locator, limit, read)


def _elements(stream: JsonStream, like: Like) -> Iterator[tuple[int, Any] | Damage]:
    if stream.peek() == "[":
        stream.enter()
        yield from stream.elements(like, keep=True)
    else:
        yield 1, stream.value()


def _rest(value: Any) -> str:
    return "The conversation cannot be read." if value is None else "A part of the conversation cannot be read."
