"""Planted near-duplicates: edits of natural documents down to a drawn similarity, and edge cases.

Every tenth of the similarities from 0.5 to 0.95 is met by words that are replaced, deleted, inserted or cut off, or
replaced and deleted at once. Two of twelve documents are exact copies, or differ in case, white space, punctuation or
Unicode form alone. The same documents and the same seed give the same edits.
"""

from __future__ import annotations

import random
import re
import unicodedata

from bench.deduplicate.truth import jaccard, shingles

SIMILARITIES = (0.50, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90, 0.95)
KINDS = ("sub", "del", "ins", "trunc", "mix")
EMPTY = ("", " ", "\n\n", "\u200b", "--- ***", "\t")
SHORT = ("hello world", "Hello, world!", "one two three four", "see also", "日本語")
STEPS = 24
"""Of the bisection that looks for the number of edits."""

FEWEST_SHINGLES = 60
"""Of a document that is edited."""

Planted = tuple[str, str, str, float, str]
"""Name, text, name of the document that it is an edit of ("" for none), Jaccard similarity to it, kind of edit."""


def plant(natural: list[tuple[str, str]], count: int, seed: int) -> list[Planted]:
    """Edits of ``count`` of the documents (names and texts), and edge documents with no origin."""
    draw = random.Random(seed)
    vocabulary = sorted(
        {word for _, text in natural[:: max(1, len(natural) // 400)] for word in text.split()[:200] if word.isalpha()}
    )
    origins = [number for number, (_, text) in enumerate(natural) if 500 < len(text) < 20000]
    draw.shuffle(origins)
    planted: list[Planted] = []
    for number, origin in zip(range(count), origins, strict=False):
        name, text = natural[origin]
        original = shingles(text)
        if len(original) < FEWEST_SHINGLES:
            continue
        turn, place = divmod(number, len(SIMILARITIES) + 2)
        if place == len(SIMILARITIES):
            kind, edit = "exact", text
        elif place > len(SIMILARITIES):
            variants = _variants(text)
            kind, edit = variants[turn % len(variants)]
        else:
            kind = KINDS[turn % len(KINDS)]
            edit = edited(draw, text, original, SIMILARITIES[place], kind, vocabulary)
        planted.append((f"planted:{number:06d}", edit, name, jaccard(original, shingles(edit)), kind))
    for number in range(max(6, count // 200)):
        planted.append((f"edge:empty{number:04d}", EMPTY[number % len(EMPTY)], "", 0.0, "empty"))
        planted.append((f"edge:short{number:04d}", SHORT[number % len(SHORT)], "", 0.0, "short"))
    return planted


def edited(
    draw: random.Random, text: str, original: set[str], similarity: float, kind: str, vocabulary: list[str]
) -> str:
    """The text with as many edits as keep its Jaccard similarity to ``original`` at ``similarity`` or above.

    The number of edits is found by bisection, since similarity falls with it.
    """
    words = text.split()
    count = len(words)
    order = draw.sample(range(count), count)
    fill = [draw.choice(vocabulary) for _ in range(2 * count)]
    start = draw.randrange(count)
    best, low, high = text, 0, count
    for _ in range(STEPS):
        edits = (low + high) // 2
        candidate = " ".join(_with_edits(words, kind, edits, order, fill, start))
        if jaccard(original, shingles(candidate)) >= similarity:
            best, low = candidate, edits
        else:
            high = edits
        if high - low <= 1:
            break
    return best


def _with_edits(words: list[str], kind: str, edits: int, order: list[int], fill: list[str], start: int) -> list[str]:
    """``words`` with ``edits`` of them edited, in the drawn ``order`` or from ``start`` on."""
    count = len(words)
    if kind == "sub":
        replaced = set(order[:edits])
        return [fill[place] if place in replaced else word for place, word in enumerate(words)]
    if kind == "del":
        end = start + edits
        return words[:start] + words[end:] if end <= count else words[end % count : start]
    if kind == "ins":
        return words[:start] + fill[: 2 * edits] + words[start:]
    if kind == "trunc":
        return words[: max(1, count - edits)]
    replaced, dropped = set(order[: edits // 2]), set(order[edits // 2 : edits])
    return [fill[place] if place in replaced else word for place, word in enumerate(words) if place not in dropped]


def _variants(text: str) -> tuple[tuple[str, str], ...]:
    """The text in other clothes: case, white space, punctuation, Unicode forms."""
    return (
        ("case", text.upper()),
        ("space", "  " + "\n".join(text.split()) + "\n"),
        ("punct", re.sub(r"[.,;:]", "", text)),
        ("nfd", unicodedata.normalize("NFD", text)),
        ("nbsp", text.replace(" ", "\u00a0")),
        ("bom", "\ufeff" + text),
    )
