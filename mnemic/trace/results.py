"""Results of tracing and of exact search, for people and programs. Texts are of the corpus and stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, overload

from mnemic.terminal import one_line


@dataclass(frozen=True)
class TracedDocument:
    """A document that has a span: ``count`` places, the first of them at its characters ``start`` to ``end``."""

    document: str
    source: str
    locator: str
    collection: str
    tenant: str
    start: int
    end: int
    count: int


@dataclass(frozen=True)
class TracedSpan:
    """``text``, the characters ``start`` to ``end`` of a traced text, has ``tokens`` and stands in the bank.

    It does at ``count`` places in ``documents`` documents; ``sources`` are the first of these. ``surprise`` in nats
    says how unlikely its tokens are to meet by chance.
    """

    start: int
    end: int
    text: str
    tokens: int
    surprise: float
    count: int
    documents: int
    sources: tuple[TracedDocument, ...]

    def __repr__(self) -> str:
        where = self.sources[0].locator if self.sources else ""
        more = f" and {self.documents - 1:,} more" if self.documents > 1 else ""
        return f"<{one_line(self.text, 60)!r}: {_times(self.count)}, in {one_line(where, 60)}{more}>"


class Trace(Sequence[TracedSpan]):
    """Spans of ``text`` that stand in a bank, the rarest first; none contains another, though two may overlap."""

    def __init__(self, text: str, spans: Sequence[TracedSpan], release: str) -> None:
        self.text, self.spans, self.release = text, tuple(spans), release

    @overload
    def __getitem__(self, place: int) -> TracedSpan: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[TracedSpan, ...]: ...
    def __getitem__(self, place: int | slice) -> TracedSpan | tuple[TracedSpan, ...]:
        return self.spans[place]

    def __len__(self) -> int:
        return len(self.spans)

    def __repr__(self) -> str:
        head = f"Trace of {len(self.text):,} characters: {self.covered:.0%} stand in release {self.release}"
        lines = [repr(span) for span in self.spans[:10]]
        more = [f"... {len(self) - 10:,} more spans"] if len(self) > 10 else []
        return "\n  ".join([head, *lines, *more])

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The characters that some span has, as ranges in order that do not touch."""
        merged: list[tuple[int, int]] = []
        for start, end in sorted((span.start, span.end) for span in self.spans):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    @property
    def covered(self) -> float:
        """Share of the text's characters in spans."""
        return sum(end - start for start, end in self.ranges) / max(len(self.text), 1)

    def as_json(self) -> dict[str, Any]:
        """The trace as values of JSON."""
        return {
            "release": self.release,
            "text": self.text,
            "covered": self.covered,
            "spans": [asdict(span) for span in self.spans],
        }


@dataclass(frozen=True)
class Occurrence:
    """A place of a string: the characters ``start`` to ``end`` of a document, with those ``before`` and ``after``."""

    document: str
    source: str
    locator: str
    collection: str
    tenant: str
    start: int
    end: int
    before: str
    text: str
    after: str

    def __repr__(self) -> str:
        line = one_line(f"{self.before[-30:]}[{self.text}]{self.after[:30]}", 100)
        return f"<{one_line(self.locator, 60)} at {self.start:,}: {line!r}>"


class Occurrences(Sequence[Occurrence]):
    """The first places of ``text`` in a bank, by document and place, ``total`` of them in ``documents`` documents."""

    def __init__(self, text: str, places: Sequence[Occurrence], count: int, documents: int, release: str) -> None:
        self.text, self.places, self.total = text, tuple(places), count
        self.documents, self.release = documents, release

    @overload
    def __getitem__(self, place: int) -> Occurrence: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Occurrence, ...]: ...
    def __getitem__(self, place: int | slice) -> Occurrence | tuple[Occurrence, ...]:
        return self.places[place]

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Occurrence]:
        return iter(self.places)

    def __repr__(self) -> str:
        head = f"{one_line(self.text, 60)!r}: {_times(self.total)} in {self.documents:,} documents"
        return "\n  ".join([f"{head} of release {self.release}", *(repr(place) for place in self.places[:10])])

    def as_json(self) -> dict[str, Any]:
        """The result as values of JSON."""
        return {
            "release": self.release,
            "text": self.text,
            "count": self.total,
            "documents": self.documents,
            "places": [asdict(place) for place in self.places],
        }


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
