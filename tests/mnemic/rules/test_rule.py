"""Which rules fire, which is first, and what a rule does not judge."""

import numpy as np

from mnemic.rules import Rule, judge
from mnemic.rules.rule import reason_unjudged, rules_of

SHORT = Rule("short", "words", "min", 50)
LONG = Rule("long", "longest_line / lines", "max", 100)


def columns(**values):
    return {name: np.array(value, float) for name, value in values.items()}


def test_all_that_fire_are_told_and_the_first_decides():
    counts = columns(words=[10, 10, 90, 50], longest_line=[300, 5, 300, 100], lines=[1, 1, 2, 1], script=[0, 0, 0, 0])
    verdicts = judge((SHORT, LONG), counts)
    assert verdicts.fired.tolist() == [[True, True], [True, False], [False, True], [False, False]]
    assert verdicts.first.tolist() == [0, 0, 1, -1]
    assert verdicts.values[:, 0].tolist() == [10, 10, 90, 50]


def test_the_threshold_itself_passes():
    counts = columns(words=[50, 49], longest_line=[100, 101], lines=[1, 1], script=[0, 0])
    assert judge((SHORT, LONG), counts).first.tolist() == [-1, 0]


def test_what_has_no_value_is_not_judged():
    verdicts = judge((LONG,), columns(longest_line=[5], lines=[0], script=[0]))
    assert verdicts.unjudged.all() and not verdicts.fired.any()


def test_rules_over_words_abstain_where_no_words_are_found():
    verdicts = judge((SHORT, LONG), columns(words=[10, 10], longest_line=[300, 300], lines=[1, 1], script=[0, 1]))
    assert verdicts.first.tolist() == [0, 1], "a rule over lines judges Chinese too"
    assert reason_unjudged(SHORT, 1) == "not judged: no word rule for zh"


def test_without_rules_everything_passes():
    assert judge((), columns(script=[0, 0])).first.tolist() == [-1, -1]


def test_a_record_gives_the_rules_back():
    assert rules_of([SHORT.as_json(), LONG.as_json()]) == (SHORT, LONG)
