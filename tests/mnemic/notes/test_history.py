"""Which note holds when: a fact that changes three times, arriving in all orders."""

import itertools
from datetime import UTC, datetime

import pytest

from mnemic.notes.history import as_of, history


def note(name, value, since=None, month=1, **changes):
    time = datetime(2023, month, 1, tzinfo=UTC) if month else None
    row = {"id": name, "tenant": "one", "kind": "attribute", "text": f"Ada lives in {value}", "subject": "Ada"}
    row |= {"attribute": "home", "value": value, "functional": True, "document": "d", "session": "s", "writer": "m"}
    row |= {"prompt": "facts/1", "said_at": time, "valid_to": None, "precision": "month" if since else ""}
    row |= {"valid_from": datetime(2023, since, 1, tzinfo=UTC) if since else None}
    row |= {"sources": [{"event": f"e{name}", "start": 0, "end": 5}]}
    return {**row, **changes}


STORY = [note("a", "Paris", 2), note("b", "Rome", 5), note("c", "Oslo", 9), note("d", "Bern", 11)]


def day(month):
    return datetime(2023, month, 15, tzinfo=UTC)


@pytest.mark.parametrize("order", list(itertools.permutations(STORY)))
def test_all_orders_of_arrival_give_the_same_history(order):
    notes = history(order)
    assert notes == history(STORY)
    assert [(one.value, one.state, one.closed_by) for one in notes] == [
        ("Paris", "closed", "b"),
        ("Rome", "closed", "c"),
        ("Oslo", "closed", "d"),
        ("Bern", "current", ""),
    ]
    for month, home in ((2, "Paris"), (4, "Paris"), (6, "Rome"), (10, "Oslo"), (12, "Bern")):
        assert [one.value for one in as_of(notes, day(month))] == [home]
    assert as_of(notes, day(1)) == []


def test_a_removed_note_reopens_what_it_had_closed():
    assert [(one.value, one.state) for one in history(STORY[:3])][-1] == ("Oslo", "current")
    assert [(one.value, one.closed_by) for one in history([STORY[0], STORY[2]])] == [("Paris", "c"), ("Oslo", "")]


def test_nothing_is_closed_across_tenants_subjects_or_attributes_or_where_there_may_be_several():
    others = [
        {"tenant": "two"},
        {"subject": "Bob"},
        {"attribute": "job"},
        {"functional": False},
        {"kind": "fact"},
    ]
    for change in others:
        assert {one.state for one in history([STORY[0], {**STORY[1], **change}])} == {"current"}


def test_two_values_of_one_time_contradict_each_other_and_both_stay():
    notes = history([STORY[0], note("x", "Lyon", 2), STORY[1]])
    assert [(one.value, one.contradicts, one.closed_by) for one in notes] == [
        ("Paris", ("x",), "b"),
        ("Lyon", ("a",), "b"),
        ("Rome", (), ""),
    ]


def test_without_a_time_nothing_closes_and_the_time_of_saying_stands_in():
    timeless = note("t", "Lyon", month=None)
    assert [one.state for one in history([timeless, STORY[0]])] == ["current", "current"]
    notes = history([note("p", "Paris", month=3), note("q", "Rome", month=7)])
    assert [(one.value, one.state) for one in notes] == [("Paris", "closed"), ("Rome", "current")]


def test_the_same_value_again_closes_nothing():
    notes = history([note("a", "Paris", 2), note("b", "paris", 5), note("c", "Rome", 9)])
    assert [(one.state, one.closed_by) for one in notes] == [("closed", "c"), ("closed", "c"), ("current", "")]


def test_notes_that_say_the_same_become_one_with_all_sources():
    (one,) = history([note("b", "Paris", 2), note("a", "Paris", 2, document="other", text="ada  lives in PARIS")])
    assert one.id == "a" and one.ids == ("a", "b")
    assert [source.event for source in one.sources] == ["eb", "ea"]


def test_a_note_that_says_its_own_end_is_closed_by_it():
    (one,) = history([note("a", "Paris", 2, valid_to=datetime(2023, 4, 1, tzinfo=UTC))])
    assert one.state == "closed" and one.closed_by == ""
    assert one.holds_at(day(3)) and not one.holds_at(day(4))
