"""Which relation holds when: the same fold as over notes, by subject and label."""

import itertools
from datetime import UTC, datetime

import pytest

from mnemic.relations.reading import related


def relation(name, end, since=None, **changes):
    row = {"id": name, "document": f"d{name}", "tenant": "one", "session": "s", "subject": "Ada", "label": "home"}
    row |= {"object": end, "functional": True, "writer": "m", "prompt": "relations/1", "precision": "month"}
    row |= {"said_at": None, "valid_from": datetime(2023, since, 1, tzinfo=UTC) if since else None, "valid_to": None}
    return {**row, "sources": [{"event": f"e{name}", "start": 0, "end": 5}], **changes}


STORY = [relation("a", "Paris", 2), relation("b", "Rome", 5), relation("c", "Oslo", 9), relation("d", "Bern", 11)]


@pytest.mark.parametrize("order", list(itertools.permutations(STORY)))
def test_all_orders_of_arrival_give_the_same_relations(order):
    relations = related(order)
    assert relations == related(STORY)
    assert [(one.object, one.state, one.closed_by) for one in relations] == [
        ("Paris", "closed", "b"),
        ("Rome", "closed", "c"),
        ("Oslo", "closed", "d"),
        ("Bern", "current", ""),
    ]
    for month, home in ((3, "Paris"), (6, "Rome"), (10, "Oslo"), (12, "Bern")):
        assert [one.object for one in related(order, datetime(2023, month, 15, tzinfo=UTC))] == [home]


def test_nothing_is_closed_across_tenants_subjects_or_labels_or_where_there_may_be_several():
    for change in ({"tenant": "two"}, {"subject": "Bob"}, {"label": "job"}, {"functional": False}):
        assert {one.state for one in related([STORY[0], {**STORY[1], **change}])} == {"current"}
    [paris, rome] = related([STORY[0], relation("e", "Rome", 2)])
    assert paris.contradicts == ("e",) and rome.contradicts == ("a",)
    assert {paris.state, rome.state} == {"current"}, "of one time both stay"


def test_what_several_rows_say_is_one_relation_with_all_sources_and_one_that_goes_reopens_another():
    same = relation("f", "PARIS", 2, subject="ada")
    [one] = related([STORY[0], same])
    assert one.ids == ("a", "f") and [source.document for source in one.sources] == ["da", "df"]
    assert [(left.object, left.state) for left in related(STORY[:1])] == [("Paris", "current")]
