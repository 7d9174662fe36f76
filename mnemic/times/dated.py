"""A text with the days of its relative times written behind them, in brackets."""

from __future__ import annotations

from datetime import date

from mnemic.times.moments import moments


def dated(text: str, anchor: date | None) -> str:
    """``text``, said on the day ``anchor``: "I went yesterday (7 May 2023)." Times with a year stay.

    Without an anchor nothing is resolved.
    """
    if anchor is None:
        return text
    pieces, place = [], 0
    for moment in moments(text, anchor):
        if moment.anchor is not None:
            pieces += [text[place : moment.end], f" ({moment.words})"]
            place = moment.end
    return "".join([*pieces, text[place:]])
