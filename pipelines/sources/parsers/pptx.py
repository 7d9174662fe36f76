"""The text of slides: paragraphs in their order, cells of a table by tabs, and the notes behind each slide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.sources.parsers.process import Part, Unparsed
from pipelines.sources.parsers.xml import events
from pipelines.sources.parsers.zipped import Members, core_properties

PRESENTATION = "ppt/presentation.xml"


def parts(data: bytes, settings: Mapping[str, Any]) -> Iterator[Part]:
    """One part: the slides. It states `pages` (where each slide begins) and ``broken`` slides. Settings: ``notes``."""
    members = Members(data)
    if PRESENTATION not in members:
        raise Unparsed("The file is no presentation, since it has no `ppt/presentation.xml`; save it anew as .pptx.")
    text: list[str] = []
    starts: list[int] = []
    broken: list[int] = []
    length = 0
    slides = _slides(members)
    for number, slide in enumerate(slides, start=1):
        try:
            content = _text(members.read(slide))
            if settings["notes"]:
                for target in members.related(slide).values():
                    if "notesSlide" in target and target in members:
                        content = "\n\n".join(filter(None, (content, _text(members.read(target), notes=True))))
        except Unparsed:
            broken.append(number)
            content = ""
        if content and text:
            text.append("\n\n")
            length += 2
        starts.append(length)
        if content:
            text.append(content)
            length += len(content)
    if slides and len(broken) == len(slides):
        raise Unparsed("None of its slides can be read; save the file anew with the program that made it.")
    stated = {"pages": starts, "count": len(slides), "broken": broken, **core_properties(members)}
    yield stated, "".join(text)


def _slides(members: Members) -> list[str]:
    """The slides in the order of the presentation."""
    related = members.related(PRESENTATION)
    slides = []
    for event, tag, attributes in events(members.read(PRESENTATION)):
        if event == "start" and tag == "sldId":
            # `id` is a number and `r:id` the relation; without namespaces the last one counts, which is the relation.
            target = related.get(attributes.get("id", ""))
            if target:
                slides.append(target)
    return slides


def _text(content: bytes, notes: bool = False) -> str:
    """The paragraphs of a slide; of a page of notes only its body, since it repeats the slide's number and date."""
    paragraphs: list[str] = []
    runs: list[str] = []
    cells: list[str] | None = None
    reading, body = False, not notes
    for event, tag, value in events(content):
        if event == "start":
            if tag == "t":
                reading = True
            elif tag == "br":
                runs.append("\n")
            elif tag == "tab":
                runs.append("\t")
            elif tag == "tr":
                cells = []
            elif tag == "sp" and notes:
                body = False
            elif tag == "ph" and notes:
                body = value.get("type") == "body"
        elif event == "text":
            if reading and body:
                runs.append(value)
        elif tag == "t":
            reading = False
        elif tag == "p":
            line, runs = "".join(runs).strip(), []
            if line and cells is not None:
                cells.append(line)
            elif line:
                paragraphs.append(line)
        elif tag == "tr":
            paragraphs.append("\t".join(cells or ()))
            cells = None
    return "\n".join(line for line in paragraphs if line.strip())
