"""End the releases that still have erased documents, and free their files, with caches of them."""

from __future__ import annotations

import shutil
from datetime import timedelta

import pyarrow.compute as pc

from mnemic.dataset import Store
from mnemic.inbox.vectors import forget_vectors
from mnemic.release import releases
from mnemic.removals import NAME, removal_rows
from mnemic.suffixes.mapped import cache_folder
from pipelines.steps.contracts import Context
from pipelines.upkeep.dropping import end_releases
from pipelines.upkeep.rewriting import needing
from pipelines.upkeep.sought import Search, Sought


def end_affected(context: Context, run: str) -> None:
    """End the releases that need a file with traces of the documents of the removal ``run``; the newest stays."""
    store = context.store
    rows = removal_rows(store[NAME].snapshot())
    documents = rows.filter(pc.equal(rows["removal"], run))["document"].to_pylist()
    if not documents:
        return
    partials = store["partials"]
    if partials.snapshot() is not None:
        context.commit(lambda: partials.delete("true"))
        partials.forget_before(timedelta(0))
    end_releases(context, affected(store, Sought.of(store, documents).search(store)))
    for folder in cache_folder(store.root).glob("suffixes-*"):
        shutil.rmtree(folder, ignore_errors=True)
    forget_vectors(store.root)


def affected(store: Store, search: Search, newest: bool = False) -> list[str]:
    """Names of the releases that need a file with traces; the newest, that has none, is left out.

    With ``newest`` that counts too, as before the documents are taken out.
    """
    every = releases(store)
    names = []
    for release in every if newest else every[:-1]:
        for name, version in release.versions.items():
            if name != NAME and needing(store[name].require(version), search.of(name)):
                names.append(release.name)
                break
    return names
