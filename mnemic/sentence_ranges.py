"""The sentences of a text as ranges of characters, by rules: units of a document, and what a text's topic is read of.

A sentence ends at a blank line, before a heading, list item, field or prompt line, and after a heading. It also ends
where ``.``, ``!`` or ``?`` is followed by space and a capital or an opening quote, unless the word before is an
abbreviation or initial, and at the marks of scripts that have others, such as the danda of Hindi and the full-width
stop of Chinese. Rules replace a learned splitter (Punkt: Kiss and Strunk 2006). They need no data, they read
documentation (lists, prompts, tables) as well as prose, and one regular expression passes over 10 million characters a
second. Sentences are in order, do not overlap, and leave out nothing but whitespace.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST = 1000
"""Characters of a sentence, by default."""

_MARKS = (
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

_WORD_SPACE = "\u1361"
"""Between two words of Amharic; two of them end a sentence."""

# Possessive quantifiers and the look-behind keep the search linear on hostile text, such as a million full stops.
_BREAK = re.compile(
    r"""
      (?P<heading>^[^\S\n]*+\#{1,6}[^\S\n][^\n]*+$)  # a unit of its own
    | (?P<underline>^[^\S\n]*+(?P<line>[=\-~^"*+#])(?P=line){2,}+[^\S\n]*+$)  # ends the title above it
    | (?P<block>\n[^\S\n]*+\n
        | \n(?=[^\S\n]*+(?:  # list item, prompt, fence, table row, field
            [-*+\u2022\u2023\u25e6]\s | \(?\d{1,3}[.)]\s | (?:>>>|\.\.\.)\s | ```|~~~ | \|\s
            | [:@][a-z]\w*+[^\n:]*+:\s)))
    | (?P<wide>(?:[\u3002\uff61\uff01\uff1f\ufe12\ufe15\ufe16\ufe52\ufe56\ufe57]  # no space follows these
            | (?<![0-9\uff10-\uff19])\uff0e(?![A-Za-z\uff21-\uff3a\uff41-\uff5a]))++  # no "1." of a list, no "U.S."
        [\u201d\u2019\u300d\u300f\uff09\uff63]*+)
    | (?P<own>(?:(?P<mark>"""
    + f"[{_MARKS}]|{_WORD_SPACE * 2}"
    + r""")(?:[^\S\n]*+(?P=mark))*+)++[)\]}"'\u201d\u2019\u00bb\u203a*_`]*+)  # nothing else ends in these
    | (?P<urdu>(?<!\u06d4)\u06d4++[)\]}"'\u201d\u2019\u00bb*_`]*+(?!\S))
    | (?<![.!?\u2026])(?P<stop>[.!?\u2026]++)[)\]}"'\u201d\u2019\u00bb*_`]*+
        (?=\s++(?P<opening>["'\u201c\u2018\u00ab(\[{*_`\u00bf\u00a1]*)(?P<next>\w))
    """,
    re.VERBOSE | re.MULTILINE,
)
_SPACES = re.compile(r"\s*")
_LAST_SPACE = re.compile(r".*\s", re.DOTALL)
_LAST_WORD = re.compile(r"[^\s(\[{\"'\u201c\u2018\u00ab]*$")
_QUOTE = re.compile("[\"'\u201c\u2018\u00ab*_`]")
_ABBREVIATION = re.compile(
    r"""e\.g | i\.e | a\.m | p\.m | u\.s | u\.k | etc | cf | vs | al | viz | ibid | resp | incl | excl | approx | ca
    | figs? | eqs? | secs? | ch | chap | vols? | pp | eds? | refs? | mr | mrs | ms | dr | prof | st | jr | sr | inc
    | ltd | co | corp | bros | dept | gen | col | lt | sgt | capt | rev | hon""",
    re.VERBOSE,
)


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
    return not initial and _ABBREVIATION.fullmatch(before) is None


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
