"""Shards as rows and as mapped files: what is read is what was written, and nothing else is believed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mnemic.errors import BankError
from mnemic.suffixes import rows as in_rows
from mnemic.suffixes.documents import Documents, joined
from mnemic.suffixes.mapped import cache_folder, mapped_shards
from mnemic.suffixes.rows import ARRAYS, rows_of, shard_id, shard_of
from mnemic.suffixes.shard import Shard

DRAW = np.random.default_rng(5)
TEXTS = [DRAW.integers(0, 90, size).tolist() for size in (70, 1, 130, 0, 40)]
NAMES = ["b", "a", "e", "d", "c"]


def shard(vocabulary: int = 100) -> Shard:
    return Shard.of([np.array(text) for text in TEXTS], NAMES, vocabulary, "tenant")


def same(one: Shard, other: Shard) -> bool:
    arrays = ("tokens", "places", "offsets")
    alike = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)
    return alike and one.documents.equals(other.documents) and one.tenant == other.tenant


@pytest.mark.parametrize("vocabulary", [100, 70_000])
@pytest.mark.parametrize("part", [7, 1 << 20])
def test_rows_give_the_shard_back_in_any_order(vocabulary, part, monkeypatch):
    monkeypatch.setattr(in_rows, "PART", part)
    written = rows_of(shard(vocabulary), "tokenizer", 3)
    assert len(written) == -(-len(shard().tokens) // part)
    assert same(shard_of(written.take(pa.array(np.arange(len(written))[::-1]))), shard(vocabulary))
    bare = shard_of(written.drop_columns(list(ARRAYS)))
    assert bare.documents.equals(shard().documents) and len(bare) == 0


def test_a_shard_is_called_after_its_tenant_its_tokenizer_and_its_documents():
    names = {shard_id(shard().documents, *more) for more in (("", "one"), ("x", "one"), ("", "two"))}
    assert len(names | {shard_id(pa.array(["a"]), "", "one")}) == 4


def replaced(name: str, values: list) -> pa.Table:
    table = rows_of(shard(), "tokenizer", 0)
    field = table.schema.field(name)
    return table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))


def bytes_of(values: list, kind: type[np.generic]) -> list[bytes]:
    return [np.array(values, kind).tobytes()]


BAD = {
    "outside": lambda: replaced("places", bytes_of([*shard().places[:-1], len(shard().tokens)], np.int32)),
    "negative": lambda: replaced("places", bytes_of([*shard().places[:-1], -1], np.int32)),
    "fewer": lambda: replaced("places", bytes_of(shard().places[:-1].tolist(), np.int32)),
    "cut": lambda: replaced("places", [shard().places.tobytes()[:-1]]),
    "no separator": lambda: replaced("tokens", bytes_of([*shard().tokens[:-1], 4], np.uint16)),
    "offsets": lambda: replaced("offsets", [[0, 1, 2, 3, 4]]),
    "documents": lambda: replaced("documents", [["a"]]),
    "width": lambda: replaced("width", [3]),
    "part": lambda: replaced("part", [1]),
}


@pytest.mark.parametrize("fault", BAD)
def test_rows_that_mnemic_did_not_write_are_refused(fault):
    with pytest.raises(BankError, match="shard of the suffix index"):
        shard_of(BAD[fault]())


def test_documents_are_joined_by_id_whatever_they_come_from():
    lists = pa.array(TEXTS[:3], pa.list_(pa.uint16()))
    other = Shard.of([np.array(text) for text in TEXTS[3:]], NAMES[3:], 100)
    parts = [Documents.of_lists(pa.array(NAMES[:3]), lists), Documents.of_shard(other)]
    order = sorted(range(5), key=lambda number: NAMES[number])
    expected = Shard.of([np.array(TEXTS[number]) for number in order], [NAMES[number] for number in order], 100, "x")
    assert same(joined(parts).indexed("x"), expected) and same(joined(parts[::-1]).indexed("x"), expected)
    without = joined([parts[0].without((1,)), parts[1].without((0, 1))]).indexed("x")
    left = [number for number in order if number in (0, 2)]
    assert same(without, Shard.of([np.array(TEXTS[n]) for n in left], [NAMES[n] for n in left], 100, "x"))


def test_mapped_shards_are_those_in_memory_and_are_written_once(tmp_path):
    written = {"0" * 32: shard(), "1" * 32: shard(70_000)}
    reads: list[tuple[str, bool]] = []

    def load(name: str, whole: bool) -> Shard:
        reads.append((name, whole))
        one = written[name]
        return one if whole else Shard(one.tokens[:0], one.places[:0], one.offsets, one.documents, one.tenant)

    root, folder = str(tmp_path / "bank"), tmp_path / "bank.cache"
    assert cache_folder(root) == folder
    for _ in range(2):
        mapped = mapped_shards(root, "one", written, load)
        assert all(same(*both) for both in zip(mapped, written.values(), strict=True))
        assert isinstance(mapped[0].places, np.memmap)
    assert [whole for _, whole in reads] == [True, True, False, False, False, False]
    place = folder / "suffixes-one" / f"{'0' * 32}.places.npy"
    damaged = bytearray(place.read_bytes())
    damaged[-1] ^= 0xFF
    place.write_bytes(damaged)
    assert same(mapped_shards(root, "one", written, load)[0], shard())
    assert [whole for _, whole in reads[-4:]] == [True, True, False, False]
    mapped_shards(root, "two", written, load)
    assert [path.name for path in folder.iterdir()] == ["suffixes-two"]


def test_files_that_cannot_be_written_are_told(tmp_path):
    (tmp_path / "bank.cache").write_text("a file stands here")
    with pytest.raises(BankError, match="too large for memory"):
        mapped_shards(str(tmp_path / "bank"), "one", ["0" * 32], lambda name, whole: shard())
