"""Edges of units to the names that they mention."""

import itertools
import random

import pyarrow as pa
import pytest

from mnemic.ids import entity_id
from mnemic.links.datasets import EDGES
from mnemic.links.mentions import mentions
from operators.names import NameEdges

TEXTS = (
    "Ada Stone met Ben Hill in Oslo.",
    'They read "the last boat" and bank.search.',
    "Nothing is named here, it says.",
    "Ada Stone again, in 1811.",
)


def units(count):
    draw = random.Random(4)
    rows = []
    for document in range(count):
        start = 0
        for ordinal in range(3):
            text = draw.choice(TEXTS)
            tenant = ("north", "south")[document % 2]
            rows.append((f"d{document:03}", tenant, ordinal, start, text))
            start += len(text) + 1
    types = (pa.string(), pa.string(), pa.int32(), pa.int64(), pa.large_string())
    columns = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), types, strict=True)]
    return pa.RecordBatch.from_arrays(columns, ["document", "tenant", "ordinal", "start", "text"])


def edges(*batches):
    find = NameEdges().open("cpu")
    rows = []
    for batch in batches:
        table, rejects = find(batch)
        assert table.schema == EDGES and len(rejects) == 0
        rows += table.to_pylist()
    return rows


def test_an_edge_says_where_a_name_stands_and_names_an_entity_of_its_tenant():
    batch = units(6)
    texts = {(row["document"], row["ordinal"]): row for row in batch.to_pylist()}
    rows = edges(batch)
    expected = [
        (row["document"], row["start"] + one.start, one.name)
        for row in batch.to_pylist()
        for one in mentions(row["text"])
    ]
    assert [(row["document"], row["start"], row["name"]) for row in rows] == expected and rows
    for row in rows:
        unit = texts[row["document"], row["ordinal"]]
        assert (
            unit["text"][row["start"] - unit["start"] : row["end"] - unit["start"]].lower().startswith(row["name"][:3])
        )
        assert row["entity"] == entity_id(unit["tenant"], row["name"])
    north, south = ({row["entity"] for row in rows if row["tenant"] == one} for one in ("north", "south"))
    assert north and south and not north & south
    names = {row["entity"]: row["name"] for row in rows}
    assert len(names) == len({(row["tenant"], row["name"]) for row in rows})


@pytest.mark.parametrize("seed", range(5))
def test_any_split_into_batches_gives_the_same_rows(seed):
    batch, draw = units(20), random.Random(seed)
    cuts = sorted({0, batch.num_rows, *(3 * draw.randrange(20) for _ in range(6))})
    parts = [batch.slice(first, last - first) for first, last in itertools.pairwise(cuts)]
    assert edges(*parts) == edges(batch)
    draw.shuffle(parts)
    key = ("document", "start", "end")
    assert sorted(edges(*parts), key=lambda row: [row[name] for name in key]) == edges(batch)


def test_a_key_names_one_row():
    rows = edges(units(20))
    assert len({(row["document"], row["start"], row["end"]) for row in rows}) == len(rows)
