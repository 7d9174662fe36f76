"""Our decisions and counts beside those of the peers, from their outputs as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mnemic.arrays import Floats
from mnemic.rules import Rule, judge
from mnemic.rules.values import values_of
from operators.curate.presets import (
    DATATROVE_C4,
    DATATROVE_FINEWEB,
    DATATROVE_QUALITY,
    DATATROVE_REPETITION,
    PRESETS,
)
from operators.measure.operator import Measure

FILTERS = {
    "gopher_quality": DATATROVE_QUALITY,
    "gopher_repetition": DATATROVE_REPETITION,
    "c4": DATATROVE_C4,
    "fineweb": DATATROVE_FINEWEB,
}

VALUES = {
    "alnum_ratio": "alphanumeric / characters",
    "special_char_ratio": "special / characters",
    "text_len": "characters",
    "avg_line_length": "characters / lines",
    "max_line_length": "longest_line",
    "char_rep_ratio": "repeated_character_grams / character_grams",
    "num_words": "words",
    "word_rep_ratio": "repeated_word_grams / word_grams",
}
"""data-juicer's statistics, as expressions over ours."""


def counts(texts: Sequence[str], words: str, view: str = "") -> dict[str, Floats]:
    """Our counts of ``texts``, float64 [n] each."""
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})
    return values_of(Measure(words, view).open("cpu")(batch)[0], ())


def reasons(rules: Sequence[Rule], columns: Mapping[str, Floats]) -> list[str]:
    """The first rule that drops each document; "keep" where none does."""
    names = [*(rule.name for rule in rules), "keep"]
    return [names[place] for place in judge(rules, columns).first.tolist()]


def unequal_reasons(texts: Sequence[str], peer: Mapping[str, Sequence[str]]) -> dict[str, list[tuple[int, str, str]]]:
    """Documents of which datatrove says another reason, by filter: (number, theirs, ours)."""
    columns = counts(texts, "spacy-en", "c4-open")
    ours = {name: reasons(rules, columns) for name, rules in FILTERS.items()}
    ours["fineweb"] = ["empty" if reason == "no_lines" else reason for reason in ours["fineweb"]]
    pipeline = reasons(PRESETS["fineweb@datatrove"].rules, columns)
    ours["pipeline"] = ["empty" if reason == "no_lines" else reason for reason in pipeline]
    return {
        name: [
            (place, theirs, mine)
            for place, (theirs, mine) in enumerate(zip(peer[name], ours[name], strict=True))
            if theirs.rpartition(":")[2] != mine
        ]
        for name in ours
    }


def unequal_values(texts: Sequence[str], peer: Mapping[str, Sequence[Any]]) -> dict[str, list[tuple[int, Any, float]]]:
    """Documents of which data-juicer counts something else, by statistic: (number, theirs, ours)."""
    columns = counts(texts, "datajuicer")
    unequal = {}
    for name, expression in VALUES.items():
        mine = np.nan_to_num(Rule(name, expression, "min", 0.0).formula(columns), nan=0.0)
        theirs = np.asarray(peer[name], np.float64)
        unequal[name] = [(at, peer[name][at], float(mine[at])) for at in np.flatnonzero(mine != theirs).tolist()]
    return unequal
