"""The documents that a removal is about, by conditions and ids, in one release or in all."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.conditions import Conditions, Where
from mnemic.dataset import Snapshot, Store
from mnemic.errors import QueryError
from mnemic.quoting import one_of
from mnemic.release import Release, releases
from pipelines.keyset import KeySet

COLUMNS = ("id", "content", "source", "locator", "item")

_AT_ONCE = 2000


def conditions(where: Where, source: str | Sequence[str] | None, tenant: str | Sequence[str] | None) -> list[Where]:
    """The conditions that all must hold. An empty tenant is the one of documents without."""
    named = {"source": source, "tenant": tenant}
    return [one for one in (where, {name: value for name, value in named.items() if value is not None}) if one]


def chosen(
    store: Store, newest: Release, where: list[Where], ids: Sequence[str] | None, everywhere: bool, copies: bool
) -> pa.Table:
    """Rows of the documents that satisfy ``where`` and have one of ``ids``: columns of `COLUMNS`, each document once.

    With ``everywhere`` they may be in any release, else in the ``newest``. ``copies`` adds documents of equal text.
    Raises ``QueryError`` where nothing is asked, and for an id that no document has.
    """
    if not where and ids is None:
        raise QueryError(
            "Nothing says which documents are to go. Give --where, --source, --tenant or --ids; `mnemic show` and "
            "`mnemic export` show what there is."
        )
    snapshots = _snapshots(store, newest, everywhere)
    names = None if ids is None else _whole_ids(snapshots, ids, store.root)
    table = _rows(snapshots, lambda snapshot: _asked(snapshot, where, names))
    if copies and len(table):
        contents = table["content"].unique().to_pylist()
        equal = [one_of("content", part) for part in _parts(contents)]
        table = _once([table, _rows(snapshots, lambda _: equal)])
    return table


def _snapshots(store: Store, newest: Release, everywhere: bool) -> list[Snapshot]:
    every = releases(store) if everywhere else [newest]
    versions = {release.versions["documents"] for release in every if "documents" in release.versions}
    return [store["documents"].require(version) for version in sorted(versions, reverse=True)]


def _asked(snapshot: Snapshot, where: list[Where], names: list[str] | None) -> list[str]:
    """Conditions of which each gives a part of the rows."""
    condition = Conditions.of(where).sql(snapshot.schema, "documents")
    if names is None:
        return [condition or "true"]
    parts = [one_of("id", part) for part in _parts(names)] or ["false"]
    return [f"({condition}) AND {part}" if condition else part for part in parts]


def _parts(values: list[str]) -> Iterable[list[str]]:
    return (values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE))


def _rows(snapshots: list[Snapshot], sql_of: Callable[[Snapshot], Iterable[str]]) -> pa.Table:
    return _once([snapshot.table(COLUMNS, condition) for snapshot in snapshots for condition in sql_of(snapshot)])


def _once(tables: list[pa.Table]) -> pa.Table:
    """The rows of all ``tables``, each document as the first has it."""
    table = pa.concat_tables(tables)
    first = table.select(["id"]).append_column("at", pa.array(np.arange(len(table))))
    places = first.group_by("id").aggregate([("at", "min")])["at_min"].to_numpy()
    return table.take(pa.array(np.sort(places)))


def _whole_ids(snapshots: list[Snapshot], ids: Sequence[str], root: str) -> list[str]:
    """The ids that ``ids`` are, or are the beginnings of."""
    names = []
    every = sorted(_beginning_with([one for one in ids if _is_id(one)], snapshots))
    for one in ids:
        if not _is_id(one):
            raise QueryError(
                f"{str(one)[:60]!r} is no id of a document. Ids are hexadecimal; `mnemic export {root} documents` and "
                "`mnemic search --json` show them."
            )
        place = bisect.bisect_left(every, one)
        matches = [name for name in every[place : place + 2] if name.startswith(one)]
        if len(matches) != 1:
            fault = "Several documents have ids that begin" if matches else "No document has an id that begins"
            raise QueryError(f"{fault} with {one} in {root}. Give more of it, or check the list of ids.")
        names.append(matches[0])
    return sorted(set(names))


def _is_id(value: object) -> bool:
    """Whether ``value`` is an id of a document, or long enough a beginning of one."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{4,64}", value) is not None


def _beginning_with(ids: Sequence[str], snapshots: Sequence[Snapshot]) -> set[str]:
    """The ids of documents that begin with one of ``ids``; a batch of documents is looked at at a time."""
    by_length: dict[int, list[str]] = {}
    for one in ids:
        by_length.setdefault(len(one), []).append(one)
    beginnings = {length: KeySet([_ids(pa.array(some, pa.string()))]) for length, some in by_length.items()}
    names = set[str]()
    for snapshot in snapshots if beginnings else ():
        for batch in snapshot.scan(["id"], batch_size=65536):
            for length, some in beginnings.items():
                mine = some.has(_ids(pc.utf8_slice_codeunits(batch["id"], 0, length)))
                names.update(batch["id"].filter(pa.array(mine)).to_pylist())
    return names


def _ids(column: pa.Array) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([column], ["id"])
