"""Write anew what still holds rows of erased documents: a deleted row stays in its file until then.

Fragments whose files have traces of them are written again without their deleted rows, and indexes are dropped, to be
built anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from mnemic.catalogue import DatasetSpec
from mnemic.dataset import Snapshot
from mnemic.dataset.compaction import merge
from mnemic.dataset.files import files_of, needed_files
from mnemic.dataset.index import drop_indexes
from mnemic.removals import NAME
from pipelines.steps.cluster import remember_rows
from pipelines.steps.contracts import Context
from pipelines.upkeep.pinning import pinnable
from pipelines.upkeep.sought import Sought


def write_anew(context: Context, documents: Sequence[str]) -> None:
    """Let the heads of all datasets need no file in which the ``documents`` stand."""
    sought = Sought.of(context.store, documents)
    heads = [(spec, head) for spec, head in pinnable(context.store) if spec.name != NAME]
    search = sought.search(context.store, [spec.name for spec, _ in heads])
    for spec, head in heads:
        marked = needing(head, search.of(spec.name))
        if marked:
            _write(context, spec, head, set(marked))


def needing(snapshot: Snapshot, paths: Sequence[str]) -> list[str]:
    """Those of the ``paths`` that a version reads."""
    if not paths:
        return []
    needed = needed_files(snapshot.native, files_of(snapshot.uri, snapshot.home.storage_options))
    files = {file.path for file in needed if not file.folder}
    folders = tuple(f"{file.path}/" for file in needed if file.folder)
    return [path for path in paths if path in files or path.startswith(folders)]


def _write(context: Context, spec: DatasetSpec, head: Snapshot, marked: set[str]) -> None:
    dataset = context.store[spec.name]
    if spec.name == "events":
        remember_rows(context, head)
    if spec.index is not None:
        context.commit(lambda: drop_indexes(dataset))
    for fragment in head.fragments:
        if marked & {f"data/{file}" for file in fragment.files} and fragment.deleted:
            context.commit(lambda fragment=fragment: merge(dataset, [fragment]))  # type: ignore[misc]
