"""Sets of rules, each named by whose it is: five projects have a "Gopher", and they are five sets.

Names of rules are those of their project. `gopher@datatrove`, `c4@datatrove`, `fineweb@datatrove` (datatrove 0.10.1)
and data-juicer's counts are compared decision by decision and value by value (`python -m bench.curate`); dolma's,
NeMo Curator's and DCLM's were read, and have not been compared. No set has a list of words that a text must not have.
"""

from __future__ import annotations

from dataclasses import dataclass

from mnemic.rules import Rule


@dataclass(frozen=True)
class Preset:
    """Rules in their order, and what `measure` must count for them."""

    rules: tuple[Rule, ...]
    words: str
    view: str = ""


def _least(name: str, expression: str, threshold: float) -> Rule:
    return Rule(name, expression, "min", threshold)


def _most(name: str, expression: str, threshold: float) -> Rule:
    return Rule(name, expression, "max", threshold)


EMPTY = _least("empty", "characters", 1)

_TOP = ((2, 0.2), (3, 0.18), (4, 0.16))
_REPEATED = ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1))


def repetition(lines: tuple[float, float], paragraphs: tuple[float, float] | None) -> tuple[Rule, ...]:
    """Gopher's rules against repetition, with bounds (by number, by characters) for lines and for paragraphs."""
    of_paragraphs = (
        ()
        if paragraphs is None
        else (
            _most("dup_para_frac", "repeated_paragraphs / paragraphs", paragraphs[0]),
            _most("dup_para_char_frac", "repeated_paragraph_characters / characters", paragraphs[1]),
        )
    )
    return (
        *of_paragraphs,
        _most("dup_line_frac", "repeated_runs / runs", lines[0]),
        _most("dup_line_char_frac", "repeated_run_characters / characters", lines[1]),
        *(_most(f"top_{size}_gram", f"top_{size}gram / characters", most) for size, most in _TOP),
        *(_most(f"duplicated_{size}_n_grams", f"repeated_{size}grams / characters", most) for size, most in _REPEATED),
    )


DATATROVE_REPETITION = repetition((0.3, 0.2), (0.3, 0.2))

DATATROVE_QUALITY = (
    _least("gopher_short_doc", "plain_words", 50),
    _most("gopher_long_doc", "plain_words", 100_000),
    _least("gopher_below_avg_threshold", "plain_characters / plain_words", 3),
    _most("gopher_above_avg_threshold", "plain_characters / plain_words", 10),
    _most("gopher_too_many_hashes", "hash_signs / words", 0.1),
    _most("gopher_too_many_ellipsis", "ellipses / words", 0.1),
    _most("gopher_too_many_bullets", "bullet_lines / lines", 0.9),
    _most("gopher_too_many_end_ellipsis", "ellipsis_lines / lines", 0.3),
    _least("gopher_below_alpha_threshold", "alpha_words / words", 0.8),
    _least("gopher_enough_stop_words", "stop_words", 2),
)

DATATROVE_C4 = (
    _most("lorem_ipsum", "c4_lorem", 1),
    _most("curly_bracket", "c4_curly", 1),
    _least("too_few_sentences", "c4_sentences", 5),
)

_DATATROVE_C4_OPEN = (
    _most("lorem_ipsum", "c4_lorem", 0),
    _most("curly_bracket", "c4_curly", 0),
    _least("too_few_sentences", "c4_open_sentences", 5),
)


def fineweb(prefix: str) -> tuple[Rule, ...]:
    """FineWeb's own rules, over the counts of the text ("") or of what C4's rules leave of it ("c4_")."""
    lines = f"{prefix}full_lines"
    return (
        _least("no_lines", lines, 1),
        _least("line_punct_ratio", f"{prefix}ended_lines / {lines}", 0.12),
        _most("short_line_ratio", f"{prefix}short_lines / {lines}", 0.67),
        _most(
            "char_dup_ratio",
            f"{prefix}repeated_line_characters / ({prefix}characters - {prefix}newlines)",
            0.01,
        ),
        _most("list_ratio", f"{prefix}newlines / {prefix}words", 0.3),
    )


DATATROVE_FINEWEB = fineweb("")

_LENGTHS = (_least("word_count_min", "words", 50), _most("word_count_max", "words", 100_000))
_LINES = (
    _most("bullet_lines", "star_lines / lines", 0.9),
    _most("ellipsis_lines", "ellipsis_lines / lines", 0.3),
    _least("alpha_words", "alpha_words / words", 0.8),
    _least("stop_words", "stop_word_uses", 2),
)

_MEAN_LENGTH = (
    _least("mean_word_length_min", "plain_characters / plain_words", 3),
    _most("mean_word_length_max", "plain_characters / plain_words", 10),
)

DATA_JUICER = (
    _least("alphanumeric", "alphanumeric / characters", 0.7),
    _most("special_characters", "special / characters", 0.4),
    _most("character_repetition", "repeated_character_grams / character_grams", 0.2),
    _most("word_repetition", "repeated_word_grams / word_grams", 0.3),
    _least("words_num_min", "words", 1000),
    _most("words_num_max", "words", 200_000),
    _most("average_line_length", "characters / lines", 500_000),
    _most("maximum_line_length", "longest_line", 1_000_000),
)
"""Thresholds of data-juicer's recipe for PhilPapers in the Pile."""

PRESETS = {
    "gopher@datatrove": Preset((EMPTY, *DATATROVE_REPETITION, *DATATROVE_QUALITY), "spacy-en"),
    "c4@datatrove": Preset((EMPTY, *DATATROVE_C4), "spacy-en", "c4"),
    "fineweb@datatrove": Preset(
        (EMPTY, *DATATROVE_REPETITION, *DATATROVE_QUALITY, *_DATATROVE_C4_OPEN, *fineweb("c4_")), "spacy-en", "c4-open"
    ),
    "gopher@dolma": Preset(
        (
            EMPTY,
            *_LENGTHS,
            _least("median_word_length_min", "double_median / 2", 3),
            _most("median_word_length_max", "double_median / 2", 10),
            _most("symbol_words", "symbol_words / words", 0.1),
            *_LINES,
            *repetition((0.3, 0.2), None),
        ),
        "whitespace",
    ),
    "gopher@curator": Preset(
        (
            EMPTY,
            *_LENGTHS,
            *_MEAN_LENGTH,
            _most("symbols", "(hash_signs + ellipses) / words", 0.1),
            *_LINES,
            *repetition((0.7, 0.8), (0.7, 0.8)),
        ),
        "whitespace",
    ),
    "dclm": Preset(
        (
            EMPTY,
            _least("word_count_min", "plain_words", 50),
            _most("word_count_max", "plain_words", 100_000),
            *_MEAN_LENGTH,
            _most("symbols", "(hash_signs + ellipses) / words", 0.1),
            *_LINES,
            *repetition((0.3, 0.2), (0.3, 0.2)),
        ),
        "unicode",
    ),
    "data-juicer-pile": Preset((EMPTY, *DATA_JUICER), "datajuicer"),
    "conversation": Preset(
        (
            EMPTY,
            _least("no_letters", "letters", 1),
            _most("repeated_lines", "repeated_run_characters / characters", 0.5),
            _most("repeated_characters", "repeated_character_grams / character_grams", 0.6),
            _most("repeated_words", "repeated_10grams / characters", 0.4),
            _most("special_characters", "special / characters", 0.7),
            _most("longest_line", "longest_line", 100_000),
        ),
        "unicode",
    ),
}
"""`conversation` is ours: it lets short, informal texts pass, and drops what says the same again and again."""

ALIASES = {"@curator": "gopher@curator"}
