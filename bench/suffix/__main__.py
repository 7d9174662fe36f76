"""The suffix index: building, asking, tracing, generating, and what it and the gate are worth in nats.

Ten million tokens are documentation and sources of this Python environment (`bench.suffix.corpus`); ``--quick`` takes a
tenth. Peers are bare `pydivsufsort` and `infini-gram`. The banks of `bench.suffix.quality` take long to build, so
``--quick`` leaves it out; it runs alone too, and then ``--quick`` builds a small one.

Expected on machine C of LOG.md (2 busy cores of an Intel Xeon): suffix_build 1.17, suffix_bytes 6.16, suffix_query 3.0
microseconds, suffix_query_ratio 537, suffix_query_alone_ratio 21, trace_ms 13 to 23, attach_overhead_suffix .85,
draft_speedup 1.19, suffix_gain 1.12, gated_gain 1.56, suffix_all_gain 2.44.
"""

from __future__ import annotations

import sys

from bench.report import Row, main
from bench.suffix.building import building_rows
from bench.suffix.corpus import corpus
from bench.suffix.generating import generating_rows
from bench.suffix.quality import quality_rows
from bench.suffix.query import query_rows
from bench.suffix.tracing import tracing_rows


def measure(quick: bool) -> list[Row]:
    text = corpus(quick)
    rows = [
        *building_rows(text, quick),
        *query_rows(text, quick),
        *tracing_rows(text, quick),
        *generating_rows(text, quick),
    ]
    return rows if quick else [*rows, *quality_rows(quick)]


if __name__ == "__main__":
    sys.exit(main("suffix", __doc__ or "", measure))
