"""Rows that say nothing are never results, and the others are what they are without them."""

import subprocess
import sys
import time

import pytest

from mnemic.search import content
from mnemic.search.content import says_something


@pytest.mark.parametrize(
    "text",
    [
        "```",
        "```python",
        "```\n```",
        "> ~~~",
        "# Reading a table",
        "## Reading a table ##\n\n### Options",
        "Parameters\n----------",
        "Reading a table\n===============",
        "== Reading ==",
        ">>> import lance",
        "import numpy as np, os.path",
        "from mnemic import open_bank as opened, build\nimport lance",
        "In [3]: import lance",
        ".. note::",
        "---\n***",
        "|---|---|",
        "",
        " \n\u200b",
    ],
)
def test_form_without_words_says_nothing(text: str) -> None:
    assert not says_something(text)


@pytest.mark.parametrize(
    "text",
    [
        "Yes.",
        "42",
        "猫",
        "# A comment that is a sentence.",
        "# one\n# two\n# three\n# four",
        "## Reading\nA table is read by name.",
        ">>> import lance\n>>> lance.dataset('a')",
        "```\nx = 1\n```",
        "Equivalent to\n```",
        "we import from Spain",
        "from here on import duties rise",
        "Title\n\nand its text\n----",
        "#tag",
    ],
)
def test_whatever_else_says_something(text: str) -> None:
    assert says_something(text)


@pytest.mark.parametrize("line", ["from a import", "import a", ">>>", "```", ""])
def test_a_hostile_line_takes_time_in_proportion_to_its_length(line: str) -> None:
    start = time.process_time()
    assert says_something(f"{line}{' ' * 50_000}a!")
    assert time.process_time() - start < 1.0


def test_a_turn_is_somebodys_words() -> None:
    assert says_something("# 1", "turn") and not says_something("...", "turn")


@pytest.mark.parametrize("budget", [{"words": None, "k": 6}, {"words": 90}, {"words": 90, "contiguity": 0.4}])
def test_the_budget_is_filled_with_the_best_of_the_others(tiny, monkeypatch, budget) -> None:
    bank, question = tiny.open(), "table index version"
    before = bank.search(question, **budget)
    empty = {hit.text for hit in before[::2]}
    monkeypatch.setattr(content, "says_something", lambda text, level="event": text not in empty)
    after = bank.search(question, **budget)
    assert after and empty.isdisjoint(hit.text for hit in after)
    assert len(after) <= len(before) + 2 and after.words <= (budget["words"] or 10**6)
    if budget.get("k"):
        every = sorted(bank.search(question, words=None, k=50), key=lambda hit: (-hit.score, hit.id))
        others = [hit.id for hit in every if hit.text not in empty][: budget["k"]]
        assert sorted(hit.id for hit in after) == sorted(others)


def test_nothing_is_found_where_nothing_says_anything(tiny, monkeypatch) -> None:
    monkeypatch.setattr(content, "says_something", lambda text, level="event": False)
    assert tiny.open().search("table index version") == []


def test_a_search_imports_neither_torch_nor_transformers(tiny) -> None:
    code = (
        "import sys; from mnemic.command import main; "
        f"code = main(['search', {tiny.recipe['bank']!r}, 'lease of a bank', '--explain', '--around', '1']); "
        "print(code, sorted({'torch', 'transformers', 'sympy', 'scipy', 'pandas'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []", done.stdout
