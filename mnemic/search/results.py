"""What a search gives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Hit:
    """An event that answers a query, with the reasons it was found.

    Scores are None where the signal did not rank it: ``similarity`` is the cosine to the query, ``bm25`` its own score
    in words, ``event_bm25`` and ``document_bm25`` those of the event and of the document that it is in.
    """

    id: str
    document: str
    source: str
    locator: str
    collection: str
    tenant: str
    session: str
    level: str
    start: int  # character range in the document
    end: int
    time: datetime | None
    speakers: list[str]
    turns: list[str]  # ids of the turns of a conversation
    text: str
    words: int
    score: float  # fused
    similarity: float | None
    bm25: float | None
    event_bm25: float | None
    document_bm25: float | None
    reason: str


class Results(list[Hit]):
    """Hits in reading order.

    ``words`` is the sum of its words; ``scanned`` is the share of the searched level's vectors that were compared with
    the query: 1.0 for an exact search, less through an index or a route.
    """

    def __init__(self, hits: list[Hit], scanned: float = 1.0) -> None:
        super().__init__(hits)
        self.scanned = scanned

    @property
    def words(self) -> int:
        return sum(event.words for event in self)
