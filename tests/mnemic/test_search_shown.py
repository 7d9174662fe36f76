"""Results at a terminal: numbered, best first, plain where nobody sees colours; names that the bank does not have."""

import io
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mnemic.command import main
from mnemic.search import Hit
from mnemic.search.shown import Style, Surroundings, best_first, roots, shown
from mnemic.terminal import coloured

HIT = Hit(
    id="e" * 64, document="d", source="chats", locator="team.jsonl", collection="c", tenant="t", session="monday",
    level="turn", start=0, end=13, time=datetime(2026, 3, 2, 9, 30, tzinfo=UTC), speakers=["Ada", "Ben"], turns=[],
    text="Ada: I mended the parsers.", words=5, score=1.0, similarity=0.5, bm25=2.0, event_bm25=None,
    document_bm25=None, reason="words: rank 1", metadata={"rating": 2.5, "tags": ["a", "b"]},
)  # fmt: skip


def test_place_text_and_then_numbers() -> None:
    beside = Surroundings({"d": "Monday's \x1b[31mtalk"}, {HIT.id: ["before"]}, {HIT.id: ["after"]})
    assert shown(3, HIT, Style(), beside).splitlines() == [
        "3.  Monday's [31mtalk  team.jsonl  chats  Ada, Ben  2026-03-02 09:30",
        "    rating: 2.5",
        "    tags: a, b",
        "  | before",
        "    Ada: I mended the parsers.",
        "  | after",
    ]
    explained = shown(1, HIT, Style(explain=True), Surroundings()).splitlines()
    assert explained[-1] == "    [words: rank 1; fused 1.0000, cosine 0.500, bm25 2.00] turn eeeeeeeeeeee"


def test_words_of_the_question_are_coloured_whatever_their_ending() -> None:
    lines = shown(1, HIT, Style(colour=True, words=roots("who is mending a parser?")), Surroundings())
    assert "\x1b[33mmended\x1b[0m" in lines and "\x1b[33mparsers\x1b[0m" in lines and "\x1b[1mteam.jsonl" in lines
    assert "\x1b" not in shown(1, HIT, Style(words=roots("a parser")), Surroundings())


def test_the_best_comes_first() -> None:
    hits = [replace(HIT, id=name, score=score) for name, score in (("b", 0.1), ("c", 0.3), ("a", 0.1))]
    assert [hit.id for hit in best_first(hits)] == ["c", "a", "b"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_whose_owner_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert coloured(Terminal()) and not coloured(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not coloured(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured(Terminal())


def test_the_command_shows_neighbours_and_scores_on_request(tiny, capsys) -> None:
    words = ["search", tiny.recipe["bank"], "table index version", "-k", "2"]
    assert main(words) == 0
    plain = capsys.readouterr().out
    assert plain.startswith("1.  ") and "\n2.  " in plain and "fused" not in plain and "\x1b" not in plain
    assert main([*words, "--explain", "--around", "2"]) == 0
    explained = capsys.readouterr().out
    assert "fused" in explained and explained.count("\n  | ") >= 1
    scores = [float(score) for score in re.findall(r"fused ([\d.]+)", explained)]
    assert scores == sorted(scores, reverse=True)
    assert main([*words, "--around", "10"]) == 2 and "from 0 to 9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (["--collection", "Alpha"], "There is no collection 'Alpha' in {bank}. Did you mean 'alpha'? There are: "),
        (["--source", "wiki"], "There is no source 'wiki' in {bank}. There are: "),
        (["--speaker", "melanie"], "No speaker is stated in {bank}, so none is called 'melanie'; leave --speaker out."),
    ],
)
def test_a_name_that_nothing_has_is_told_with_those_that_are_there(tiny, capsys, option, sentence) -> None:
    assert main(["search", tiny.recipe["bank"], "table", *option]) == 2
    assert sentence.format(bank=tiny.recipe["bank"]) in capsys.readouterr().err
