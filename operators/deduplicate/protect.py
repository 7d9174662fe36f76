"""Documents that deduplication must never drop: canaries, licences, whatever a recipe names."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from operators.contracts import refuse


@dataclass(frozen=True)
class Protected:
    """By id, by shell patterns of the locator ("licenses/*"), or by regular expressions (RE2) that the text has."""

    ids: tuple[str, ...] = ()
    locators: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        refuse(_problem(pattern) for pattern in self.texts)

    @property
    def columns(self) -> list[str]:
        """The columns that `flags` reads beside `id`."""
        return [name for name, patterns in (("locator", self.locators), ("text", self.texts)) if patterns]

    def flags(self, documents: pa.Table) -> npt.NDArray[np.bool_]:
        """Whether each of the documents is protected, bool [n]."""
        marks = np.asarray(pc.is_in(documents["id"], value_set=pa.array(self.ids, pa.string())), np.bool_).copy()
        for pattern in self.locators:
            marks |= np.asarray(pc.match_substring_regex(documents["locator"], _expression(pattern)), np.bool_)
        for pattern in self.texts:
            marks |= np.asarray(pc.match_substring_regex(documents["text"], pattern), np.bool_)
        return marks


def _expression(pattern: str) -> str:
    """A shell pattern as a regular expression that both Python and RE2 read."""
    return "(?s)^" + "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern) + "$"


def _problem(pattern: str) -> str:
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        reason = str(error).partition(": ")[2] or str(error)
        return f'`protected_texts` has "{pattern}", which is no regular expression (RE2: {reason}).'
    return ""
