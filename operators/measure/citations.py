"""C4's rules for documents with citations: [12], [edit] and [citation needed] are cut before a line is judged.

Few documents have them, so lines are cut by Python, and the compiled pass counts what is left.
"""

from __future__ import annotations

import re

from operators.measure.lines import FEWEST_WORDS, LONGEST_WORD

_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")


def without_citations(text: str) -> list[str]:
    """The lines of ``text`` with words enough, none of them too long, without citations."""
    lines = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= FEWEST_WORDS and all(len(word) <= LONGEST_WORD for word in words):
            lines.append(_CITATION.sub("", line.strip()))
    return lines
