"""Made-up documents for measurements of growth: any number, each of its own number alone, and a recipe for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

FILES = 32
"""JSON Lines files of a corpus: the least work that can be divided."""

SENTENCES, WORDS = 2, 12
"""Sentences of a document, and words of all of them."""

COPIES = 50
"""Of so many documents one is a copy of the one before, and one differs from it by a word."""

_ONSETS, _VOWELS, _CODAS = tuple("bdfgklmnprstvz"), tuple("aeiou"), ("", "n", "r", "s")
VOCABULARY = [
    f"{onset}{vowel}{onset_2}{vowel_2}{coda}"
    for onset in _ONSETS
    for vowel in _VOWELS
    for onset_2 in _ONSETS
    for vowel_2 in _VOWELS
    for coda in _CODAS
]
"""19,600 made-up words."""

_AT_ONCE = 10_000


def documents(first: int, end: int) -> Iterator[str]:
    """The texts of documents ``first`` to ``end`` - 1."""
    for start in range(first - first % _AT_ONCE, end, _AT_ONCE):
        drawn = np.random.default_rng(start).zipf(1.3, (_AT_ONCE, WORDS)) % len(VOCABULARY)
        drawn[:, ::3] = np.random.default_rng(start + 1).integers(len(VOCABULARY), size=(_AT_ONCE, WORDS // 3))
        drawn[1::COPIES] = drawn[::COPIES]
        drawn[2::COPIES] = drawn[::COPIES]
        drawn[2::COPIES, -1] = 0
        for number in range(max(first, start), min(end, start + _AT_ONCE)):
            words = [VOCABULARY[word] for word in drawn[number - start].tolist()]
            size = WORDS // SENTENCES
            sentences = (" ".join(words[at : at + size]).capitalize() for at in range(0, WORDS, size))
            yield ". ".join(sentences) + "."


def write_documents(folder: Path, count: int) -> None:
    """``count`` documents in `FILES` files of JSON Lines."""
    folder.mkdir(parents=True)
    share = -(-count // FILES)
    for number in range(FILES):
        with (folder / f"{number:02d}.jsonl").open("w", encoding="utf-8") as file:
            for text in documents(number * share, min(count, (number + 1) * share)):
                file.write(json.dumps({"text": text}) + "\n")


def recipe(folder: Path, bank: Path, encoder: str, language_model: str) -> dict[str, Any]:
    """Every step that a build has as a rule, with tiny models; what is trained has one size for every corpus."""
    reading = {"dtype": "float32", "window": 64, "stride": 32}
    return {
        "name": "scale",
        "bank": str(bank),
        "sources": [{"kind": "folder", "path": str(folder), "suffixes": [".jsonl"]}],
        "embed": {"model": encoder, "dtype": "float32"},
        "cluster": {},
        "suffixes": {},
        "language_model": language_model,
        "split": {"tokens": 20_000, "held_out_tokens": 2_000, "min_characters": 40},
        "datastore": reading,
        "neighbours": {"k": 16},
        "teacher": {"support": 8},
        "imitate": {"epochs": 1, "blocks": 1, "dtype": "float32"},
    }
