"""Values that are held for the conditions that were asked last, against a list of them."""

from __future__ import annotations

import random

import pytest

from mnemic.dataset.index import recent
from mnemic.dataset.index.recent import Questions, Recent


@pytest.mark.parametrize("seed", range(20))
def test_values_are_those_of_the_last_conditions_within_their_bytes(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(seed)
    monkeypatch.setattr(recent, "CONDITIONS", 4)
    values, order = Recent[bytes](10, len), dict[str | None, bytes]()
    for _ in range(200):
        where = draw.choice([None, *"abcdefg"])
        assert (where in values) == (where in order)
        if where in order and draw.random() < 0.7:
            order[where] = order.pop(where)  # asked last
            assert values[where] == order[where]
            continue
        order.pop(where, None)
        values[where] = order[where] = bytes(draw.randint(0, 12))
        while len(order) > 1 and (len(order) > 4 or sum(map(len, order.values())) > 10):
            del order[next(iter(order))]
        assert where in values, "the newest stays, whatever it takes"
    for where in (None, *"abcdefg"):
        assert (where in values) == (where in order)


def test_a_question_is_worth_it_when_its_condition_was_asked_often_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    questions = Questions(3)
    assert [questions.worth(where) for where in ("a", "b", "a", "a", "a", None, "b", "b")] == [
        *(False, False, False, True, False, False, False, True)
    ]
    assert Questions(1).worth(None) and not Questions(1).worth("a" * (recent.LONGEST + 1))
    monkeypatch.setattr(recent, "CONDITIONS", 10)
    for number in range(1000):
        questions.worth(str(number))
    assert len(questions._counts) <= 11
