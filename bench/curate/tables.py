"""Writes the tables of `operators/measure/tables` from the peers: which characters and rules are whose.

    python -m bench.curate.tables operators/measure/tables path/of/data_juicer/ops/common/special_characters.py

Needs datatrove, spaCy and emoji in the version that data-juicer asks for; mnemic itself needs none of them.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any


def ranges(characters: set[str]) -> str:
    """Code points as hexadecimal ranges, such as "21-2f,3a"."""
    numbers = sorted(ord(character) for character in characters if len(character) == 1)
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(f"{first:x}" if first == last else f"{first:x}-{last:x}" for first, last in parts)


def english() -> dict[str, Any]:
    """The rules of spaCy's English tokenizer."""
    import spacy
    from spacy.symbols import ORTH

    tokenizer = spacy.blank("en").tokenizer
    specials = {
        word: [token[ORTH] for token in tokens]
        for word, tokens in sorted(tokenizer.rules.items())
        if not any(character.isspace() for character in word)
    }
    return {
        "source": f"spaCy {spacy.__version__}, MIT licence, copyright ExplosionAI GmbH",
        "prefix": tokenizer.prefix_search.__self__.pattern,
        "suffix": tokenizer.suffix_search.__self__.pattern,
        "infix": tokenizer.infix_finditer.__self__.pattern,
        "address": tokenizer.url_match.__self__.pattern,
        "specials": {word: tokens for word, tokens in specials.items() if len(tokens) > 1},
        "whole": [word for word, tokens in specials.items() if len(tokens) == 1],
    }


def characters(special_characters: str) -> dict[str, str]:
    """Sets of characters, by whose and which they are."""
    from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION
    from spacy.pipeline.sentencizer import Sentencizer

    special = runpy.run_path(special_characters)["SPECIAL_CHARACTERS"]
    return {
        "source": "datatrove 0.10.1 (Apache-2.0): punctuation, terminal; data-juicer 1.6.1 "
        "(Apache-2.0): special; spaCy (MIT): sentence",
        "punctuation": ranges(PUNCTUATION_SET),
        "terminal": ranges(TERMINAL_PUNCTUATION),
        "special": ranges(special),
        "sentence": ranges(set(Sentencizer.default_punct_chars)),
    }


def main() -> None:
    folder, special_characters = Path(sys.argv[1]), sys.argv[2]
    folder.mkdir(exist_ok=True)
    for name, table in (("english", english()), ("characters", characters(special_characters))):
        (folder / f"{name}.json").write_text(json.dumps(table, ensure_ascii=True, indent=0) + "\n")


if __name__ == "__main__":
    main()
