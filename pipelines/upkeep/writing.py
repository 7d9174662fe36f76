"""The lease of a bank, for as long as a command writes."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from mnemic.dataset import Store
from mnemic.dataset.fence import Fence
from mnemic.dataset.lease import Lease
from mnemic.errors import BankError
from mnemic.release import find_release
from mnemic.verify import datasets_of
from pipelines.engine import InlineEngine
from pipelines.progress import ProgressEvent, Sink
from pipelines.steps.contracts import Context
from pipelines.upkeep.finish import finish_interrupted


def bank_at(bank: str | Path, storage_options: Mapping[str, str] | None = None) -> Store:
    """The store of the bank at a path or an address. Raises ``BankError`` where there is none, or it has no release."""
    place = str(bank) if "://" in str(bank) else os.path.abspath(os.path.expanduser(bank))
    if "://" not in place and not os.path.isdir(place):
        raise BankError(f"{bank} does not exist. Build a bank there with `mnemic build`, or check the path.")
    store = Store(place, storage_options)
    find_release(store, None)
    return store


@contextmanager
def writing(store: Store, command: str, sink: Sink = lambda event: None) -> Iterator[Context]:
    """Hold the bank's lease as one that runs ``command``; what an earlier one was killed at is finished first.

    Raises ``BankInUse`` while a build or another command writes.
    """
    run = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"

    def tell(sentence: str) -> None:
        sink(ProgressEvent("waiting", run, message=sentence))

    with Lease(store["leases"], run, tell) as lease:
        fence = Fence(lease)
        context = Context(store.guarded(fence), lease, InlineEngine(), run, sink, "").of(command)
        names = [name for name in datasets_of(store) if name != "leases"]
        fence.take_over([context.store[name] for name in names])
        finish_interrupted(context, fence, frozenset(names))
        yield context
