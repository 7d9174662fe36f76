"""Names found in texts, against a search of every name at every word."""

import random
import time

import pytest

from mnemic.links.names import LONGEST, Lexicon, name_of, words


def every_name_at_every_word(names, text):
    """By the definition: at each word the longest of ``names`` that stands there, and on behind it."""
    written, place, places = words(text), 0, []
    lower = [[word.lower() for word in words(name)] for name in names]
    while place < len(written):
        here = [name for name in lower if [word.lower() for word in written[place : place + len(name)]] == name]
        longest = max(here, key=len, default=None)
        if longest:
            places.append(" ".join(longest))
        place += len(longest or [""])
    return places


def test_the_longest_name_at_a_word_is_taken_by_the_definition():
    draw = random.Random(3)
    for _ in range(300):
        alphabet = [*"abcde", "Éa", "über", "京", "都"]
        names = {" ".join(draw.choices(alphabet, k=draw.randint(1, 4))) for _ in range(12)}
        text = " ".join(draw.choices([*alphabet, "f", "-", "."], k=40))
        known_names = Lexicon(sorted(names))
        texts = [written.lower() for _, written in known_names.find(text)]
        assert texts == every_name_at_every_word(sorted(names), text)
        assert all(known_names.numbers[written.lower()] == number for number, written in known_names.find(text))


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Mercury (planet)", "Mercury"),
        ("Arthur's Magazine", "Arthur s Magazine"),
        ("  Kiss   and Tell (1945 film) ", "Kiss and Tell"),
        ("(untitled)", "untitled"),
        ("京都", "京 都"),
        ("It", ""),
        ("The", ""),
        ("a", ""),
        ("É", ""),
        ("R2", ""),
        ("?!", ""),
        ("", ""),
        ("word " * (LONGEST + 1), ""),
        ("x" * 100_000, "x" * 200),
        ("((((" * 50_000, ""),
    ],
)
def test_a_title_gives_the_name_that_texts_use(title, name):
    assert name_of(title) == name


def test_case_says_nothing_but_for_names_of_one_word_with_a_capital():
    names = Lexicon(["Home", "numpy", "Kiss and Tell"])
    assert [written for _, written in names.find("At home with NumPy: kiss and tell.")] == ["NumPy", "kiss and tell"]
    assert [written for _, written in names.find("Home of the brave")] == ["Home"]
    assert [written for _, written in names.find("who made home?", capitals=False)] == ["home"]
    both = Lexicon(["Go", "home", "Home"])
    assert len(both) == 2 and [written for _, written in both.find("at home")] == ["home"], "one title has it small"


def test_words_of_any_script_are_compared():
    names = Lexicon([name_of("東京タワー"), name_of("Ωmega Point"), name_of("Straße")])
    assert [written for _, written in names.find("昨日、東京タワーに行った")] == ["東 京 タ ワ ー"]
    assert [written for _, written in names.find("the ωMEGA point")] == ["ωMEGA point"]


def test_time_grows_with_the_text_and_not_with_the_names():
    nested = Lexicon(" ".join(["na"] * length) for length in range(1, LONGEST + 1))
    seconds = []
    for size in (20_000, 200_000):
        start = time.process_time()
        assert sum(1 for _ in nested.find("na " * size + "end")) >= size // LONGEST
        seconds.append(time.process_time() - start)
    assert seconds[1] < 30 * seconds[0] + 0.5
