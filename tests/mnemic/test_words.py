"""Words of scripts with and without spaces."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mnemic.words import count_words, first_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("  one two\nthree ", 3),
        ("na\u00efve caf\u00e9 \u2014 dash", 4),
        ("\u4f60\u597d\u3002\u4e16\u754c", 4),
        ("Python \u7248\u672c 3.11", 4),
        ("\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", 4),  # six code points, of which two are marks
    ],
)
def test_words_of_several_scripts(text: str, words: int) -> None:
    assert count_words(text) == words


@example(". a\u4f60", 1)
@given(st.text(st.sampled_from("ab \n.\u4f60\u597d\u3002\u00e9"), max_size=40), st.integers(1, 12))
def test_the_first_words_are_no_more_than_asked_for(text: str, words: int) -> None:
    cut = first_words(text, words)
    assert count_words(cut) == min(words, count_words(text))
    assert text.strip().startswith(cut) and cut == cut.strip()


def test_a_cut_text_keeps_its_lines() -> None:
    assert first_words("  ```\nmnemic build\n\n| a | b |", 3) == "```\nmnemic build"
