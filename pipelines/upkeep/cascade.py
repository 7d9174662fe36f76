"""The rows that go with removed ones, by the parents that datasets declare.

A dataset whose parent says "delete" loses the rows that name a removed row; those are parents in turn, and where they
are made of one another, up to the last. So does one of another package whose parent says "redo": its step makes such
rows again, from what is left. (What is mnemic's own and says so is made anew by `pipelines.upkeep.redo`.) Rows are
counted first, and deleted children first: what a kill leaves is named by rows that are there still.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.catalogue import CATALOGUE, DatasetSpec, in_order
from mnemic.dataset import Snapshot
from pipelines.steps.ancestry import names_any, with_above
from pipelines.steps.contracts import Context

REJECTS = "rejects"
"""Says of rows of any other dataset why nothing was made of them, and may quote them."""


@dataclass(frozen=True)
class GoneRows:
    """Rows of a dataset that go: their number, and the first column of their keys, each value once."""

    rows: int
    keys: pa.Array


def gone_rows(
    heads: Iterable[tuple[DatasetSpec, Snapshot]], seeds: Mapping[str, pa.Array]
) -> dict[str, tuple[DatasetSpec, GoneRows]]:
    """What goes with the rows of ``seeds`` (dataset -> values of the first column of its key), parents first."""
    there = {spec.name: (spec, head) for spec, head in heads}
    gone: dict[str, tuple[DatasetSpec, GoneRows]] = {}
    for name in sorted(in_order(there), key=lambda name: name == REJECTS):  # of whatever dataset: they come last
        spec, head = there[name]
        keys = {parent: rows.keys for parent, (_, rows) in gone.items()}
        gone_here = _of(spec, head, keys, seeds.get(name))
        if gone_here.rows:
            gone[name] = (spec, gone_here)
    return gone


def _of(spec: DatasetSpec, head: Snapshot, gone: Mapping[str, pa.Array], seed: pa.Array | None) -> GoneRows:
    columns = _by_column(spec, head, gone)
    first = spec.key[0] if spec.key else ""
    if seed is not None:
        columns[first] = seed
    keys: list[pa.Array] = []
    rows = 0
    names = [*dict.fromkeys((*columns, *([first] if first else [])))]
    for batch in head.scan(names, batch_size=65536) if columns else ():
        mask = None
        for column, values in columns.items():
            named = names_any(batch[column], values)
            mask = named if mask is None else pc.or_(mask, named)
        rows += pc.sum(mask).as_py() or 0
        if first and pa.types.is_string(batch[first].type):
            keys.append(batch[first].filter(mask))
    gone_keys = pa.chunked_array(keys, pa.string()).unique()
    own = _of_itself(spec, head)
    if not own or not len(gone_keys):
        return GoneRows(rows, gone_keys)
    gone_keys = with_above(head, first, own, gone_keys)
    return GoneRows(len(gone_keys), gone_keys)


def _by_column(spec: DatasetSpec, head: Snapshot, gone: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """Column -> keys of ``gone`` rows that take a row along which names one of them there, of whatever dataset."""
    keys: dict[str, list[pa.Array]] = {}
    for parent, column in _parents(spec, head):
        if parent in gone:
            keys.setdefault(column, []).append(gone[parent])
    return {column: pa.concat_arrays(arrays) for column, arrays in keys.items()}


def _parents(spec: DatasetSpec, head: Snapshot) -> list[tuple[str, str]]:
    """(dataset, column) of the parents whose rows take rows of this dataset along."""
    rules = ("delete",) if spec.name in CATALOGUE else ("delete", "redo")
    return [
        (parent.dataset, parent.column)
        for parent in spec.parents
        if parent.rule in rules and parent.column in head.schema.names and parent.dataset != spec.name
    ]


def _of_itself(spec: DatasetSpec, head: Snapshot) -> str:
    """The list of a dataset of a section that names rows of its own, which take along what is made of them; "" none.

    Rows of mnemic's own that name one another have a parent of another dataset in common.
    """
    own = [parent.column for parent in spec.parents if parent.dataset == spec.name and parent.rule == "delete"]
    return own[0] if own and spec.name not in CATALOGUE and own[0] in head.schema.names else ""


def delete_rows(
    context: Context, gone: Mapping[str, tuple[DatasetSpec, GoneRows]], seeds: Mapping[str, pa.Array]
) -> None:
    """Delete them, children first."""
    for name, (spec, rows) in reversed(list(gone.items())):
        dataset = context.store[name]
        head = dataset.require()
        chosen = _by_column(spec, head, {parent: one.keys for parent, (_, one) in gone.items()})
        lists = [column for column in chosen if pa.types.is_list(head.schema.field(column).type)]
        chosen = {column: keys for column, keys in chosen.items() if column not in lists}
        if lists or name in seeds or _of_itself(spec, head):
            chosen[spec.key[0]] = rows.keys
        for column, keys in chosen.items():
            values = keys.to_pylist()
            context.commit(lambda dataset=dataset, column=column, values=values: dataset.delete_keys(column, values))  # type: ignore[misc]
