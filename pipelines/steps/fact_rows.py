"""Facts of files or of rows of the bank, whose they are, and what edits of facts are made of altogether."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.catalogue import NAME, spec_of
from mnemic.conditions import Conditions, all_of
from mnemic.dataset import Dataset, Snapshot, Store
from mnemic.errors import StepError
from mnemic.ids import hash_parts
from mnemic.kept import KEPT
from mnemic.quoting import parts_of
from mnemic.removals import NAME as REMOVALS
from mnemic.removals import removal_rows
from mnemic.rewrites.statement import Statement
from mnemic.terminal import one_line
from operators.contracts import REJECTED
from operators.rewrites import moments
from operators.rewrites import operator as edits
from operators.rewrites.fact_files import fact_files, rows_of_files
from operators.rewrites.facts import MOST_ROWS, named_documents, statements_of
from operators.rewrites.operator import Rewrites
from pipelines.corpus_reader import corpus_digest
from pipelines.steps.drawn_documents import drawn_documents

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


@dataclass(frozen=True)
class CheckedFacts:
    """The facts in the order of their ids, and the rows that are none, `operators.contracts.REJECTED`."""

    statements: tuple[Statement, ...]
    rejects: pa.Table


def checked_facts(store: Store, operator: Rewrites, versions: Mapping[str, int]) -> CheckedFacts:
    """The facts of the recipe's files, or of the rows of its dataset, at these ``versions`` of the bank's."""
    origins = (
        rows_of_files(fact_files(operator.facts, operator.root))
        if operator.facts
        else rows_of_bank(store, operator, versions)
    )
    rows = list(itertools.islice(origins, MOST_ROWS + 1))
    documents, removed = store[DOCUMENTS].require(versions[DOCUMENTS]), removed_documents(store)
    tenants = _tenants_of(documents, named_documents(rows)) if has_tenants(documents) else None
    statements, rejects = statements_of(rows, operator, removed, tenants)
    return CheckedFacts(tuple(statements), pa.Table.from_pylist(rejects, schema=REJECTED))


def has_tenants(documents: Snapshot) -> bool:
    """Whether ``documents`` are of several tenants, so that each one's facts are solved for themselves."""
    first = None
    for batch in documents.scan(["tenant"], batch_size=65536) if "tenant" in documents.schema.names else ():
        tenants = batch["tenant"].unique()
        first = tenants[0] if first is None and len(tenants) else first
        if len(tenants) > 1 or (len(tenants) and tenants[0] != first):
            return True
    return False


def _tenants_of(documents: Snapshot, ids: Iterable[str]) -> dict[str, str]:
    """The tenants of the documents with these ``ids`` that there are, by id."""
    tables = [documents.table(["id", "tenant"], where) for where in parts_of("id", sorted(ids))]
    return {row["id"]: row["tenant"] for table in tables for row in table.to_pylist()}


def solved_tenants(store: Store, operator: Rewrites) -> tuple[str | None, ...] | None:
    """Whose facts are solved for themselves: tenants with facts, and None for nobody's.

    In a bank of one tenant all are solved together, and none is looked at: (None,). None where a step before has rows
    to make.
    """
    documents = store[DOCUMENTS].snapshot()
    if documents is None or not has_tenants(documents):
        return (None,)
    versions = {DOCUMENTS: documents.version}
    if operator.dataset:
        snapshot = dataset_of(store, operator).snapshot()
        if snapshot is None:
            return None
        versions[operator.dataset] = snapshot.version
    tenants = {one.tenant for one in checked_facts(store, operator, versions).statements}
    return tuple(sorted(tenants, key=lambda one: (one is not None, one or "")))


def corpus_of(store: Store, operator: Rewrites) -> str | None:
    """The hash of all rows that edits depend on, beside files; None where a step before has rows to make."""
    documents = store[DOCUMENTS].snapshot()
    if documents is None or "duplicate_of" not in documents.schema.names:
        return None
    tenants = solved_tenants(store, operator)
    if tenants is None:
        return None
    parts = ["tenants"] if has_tenants(documents) else []
    for tenant in tenants:
        parts += [] if tenant is None else ["tenant", tenant]
        parts += drawn_documents(documents, operator.moment_documents + operator.control, tenant)
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
