"""Facts that stand in rows of the bank, and what edits of facts are made of altogether."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.catalogue import NAME, spec_of
from mnemic.conditions import Conditions, all_of
from mnemic.dataset import Dataset, Snapshot, Store
from mnemic.errors import StepError
from mnemic.ids import hash_parts
from mnemic.kept import KEPT
from mnemic.removals import NAME as REMOVALS
from mnemic.removals import removal_rows
from mnemic.terminal import one_line
from operators.rewrites import moments
from operators.rewrites import operator as edits
from operators.rewrites.operator import Rewrites
from pipelines.corpus_reader import corpus_digest
from pipelines.steps.key_moments import drawn_documents

DOCUMENTS = "documents"

_MADE = {"memories", "rejects", *(spec.name for one in (moments, edits) for spec in one.SECTION.datasets)}
"""Datasets that change with the edits, so no fact stands in them."""


def dataset_of(store: Store, operator: Rewrites) -> Dataset:
    """The dataset whose rows are facts. Raises `StepError` for a name that no such dataset has."""
    if not NAME.fullmatch(operator.dataset) or operator.dataset in _MADE:
        raise StepError(
            f"`rewrites` reads no facts from {one_line(operator.dataset, 40)!r}; name `documents`, `notes`, "
            "`relations`, or another dataset that a section before it makes."
        )
    return store[operator.dataset]


def condition_of(snapshot: Snapshot, operator: Rewrites) -> str | None:
    """The rows that are facts: those that say something of one. Raises ``QueryError`` where the recipe's is none."""
    own = Conditions.of(operator.where).sql(snapshot.schema, operator.dataset)
    names = dict.fromkeys((operator.subject, operator.relation, operator.target))
    stated = [f"`{name}` IS NOT NULL" for name in names if snapshot.schema.field(name).nullable]
    some = " OR ".join(stated) if len(stated) == len(names) else None
    return all_of(KEPT if operator.dataset == DOCUMENTS else None, some, own)


def fields_of(snapshot: Snapshot, operator: Rewrites) -> list[str]:
    """The columns that facts are read from. Raises `StepError` where one that each fact has is not there."""
    needed = [operator.subject, operator.relation, operator.target]
    lacking = [name for name in needed if name not in snapshot.schema.names]
    if lacking:
        raise StepError(
            f"`rewrites` reads {lacking[0]!r} of {operator.dataset}, which has no such column; name those that say "
            "subject, relation and target. A source says more columns by `columns: {NAME: text}`."
        )
    more = [name for name in (operator.paraphrases, operator.neighbours) if name in snapshot.schema.names]
    return list(dict.fromkeys((*needed, *more)))


def rows_of_bank(store: Store, operator: Rewrites, versions: Mapping[str, int]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(dataset:key, row) of the rows that are facts; `documents` of a row are those that it names or is."""
    name = operator.dataset
    snapshot = dataset_of(store, operator).require(versions[name])
    key = spec_of(name, snapshot.schema).key
    own = ["id"] if name == DOCUMENTS else [one for one in ("document",) if one in snapshot.schema.names]
    columns = list(dict.fromkeys((*key, *fields_of(snapshot, operator), *own)))
    for batch in snapshot.scan(columns, condition_of(snapshot, operator), batch_size=1024):
        for row in batch.to_pylist():
            origin = f"{name}:{'/'.join(str(row[one]) for one in key)}"
            yield origin, {**row, "documents": [row[one] for one in own if row[one]], "set": name}


def removed_documents(store: Store) -> frozenset[str]:
    """Ids of documents that were removed from the bank, and are not to be read again."""
    rows = removal_rows(store[REMOVALS].snapshot())
    return frozenset(rows.filter(pc.invert(rows["readmitted"]))["document"].to_pylist())


def corpus_of(store: Store, operator: Rewrites) -> str | None:
    """The hash of all rows that edits depend on, beside files; None where a step before has rows to make."""
    documents = store[DOCUMENTS].snapshot()
    if documents is None or "duplicate_of" not in documents.schema.names:
        return None
    parts = drawn_documents(documents, operator.moment_documents + operator.control)
    if operator.facts:
        parts += sorted(removed_documents(store))
    if operator.dataset:
        snapshot = dataset_of(store, operator).snapshot()
        if snapshot is None:
            return None
        key = spec_of(operator.dataset, snapshot.schema).key
        texts = [one for one in fields_of(snapshot, operator) if pa.types.is_string(snapshot.schema.field(one).type)]
        columns = tuple(dict.fromkeys((*key, *texts)))
        parts.append(corpus_digest(snapshot, columns, condition_of(snapshot, operator))[0])
    return hash_parts("facts", *parts)
