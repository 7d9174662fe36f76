"""Equal content, equal digest, whatever the storage order; any changed value changes it."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.catalogue import CATALOGUE
from mnemic.dataset import Store
from mnemic.dataset.digest import digest_dataset, digest_datasets
from mnemic.dataset.write import append, append_rows, write_rows
from mnemic.schema import TURN

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.large_string()),
        pa.field("vector", pa.list_(pa.float16(), 2)),
        pa.field("names", pa.list_(pa.string())),
        pa.field("time", pa.timestamp("us", tz="UTC")),
        pa.field("turns", pa.list_(TURN)),
        pa.field("item", pa.string()),
    ]
)


def rows(n: int = 9) -> list[dict]:
    return [
        {
            "id": f"{i:03d}",
            "text": None if i == 4 else f"text {i}",
            "vector": [float(i), 0.5],
            "names": ["a", "b"][: i % 3],
            "time": i,
            "turns": [turn(f"{i}-{place}", None if place else i) for place in range(i % 4)] if i % 2 else None,
            "item": f"run-dependent {np.random.random()}",
        }
        for i in range(n)
    ]


def turn(name: str, time: int | None) -> dict:
    return {"id": name, "start": 0, "end": 4, "speaker": "Ada", "time": time}


def digest(folder, content: list[dict], cuts: tuple[int, ...] = ()) -> str:
    dataset = Store(folder)["documents"]
    dataset.create(SCHEMA, {}, {})
    for start, stop in zip((0, *cuts), (*cuts, len(content)), strict=True):
        table = pa.Table.from_pylist(content[start:stop], schema=SCHEMA)
        append(dataset, write_rows(dataset.uri, table, SCHEMA), {}) if len(table) else None
    return digest_dataset(CATALOGUE["documents"], dataset.require())


@settings(max_examples=10)
@given(st.randoms(use_true_random=False), st.integers(0, 9))
def test_order_and_fragments_do_not_show(tmp_path_factory, random, cut):
    shuffled = rows()
    random.shuffle(shuffled)
    straight = digest(tmp_path_factory.mktemp("a"), rows())
    assert digest(tmp_path_factory.mktemp("b"), shuffled, (cut,)) == straight


def test_every_value_counts(tmp_path):
    plain = digest(tmp_path / "plain", rows())
    changes = {
        "id": "999",
        "text": "other",
        "vector": [3.0, 0.25],
        "names": ["ab"],
        "time": 77,
        "turns": [turn("3-0", 3)],
    }
    seen = {plain}
    for field, value in changes.items():
        changed = rows()
        changed[3][field] = value
        seen.add(digest(tmp_path / field, changed))
    without = rows()
    without[3]["text"] = None
    seen.add(digest(tmp_path / "null", without))
    moved = rows()
    moved[1]["names"], moved[2]["names"] = [], ["a", "a", "b"][:2]
    seen.add(digest(tmp_path / "moved", moved))
    seen.add(digest(tmp_path / "fewer", rows(8)))
    assert len(seen) == 3 + len(changes) + (moved[1]["names"] != rows()[1]["names"])


def test_every_part_of_a_turn_counts(tmp_path):
    plain = digest(tmp_path / "plain", rows())
    assert digest(tmp_path / "again", rows()) == plain
    seen = {plain}
    for field, value in {"id": "other", "start": 1, "end": 5, "speaker": "Bob", "time": None}.items():
        changed = rows()
        changed[5]["turns"][0][field] = value
        seen.add(digest(tmp_path / field, changed))
    assert len(seen) == 6


def test_columns_one_at_a_time_and_all_at_once_are_one_digest(tmp_path, monkeypatch):
    together = digest(tmp_path / "together", rows())
    monkeypatch.setattr("mnemic.dataset.digest.TOGETHER", 0)
    assert digest(tmp_path / "apart", rows()) == together


def test_a_deleted_row_does_not_count(tmp_path):
    dataset = Store(tmp_path)["documents"]
    dataset.create(SCHEMA, {}, {})
    append(dataset, write_rows(dataset.uri, pa.Table.from_pylist(rows(), schema=SCHEMA), SCHEMA), {})
    dataset.delete("id = '008'")
    assert digest_dataset(CATALOGUE["documents"], dataset.require()) == digest(tmp_path / "other", rows(8))


def test_the_bank_hash_covers_all_datasets(tmp_path):
    store = Store(tmp_path)
    digest(tmp_path, rows())
    one = digest_datasets({"documents": store["documents"].require()})
    pairs = SCHEMA.append(pa.field("document", pa.string())).append(pa.field("other", pa.string()))
    store["pairs"].create(pairs, {}, {})
    empty = digest_datasets({name: store[name].require() for name in ("documents", "pairs")})
    assert empty == one, "a dataset without rows counts as none"
    row = pa.Table.from_pylist([{"id": "000", "document": "000", "other": "001"}], schema=pairs)
    append_rows(store["pairs"], row, pairs, {})
    two = digest_datasets({name: store[name].require() for name in ("documents", "pairs")})
    assert one["documents"] == two["documents"]
    assert one["bank"] != two["bank"]
