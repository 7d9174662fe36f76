"""The datasets of a bank, each declared once.

Everything that has to know which datasets there are reads it here: releases, `mnemic digest`, plans, `export`, indexes,
and what a removal takes with it. A step of another package declares its own dataset in its section
(`operators.sections`); such a dataset carries its key and parents in its metadata, so a reader without that package
can still pin, hash and open it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from mnemic import schema as schemas
from mnemic.errors import BankError
from mnemic.facts import ADVICE, check_types, mapping
from mnemic.inbox.dataset import INBOX
from mnemic.latents.datasets import CARTRIDGES, MEMORY_TOKENS
from mnemic.links.datasets import EDGES
from mnemic.pages.datasets import PAGES, RETRIEVED
from mnemic.rewrites.datasets import EDITS, KEY_MOMENTS, PROBES, STATEMENTS
from mnemic.slots.datasets import slots

NAME = re.compile("[a-z][a-z0-9_-]{0,99}")
"""Of a dataset. Its folder in the bank is named after it, so a name leads to no other place."""

Removal = Literal["delete", "redo", "subtract", "stale"]
"""The effect of removing a parent's row on the rows that name it: they go, are made anew, lose their share of a sum, or
are marked as knowing too much.
"""


@dataclass(frozen=True)
class Parent:
    """``column`` (a string or a list of strings; "" where rows name nobody) holds keys of rows of ``dataset``.

    The column "" says that every row is made of many rows of ``dataset`` and names none of them.
    """

    dataset: str
    column: str
    rule: Removal


@dataclass(frozen=True)
class IndexPlan:
    """Columns that are indexed where a dataset has them, and how: BM25, approximate neighbours, and prefilters.

    BITMAP is for columns of few values, BTREE for those of many and for ranges. ``unsaid``, the words of titles that
    texts do not have, has a BM25 index where the record of the dataset says that its rows were read with titles; "" for
    none.
    """

    text: str = "text"
    unsaid: str = ""
    vector: str = "vector"
    scalars: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetSpec:
    """``key`` identifies a row and orders it in `mnemic digest`; ``schema`` may depend on a model's sizes.

    A ``schema`` of None is the output of the operator that makes the rows. ``counted`` is SQL for the rows that are
    content (None: all). ``bookkeeping`` columns say when and how a row came to be, and are left out of the digest, as
    is a dataset that is not ``digested``. A release pins what is ``pinned``; rows that are no content of the bank, such
    as runs, are not. A build deletes what killed writers left of a dataset that is ``cleaned``. Rows of one that
    ``carries`` have the metadata columns of the document that they are made of (`mnemic.metadata`). Fragments of one
    that is ``merged`` stand for nothing, and compaction may make one of several.
    """

    name: str
    schema: pa.Schema | Callable[..., pa.Schema] | None
    key: tuple[str, ...]
    parents: tuple[Parent, ...] = ()
    digested: bool = True
    bookkeeping: frozenset[str] = frozenset()
    counted: str | None = None
    pinned: bool = True
    index: IndexPlan | None = None
    export: bool = True
    cleaned: bool = True
    carries: bool = False
    merged: bool = True


EVENT_INDEXES = IndexPlan(
    scalars={
        "id": "BTREE",
        "document": "BTREE",
        "session": "BTREE",
        "tenant": "BITMAP",
        "source": "BITMAP",
        "collection": "BITMAP",
        "level": "BITMAP",
        "leaf": "BITMAP",
        "cluster": "BTREE",
        "start_time": "BTREE",
        "end_time": "BTREE",
    }
)

DOCUMENT_INDEXES = IndexPlan(
    unsaid=schemas.UNSAID,
    scalars={"id": "BTREE", "session": "BTREE", "tenant": "BITMAP", "source": "BITMAP", "collection": "BITMAP"},
)

NOTHING = "nothing"
"""Severity of a row of `rejects` that only says that a step was asked about an input and rightly made nothing of it."""

_DATASETS = (
    DatasetSpec(
        "documents",
        schemas.DOCUMENTS,
        key=("id",),
        parents=(Parent("documents", "duplicate_of", "redo"),),
        bookkeeping=frozenset({"item"}),
        index=DOCUMENT_INDEXES,
    ),
    DatasetSpec(
        "bands",
        schemas.BANDS,
        key=("source", "key", "row"),
        parents=(Parent("documents", "", "redo"),),
        digested=False,
        export=False,
        merged=False,
    ),
    DatasetSpec(
        "filters",
        schemas.FILTERS,
        key=("band", "first", "generation"),
        parents=(Parent("documents", "", "redo"),),
        digested=False,
        export=False,
        merged=False,
    ),
    DatasetSpec(
        "units",
        schemas.UNITS,
        key=("document", "ordinal"),
        parents=(Parent("documents", "document", "delete"),),
        carries=True,
    ),
    DatasetSpec(
        "edges",
        EDGES,
        key=("document", "start", "end"),
        parents=(Parent("documents", "document", "delete"),),
    ),
    DatasetSpec(
        "events",
        schemas.events,
        key=("id",),
        parents=(
            Parent("documents", "document", "delete"),
            Parent("events", "previous", "redo"),
            Parent("events", "next", "redo"),
            Parent("events", "parent", "delete"),
            Parent("clusters", "cluster", "redo"),
        ),
        index=EVENT_INDEXES,
        carries=True,
    ),
    DatasetSpec(
        "pairs",
        schemas.PAIRS,
        key=("document", "other"),
        parents=(Parent("documents", "document", "delete"), Parent("documents", "other", "delete")),
    ),
    DatasetSpec(
        "contamination",
        schemas.CONTAMINATION,
        key=("document", "start", "end", "set", "question"),
        parents=(Parent("documents", "document", "delete"),),
    ),
    DatasetSpec("clusters", schemas.clusters, ("path",), (Parent("events", "examples", "subtract"),)),
    DatasetSpec(
        "datastore",
        schemas.datastore,
        key=("document", "position"),
        parents=(Parent("documents", "document", "delete"),),
        export=False,
    ),
    DatasetSpec(
        "tokens",
        schemas.tokens,
        key=("document",),
        parents=(Parent("documents", "document", "delete"),),
        export=False,
    ),
    DatasetSpec(
        "suffixes",
        schemas.SUFFIXES,
        key=("shard", "part"),
        parents=(Parent("documents", "documents", "redo"),),
        bookkeeping=frozenset({"generation"}),
        export=False,
    ),
    DatasetSpec("lists", schemas.lists, ("list",), (Parent("datastore", "", "redo"),), export=False),
    DatasetSpec(
        "memories",
        schemas.MEMORIES,
        key=("name",),
        parents=(Parent("datastore", "", "stale"),),
        bookkeeping=frozenset({"state", "id", "record"}),
        counted="final = true",
        export=False,
    ),
    DatasetSpec(
        "blocks",
        schemas.BLOCKS,
        key=("path",),
        parents=(Parent("clusters", "path", "redo"), Parent("documents", "", "stale")),
        bookkeeping=frozenset({"state"}),
        export=False,
    ),
    DatasetSpec(
        "slots",
        slots,
        key=("slot",),
        parents=(Parent("documents", "", "stale"),),
        export=False,
    ),
    *(
        DatasetSpec(
            name,
            schema,
            key=("of",),
            parents=(Parent("documents", "documents", "delete"), Parent("events", "events", "delete")),
            bookkeeping=frozenset({"state"}),
            export=False,
        )
        for name, schema in (("cartridges", CARTRIDGES), ("memory_tokens", MEMORY_TOKENS))
    ),
    DatasetSpec(
        "pages",
        PAGES,
        key=("event", "part"),
        parents=(Parent("documents", "document", "delete"), Parent("events", "event", "delete")),
        index=IndexPlan(text="", vector="", scalars={"event": "BTREE"}),
        export=False,
    ),
    *(
        DatasetSpec(
            name,
            schema,
            key=("id",),
            parents=(
                Parent("documents", "documents", "delete"),
                *((Parent("statements", column, "delete"),) if column else ()),
            ),
            bookkeeping=frozenset({"state"}),
            export=False,
        )
        for name, schema, column in (
            ("key_moments", KEY_MOMENTS, ""),
            ("statements", STATEMENTS, ""),
            ("edits", EDITS, "statements"),
            ("probes", PROBES, "statement"),
        )
    ),
    DatasetSpec(
        "metrics",
        schemas.METRICS,
        key=("memory", "step", "metric"),
        parents=(Parent("memories", "memory", "delete"),),
        bookkeeping=frozenset({"state"}),
        export=False,
    ),
    DatasetSpec(
        "gates",
        schemas.GATES,
        key=("name",),
        parents=(Parent("datastore", "", "stale"), Parent("memories", "", "redo")),
        bookkeeping=frozenset({"memories", "record", "state"}),
        export=False,
    ),
    DatasetSpec(
        "rejects",
        schemas.REJECTS,
        key=("step", "locator", "reason"),
        parents=tuple(
            Parent(name, "input", "delete") for name in ("documents", "events", "packs", "calls", "node_calls")
        ),
        bookkeeping=frozenset({"id", "run", "input"}),
        counted=f"severity <> '{NOTHING}'",
        export=False,
    ),
    DatasetSpec(
        "retrieved",
        RETRIEVED,
        key=("event",),
        parents=(Parent("events", "event", "delete"),),
        digested=False,
        pinned=False,
        export=False,
        cleaned=False,
    ),
    DatasetSpec("removals", schemas.REMOVALS, ("document",), digested=False, export=False),
    DatasetSpec("inbox", INBOX, ("id",), digested=False, export=False),
    DatasetSpec("runs", schemas.RUNS, ("run", "step", "started"), digested=False, pinned=False, export=False),
    DatasetSpec("releases", schemas.RELEASES, ("release",), digested=False, pinned=False, export=False),
    DatasetSpec("checksums", schemas.CHECKSUMS, ("path",), digested=False, pinned=False, export=False),
    DatasetSpec("leases", schemas.LEASES, ("name",), digested=False, pinned=False, export=False, cleaned=False),
    DatasetSpec("partials", None, (), digested=False, pinned=False, export=False),
)

CATALOGUE: dict[str, DatasetSpec] = {spec.name: spec for spec in _DATASETS}
"""The datasets of mnemic by name; `mnemic digest` hashes them in this order, and those of other packages after them."""

DECLARATION = b"mnemic.dataset"
"""Key of the metadata in which a dataset that mnemic does not know carries what it is."""


def declared(schema: pa.Schema, spec: DatasetSpec) -> pa.Schema:
    """``schema`` with ``spec`` in its metadata, if the dataset is not one of mnemic's own."""
    if spec.name in CATALOGUE:
        return schema
    facts = {
        "key": spec.key,
        "parents": [(parent.dataset, parent.column, parent.rule) for parent in spec.parents],
        "digested": spec.digested,
        "bookkeeping": sorted(spec.bookkeeping),
        "counted": spec.counted,
        "pinned": spec.pinned,
        "export": spec.export,
        "cleaned": spec.cleaned,
        **({} if spec.merged else {"merged": False}),
    }
    return schema.with_metadata({**(schema.metadata or {}), DECLARATION: json.dumps(facts, sort_keys=True).encode()})


_DECLARED: dict[str, type | tuple[type, ...]] = {
    "key": list,
    "parents": list,
    "digested": bool,
    "bookkeeping": list,
    "counted": (str, type(None)),
    "pinned": bool,
    "export": bool,
    "cleaned": bool,
}


def spec_of(name: str, schema: pa.Schema) -> DatasetSpec:
    """The declaration of the dataset ``name``: of the catalogue, or in the metadata of its ``schema``."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    stored = (schema.metadata or {}).get(DECLARATION)
    if stored is None:
        raise BankError(
            f"This bank has a dataset {name}, which this mnemic does not know and which does not say what it is. "
            "A newer mnemic made it: upgrade (`pip install -U mnemic`) to use this release."
        )
    place = f"What the dataset {name} says of itself"
    facts = mapping(stored, place)
    check_types({"merged": True, **facts}, {**_DECLARED, "merged": bool}, place)
    if not all(isinstance(column, str) for column in (*facts["key"], *facts["bookkeeping"])) or not all(
        isinstance(parent, list) and [type(part) for part in parent] == [str, str, str] for parent in facts["parents"]
    ):
        raise BankError(f"{place} names columns or parents that are none. {ADVICE}")
    return DatasetSpec(
        name,
        schema,
        tuple(facts["key"]),
        tuple(Parent(*parent) for parent in facts["parents"]),
        digested=facts["digested"],
        bookkeeping=frozenset(facts["bookkeeping"]),
        counted=facts["counted"],
        pinned=facts["pinned"],
        export=facts["export"],
        cleaned=facts["cleaned"],
        merged=facts.get("merged", True),
    )


def in_order(names: Iterable[str]) -> list[str]:
    """``names`` in the order of the catalogue, those of other packages after them by name."""
    places = {name: place for place, name in enumerate(CATALOGUE)}
    return sorted(names, key=lambda name: (places.get(name, len(places)), name))
