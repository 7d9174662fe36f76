"""Advice that names the bank: errors and rejects are written where nobody knows its place, and say BANK."""

from __future__ import annotations

import re
import shlex

_COMMAND = re.compile(r"(mnemic [a-z]+ )BANK\b")


def for_bank(text: str, bank: str) -> str:
    """``text`` with the place of the bank in the commands that it advises, as a shell takes it."""
    quoted = shlex.quote(bank)
    return _COMMAND.sub(lambda match: match.group(1) + quoted, text) if bank else text
