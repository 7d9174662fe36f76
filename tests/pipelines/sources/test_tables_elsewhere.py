"""Lance tables and folders of an object store."""

import io
import os
import zipfile

import pyarrow as pa
import pytest
import record_files as files
from object_store import BUCKET, object_store

from mnemic.dataset import Store
from mnemic.dataset.write import append, write_rows
from mnemic.errors import SourceError
from pipelines.sources.contracts import Document, Reject
from pipelines.sources.lance_table import LanceTable
from pipelines.sources.object_store import ObjectStoreFolder

LIMIT = 100_000
SCHEMA = pa.schema([field.with_nullable(True) for field in files.table().schema])


def read(source):
    return [result for item in source.manifest() for result in source.read(item, LIMIT)]


def texts(results):
    return [one.text for one in results if isinstance(one, Document)]


@pytest.fixture
def table(tmp_path):
    dataset = Store(str(tmp_path))["rows"]
    dataset.create(SCHEMA, {}, {})
    for start in (0, 4):
        rows = files.table().cast(SCHEMA).slice(start, 4)
        append(dataset, write_rows(dataset.uri, rows, SCHEMA, None), {})
    return dataset


def test_a_lance_table_gives_its_rows(table):
    source = LanceTable(path=f"{table.uri}/", **files.SETTINGS)
    results = read(source)
    assert texts(results) == [row["body"] for row in files.ROWS]
    assert results[2].locator == "rows.lance#n2"
    assert (results[2].time, results[2].speaker) == (files.ROWS[2]["at"], "Bob")
    assert len({one.locator for one in read(LanceTable(path=table.uri, text_field="body"))}) == 7
    chosen = LanceTable(path=table.uri, text_field="body", where="stars >= 2.5")
    assert texts(read(chosen)) == [row["body"] for row in files.ROWS[5:]]
    [reject] = LanceTable(path=table.uri, text_field="body", where="nowhere = 1").read(chosen.manifest()[0], LIMIT)
    assert "nowhere" in reject.reason


def test_only_fragments_that_changed_are_other_items(table):
    source = LanceTable(path=table.uri, text_field="body")
    before = source.manifest()
    rows = files.table().cast(SCHEMA).slice(0, 1)
    append(table, write_rows(table.uri, rows, SCHEMA, None), {})
    after = source.manifest()
    assert after[: len(before)] == before
    table.delete_keys("name", ["n1"])
    assert [one == other for one, other in zip(source.manifest(), after, strict=True)] == [False, True, True]


def test_a_table_that_is_none_is_told(tmp_path):
    with pytest.raises(SourceError, match="cannot be opened"):
        LanceTable(path=str(tmp_path / "no.lance")).manifest()


@pytest.fixture(scope="module")
def store():
    with object_store() as store:
        old = {name: os.environ.get(name) for name in store.environment}
        os.environ.update(store.environment)
        yield store
        for name, value in old.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture
def objects(store, tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("in.txt", "inside of a zip")
    contents = {
        "docs/a/one.txt": b"the first object",
        "docs/rows.parquet": files.write_parquet(tmp_path / "rows.parquet").read_bytes(),
        "docs/pack.zip": packed.getvalue(),
        "docs/.hidden.txt": b"hidden",
        "other.txt": b"another folder",
    }
    for name, data in contents.items():
        store.put(name, data)
    return store


@pytest.mark.parametrize("stamp", ["time", "etag"])
def test_objects_are_read_by_their_kind(objects, stamp):
    source = ObjectStoreFolder(url=f"s3://{BUCKET}/docs", inside={"parquet": {"text_field": "body"}}, stamp=stamp)
    results = read(source)
    assert set(texts(results)) == {"the first object", "inside of a zip", *(row["body"] for row in files.ROWS)}
    assert not [one for one in results if isinstance(one, Reject)]
    before = source.manifest()
    assert before == source.manifest()
    objects.put("docs/a/one.txt", b"the first, changed!!")
    assert [item.locator for item in set(source.manifest()) - set(before)] == ["a/one.txt"]


def test_an_object_that_vanished_is_a_reject(objects):
    source = ObjectStoreFolder(url=f"s3://{BUCKET}/docs", only=["a/*"])
    [item] = source.manifest()
    objects.put("docs/a/one.txt", None)
    [reject] = source.read(item, LIMIT)
    assert "check the store, and build again" in reject.reason


def test_a_local_folder_is_a_store_too(tmp_path):
    (tmp_path / "a.txt").write_text("local")
    assert texts(read(ObjectStoreFolder(url=tmp_path.as_uri()))) == ["local"]


@pytest.mark.parametrize("url", ["https://x/y", "s3://", "s3://key:secret@bucket/x", "bucket/x"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="url"):
        ObjectStoreFolder(url=url)


def test_a_store_that_is_not_there_is_told(objects, monkeypatch):
    with pytest.raises(SourceError, match="no object below"):
        ObjectStoreFolder(url=f"s3://{BUCKET}/docs", only=["*.none"]).manifest()
    with pytest.raises(SourceError, match="check the address"):
        ObjectStoreFolder(url=f"s3://{BUCKET}/nothing-here").manifest()
    with pytest.raises(SourceError, match="cannot be listed"):
        ObjectStoreFolder(url="s3://no-such-bucket/x").manifest()
