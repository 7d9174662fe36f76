"""How a budget is filled: a similarity buffer, a contiguity buffer, and the order in which it will be read.

Recall at k over events of different length would mean nothing; recall under a budget does. As in EM-LLM (arXiv
2407.09450, section 3.4) most of the budget goes to the best events, best first, and a share to what stands next to
them, next before previous, in the order of the hits. The remaining budget goes to the best of the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mnemic.search.results import Hit
from mnemic.words import first_words

CONTIGUITY = 0.0
"""Share of the budget for neighbours. EM-LLM has 0.3. Here a row has a share of its neighbours' scores already, and on
LoCoMo a buffer of its own took more than it gave (evidence in 250 words 72.5 % without, 70.9 % with a share of 0.1)."""

FITS = ("within", "nearest")


def take(
    sizes: Sequence[int],
    neighbours: Sequence[Sequence[int]],
    budget: int | None,
    k: int | None = None,
    contiguity: float = CONTIGUITY,
    fit: str = "within",
) -> dict[int, int | None]:
    """Rows taken, of rows ranked from best to worst: place -> None, or the place of the hit that it stands next to.

    ``sizes`` are in the unit of the ``budget`` (words, tokens); ``neighbours`` of a row are places, next before
    previous. With ``fit`` "within" the budget is never exceeded, except that the best row is always taken (the caller
    cuts it), and rows that do not fit are passed over. With "nearest", EM-LLM's rule, the filling ends with the first
    row that does not fit, and keeps it if that comes nearer to the budget. At most ``k`` rows are taken.
    """
    most = len(sizes) if k is None else k
    if budget is None:
        return dict.fromkeys(range(min(most, len(sizes))))
    chosen: dict[int, int | None] = {}
    used, smallest = 0, min(sizes, default=0)

    def fill(places: Iterator[tuple[int, int | None]], limit: float) -> None:
        nonlocal used
        for place, beside in places:
            if len(chosen) >= most or (fit == "within" and chosen and used + smallest > limit):
                return
            if place in chosen:
                continue
            size = sizes[place]
            if used + size <= limit or (not chosen and fit == "within"):
                chosen[place] = beside
                used += size
            elif fit == "nearest":
                if used + size - limit < limit - used:
                    chosen[place] = beside
                    used += size
                return

    best = ((place, None) for place in range(len(sizes)))
    fill(best, budget * (1.0 - contiguity))
    hits = [place for place, beside in chosen.items() if beside is None]
    fill(((place, hit) for hit in hits for place in neighbours[hit]), budget)
    if used < budget:
        fill(((place, None) for place in range(len(sizes))), budget)
    return chosen


def cut(event: Hit, words: int) -> Hit:
    """The event with its first ``words`` words."""
    if event.words <= words:
        return event
    return replace(
        event, text=first_words(event.text, words), words=words, reason=f"{event.reason}; cut to {words} words"
    )


def reading_order(hits: Sequence[Hit]) -> list[Hit]:
    """Documents by their best event, the events of one document in its order."""
    best: dict[str, float] = {}
    for event in hits:
        best[event.document] = max(best.get(event.document, 0.0), event.score)
    return sorted(hits, key=lambda event: (-best[event.document], event.document, event.start))
