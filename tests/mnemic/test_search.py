"""Fusion, budget and order, against their definitions."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from mnemic.search import Found, best_first, fuse, reading_order, within_budget

EVENT = Found(
    id="e", document="d", source="s", locator="l", collection="c", level="event", start=0, time=None,
    text="one two three", words=3, score=1.0, similarity=None, bm25=None, reason="words: rank 1",
)  # fmt: skip


def test_fusion_is_the_sum_of_reciprocal_ranks():
    scores = fuse([["a", "b"], ["b", "c"]])
    assert scores == {"a": 1 / 61, "b": 1 / 62 + 1 / 61, "c": 1 / 62}
    assert best_first(scores) == ["b", "a", "c"]
    assert best_first({"z": 0.5, "y": 0.5}) == ["y", "z"], "equal scores come in order of the id"


@given(st.lists(st.integers(1, 400), max_size=40), st.integers(1, 800))
def test_the_budget_is_never_exceeded_and_never_left_empty_for_nothing(lengths, words):
    found = [replace(EVENT, id=str(n), words=length, text="word " * length) for n, length in enumerate(lengths)]
    taken = within_budget(found, words, None)
    assert sum(event.words for event in taken) <= words
    assert bool(taken) == bool(found)
    left = words - sum(event.words for event in taken)
    ids = {event.id for event in taken}
    assert all(event.words > left for event in found if event.id not in ids) or len(taken) == 1


def test_an_event_longer_than_the_budget_is_cut_and_says_so():
    (only,) = within_budget([EVENT], 2, None)
    assert only.text == "one two" and "cut to 2 words" in only.reason
    short = replace(EVENT, id="worse", text="four", words=1)
    assert [event.id for event in within_budget([EVENT, short], 2, None)] == [EVENT.id], (
        "the best one is never left out"
    )


def test_k_limits_the_number():
    assert len(within_budget([replace(EVENT, id=str(n)) for n in range(9)], None, 4)) == 4


def test_documents_come_by_their_best_event_and_events_in_their_own_order():
    found = [
        replace(EVENT, id="1", document="x", start=5, score=0.9),
        replace(EVENT, id="2", document="y", start=2, score=0.8),
        replace(EVENT, id="3", document="x", start=1, score=0.1),
    ]
    assert [event.id for event in reading_order(found)] == ["3", "1", "2"]
