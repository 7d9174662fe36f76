"""C4's rules in Python, for documents with citations and for what is cut: citations go before a line is judged.

For a view of what is left, and for what is cut; the compiled pass counts lines with citations by itself.
"""

from __future__ import annotations

import re

from operators.measure.lines import FEWEST_WORDS, LONGEST_WORD, PHRASES

_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")


def without_citations(text: str) -> list[str]:
    """The lines of ``text`` with words enough, none of them too long, without citations."""
    lines = []
    for line in text.splitlines():
        if len(line.split(None, FEWEST_WORDS - 1)) < FEWEST_WORDS:
            continue
        if len(line) <= LONGEST_WORD or all(len(word) <= LONGEST_WORD for word in line.split()):
            lines.append(_CITATION.sub("", line.strip()) if "[" in line else line.strip())
    return lines


def cut_lines(text: str, open_lines: bool) -> list[tuple[int, int, str]]:
    """What C4's rules cut of ``text``, as (start, end, rule): whole lines with their ends, and citations in the others.

    With ``open_lines`` a line may end in any character. A document that has a line for which C4 drops it whole is cut
    of that line only.
    """
    cut, place = [], 0
    for whole in text.splitlines(keepends=True):
        begin, place = place, place + len(whole)
        line = whole.strip()
        words = line.split()
        read = _CITATION.sub("", line)
        small = read.lower()
        ended = read.endswith((".", "?", "!", '"', "'")) and not read.endswith("...")
        if (
            len(words) < FEWEST_WORDS
            or any(len(word) > LONGEST_WORD for word in words)
            or not (ended or open_lines)
            or "{" in read
            or any(phrase in small for phrase in PHRASES)
        ):
            cut.append((begin, place, "c4_line"))
        else:
            cut += [(begin + one.start(), begin + one.end(), "c4_citation") for one in _CITATION.finditer(whole)]
    return cut
