"""Documents that hold half of a held-out one's word 5-grams are left out of an index that is measured."""

from __future__ import annotations

import random
import re

from mnemic.suffixes import leaks
from mnemic.suffixes.leaks import _Grams, left_out

WORDS = [f"word{number}" for number in range(200)]


def sets(text):
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[at : at + 5]) for at in range(len(words) - 4)}


def brute_force(held_out, documents, share):
    return {
        id
        for id, text in documents
        if any(one and len(one & sets(text)) >= share * len(one) for one in map(sets, held_out))
    }


def corpus(seed):
    """Held-out texts, and others of which some hold a part of one of them."""
    draw = random.Random(seed)
    held_out = [" ".join(draw.choices(WORDS, k=draw.randint(3, 60))) for _ in range(12)]
    documents = []
    for number in range(60):
        words = draw.choices(WORDS, k=draw.randint(5, 80))
        if number % 2:
            part = draw.choice(held_out).split()
            words += part[: draw.randint(0, len(part))]
        documents.append((str(number), " ".join(words)))
    return held_out, documents


def test_it_is_the_definition_whatever_is_compared_at_once(monkeypatch):
    for seed in range(5):
        held_out, documents = corpus(seed)
        expected = brute_force(held_out, documents, 0.5)
        assert 0 < len(expected) < len(documents)
        assert _Grams.of(held_out).contained_in(documents) == expected
        monkeypatch.setattr(leaks, "_PAIRS", 7)
        assert _Grams.of(held_out).contained_in(documents) == expected
        assert set().union(*(_Grams.of(held_out).contained_in([one]) for one in documents)) == expected
        monkeypatch.undo()


def test_a_short_text_in_a_long_one_is_a_leak_though_they_are_hardly_alike():
    short = " ".join(WORDS[:20])
    longer = " ".join([*WORDS[100:180], short, *WORDS[100:180]])
    assert len(sets(short) & sets(longer)) / len(sets(short) | sets(longer)) < 0.2
    assert _Grams.of([short]).contained_in([("a", longer), ("b", " ".join(WORDS[20:90]))]) == {"a"}
    assert _Grams.of(["too few words", ""]).contained_in([("a", "too few words")]) == set()
    assert _Grams.of([]).contained_in([("a", longer)]) == set() and _Grams.of([short]).contained_in([]) == set()


def test_of_a_bank_it_leaves_out_what_is_held_out_and_its_collections(tiny, monkeypatch):
    bank = tiny.open()
    rows = bank.table("documents", ["id", "text", "split", "collection", "duplicate_of"]).to_pylist()
    held_out = [row for row in rows if "-" in row["split"]]
    whole = {row["collection"] for row in held_out if row["split"].endswith("-collection")}
    kept = [row for row in rows if row["duplicate_of"] == ""]
    others = [(row["id"], row["text"]) for row in kept if "-" not in row["split"] and row["collection"] not in whole]
    expected = {row["id"] for row in held_out} | {row["id"] for row in kept if row["collection"] in whole}
    expected |= brute_force([row["text"] for row in held_out], others, 0.5)
    assert left_out(bank.view) == expected and len(others) > 3
    monkeypatch.setattr(leaks, "_CHARACTERS", 1)
    assert left_out(bank.view) == expected
