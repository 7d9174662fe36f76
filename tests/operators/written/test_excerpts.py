"""Excerpts: the choice by its definition, and rows that depend on their own document alone."""

import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import RecipeError
from operators.written.excerpts import MOST_LEAVES, Excerpts
from operators.written.mmr import BALANCE, LEAST_WORDS, choose, terms

WORDS = st.sampled_from(["river", "stone", "light", "engine", "paper", "violet", "market", "of", "to", "a"])
SENTENCES = st.lists(st.lists(WORDS, max_size=9).map(" ".join), max_size=9)


def by_the_definition(sentences, words):
    """The same choice without arrays."""
    sets = [set(terms(sentence)) for sentence in sentences]
    weight = {
        term: math.log((len(sets) + 1) / (sum(term in one for one in sets) + 0.5)) for one in sets for term in one
    }
    sizes = [len(sentence.split()) for sentence in sentences]
    information = [
        sum(weight[term] for term in one) / len(one) if size >= LEAST_WORDS and one else -1.0
        for one, size in zip(sets, sizes, strict=True)
    ]
    top = max([*information, 0.0])
    relevance = [value / top if top > 0 else value for value in information]

    def likeness(one, other):
        norms = [math.sqrt(sum(weight[term] ** 2 for term in sets[place])) for place in (one, other)]
        shared = sum(weight[term] ** 2 for term in sets[one] & sets[other])
        return shared / max(norms[0], 1e-12) / max(norms[1], 1e-12)

    chosen, left = [], words
    while True:
        scores = {
            place: round(
                BALANCE * relevance[place] - (1 - BALANCE) * max([0.0, *(likeness(place, other) for other in chosen)]),
                9,
            )
            for place in range(len(sentences))
            if place not in chosen and (sizes[place] <= left or not chosen)
        }
        if not scores:
            return sorted(chosen)
        best = max(scores, key=lambda place: (scores[place], -place))
        if chosen and relevance[best] < 0:
            return sorted(chosen)
        chosen.append(best)
        left -= sizes[best]


@settings(max_examples=150)
@given(SENTENCES, st.integers(1, 30))
def test_the_choice_is_that_of_the_definition(sentences, words):
    assert choose(sentences, words) == by_the_definition(sentences, words)


def rows(documents):
    """Two events of three leaves and a session for each document of six texts."""
    table = []
    for number, texts in enumerate(documents):
        base = {"document": f"d{number}", "tenant": "t", "session": "s"}
        ends = [0]
        for place, text in enumerate(texts):
            row = {"id": f"{number}.{place}", "level": "turn", "leaf": True, "first_unit": place, "end_unit": place + 1}
            table.append({**base, **row, "start": ends[-1], "end": ends[-1] + len(text), "text": text})
            ends.append(ends[-1] + len(text))
        for name, first, last in (("e0", 0, 3), ("e1", 3, 6), ("session", 0, 6)):
            level = "session" if name == "session" else "event"
            row = {"id": f"{number}.{name}", "level": level, "leaf": False, "first_unit": first, "end_unit": last}
            table.append({**base, **row, "start": ends[first], "end": ends[last], "text": "".join(texts[first:last])})
    return pa.RecordBatch.from_pylist(table)


TEXTS = [
    "The engine of the boat broke near the market.",
    "Yes, I know that it did.",
    "Violet paper lanterns light the river in August.",
    "The engine of the boat broke near the market again.",
    "Stone bridges cross the river at seven places.",
    "Good night then.",
]


def test_an_excerpt_is_leaves_word_for_word_with_their_places():
    table, rejects = Excerpts(words=18).excerpts(rows([TEXTS]))
    assert rejects.num_rows == 0
    excerpts = {row["node"]: row for row in table.to_pylist()}
    assert excerpts.keys() == {"0.e0", "0.e1", "0.session"}
    session = excerpts["0.session"]
    assert session["level"] == "session" and len(session["text"].split()) <= 18
    assert [TEXTS[int(source["event"].split(".")[1])] for source in session["sources"]] == session["text"].split("\n")
    assert (
        "".join(TEXTS)[session["sources"][0]["start"] : session["sources"][0]["end"]] == session["text"].split("\n")[0]
    )
    assert not {TEXTS[0], TEXTS[3]} <= {*session["text"].split("\n")}, "one of two that say the same"


@settings(max_examples=20)
@given(st.permutations(range(27)))
def test_any_order_and_any_split_gives_the_same_rows(order):
    batch = rows([TEXTS, TEXTS[::-1], TEXTS])
    operator = Excerpts(words=20)
    expected = sorted(operator.excerpts(batch)[0].to_pylist(), key=lambda row: row["id"])
    shuffled = operator.excerpts(batch.take(pa.array(order)))[0].to_pylist()
    alone = [row for start in (0, 9, 18) for row in operator.excerpts(batch.slice(start, 9))[0].to_pylist()]
    for other in (shuffled, alone):
        assert sorted(other, key=lambda row: row["id"]) == expected


def long_rows(events, leaves):
    """A session of so many events of so many leaves each, and one leaf that is an event of its own."""
    table, place = [], 0
    base = {"document": "d", "tenant": "t", "session": "s", "start": 0, "end": 1}
    for event in range(events):
        for _ in range(leaves):
            text = f"{TEXTS[place % 5]} Number {place} of {event}."
            row = {"id": f"{place}", "level": "turn", "leaf": True, "first_unit": place, "end_unit": place + 1}
            table.append({**base, **row, "text": text})
            place += 1
        row = {"id": f"e{event}", "level": "event", "leaf": False, "first_unit": place - leaves, "end_unit": place}
        table.append({**base, **row, "text": ""})
    row = {"id": f"{place}", "level": "event", "leaf": True, "first_unit": place, "end_unit": place + 1}
    table.append({**base, **row, "text": "A lone zebra ran through seven villages."})
    row = {"id": "session", "level": "session", "leaf": False, "first_unit": 0, "end_unit": place + 1, "text": ""}
    return pa.RecordBatch.from_pylist([{**base, **row}, *table])


def test_a_long_session_is_excerpted_from_its_events():
    batch = long_rows(20, MOST_LEAVES // 16)
    rows_of = {row["node"]: [one["event"] for one in row["sources"]] for row in excerpts_of(batch, words=40)}
    below = {event for node, events in rows_of.items() if node != "session" for event in events}
    assert {*rows_of["session"]} <= below | {f"{20 * (MOST_LEAVES // 16)}"} and len(rows_of) == 21
    texts = {row["id"]: row["text"] for row in batch.to_pylist()}
    ordered = sorted(below | {f"{20 * (MOST_LEAVES // 16)}"}, key=int)
    assert rows_of["session"] == [ordered[place] for place in choose([texts[one] for one in ordered], 40)]
    short = excerpts_of(long_rows(3, 9), words=40)[-1]
    assert {one["event"] for one in short["sources"]} <= {str(place) for place in range(28)}
    alone = Excerpts(words=40, levels=("session",)).excerpts(batch)[0].to_pylist()
    assert len(alone) == 1 and alone[0]["text"], "without events it has leaves at equal distances"


def excerpts_of(batch, words):
    return Excerpts(words=words).excerpts(batch)[0].to_pylist()


def test_only_the_levels_that_are_asked_for():
    table, _ = Excerpts(levels=("session",)).excerpts(rows([TEXTS]))
    assert table["level"].to_pylist() == ["session"]
    with pytest.raises(RecipeError, match="levels"):
        Excerpts(levels=("turn",))
