"""The sentences of a text as ranges of characters, by rules: units of a document, and what a text's topic is read of.

A sentence ends at a blank line, before a heading, list item, field or prompt line, and after a heading. It also ends
where ``.``, ``!`` or ``?`` is followed by space and a capital or an opening quote, unless the word before is an
abbreviation or initial, and at the marks of scripts that have others, such as the danda of Hindi and the full-width
stop of Chinese. Rules replace a learned splitter (Punkt: Kiss and Strunk 2006). They need no data, they read
documentation (lists, prompts, tables) as well as prose, and one regular expression passes over 10 million characters a
second. It defines them; a build has the same rules compiled (`operators.sentences`). Sentences are in order, do not
overlap, and leave out nothing but whitespace.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST = 1000
"""Characters of a sentence, by default."""

MARKS = (
    "\u0964\u0965"  # danda and double danda, of Hindi, Bengali and most scripts of India
    "\u061d-\u061f"  # Arabic
    "\u0589"  # Armenian
    "\u0700-\u0702"  # Syriac
    "\u07f9\u0837\u0839\u083d\u083e"  # N'Ko, Samaritan
    "\u0df4"  # Sinhala
    "\u0f0d-\u0f12\u0f14"  # Tibetan
    "\u104b"  # Burmese
    "\u1362\u1367\u1368"  # Ethiopic, of Amharic and Tigrinya
    "\u166e\u1735\u1736"  # Canadian syllabics, Philippine scripts
    "\u17d4\u17d5"  # Khmer
    "\u1803\u1809\u1944\u1945"  # Mongolian, Limbu
    "\u1aa8-\u1aab\u1b5a\u1b5b\u1b5e\u1b5f\u1c3b\u1c3c\u1c7e\u1c7f"  # Tai Tham, Balinese, Lepcha, Ol Chiki
    "\ua4ff\ua60e\ua60f\ua6f3\ua6f7"  # Lisu, Vai, Bamum
    "\ua876\ua877\ua8ce\ua8cf\ua92f"  # Phags-pa, Saurashtra, Kayah Li
    "\ua9c9\uaa5d-\uaa5f\uaaf0\uaaf1\uabeb"  # Javanese, Cham, Meetei Mayek
    "\U00011047\U00011048\U000110be-\U000110c1"  # Brahmi, Kaithi
    "\U00011141-\U00011143\U000111c5\U000111c6"  # Chakma, Sharada
)
"""Characters of scripts without capitals that end sentences and do nothing else (Unicode's Sentence_Terminal)."""

WORD_SPACE = "\u1361"
"""Between two words of Amharic; two of them end a sentence."""

# The sets of characters of the rules, as they stand between the brackets of a regular expression.
STOPS = ".!?\u2026"
CLOSERS = ")\\]}\"'\u201d\u2019\u00bb*_`"  # of what a sentence ends in
OPENERS = "\"'\u201c\u2018\u00ab(\\[{*_`\u00bf\u00a1"  # of what one begins with
QUOTES = "\"'\u201c\u2018\u00ab*_`"  # those of them that a word in lower case may follow
BEFORE_WORDS = "\\s(\\[{\"'\u201c\u2018\u00ab"
BULLETS = "\\-*+\u2022\u2023\u25e6"
UNDERLINES = '=\\-~^"*+\\#'
WIDE = "\u3002\uff61\uff01\uff1f\ufe12\ufe15\ufe16\ufe52\ufe56\ufe57"  # no space follows these
WIDE_STOP = "\uff0e"  # the same, but after a digit, as in "1." of a list, and before a letter, as in "U.S."
WIDE_CLOSERS = "\u201d\u2019\u300d\u300f\uff09\uff63"
WIDE_DIGITS = "0-9\uff10-\uff19"
WIDE_LETTERS = "A-Za-z\uff21-\uff3a\uff41-\uff5a"
MARK_CLOSERS = CLOSERS + "\u203a"
URDU_STOP = "\u06d4"

ABBREVIATIONS = frozenset(
    re.findall(
        r"\S+",
        "e.g i.e a.m p.m u.s u.k etc cf vs al viz ibid resp incl excl approx ca fig figs eq eqs sec secs ch chap vol "
        "vols pp ed eds ref refs mr mrs ms dr prof st jr sr inc ltd co corp bros dept gen col lt sgt capt rev hon",
    )
)
"""Words before a full stop that ends no sentence, in lower case; so are single letters, but for "I"."""

# Possessive quantifiers and the look-behind keep the search linear on hostile text, such as a million full stops.
_BREAK = re.compile(
    rf"""
      (?P<heading>^[^\S\n]*+\#{{1,6}}[^\S\n][^\n]*+$)  # a unit of its own
    | (?P<underline>^[^\S\n]*+(?P<line>[{UNDERLINES}])(?P=line){{2,}}+[^\S\n]*+$)  # ends the title above it
    | (?P<block>\n[^\S\n]*+\n
        | \n(?=[^\S\n]*+(?:  # list item, prompt, fence, table row, field
            [{BULLETS}]\s | \(?\d{{1,3}}[.)]\s | (?:>>>|\.\.\.)\s | ```|~~~ | \|\s
            | [:@][a-z]\w*+[^\n:]*+:\s)))
    | (?P<wide>(?:[{WIDE}]|(?<![{WIDE_DIGITS}]){WIDE_STOP}(?![{WIDE_LETTERS}]))++[{WIDE_CLOSERS}]*+)
    | (?P<own>(?:(?P<mark>[{MARKS}]|{WORD_SPACE * 2})(?:[^\S\n]*+(?P=mark))*+)++[{MARK_CLOSERS}]*+)
    | (?P<urdu>(?<!{URDU_STOP}){URDU_STOP}++[{CLOSERS}]*+(?!\S))
    | (?<![{STOPS}])(?P<stop>[{STOPS}]++)[{CLOSERS}]*+(?=\s++(?P<opening>[{OPENERS}]*)(?P<next>\w))
    """,
    re.VERBOSE | re.MULTILINE,
)
_SPACES = re.compile(r"\s*")
_LAST_SPACE = re.compile(r".*\s", re.DOTALL)
_LAST_WORD = re.compile(rf"[^{BEFORE_WORDS}]*$")
_QUOTE = re.compile(f"[{QUOTES}]")


def sentence_ranges(text: str, longest: int = LONGEST) -> Iterator[tuple[int, int]]:
    """Ranges [start, end) of the sentences of ``text``, without the whitespace around them.

    One of more than ``longest`` characters is cut at its last space before the limit, or at the limit where it has
    none.
    """
    for start, end in _sentences(text):
        yield from _cut_at_spaces(text, start, end, longest)


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    """Ranges between the breaks of ``text``, without the whitespace around them."""
    start = 0
    for match in _BREAK.finditer(text):
        if match["heading"] is not None:
            cuts: tuple[int, ...] = (match.start(), match.end())
        elif match["stop"] is None or _ends_sentence(text, start, match):
            cuts = (match.end(),)
        else:
            continue
        for cut in cuts:
            yield from _stripped(text, start, cut)
            start = cut
    yield from _stripped(text, start, len(text))


def _ends_sentence(text: str, start: int, match: re.Match[str]) -> bool:
    following = match["next"]
    if (following.islower() or not following.isalpha()) and not _QUOTE.search(match["opening"]):
        return False
    if match["stop"] != ".":
        return True
    # Bounded, so that text without spaces stays linear.
    word = _LAST_WORD.search(text, max(start, match.start() - 24), match.start())
    before = word.group().lower() if word else ""
    initial = len(before) == 1 and before.isalpha() and before != "i"
    return not initial and before not in ABBREVIATIONS


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    piece = text[start:end]
    begin = start + len(piece) - len(piece.lstrip())
    finish = start + len(piece.rstrip())
    if begin < finish:
        yield begin, finish


def _cut_at_spaces(text: str, start: int, end: int, longest: int) -> Iterator[tuple[int, int]]:
    """Ranges of at most ``longest`` characters that cover the non-whitespace of [start, end)."""
    while end - start > longest:
        space = _LAST_SPACE.match(text, start + 1, start + longest + 1)
        cut = space.end() if space else start + longest
        yield from _stripped(text, start, cut)
        spaces = _SPACES.match(text, cut, end)
        start = spaces.end() if spaces else cut
    yield start, end
