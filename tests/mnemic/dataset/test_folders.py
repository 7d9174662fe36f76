"""A dataset in a folder with any name: nothing is made beside it, also where nothing can be."""

import os

import numpy as np
import pyarrow as pa
import pytest

from mnemic.dataset import Store
from mnemic.dataset.folders import plain_path
from mnemic.dataset.index import build_indexes, plan
from mnemic.dataset.write import append_rows

NAMES = ["Jose", "José", "a#b", "100%", "a?b", "a%20b", "~x", "[x]", "日本", "a b"]
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("leaf", pa.bool_(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("vector", pa.list_(pa.float32(), 8), nullable=False),
    ]
)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_made_beside_a_folder(tmp_path, monkeypatch, name):
    monkeypatch.setattr(plan, "VECTOR_INDEX_ROWS", 200)
    (tmp_path / name).mkdir()
    dataset = Store(tmp_path / name)["events"]
    random = np.random.default_rng(3)
    rows = pa.table(
        {
            "id": [f"{number:032x}" for number in range(300)],
            "tenant": ["t"] * 300,
            "leaf": [True] * 300,
            "text": ["alpha beta"] * 300,
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(random.random(2400, np.float32)), 8),
        },
        schema=SCHEMA,
    )
    append_rows(dataset, rows, SCHEMA, {})
    build_indexes(dataset)
    dataset.delete_keys("id", [f"{3:032x}"])
    dataset.annotate({"step": "x"})
    dataset.tag("first", 1)
    dataset.tag("first", 2)
    dataset.tag("second", 1)
    dataset.remove_orphans()
    assert dataset.require("first").version == 2 and dataset.require("second").version == 1
    assert os.listdir(tmp_path) == [name] and os.listdir(tmp_path / name) == ["events.lance"]


def test_a_plain_path_lasts_as_long_as_its_block(tmp_path, monkeypatch):
    (tmp_path / "José").mkdir()
    with plain_path(f"{tmp_path}/José") as path:
        assert path.isascii() and os.path.samefile(path, tmp_path / "José")
    assert not os.path.exists(path) and (tmp_path / "José").is_dir()
    with plain_path(f"{tmp_path}/plain") as path:
        assert path == f"{tmp_path}/plain"
    with plain_path("s3://bucket/José") as path:
        assert path == "s3://bucket/José"
    monkeypatch.chdir(tmp_path)
    with plain_path("José") as path:
        assert os.path.samefile(path, tmp_path / "José"), "a path may be relative"
