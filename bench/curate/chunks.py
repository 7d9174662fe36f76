"""Our port of spaCy's English tokenizer beside spaCy, on every distinct chunk of the texts of folders.

    PEER/bin/python -m bench.curate.chunks FOLDER... [--count 200000] [--freeze tests/fixtures/curate/english.json.gz]

Also compared are all words that the rules know, with marks before and behind them, and chunks with characters strewn
in. `--freeze` writes a sample of 6,000 with spaCy's tokens, for the tests. Needs spaCy, and nothing of mnemic but the
port.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import time
from pathlib import Path

from operators.measure.english import english_rules

STREWN = "aZ9.,-'\"():;/@#$%&*_=+<>[]{}|~`^é中ß…—’“”€№\u0301\u200d°²kmC\U0001f600"
BEFORE = ("", "(", '"', "x", "-", "'")
BEHIND = ("", ")", ".", "!", "'s", ",", "...", "x", "?)")


def chunks(folders: list[Path], words: list[str], count: int) -> list[str]:
    """Distinct chunks: ``count`` of texts, and as many again made of them and of ``words``."""
    distinct: set[str] = set()
    files = sorted({file for folder in folders for file in folder.rglob("*") if file.is_file()})
    random.Random(1).shuffle(files)
    for file in files:
        try:
            distinct.update(one for one in file.read_text(encoding="utf-8")[:300_000].split() if len(one) < 200)
        except (OSError, UnicodeDecodeError):
            continue
        if len(distinct) >= count:
            break
    of_texts = sorted(distinct)
    distinct.update(first + word + last for word in words for first in BEFORE for last in BEHIND)
    draw = random.Random(2)
    for _ in range(count // 2):
        letters = list(draw.choice(of_texts))
        for _ in range(draw.randint(1, 3)):
            letters.insert(draw.randint(0, len(letters)), draw.choice(STREWN))
        distinct.update("".join(letters).split())
    return sorted(distinct)


def main() -> None:
    import spacy

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--freeze", type=Path)
    arguments = parser.parse_args()
    tokenizer = spacy.blank("en").tokenizer
    words = [word for word in tokenizer.rules if not any(one.isspace() for one in word)]
    every = chunks(arguments.folders, words, arguments.count)
    rules = english_rules()
    begun = time.process_time()
    ours = [rules.lengths(chunk) for chunk in every]
    seconds = time.process_time() - begun
    begun = time.process_time()
    theirs: list[list[int]] = []
    for at in range(0, len(every), 1000):
        lengths: list[int] = []
        for token in tokenizer("\n".join(every[at : at + 1000])):
            if token.text[0] == "\n":
                theirs.append(lengths)
                lengths = []
            else:
                lengths.append(len(token.text))
        theirs.append(lengths)
    peer = time.process_time() - begun
    unequal = [(chunk, a, b) for chunk, a, b in zip(every, theirs, ours, strict=True) if a != b]
    print(
        f"{len(every):,} distinct chunks: {len(unequal)} unequal; ours {len(every) / seconds:,.0f} a second, "
        f"spaCy {len(every) / peer:,.0f}"
    )
    for one in unequal[:20]:
        print("   ", one)
    if arguments.freeze:
        sample = random.Random(4).sample(range(len(every)), 6000)
        data = json.dumps([[every[at], theirs[at]] for at in sample], ensure_ascii=False, separators=(",", ":"))
        arguments.freeze.write_bytes(gzip.compress(data.encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
