"""From a question to the documents that it names, and from the best ones to those that their sentences name.

A question that needs two documents names one of them at most: "where was the director of Kiss and Tell born?". The
sentence of the first that is like the question names the second by its title. So a document that the question names is
raised, and so is one that is named by a sentence of the best rows; the more, the better the row and the nearer the
sentence to the question.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from mnemic.links.titles import Titles

NAMED = 0.5
"""Weight of a title that the question has, beside the best score of the search, 1."""

HOP = 0.4
"""Weight of the title that the best sentence names. On the even questions of HotpotQA-100 and MuSiQue-100 0.4 was best
of 0.4, 0.6 and 0.8 for both together."""

WALK = 0.5
"""Weight of the document at which a walk over shared names arrives most, and `BRIDGE` of that which mentions the rarest
name of the best ones. On the same even questions these were best of 0 to 1.2 and 0 to 0.3."""

BRIDGE = 0.15

SOURCES = 5
"""Rows whose sentences are read, the best ones."""

CHARACTERS = 1_000
"""Of a sentence, at most, in which names are looked for."""

TARGETS = 64
"""Documents that one question leads to, at most, each way."""


@dataclass(frozen=True)
class Link:
    """A document is reached: the ``weight`` from above 0 to 1, and the ``reason`` as a phrase."""

    weight: float
    reason: str


@dataclass(frozen=True)
class ReadRow:
    """``texts`` of the row of a document, which is at ``place`` in the titles, and their ``cosines`` to the question.

    ``score`` is the row's, from 0.
    """

    place: int
    score: float
    texts: Sequence[str]
    cosines: Sequence[float]


def named(titles: Titles, question: str, tenants: Collection[int], hubs: Container[int] = ()) -> dict[int, Link]:
    """Place -> link of the documents of ``tenants`` (numbers) that the ``question`` names; places ``hubs`` are none."""
    links: dict[int, Link] = {}
    for name, written in titles.names.find(question, capitals=False):
        for tenant in sorted(tenants):
            for place in titles.homes_of(name, tenant).tolist():
                if len(links) == TARGETS:
                    return links
                if place not in hubs:
                    links.setdefault(place, Link(1.0, f'the question names "{written}"'))
    return links


def linked(titles: Titles, question: str, sources: Iterable[ReadRow], hubs: Container[int] = ()) -> dict[int, Link]:
    """Place -> link of the documents that sentences of ``sources`` name or link to; the best has weight 1.

    Links lead to documents of the same tenant alone. A name that the question has too leads nowhere, nor does a
    document's own; and nothing leads to the places ``hubs``.
    """
    sought = {name for name, _ in titles.names.find(question, capitals=False)}
    best: dict[int, tuple[float, str]] = {}
    for source in sources:
        tenant = int(titles.tenants[source.place])
        stated, called = titles.stated_links(source.place), titles.called(source.place)
        for text, cosine in zip(source.texts, source.cosines, strict=True):
            weight = source.score * cosine
            if weight <= 0:
                continue
            for place, reason in leads(titles, source.place, text[:CHARACTERS], sought, tenant, stated):
                if weight > best.get(place, (0.0, ""))[0] and place not in hubs:
                    best[place] = (weight, reason + called)
    farthest = max((weight for weight, _ in best.values()), default=1.0)
    chosen = sorted(best.items(), key=lambda one: (-one[1][0], one[0]))[:TARGETS]
    return {place: Link(weight / farthest, reason) for place, (weight, reason) in chosen}


def leads(
    titles: Titles,
    source: int,
    text: str,
    sought: Collection[int],
    tenant: int,
    stated: Sequence[tuple[str, Sequence[int]]],
) -> Iterator[tuple[int, str]]:
    """(place, reason) of the documents that a ``text`` of the document at ``source`` names, and that it links to.

    A ``stated`` link is in a text that has its words. The reason ends with the name of the document.
    """
    for name, written in titles.names.find(text):
        if name not in sought and name != titles.own[source]:
            for place in titles.homes_of(name, tenant).tolist():
                yield place, f'named "{written}" in '
    for place in titles.linked_from(source, text):
        yield place, "linked from "
    spaced = " ".join(text.split()) if stated else ""
    for anchor, places in stated:
        if anchor in spaced:
            for place in places:
                yield place, "linked from "
