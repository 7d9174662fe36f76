"""XML from anybody: a stream of events, by expat, that declares no entities and has an end.

An entity that is declared can stand for a billion others, or for a file of this machine, and no format that is read
here needs one; so a document that declares any is refused. Names are local: namespaces are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

from pipelines.sources.parsers.process import Unparsed

DEEPEST = 256
"""Elements in one another."""

_PIECE = 1 << 16

Event = tuple[str, str, Any]
"""("start", name, attributes), ("text", "", text) or ("end", name, None)."""


def events(data: bytes) -> Iterator[Event]:
    """The events of a document in order. Raises `Unparsed` where it is not XML, or none that is read."""
    queue: list[Event] = []
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise Unparsed(f"Its XML has more than {DEEPEST} elements in one another; save it anew, simplified.")
        queue.append(("start", local(name), {local(key): value for key, value in attributes.items()}))

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        queue.append(("end", local(name), None))

    def entity(*_: object) -> None:
        raise Unparsed("Its XML declares entities, as bombs do; save it anew with the program that made it.")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda text: queue.append(("text", "", text))
    parser.EntityDeclHandler = entity
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    for place in range(0, len(data) + 1, _PIECE):
        fault: Unparsed | None = None
        try:
            parser.Parse(data[place : place + _PIECE], place + _PIECE > len(data))
        except Unparsed as error:
            fault = error
        except (expat.ExpatError, ValueError, LookupError) as error:
            fault = Unparsed(f"Its XML is damaged ({error}); save it anew with the program that made it.")
        yield from queue  # what stands before a fault is as good as it was
        queue.clear()
        if fault is not None:
            raise fault


def local(name: str) -> str:
    return name.rpartition(" ")[2]
