"""The counts of a text by their definitions, in plain Python: slow, and obviously what they say they are."""

import re
from collections import Counter

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")


def repeated(parts):
    """(how many came before, their characters)."""
    earlier, count, characters = set(), 0, 0
    for part in parts:
        if part in earlier:
            count, characters = count + 1, characters + len(part)
        earlier.add(part)
    return count, characters


def top_gram(words, size):
    grams = [" ".join(words[at : at + size]) for at in range(len(words) - size + 1)]
    if not grams:
        return 0
    gram, count = Counter(grams).most_common(1)[0]
    return len(gram) * count


def repeated_grams(words, size):
    earlier, characters, at = set(), 0, 0
    while at < len(words) - size + 1:
        gram = "".join(words[at : at + size])
        if gram in earlier:
            characters, at = characters + len(gram), at + size
        else:
            earlier.add(gram)
            at += 1
    return characters


def ten_grams(units, most_frequent):
    counts = Counter(tuple(units[at : at + 10]) for at in range(len(units) - 9))
    often = sorted((count for count in counts.values() if count > 1), reverse=True)
    repeats = often[: int(len(counts) ** 0.5)] if most_frequent else often
    return max(len(units) - 9, 0), sum(repeats)


def counts(text, words):
    """Counts of ``text`` that has these ``words``."""
    lines, full = text.splitlines(), [line for line in text.split("\n") if line.strip()]
    paragraphs, runs = re.split(r"\n{2,}", text.strip()), re.split(r"\n+", text)
    lengths = sorted(map(len, words))
    grams, often = ten_grams(text, True)
    word_grams, word_often = ten_grams(words, False)
    return {
        "characters": len(text),
        "words": len(words),
        "alpha_words": sum(any(map(str.isalpha, word)) for word in words),
        "stop_words": len(set(words) & set(STOP_WORDS)),
        "stop_word_uses": sum(word in STOP_WORDS for word in words),
        "double_median": lengths[(len(words) - 1) // 2] + lengths[len(words) // 2] if words else 0,
        "hash_signs": text.count("#"),
        "ellipses": text.count("...") + text.count("\u2026"),
        "alphanumeric": sum(map(str.isalnum, text)),
        "letters": sum(map(str.isalpha, text)),
        "newlines": text.count("\n"),
        "lines": len(lines),
        "longest_line": max(map(len, lines), default=0),
        "bullet_lines": sum(line.lstrip().startswith(("\u2022", "-")) for line in lines),
        "star_lines": sum(line.lstrip().startswith(("*", "-")) for line in lines),
        "ellipsis_lines": sum(line.rstrip().endswith(("...", "\u2026")) for line in lines),
        "full_lines": len(full),
        "short_lines": sum(len(line) <= 30 for line in full),
        "repeated_line_characters": repeated(full)[1],
        "paragraphs": len(paragraphs),
        "repeated_paragraphs": repeated(paragraphs)[0],
        "repeated_paragraph_characters": repeated(paragraphs)[1],
        "runs": len(runs),
        "repeated_runs": repeated(runs)[0],
        "repeated_run_characters": repeated(runs)[1],
        **{f"top_{size}gram": top_gram(words, size) for size in (2, 3, 4)},
        **{f"repeated_{size}grams": repeated_grams(words, size) for size in range(5, 11)},
        "character_grams": grams,
        "repeated_character_grams": often,
        "word_grams": word_grams,
        "repeated_word_grams": word_often,
    }
