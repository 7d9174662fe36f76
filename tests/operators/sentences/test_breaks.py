"""The compiled rules give what the regular expression gives, on every text."""

import sysconfig
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_texts import ANY_TEXTS

from mnemic.sentence_ranges import ABBREVIATIONS, sentence_ranges
from operators.sentences import pieces
from operators.sentences.characters import FLAGS, LAST, SETS, characters, number_of
from operators.sentences.pieces import Splitter, compiled_pieces, matched_pieces


def encoded(texts: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    parts = [text.encode("utf-8", "surrogatepass") for text in texts]
    limits = np.cumsum([0, *map(len, parts)])
    return np.frombuffer(b"".join(parts), np.uint8), limits[:-1], limits[1:]


def by_text(result: tuple[np.ndarray, np.ndarray, np.ndarray]) -> list[list[tuple[int, int]]]:
    counts, firsts, lasts = result
    ranges = list(zip(firsts.tolist(), lasts.tolist(), strict=True))
    behind = np.cumsum(counts).tolist()
    assert len(ranges) == (behind[-1] if behind else 0)
    return [ranges[last - count : last] for count, last in zip(counts.tolist(), behind, strict=True)]


@given(st.lists(ANY_TEXTS, max_size=8), st.sampled_from([1, 2, 3, 7, 20, 1000]))
@settings(max_examples=150)
def test_they_are_those_of_the_regular_expression(texts: list[str], longest: int) -> None:
    ranges = [list(sentence_ranges(text, longest)) for text in texts]
    assert by_text(compiled_pieces(*encoded(texts), longest)) == ranges
    assert by_text(matched_pieces(*encoded(texts), longest)) == ranges


def test_on_documentation_of_this_environment() -> None:
    root = Path(sysconfig.get_paths()["purelib"])
    files = [*root.glob("*.dist-info/METADATA"), *root.glob("numpy/*.py"), *root.glob("pyarrow/*.py")]
    texts = [file.read_text("utf-8", "surrogateescape")[:20_000] for file in sorted(files)[:60]]
    assert sum(map(len, texts)) > 100_000
    for ours, theirs in zip(compiled_pieces(*encoded(texts), 90), matched_pieces(*encoded(texts), 90), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_characters_are_those_of_python() -> None:
    table, every = characters(), "".join(map(chr, range(LAST + 1)))
    flags = table.flags[table.kinds]

    def codes(name: str) -> list[int]:
        return np.flatnonzero(flags & FLAGS[name]).tolist()

    def those(holds) -> list[int]:
        return [code for code, character in enumerate(every) if holds(character)]

    assert codes("SPACE") == those(str.isspace)
    assert codes("WORD") == those(lambda one: one.isalnum() or one == "_")
    assert codes("DIGIT") == those(str.isdecimal)
    assert codes("CAPITAL") == those(lambda one: one.isalpha() and not one.islower())
    alone = those(lambda one: len(one.lower()) == 1 and one.lower().isalpha() and one.lower() != "i")
    assert codes("INITIAL") == alone
    assert [codes(name) for name in SETS if not codes(name)] == []
    assert table.kinds[:128].tolist() == list(range(128))
    marks = table.kinds[codes("MARK")].tolist()
    assert len(set(marks)) == len(marks) > 70
    assert not flags[LAST]
    above = "".join(map(chr, range(LAST + 1, 0x110000)))
    assert not any(one.isalnum() or one.isspace() for one in above), "a later Unicode: the table ends too early"


def test_abbreviations_are_all_in_their_table_and_nothing_else_is() -> None:
    words = characters().abbreviations
    numbers = {number_of(word) for word in ABBREVIATIONS}
    assert set(words.tolist()) - {-1} == numbers and len(numbers) == len(ABBREVIATIONS)
    for word in ABBREVIATIONS:
        assert words[number_of(word) % len(words)] == number_of(word)
        assert list(sentence_ranges(f"A {word}. Be.")) == [(0, len(word) + 7)]
        assert by_text(compiled_pieces(*encoded([f"A {word.title()}. Be.", f"A {word}z. Be."]), 99)) == [
            [(0, len(word) + 7)],
            [(0, len(word) + 4), (len(word) + 5, len(word) + 8)],
        ]


@pytest.mark.parametrize(
    "hostile",
    [
        *[".", ". ", ". _", '. "', '."', "\n:a", "\n#", "\n", " ", "\r\n", "a", "a b ", "\n((((", "\n>>>", "_*"],
        *["\u0964", "\u0964 ", "\u0964" + " " * 1000, "\u06d4a", "\uff0e ", "\u1361", "\u1361\u1361 ", "\u0301", "\0"],
    ],
)
def test_hostile_text_takes_linear_time(hostile: str) -> None:
    compiled_pieces(*encoded(["A. B."]), 1000)
    text = encoded([hostile * (2_000_000 // len(hostile)) + " A"])
    start = time.process_time()
    compiled_pieces(*text, 1000)
    assert time.process_time() - start < 1, "half a microsecond a character"


def test_broken_bytes_are_read_to_their_end_and_no_further() -> None:
    """Arrow's text is UTF-8; bytes of a damaged file make characters of no set."""
    for data in (b"A. B\xf0", b"A. B\xe3\x80", b"\xff\xff\xff\xff", b"\x80", b"A. \xc3"):
        counts, starts, ends = compiled_pieces(
            np.frombuffer(data + b". C. D", np.uint8), np.array([0]), np.array([len(data)]), 1000
        )
        assert (starts < ends).all() and (ends <= len(data)).all() and counts[0] == len(starts)


def test_rules_are_compiled_once_texts_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = encoded(["One. Two.", "Three.", "Four. Five."])
    ways: list[str] = []
    for way in (compiled_pieces, matched_pieces):
        monkeypatch.setattr(pieces, way.__name__, lambda *texts, way=way: ways.append(way.__name__) or way(*texts))
    monkeypatch.setattr(pieces, "WORTH_COMPILING", 20)
    for cached in (True, False):
        monkeypatch.setattr(pieces, "is_compiled", lambda _, cached=cached: cached)
        split = Splitter(1000)
        for k in range(3):
            ranges = split(texts[0], texts[1][k : k + 1], texts[2][k : k + 1])
            assert by_text(ranges) == by_text(matched_pieces(texts[0], texts[1][k : k + 1], texts[2][k : k + 1], 1000))
    assert ways == ["compiled_pieces"] * 3 + ["matched_pieces"] * 2 + ["compiled_pieces"]
    monkeypatch.setattr(pieces, "can_compile", lambda: False)
    Splitter(1000)(*texts)
    assert ways[-1] == "matched_pieces"
