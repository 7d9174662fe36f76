"""The dataset layer: everything that mnemic does with Lance, and the only package that imports it.

A bank is a folder of Lance datasets. Uncommitted work did not happen: rows are appended and columns are grown by
commits whose transaction properties say which step, fingerprint, run and code revision made them.

* ``store``   opens datasets, reads pinned snapshots, creates, replaces, deletes and tags
* ``options`` what opens an object store, how long it is waited for, and secrets that nothing shows
* ``failures`` the sentences for errors of the disk and of an object store
* ``folders`` folders whose names Lance would write otherwise
* ``forks``   no use of Lance in a process that was forked from one that used it
* ``commit``  one idempotent commit with retries
* ``write``   appends: fragments written by workers, committed in waves by the driver
* ``growth``  columns added to existing rows, fragment by fragment
* ``guard``   what a dataset asks before it changes
* ``orphans`` files that no version names
* ``plain_files`` files beside datasets, which many processes write without the lease
* ``filtered`` rows in memory, asked a condition as rows of a dataset are
* ``process`` what a host knows of its own processes
* ``lease``   one writer a bank
* ``fence``   a builder that has lost its lease changes nothing
* ``index``   full-text and vector search
* ``digest``  the content hash of a bank; equal banks have equal digests

Lance computes with two threads fewer than there are processors, and reads how many once: on a small machine that is
one, and nothing of a search would run beside anything else. Two are the least here, unless LANCE_CPU_THREADS says more.
"""

import os

if (os.cpu_count() or 1) < 4:
    os.environ.setdefault("LANCE_CPU_THREADS", "2")

from mnemic.dataset.snapshot import Snapshot
from mnemic.dataset.store import Dataset, Store

__all__ = ["Dataset", "Snapshot", "Store"]
