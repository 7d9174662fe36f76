"""A query of one tenant never sees a row of another, whatever was inserted, deleted, changed and indexed meanwhile."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from mnemic.dataset import Store
from mnemic.dataset.index import build_indexes, nearest, plan, search_text, search_vector, unindexed_rows
from mnemic.dataset.write import append, write_rows

TENANTS, ROUNDS, WIDTH = 1_000, 10, 8
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("leaf", pa.bool_(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("vector", pa.list_(pa.float32(), WIDTH), nullable=False),
    ]
)


def rows(random: np.random.Generator, start: int, count: int) -> pa.Table:
    """Rows that are alike across tenants: few words, few directions."""
    vectors = random.integers(-2, 3, (count, WIDTH)).astype(np.float32) + 0.1
    return pa.table(
        {
            "id": [f"{number:032x}" for number in range(start, start + count)],
            "tenant": [f"tenant-{number}" for number in random.integers(0, TENANTS, count)],
            "leaf": random.random(count) < 0.8,
            "text": [" ".join(words) for words in random.choice(["alpha", "beta", "gamma", "delta"], (count, 3))],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), WIDTH),
        },
        schema=SCHEMA,
    )


@pytest.mark.parametrize("exact", [0, 2_000], ids=["through the index", "exactly where few rows are left"])
@pytest.mark.parametrize("count", [100, pytest.param(2_000, marks=pytest.mark.slow)])
def test_no_foreign_row_in_many_queries(tmp_path, monkeypatch, exact, count):
    monkeypatch.setattr(plan, "VECTOR_INDEX_ROWS", 1_000)
    monkeypatch.setattr(nearest, "EXACT_ROWS", exact)
    random = np.random.default_rng(11)
    dataset = Store(tmp_path)["events"]
    dataset.create(SCHEMA, {}, {})
    owner: dict[str, str] = {}
    rows_written, queries, stale = 0, 0, 0
    for turn in range(ROUNDS):
        for size in (3_000, 200) if turn == 0 else (150, 50):
            table = rows(random, rows_written, size)
            append(dataset, write_rows(dataset.uri, table, SCHEMA), {})
            owner |= dict(zip(table["id"].to_pylist(), table["tenant"].to_pylist(), strict=True))
            rows_written += size
        if turn % 3 == 0:
            build_indexes(dataset)
        gone = random.choice(sorted(owner), 60, replace=False).tolist()
        dataset.delete_keys("id", gone)
        moved = f"tenant-{turn}"
        dataset.require().native.update({"tenant": f"'tenant-{turn + 1}'"}, where=f"tenant = '{moved}'")
        owner = {
            row: f"tenant-{turn + 1}" if tenant == moved else tenant for row, tenant in owner.items() if row not in gone
        }
        snapshot = dataset.require()
        stale += unindexed_rows(snapshot, "vector") > 0
        rows_of_tenant = Counter(owner.values())
        for _ in range(count // ROUNDS // 2):
            tenant = f"tenant-{random.integers(0, TENANTS)}"
            where = f"tenant = '{tenant}'"
            query = random.standard_normal(WIDTH).astype(np.float32)
            near = search_vector(snapshot, "vector", "id", query, 50, where)["id"].to_pylist()
            words = search_text(snapshot, "text", "id", "alpha beta gamma delta", 50, where)["id"].to_pylist()
            for hits in (near, words):
                assert all(owner.get(row) == tenant for row in hits)
                assert len(set(hits)) == len(hits) == min(50, rows_of_tenant[tenant])
                queries += 1
    assert queries == count
    assert stale > 2, "some queries must meet rows that are in no index"
