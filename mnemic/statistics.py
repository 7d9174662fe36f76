"""The integer counts of a document in the column `statistics`, in the order in which they are written.

``words`` and all that is made of them follow the word rule; "characters" are code points. Lines are those of
`str.splitlines`, but `full_lines` and the next three, which are the lines between line feeds that are not blank.
"""

from __future__ import annotations

import pyarrow as pa

RAW = (
    "characters",
    "words",
    "plain_words",  # with a character that is no punctuation
    "plain_characters",  # of these
    "alpha_words",  # with a letter
    "symbol_words",  # with a hash sign or an ellipsis
    "stop_words",  # of Gopher's eight, how many there are
    "stop_word_uses",  # and how often
    "double_median",  # twice the median length of words
    "chunks",  # runs without separators
    "hash_signs",
    "ellipses",
    "alphanumeric",  # characters
    "special",  # characters, of data-juicer's set
    "letters",
    "unspaced",  # letters of scripts without spaces
    "script",  # number in `SCRIPTS` of the script for which the word rule finds no words; 0 where it finds them
    "newlines",  # line feeds
    "lines",
    "longest_line",
    "bullet_lines",  # begin with a bullet or a hyphen
    "star_lines",  # begin with an asterisk or a hyphen
    "ellipsis_lines",  # end in one
    "full_lines",
    "ended_lines",  # end in a mark that ends a sentence
    "short_lines",  # have 30 characters or fewer
    "repeated_line_characters",  # of full lines that came before
    "paragraphs",
    "repeated_paragraphs",
    "repeated_paragraph_characters",
    "runs",  # of text between line feeds, blank ones joined
    "repeated_runs",
    "repeated_run_characters",
    "top_2gram",  # characters of the most frequent 2-gram of words, spaces between words counted, times its frequency
    "top_3gram",
    "top_4gram",
    "repeated_5grams",  # characters of 5-grams of words that came before
    "repeated_6grams",
    "repeated_7grams",
    "repeated_8grams",
    "repeated_9grams",
    "repeated_10grams",
    "character_grams",  # 10-grams of characters
    "repeated_character_grams",  # those of the most frequent, as many as the root of the distinct ones
    "word_grams",  # 10-grams of words
    "repeated_word_grams",  # of those that stand more than once
    "c4_lorem",  # 2: a line that C4 keeps has "lorem ipsum"; 1: one that it would keep if it ended in a mark
    "c4_curly",  # the same for a brace
    "c4_sentences",  # of the lines that C4 keeps
    "c4_open_sentences",  # of these and of those that do not end in a mark
)

VIEW = (
    "c4_characters",
    "c4_words",
    "c4_newlines",
    "c4_full_lines",
    "c4_ended_lines",
    "c4_short_lines",
    "c4_repeated_line_characters",
)
"""Of the text that C4's rules leave, where they are asked for."""

SCRIPTS = ("", "zh", "ja", "th", "lo", "my", "km", "ii")
"""The languages by which scripts without spaces are told; Han alone is Chinese, Kana Japanese."""

PLACE = {name: place for place, name in enumerate(RAW)}

OF_WORDS = frozenset(
    {
        *("words", "plain_words", "plain_characters", "alpha_words", "symbol_words", "stop_words", "stop_word_uses"),
        *("double_median", "word_grams", "repeated_word_grams", "c4_sentences", "c4_open_sentences", "c4_words"),
        *(f"top_{size}gram" for size in (2, 3, 4)),
        *(f"repeated_{size}grams" for size in range(5, 11)),
    }
)
"""Counts that mean something only where the word rule finds words."""


def statistics_type(view: bool) -> pa.DataType:
    """The type of the column `statistics`."""
    names = (*RAW, *VIEW) if view else RAW
    return pa.struct([pa.field(name, pa.int32(), nullable=False) for name in names])
