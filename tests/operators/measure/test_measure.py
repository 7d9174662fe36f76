"""Counts are those of their definitions, whatever the text, the batch and the documents beside it."""

import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import RecipeError
from mnemic.statistics import RAW, SCRIPTS, VIEW
from operators.measure.citations import without_citations
from operators.measure.measurer import Measurer
from operators.measure.operator import VIEWS, WORDS, Measure

sys.path.insert(0, str(Path(__file__).parent))
from definitions import counts

PIECES = [
    *(
        "the",
        "of",
        "table",
        "row",
        "a",
        "Zeile",
        "caf\u00e9",
        "\u65e5\u672c",
        "\u0e01\u0e32",
        "e\u0301",
        "x1",
        "\U0001f600",
    ),
    *(" ", "  ", "\n", "\n\n", "\r\n", "\u2028", "\x85", "\x1c", "\u00a0", "\t"),
    *(".", "...", "\u2026", "-", "\u2022", "*", "#", "{", "!", '"', "[12]", "[edit]", "don't", "3.5", "javascript"),
]
texts = st.lists(st.sampled_from(PIECES), max_size=80).map("".join) | st.text(max_size=60)


@pytest.fixture(scope="module")
def measurers():
    return {words: Measurer(words) for words in WORDS}


def statistics(measure, rows, batches=1):
    """The statistics of ``rows``, measured in so many batches."""
    process, size = measure.open("cpu"), -(-len(rows) // batches)
    parts = [rows[at : at + size] for at in range(0, len(rows), size)]
    tables = [process(pa.RecordBatch.from_pydict({"text": pa.array(part, pa.large_string())}))[0] for part in parts]
    return [row for table in tables for row in table["statistics"].to_pylist()]


@settings(max_examples=300)
@given(st.lists(texts, min_size=1, max_size=4))
def test_counts_are_those_of_the_definitions(rows):
    for row, text in zip(statistics(WHITESPACE, rows), rows, strict=True):
        expected = counts(text, text.split())
        assert {name: row[name] for name in expected} == expected


WHITESPACE = Measure("whitespace")


def unicode_words(text):
    alone = "\u0e01-\u0e7f\u3041-\u30ff\u4e00-\u9fff"
    word = rf"[{alone}]|(?:(?![{alone}])[^\W_])(?:[\u0301]|(?![{alone}])[^\W_]|['\u2019._-](?=[^\W_{alone}]))*"
    return re.findall(word, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "Don't stop: 3.5 well-known snake_case!",
            ["Don't", "stop", "3.5", "well-known", "snake_case"],
        ),
        ("\u65e5\u672c\u8a9e and ...", ["\u65e5", "\u672c", "\u8a9e", "and"]),
        ("a--b .c. d_", ["a", "b", "c", "d"]),
        ("", []),
    ],
)
def test_unicode_words_are_runs_of_letters_and_digits(text, words, measurers):
    assert unicode_words(text) == words
    (row,) = measurers["unicode"].measure(pa.array([text])).counts
    assert row[RAW.index("words")] == len(words)
    assert row[RAW.index("plain_characters")] == sum(map(len, words))


@settings(max_examples=150)
@given(texts)
def test_counts_of_words_follow_the_rule(text):
    words = unicode_words(text) if text.isascii() else None
    if words is not None:
        (row,) = statistics(Measure(), [text])
        assert row["words"] == len(words) and row["top_2gram"] == counts(text, words)["top_2gram"]


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("view", VIEWS)
def test_any_batches_and_any_order_give_the_same(words, view):
    draw = random.Random(1)
    rows = ["".join(draw.choices(PIECES, k=draw.randint(0, 200))) for _ in range(60)]
    measure = Measure(words, view)
    whole = statistics(measure, rows)
    assert statistics(measure, rows, batches=7) == whole == statistics(measure, rows, batches=60)
    order = draw.sample(range(60), 60)
    assert statistics(measure, [rows[place] for place in order]) == [whole[place] for place in order]
    assert set(whole[0]) == {*RAW, *(VIEW if view else ())}


def test_the_view_is_what_c4_leaves():
    lines = "This line has words, and it ends.\nSo does this one, with the others."
    text = f"  menu\nNo end here at all\n{lines}\nIt needs Javascript to be seen.\nCited text stands here.[12]\n"
    closed, open_ = (statistics(Measure("spacy-en", view), [text])[0] for view in ("c4", "c4-open"))
    assert closed["c4_characters"] == len(lines + "\nCited text stands here.") and closed["c4_full_lines"] == 3
    assert open_["c4_characters"] == closed["c4_characters"] + len("\nNo end here at all")
    assert closed["c4_sentences"] == 3 and closed["c4_open_sentences"] == 4


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("\u8bb0\u5fc6\u77e5\u9053\u5b83\u6765\u81ea\u54ea\u4e00\u6bb5\u6587\u5b57", "zh"),
        ("\u3053\u308c\u306f\u8a18\u61b6\u3067\u3059", "ja"),
        ("\u0e2b\u0e19\u0e48\u0e27\u0e22\u0e04\u0e27\u0e32\u0e21\u0e08\u0e33", "th"),
        ("memory \u8bb0\u5fc6", ""),
        ("\ud55c\uad6d\uc5b4 \ubb38\uc7a5", ""),
    ],
)
def test_a_text_without_spaces_says_that_its_words_are_not_found(text, language):
    assert SCRIPTS[statistics(Measure(), [text])[0]["script"]] == language
    assert statistics(Measure("whitespace"), [text])[0]["script"] == 0, "a literal definition finds what it finds"


@pytest.mark.parametrize("size", [990_000, pytest.param(9_900_000, marks=pytest.mark.slow)])
def test_one_line_of_millions_of_characters_and_millions_of_lines(size):
    rows = statistics(Measure("whitespace"), ["ab " * (size // 3), "\n" * size])
    assert rows[0]["words"] == size // 3 and rows[0]["longest_line"] == size
    assert rows[1]["lines"] == size and rows[1]["full_lines"] == 0


def test_a_table_of_chunks_that_is_full_begins_anew(monkeypatch):
    rows = [" ".join(f"w{number}x{place}" for number in range(400)) for place in range(30)]
    whole = Measurer("spacy-en").measure(pa.array(rows)).counts
    small = Measurer("spacy-en")
    small._clear_table(64)
    monkeypatch.setattr("operators.measure.measurer.LARGEST_TABLE", 1024)
    monkeypatch.setattr("operators.measure.measurer.AT_ONCE", 2000)
    assert np.array_equal(small.measure(pa.array(rows)).counts, whole)


@pytest.mark.parametrize("numba", ["sys.modules['numba'] = None", "os.environ['NUMBA_DISABLE_JIT'] = '1'"])
def test_it_counts_the_same_without_compilation(numba):
    """Where numba is not installed, or is told not to compile, the same code runs as Python."""
    code = (
        f"import os, sys; {numba}\n"
        "import numpy as np, pyarrow as pa; from operators.measure.measurer import Measurer\n"
        "np.seterr(over='ignore')\n"
        f"print(Measurer('unicode').measure(pa.array({TEXTS!r})).counts.tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(Measurer("unicode").measure(pa.array(TEXTS)).counts.tolist())


TEXTS = [
    "The end of it. And the end of it. " * 5,
    "",
    "\u65e5\u672c [1] {x}\n- a\n- a",
    "caf\u00e9 \U0001f600 ... the the",
]


@pytest.mark.parametrize("changes", [{"words": "spacy"}, {"view": "c5"}])
def test_what_it_cannot_do_is_told(changes):
    with pytest.raises(RecipeError, match="use one of"):
        Measure(**changes)


CITED = [
    "[]",
    "[1]",
    "[\u0661]",
    "[edit]",
    "[edit",
    "[citation needed]",
    "[cite]",
    "[12] .",
    " one two three",
    ". ",
    "{",
]


@settings(max_examples=200)
@given(rows=st.lists(st.lists(st.sampled_from([*PIECES, *CITED]), max_size=60).map("".join), min_size=1, max_size=4))
@pytest.mark.parametrize("words", WORDS)
def test_lines_with_citations_are_judged_as_if_these_were_not_there(measurers, words, rows):
    """Cut by Python's regular expression, and then measured, against the compiled pass over the text as it is."""
    places = [place for place, name in enumerate(RAW) if name.startswith("c4_")]
    mine = measurers[words].measure(pa.array(rows, pa.large_string())).counts[:, places]
    lines = pa.array(["\n".join(without_citations(row)) for row in rows], pa.large_string())
    assert (mine == measurers[words].measure(lines, judged=True).counts[:, places]).all()
