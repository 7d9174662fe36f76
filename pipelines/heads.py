"""Before a build goes on from the newest versions of a bank: they can be read, or go back to versions that can be."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mnemic.dataset import Store
from mnemic.errors import BankError
from mnemic.expected import check_schema
from mnemic.repair import losses, mend
from pipelines.progress import ProgressEvent


def go_back(store: Store, names: Iterable[str], run: str, emit: Callable[[ProgressEvent], None]) -> None:
    """Let datasets whose newest version lacks files go back, where nothing that a release has is lost by it.

    A file may be missing where two builders wrote at once, or where a disk lost it. Raises ``BankError`` where a
    release is damaged too, for then somebody has to decide. Only while this process holds the lease.
    """
    names = [name for name in names if name != "leases"]
    lost = losses(store, names=names)
    for loss in lost:
        if not loss.harmless:
            raise BankError(
                f"The bank {store.root} cannot be built on. {loss} Run `mnemic repair {store.root}`, and then this "
                "build again; --dry-run only says what would be lost."
            )
    for loss in lost:
        mend(store, loss, run)
        emit(ProgressEvent("repair", run, message=f"  repaired: {loss}"))
    for name in names:
        snapshot = store[name].snapshot()
        if snapshot is not None:
            check_schema(name, snapshot.schema, snapshot.uri)
