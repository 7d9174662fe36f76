"""Tags of versions whose files are broken: nothing is deleted by them, and they are written anew."""

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

import mnemic
from mnemic.dataset import Store
from mnemic.dataset.write import append_rows
from mnemic.errors import BankError
from mnemic.repair import repair
from mnemic.verify import verify

SCHEMA = pa.schema([pa.field("id", pa.string(), nullable=False)])
DAMAGES = {"cut": b'{\n  "branch": nu', "empty": b"", "no text": b"\xff\xfe\x00", "another": b"[1, 2]", "gone": None}


@pytest.fixture
def letters(tmp_path):
    dataset = Store(tmp_path)["letters"]
    for name in "ab":
        append_rows(dataset, pa.table({"id": [name]}, schema=SCHEMA), SCHEMA, {})
    return dataset


def damage(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


@pytest.mark.parametrize("content", DAMAGES.values(), ids=DAMAGES)
def test_a_broken_tag_is_written_anew_and_keeps_its_version(letters, content):
    pinned = letters.require().version
    letters.tag("one", pinned)
    append_rows(letters, pa.table({"id": ["c"]}, schema=SCHEMA), SCHEMA, {})
    damage(Path(letters.uri, "_refs", "tags", "one.json"), content)
    letters.tag("two", letters.require().version)
    letters.retag({"one": pinned})
    assert letters.require().tags() == {"one": pinned, "two": letters.require().version}
    letters.forget_before(timedelta(0))
    assert letters.require(pinned).count() == 2


def test_what_is_no_file_in_place_of_a_tag_is_told(letters):
    letters.tag("one", letters.require().version)
    tag = Path(letters.uri, "_refs", "tags", "one.json")
    tag.unlink()
    tag.mkdir()
    with pytest.raises(BankError, match="Move it away"):
        letters.retag({"one": letters.require().version})


def test_nothing_is_deleted_while_a_tag_is_broken(letters):
    letters.tag("one", letters.require().version)
    orphan = Path(letters.uri, "data", "0101.lance")
    orphan.write_bytes(b"left by a killed worker")
    tag = Path(letters.uri, "_refs", "tags", "one.json")
    whole = tag.read_bytes()
    tag.write_bytes(DAMAGES["cut"])
    assert letters.remove_orphans() == 0 and orphan.exists()
    with pytest.raises(BankError, match="mnemic verify"):
        letters.forget_before(timedelta(0))
    tag.write_bytes(whole)
    assert letters.remove_orphans() > 0 and not orphan.exists()


def test_a_transaction_that_cannot_be_read_is_a_sentence(letters):
    (manifest, *_) = sorted(Path(letters.uri, "_versions").glob("*.manifest"))
    snapshot = letters.require()
    data = manifest.read_bytes()
    place = data.index(b"mnemic.")
    manifest.write_bytes(data[:place] + b"\xff\xff" + data[place + 2 :])
    with pytest.raises(BankError, match="cannot be read"):
        Store(Path(letters.uri).parent)["letters"].require().change(snapshot.version)


def test_repair_writes_the_tags_of_releases_anew(tiny, tmp_path):
    bank = Path(tiny.copy(tmp_path)["bank"])
    name = mnemic.open_bank(bank).release.name
    for dataset, content in (("pairs", DAMAGES["cut"]), ("units", None)):
        damage(bank / f"{dataset}.lance" / "_refs" / "tags" / f"{name}.json", content)
    assert not verify(Store(bank)).whole
    assert repair(Store(bank), "run") == []
    assert verify(Store(bank)).whole
