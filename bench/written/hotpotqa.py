"""Recall of the passages of HotpotQA-100: `python -m bench.written.hotpotqa`, as `bench.written` says.

Expected on machine C of LOG.md: 94.0 % among the five best with links, 82.5 without, LinearRAG's rule 77.5.
"""

from __future__ import annotations

import sys

from bench.report import Row, main
from bench.written.passages import hotpotqa
from bench.written.ranking import measure_set


def rows(quick: bool) -> list[Row]:
    """Raises `bench.data.MissingData`."""
    return measure_set(hotpotqa(), quick)


if __name__ == "__main__":
    sys.exit(main("written.hotpotqa", __doc__ or "", rows))
