"""Numbers and texts of an evaluation that a report draws. They need passes of the model, so a bank does not hold them.

`mnemic eval BANK --json` writes them to a file, which may come from anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnemic.errors import BankError, QueryError
from mnemic.facts import LONGEST, mapping
from mnemic.release import Release
from mnemic.terminal import one_line


def read_evaluation(file: Path) -> dict[str, Any]:
    """The object that `mnemic eval --json` wrote to ``file``. Raises `QueryError` where it is none."""
    try:
        with file.open("rb") as handle:
            text = handle.read(LONGEST + 1)
        return mapping(text, str(file))
    except (OSError, BankError) as error:
        raise QueryError(
            f"{one_line(str(file), 80)} is no evaluation ({one_line(str(error), 80)}); write one with "
            "`mnemic eval BANK --generate --json`."
        ) from error


def check_release(evaluation: Mapping[str, Any], release: Release) -> None:
    """Raise `QueryError` for an evaluation of another release."""
    if evaluation.get("release") != release.name:
        raise QueryError(
            f"The evaluation is of the release {one_line(str(evaluation.get('release')), 40)} and the report of "
            f"{release.name}; evaluate this release, or name the other with --release."
        )
