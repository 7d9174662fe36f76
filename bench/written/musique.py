"""Recall of the passages of MuSiQue-100: `python -m bench.written.musique`, as `bench.written` says.

Expected on machine C of LOG.md: 69.2 % among the five best with links, 63.1 without, LinearRAG's rule 68.2.
"""

from __future__ import annotations

import sys

from bench.report import Row, main
from bench.written.passages import musique
from bench.written.ranking import measure_set


def rows(quick: bool) -> list[Row]:
    """Raises `bench.data.MissingData`."""
    return measure_set(musique(), quick)


if __name__ == "__main__":
    sys.exit(main("written.musique", __doc__ or "", rows))
