"""The rows that go are those that the declared parents name, through any number of datasets, and no others."""

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnemic.catalogue import CATALOGUE, DatasetSpec, Parent, declared, spec_of
from mnemic.dataset import Store
from mnemic.dataset.write import write_whole
from pipelines.upkeep.cascade import delete_rows, gone_rows

IDS = [f"{number:032x}" for number in range(8)]

FACTS = DatasetSpec(
    "facts",
    pa.schema([pa.field("fact", pa.string()), pa.field("document", pa.string())]),
    ("fact",),
    (Parent("documents", "document", "delete"),),
)
LINKS = DatasetSpec(
    "links",
    pa.schema(
        [pa.field("link", pa.string()), pa.field("facts", pa.list_(pa.string())), pa.field("other", pa.string())]
    ),
    ("link",),
    (Parent("facts", "facts", "redo"), Parent("documents", "other", "delete"), Parent("facts", "", "stale")),
)
NOTES = DatasetSpec(
    "notes",
    pa.schema([pa.field("note", pa.string()), pa.field("link", pa.string()), pa.field("below", pa.list_(pa.string()))]),
    ("note",),
    (
        *(Parent("links", "link", "delete"), Parent("facts", "link", "delete")),
        *(Parent("notes", "below", "delete"), Parent("documents", "note", "stale")),
    ),
)
SPECS = (FACTS, LINKS, NOTES)
DOCUMENTS = pa.schema([pa.field("id", pa.string())])


class Commits:
    """What a context does here: it runs a commit."""

    def __init__(self, store):
        self.store, self.order = store, []

    def commit(self, action):
        return action()


def filled(root, tables):
    store = Store(root)
    documents = pa.table({"id": IDS}, schema=DOCUMENTS)
    store["documents"].replace(DOCUMENTS, write_whole(store["documents"], documents), {}, {})
    for spec, rows in zip(SPECS, tables, strict=True):
        table = pa.Table.from_pylist(rows, schema=spec.schema)
        store[spec.name].replace(declared(spec.schema, spec), write_whole(store[spec.name], table), {}, {})
    return store


def heads(store):
    there = {name: store[name].require() for name in ("documents", *(spec.name for spec in SPECS))}
    return [(spec_of(name, head.schema), head) for name, head in there.items()]


CHOSEN = st.sampled_from(IDS)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(CHOSEN, max_size=6),
    st.lists(st.tuples(st.lists(CHOSEN, max_size=3), CHOSEN), max_size=6),
    st.lists(st.tuples(CHOSEN, st.lists(CHOSEN, max_size=2)), max_size=6),
    st.lists(CHOSEN, min_size=1, max_size=3, unique=True),
)
def test_they_are_those_of_the_definition(tmp_path_factory, owners, links, notes, removed):
    tables = (
        [{"fact": IDS[at], "document": one} for at, one in enumerate(owners)],
        [{"link": IDS[at], "facts": some, "other": one} for at, (some, one) in enumerate(links)],
        [{"note": IDS[at], "link": one, "below": some} for at, (one, some) in enumerate(notes)],
    )
    facts = {row["fact"] for row in tables[0] if row["document"] in removed}
    lost = {row["link"] for row in tables[1] if row["other"] in removed or facts & {*row["facts"]}}
    gone_notes = {row["note"] for row in tables[2] if row["link"] in lost | facts}
    for _ in tables[2]:
        gone_notes |= {row["note"] for row in tables[2] if gone_notes & {*row["below"]}}
    left = (
        [row for row in tables[0] if row["fact"] not in facts],
        [row for row in tables[1] if row["link"] not in lost],
        [row for row in tables[2] if row["note"] not in gone_notes],
    )
    store = filled(tmp_path_factory.mktemp("cascade"), tables)
    seeds = {"documents": pa.array(removed)}
    gone = gone_rows(heads(store), seeds)
    assert gone.pop("documents")[1].rows == len(removed)
    assert {name: rows.rows for name, (_, rows) in gone.items()} == {
        spec.name: len(before) - len(after)
        for spec, before, after in zip(SPECS, tables, left, strict=True)
        if len(before) > len(after)
    }
    delete_rows(Commits(store), gone_rows(heads(store), seeds), seeds)
    assert tuple(store[spec.name].require().table(spec.schema.names).to_pylist() for spec in SPECS) == left
    assert not gone_rows(heads(store), seeds), "and a second time there is nothing to do"


@pytest.mark.parametrize("name", [name for name, spec in CATALOGUE.items() if spec.pinned])
def test_every_dataset_of_a_bank_says_what_a_removal_does_to_it(name):
    """`removals` itself, and documents, which are removed, need no parent that takes rows along.

    The rows of `inbox` are a source, and stay like other sources; to erase a document takes its rows out of it.
    """
    rules = {parent.rule for parent in CATALOGUE[name].parents}
    assert rules or name in ("removals", "inbox")
