"""Where measurements keep their files.

* ``CACHE``, a folder a stage: corpora, vectors, keys and trained students that a run makes and the next one finds.
  ``MNEMIC_BENCH_CACHE``, else ``~/.cache/mnemic/bench``.
* ``DATA``: public data sets as `bench.data` names them. ``MNEMIC_BENCH_DATA``, else the folder ``data`` in ``CACHE``.
"""

from __future__ import annotations

import os
from pathlib import Path

CACHE = Path(os.environ.get("MNEMIC_BENCH_CACHE") or Path.home() / ".cache" / "mnemic" / "bench")
DATA = Path(os.environ.get("MNEMIC_BENCH_DATA") or CACHE / "data")
